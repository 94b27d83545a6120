//! logs, exec, cp, attach, port-forward.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use kobune_test_support::eventually;

use crate::shared::{Space, pod};

#[test]
fn logs_are_shown_followed_and_cut() {
    let space = Space::new("interaction-logs");
    space.busybox(
        "talker",
        "for n in 1 2 3 4 5; do echo line-$n; done; echo oops >&2; while :; do sleep 1; echo tick; done",
    );
    // Ready says that the process runs, not that it has printed.
    eventually("everything is printed", 20, || {
        let all = space.kubectl(&["logs", "talker"]).result()?;
        if all.contains("line-5") && all.contains("oops") {
            Ok(())
        } else {
            Err(all)
        }
    });
    assert_eq!(
        space
            .kubectl(&["logs", "talker", "--tail=1"])
            .ok()
            .lines()
            .count(),
        1
    );
    let stamped = space
        .kubectl(&["logs", "talker", "--timestamps", "--tail=2"])
        .ok();
    assert!(stamped.starts_with("20") && stamped.contains("T"), "{stamped}");
    let mut follow = space
        .cluster
        .kubectl_command(&["-n", &space.name, "logs", "-f", "talker", "--tail=0"]);
    let mut follow = follow.stdout(Stdio::piped()).spawn().expect("kubectl starts");
    let mut output = follow.stdout.take().expect("its output is piped");
    let mut text = [0; 5];
    output.read_exact(&mut text).expect("a line comes");
    follow.kill().expect("kubectl is ours");
    follow.wait().expect("kubectl is ours");
    assert_eq!(&text, b"tick\n");
    let missing = space.kubectl(&["logs", "nobody"]).fails();
    assert!(missing.contains("pods \"nobody\" not found"), "{missing}");
}

