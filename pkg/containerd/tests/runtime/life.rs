//! A container's life: start, end, and what is left of it.

use std::time::Duration;

use kobune_runtime::*;

use crate::support::run;

#[test]
fn a_container_runs_logs_and_ends_with_its_code() {
    run(|fixture| async move {
        fixture.import("busybox").await;
        let sandbox = fixture.sandbox("a").await;
        let spec = fixture.script(
            &sandbox,
            "echo out; echo err >&2; hostname; printf unfinished; exit 7",
        );
        let id = fixture.runtime.create_container(&sandbox, &spec).await.unwrap();
        assert_eq!(
            fixture.runtime.container(&id).await.unwrap().state,
            ContainerState::Created
        );
        let mut events = fixture.runtime.events();
        fixture.runtime.start_container(&id).await.unwrap();
        assert_eq!(fixture.ended(&id).await, (7, false));
        assert_eq!(events.recv().await.unwrap().kind, ContainerEventKind::Started);
        assert_eq!(events.recv().await.unwrap().kind, ContainerEventKind::Exited);
        let log = fixture.read_log(&sandbox);
        for line in [
            "stdout F out\n",
            "stderr F err\n",
            "stdout F host-a\n",
            "stdout P unfinished\n",
        ] {
            assert!(log.contains(line), "{line:?} in {log:?}");
        }
        fixture.runtime.remove_sandbox("a").await.unwrap();
        assert!(fixture.runtime.containers().await.unwrap().is_empty());
        assert!(fixture.runtime.sandboxes().await.unwrap().is_empty());
        fixture.runtime.remove_sandbox("a").await.unwrap();
    });
}

#[test]
fn a_start_that_nobody_waits_for_any_more_leaves_something_to_stop() {
    run(|fixture| async move {
        fixture.import("busybox").await;
        let sandbox = fixture.sandbox("dropped").await;
        for moment in (0..120).step_by(8) {
            let spec = fixture.script(&sandbox, "exec sleep 1000");
            let id = fixture.runtime.create_container(&sandbox, &spec).await.unwrap();
            let start = fixture.runtime.start_container(&id);
            let _ = tokio::time::timeout(Duration::from_millis(moment), start).await;
            fixture.runtime.stop_container(&id, Duration::ZERO).await.unwrap();
            fixture.runtime.remove_container(&id).await.unwrap();
            assert!(fixture.runtime.container(&id).await.is_err());
            let left = std::process::Command::new("find")
                .args(["/sys/fs/cgroup", "-type", "d", "-name", &id])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&left.stdout), "", "after {moment} ms");
        }
        fixture.runtime.remove_sandbox("dropped").await.unwrap();
    });
}

#[test]
fn stop_sends_the_stop_signal_and_kills_after_the_grace_period() {
    run(|fixture| async move {
        fixture.import("busybox").await;
        let sandbox = fixture.sandbox("d").await;
        let mut spec = fixture.script(
            &sandbox,
            "trap 'echo bye; exit 3' QUIT; echo ready; while :; do sleep 0.05; done",
        );
        spec.stop_signal = Some("SIGQUIT".into());
        let id = fixture.start(&sandbox, &spec).await;
        fixture.logged(&sandbox, "ready").await;
        fixture
            .runtime
            .stop_container(&id, Duration::from_secs(20))
            .await
            .unwrap();
        assert_eq!(fixture.ended(&id).await.0, 3);
        assert!(fixture.read_log(&sandbox).contains("stdout F bye"));
        fixture.runtime.remove_container(&id).await.unwrap();

        let spec = fixture.script(&sandbox, "trap '' TERM; echo deaf; while :; do sleep 0.05; done");
        let id = fixture.start(&sandbox, &spec).await;
        fixture.logged(&sandbox, "deaf").await;
        fixture
            .runtime
            .stop_container(&id, Duration::from_millis(200))
            .await
            .unwrap();
        assert_eq!(fixture.ended(&id).await.0, 137);
        fixture.runtime.stop_container(&id, Duration::ZERO).await.unwrap();
        fixture.runtime.remove_container(&id).await.unwrap();
        fixture.runtime.remove_container(&id).await.unwrap();
    });
}

#[test]
fn a_container_starts_while_the_shim_of_the_one_before_ends() {
    run(|fixture| async move {
        fixture.import("busybox").await;
        let sandbox = fixture.sandbox("again").await;
        for _ in 0..20 {
            let id = fixture.start(&sandbox, &fixture.script(&sandbox, "exit 3")).await;
            assert_eq!(fixture.ended(&id).await, (3, false));
        }
    });
}

#[test]
fn a_command_that_does_not_exist_is_a_start_error() {
    run(|fixture| async move {
        fixture.import("busybox").await;
        let sandbox = fixture.sandbox("e").await;
        let spec = ContainerSpec {
            command: vec!["/no/such".into()],
            ..fixture.script(&sandbox, "")
        };
        let id = fixture.runtime.create_container(&sandbox, &spec).await.unwrap();
        let error = fixture.runtime.start_container(&id).await.unwrap_err();
        assert!(
            matches!(&error, Error::Start { message } if message.contains("no such file or directory")),
            "{error}"
        );
        match fixture.runtime.container(&id).await.unwrap().state {
            ContainerState::Exited {
                exit_code: 128,
                started_at: None,
                message: Some(_),
                ..
            } => {}
            other => panic!("{other:?}"),
        }
        fixture.runtime.remove_container(&id).await.unwrap();
        let spec = ContainerSpec {
            image: "nothing-here".into(),
            ..spec
        };
        assert!(
            fixture
                .runtime
                .create_container(&sandbox, &spec)
                .await
                .unwrap_err()
                .is_not_found()
        );
    });
}

#[test]
fn a_container_killed_for_memory_says_so() {
    run(|fixture| async move {
        fixture.import("busybox").await;
        let sandbox = fixture.sandbox("f").await;
        let mut spec = fixture.script(&sandbox, "tail /dev/zero");
        spec.resources.memory_limit = Some(16 << 20);
        let id = fixture.start(&sandbox, &spec).await;
        let (code, oom) = fixture.ended(&id).await;
        assert!(oom, "exit code {code}");
    });
}
