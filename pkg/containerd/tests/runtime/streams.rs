//! Exec and attach.

use std::time::Duration;

use kobune_runtime::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{finish, run};

#[test]
fn exec_has_input_output_errors_codes_and_terminals() {
    run(|fixture| async move {
        fixture.import("busybox").await;
        let sandbox = fixture.sandbox("j").await;
        let id = fixture
            .start(&sandbox, &fixture.script(&sandbox, "exec sleep 1000"))
            .await;
        let (code, out, err) = fixture
            .exec(&id, &["sh", "-c", "echo out; echo err >&2; exit 42"])
            .await;
        assert_eq!((code, out.as_str(), err.as_str()), (42, "out\n", "err\n"));

        let spec = ExecSpec {
            command: vec!["cat".into()],
            stdin: true,
            tty: false,
        };
        let mut session = fixture.runtime.exec(&id, &spec).await.unwrap();
        let mut stdin = session.stdin.take().unwrap();
        let sent = vec![b'x'; 1 << 20];
        let copy = sent.clone();
        let writer = tokio::spawn(async move {
            stdin.write_all(&copy).await.unwrap();
            stdin.shutdown().await.unwrap();
        });
        let (code, out, _) = finish(session).await;
        writer.await.unwrap();
        assert_eq!((code, out.len()), (0, sent.len()));

        let command = ["sh", "-c", "read x; stty size; tty -s && echo terminal"];
        let spec = ExecSpec {
            command: command.map(str::to_owned).to_vec(),
            stdin: true,
            tty: true,
        };
        let mut session = fixture.runtime.exec(&id, &spec).await.unwrap();
        assert!(session.stderr.is_none());
        session
            .resize
            .send(TerminalSize {
                width: 123,
                height: 45,
            })
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut stdin = session.stdin.take().unwrap();
        stdin.write_all(b"\n").await.unwrap();
        let (code, out, _) = finish(session).await;
        assert_eq!(code, 0, "{out}");
        assert!(out.contains("45 123") && out.contains("terminal"), "{out:?}");

        let spec = ExecSpec {
            command: vec!["no-such-program".into()],
            ..Default::default()
        };
        let error = fixture
            .runtime
            .exec(&id, &spec)
            .await
            .err()
            .expect("a start error");
        assert!(
            matches!(&error, Error::Start { message } if message.contains("not found")),
            "{error}"
        );
    });
}

#[test]
fn dropping_an_exec_kills_its_process() {
    run(|fixture| async move {
        fixture.import("busybox").await;
        let sandbox = fixture.sandbox("k").await;
        let id = fixture
            .start(&sandbox, &fixture.script(&sandbox, "exec sleep 1000"))
            .await;
        let spec = ExecSpec {
            command: vec!["sleep".into(), "999".into()],
            ..Default::default()
        };
        drop(fixture.runtime.exec(&id, &spec).await.unwrap());
        let gone = async {
            while fixture
                .exec(&id, &["sh", "-c", "grep -q 99[9] /proc/[0-9]*/cmdline"])
                .await
                .0
                == 0
            {}
        };
        tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
    });
}

#[test]
fn attach_follows_the_output_and_feeds_the_input() {
    run(|fixture| async move {
        fixture.import("busybox").await;
        let sandbox = fixture.sandbox("l").await;
        let mut spec = fixture.script(
            &sandbox,
            "while read x; do echo got $x; [ $x = end ] && exit 4; done; exit 1",
        );
        spec.stdin = true;
        let id = fixture.start(&sandbox, &spec).await;
        let attach = AttachSpec {
            stdin: true,
            stdout: true,
            stderr: true,
        };
        for word in ["one", "two"] {
            // stdin stays open between two clients.
            let mut session = fixture.runtime.attach(&id, &attach).await.unwrap();
            session
                .stdin
                .as_mut()
                .unwrap()
                .write_all(format!("{word}\n").as_bytes())
                .await
                .unwrap();
            let mut answer = vec![0; 8];
            session
                .stdout
                .as_mut()
                .unwrap()
                .read_exact(&mut answer)
                .await
                .unwrap();
            assert_eq!(answer, format!("got {word}\n").as_bytes());
        }
        let mut session = fixture.runtime.attach(&id, &attach).await.unwrap();
        session.stdin.as_mut().unwrap().write_all(b"end\n").await.unwrap();
        let (code, out, _) = finish(session).await;
        assert_eq!((code, out.as_str()), (4, "got end\n"));
        assert!(fixture.read_log(&sandbox).contains("stdout F got two"));
    });
}