#[test]
fn logs_of_the_previous_container_are_kept() {
    let space = Space::new("interaction-previous");
    space.apply(&pod("again", "echo run; sleep 1; exit 1", ""));
    eventually("the container was restarted", 60, || {
        let count = space.kubectl(&[
            "get",
            "pod",
            "again",
            "-o",
            "jsonpath={.status.containerStatuses[0].restartCount}",
        ]);
        match count.result()?.parse::<u32>() {
            Ok(1..) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    assert_eq!(space.kubectl(&["logs", "again", "--previous"]).ok(), "run\n");
}

#[test]
fn logs_of_all_containers_are_told_apart() {
    let space = Space::new("interaction-containers");
    let two = "  - {name: second, image: busybox, imagePullPolicy: IfNotPresent, command: [sh, -c, 'echo from-second; sleep 1000']}\n";
    space.apply(&pod("pair", "echo from-first; sleep 1000", two));
    space.wait_ready("pod/pair");
    assert_eq!(
        space.kubectl(&["logs", "pair", "-c", "second"]).ok(),
        "from-second\n"
    );
    let all = space
        .kubectl(&["logs", "pair", "--all-containers", "--prefix"])
        .ok();
    assert!(
        all.contains("pair/main] from-first") && all.contains("pair/second] from-second"),
        "{all}"
    );
}

#[test]
fn exec_carries_input_output_and_the_exit_code() {
    let space = Space::new("interaction-exec");
    space.busybox("box", "sleep 1000");
    assert_eq!(space.exec("box", &["echo", "hello"]).ok(), "hello\n");
    let failed = space.exec("box", &["sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((failed.code, failed.stdout.as_str()), (7, "out\n"));
    assert!(failed.stderr.contains("err"), "{}", failed.stderr);
    let echoed = space
        .kubectl_with(&["exec", "-i", "box", "--", "cat"], "through\n")
        .ok();
    assert_eq!(echoed, "through\n");
    let large = "x".repeat(1 << 20);
    let counted = space
        .kubectl_with(&["exec", "-i", "box", "--", "wc", "-c"], &large)
        .ok();
    assert_eq!(counted.trim(), "1048576");
    let missing = space.exec("box", &["no-such-program"]);
    assert_ne!(missing.code, 0);
}

#[test]
fn exec_with_a_terminal_has_one() {
    let space = Space::new("interaction-terminal");
    space.busybox("box", "sleep 1000");
    // The size comes after the process has started. script(1) gives kubectl a terminal of its own.
    let command = format!(
        "stty cols 91 rows 33; kubectl -n {} exec -it box -- sh -c 'tty; for n in $(seq 50); do stty size 2>/dev/null | grep . && break; sleep 0.1; done'",
        space.name
    );
    let mut script = std::process::Command::new("script");
    script
        .args(["-qec", &command, "/dev/null"])
        .env("KUBECONFIG", space.cluster.kubeconfig());
    // Its input stays open: at an end of input script(1) would type an end of file into the terminal.
    let mut running = script
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script starts");
    let input = running.stdin.take();
    let output = running.wait_with_output().expect("script ends");
    drop(input);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("/dev/pts/") && shown.contains("33 91"), "{shown}");
}

#[test]
fn files_are_copied_both_ways() {
    let space = Space::new("interaction-cp");
    space.busybox("box", "sleep 1000");
    let file = space.cluster.folder().join("copied");
    std::fs::write(&file, "some bytes").expect("the cluster's folder is writable");
    space
        .kubectl(&["cp", &file.display().to_string(), "box:/tmp/copied"])
        .ok();
    assert_eq!(space.exec("box", &["cat", "/tmp/copied"]).ok(), "some bytes");
    let back = space.cluster.folder().join("back");
    space
        .kubectl(&["cp", "box:/tmp/copied", &back.display().to_string()])
        .ok();
    assert_eq!(
        std::fs::read_to_string(back).expect("it was copied"),
        "some bytes"
    );
}

#[test]
fn attach_joins_the_containers_own_process() {
    let space = Space::new("interaction-attach");
    space.apply(&pod(
        "reader",
        "read line; echo got-$line; sleep 1000",
        "    stdin: true\n",
    ));
    space.wait_ready("pod/reader");
    let mut command = space
        .cluster
        .kubectl_command(&["-n", &space.name, "attach", "-i", "reader"]);
    let mut attached = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("kubectl starts");
    attached
        .stdin
        .as_mut()
        .expect("its input is piped")
        .write_all(b"word\n")
        .expect("kubectl reads");
    let mut text = [0; 9];
    attached
        .stdout
        .as_mut()
        .expect("its output is piped")
        .read_exact(&mut text)
        .expect("the answer comes");
    attached.kill().expect("kubectl is ours");
    attached.wait().expect("kubectl is ours");
    assert_eq!(&text, b"got-word\n");
}

#[test]
fn a_port_is_forwarded() {
    let space = Space::new("interaction-forward");
    space.apply(
        "
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers: [{name: web, image: nginx, imagePullPolicy: IfNotPresent}]
",
    );
    space.wait_ready("pod/web");
    let mut command = space
        .cluster
        .kubectl_command(&["-n", &space.name, "port-forward", "pod/web", ":80"]);
    let mut forward = command.stdout(Stdio::piped()).spawn().expect("kubectl starts");
    let mut line = String::new();
    // kept open: kubectl goes on to print, and ends when nobody can read it
    let mut output = std::io::BufReader::new(forward.stdout.take().expect("its output is piped"));
    std::io::BufRead::read_line(&mut output, &mut line).expect("kubectl says its port");
    let port: u16 = line
        .split("127.0.0.1:")
        .nth(1)
        .and_then(|rest| rest.split(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("no port in {line:?}"));
    for _ in 0..3 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("kubectl listens");
        stream
            .write_all(b"GET / HTTP/1.0\r\n\r\n")
            .expect("kubectl reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer comes");
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("nginx"),
            "{answer}"
        );
    }
    forward.kill().expect("kubectl is ours");
    forward.wait().expect("kubectl is ours");
}

#[test]
fn events_are_listed() {
    let space = Space::new("interaction-events");
    space.busybox("box", "sleep 1000");
    let events = space.kubectl(&["events", "--for", "pod/box"]).ok();
    assert!(
        events.contains("Scheduled") && events.contains("Started"),
        "{events}"
    );
}
