//! Containers outlive this process, containerd, and what a kill interrupts.

use std::time::Duration;

use kobune_runtime::*;

use crate::support::run;

#[test]
fn containers_and_their_output_outlive_a_restart() {
    run(|mut fixture| async move {
        fixture.import("busybox").await;
        let sandbox = fixture.sandbox("g").await;
        let script =
            "i=0; while [ ! -e /dev/shm/stop ]; do echo line $i; i=$((i+1)); sleep 0.01; done; exit 5";
        let mut spec = fixture.script(&sandbox, script);
        spec.annotations.insert("hash".into(), "abc".into());
        let id = fixture.start(&sandbox, &spec).await;
        fixture.logged(&sandbox, "line 3").await;
        let before = fixture.runtime.container(&id).await.unwrap();
        fixture.restart().await;
        let after = fixture.runtime.container(&id).await.unwrap();
        assert_eq!(before, after);
        assert_eq!(
            fixture.runtime.create_sandbox(&sandbox.spec).await.unwrap(),
            sandbox
        );
        fixture.exec(&id, &["touch", "/dev/shm/stop"]).await;
        assert_eq!(fixture.ended(&id).await.0, 5);
        let log = fixture.read_log(&sandbox);
        let numbers: Vec<usize> = log
            .lines()
            .map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
            .collect();
        assert_eq!(numbers, (0..numbers.len()).collect::<Vec<_>>());
        fixture.restart().await;
        assert_eq!(fixture.ended(&id).await.0, 5);
    });
}

#[test]
fn an_exit_while_nobody_looked_is_known_after_the_restart() {
    run(|mut fixture| async move {
        fixture.import("busybox").await;
        let sandbox = fixture.sandbox("h").await;
        let id = fixture
            .start(
                &sandbox,
                &fixture.script(
                    &sandbox,
                    "mkfifo /dev/shm/go; echo up; read x < /dev/shm/go; echo last words; exit 9",
                ),
            )
            .await;
        fixture.logged(&sandbox, "up").await;
        fixture.runtime.disconnect();
        let shm = fixture.config.run_dir.join("shm/h/go");
        let _ = tokio::task::spawn_blocking(move || std::fs::write(shm, "x\n")).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        fixture.restart().await;
        assert_eq!(fixture.ended(&id).await.0, 9);
        assert!(fixture.read_log(&sandbox).contains("last words"));
    });
}

#[test]
fn a_restart_of_containerd_leaves_containers_running() {
    run(|mut fixture| async move {
        fixture.import("busybox").await;
        let sandbox = fixture.sandbox("i").await;
        let id = fixture
            .start(&sandbox, &fixture.script(&sandbox, "echo up; exec sleep 1000"))
            .await;
        fixture.logged(&sandbox, "up").await;
        let mut events = fixture.runtime.events();
        let pid = std::fs::read_to_string(fixture.config.run_dir.join("containerd/containerd.pid")).unwrap();
        let pid = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        let back = tokio::time::timeout(Duration::from_secs(20), async {
            while events.recv().await.unwrap().kind != ContainerEventKind::Resync {}
        });
        back.await.expect("the supervisor starts containerd again");
        let state = fixture.runtime.container(&id).await.unwrap().state;
        assert!(matches!(state, ContainerState::Running { .. }), "{state:?}");
        assert_eq!(fixture.exec(&id, &["echo", "still here"]).await.1, "still here\n");
        fixture.runtime.stop_container(&id, Duration::ZERO).await.unwrap();
        fixture.restart().await;
    });
}

/// The shim: the parent of a container's process.
fn parent(pid: u32) -> i32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    line.unwrap().trim().parse().unwrap()
}

#[test]
fn a_killed_shim_ends_its_containers_and_the_pod_gets_another() {
    run(|fixture| async move {
        fixture.import("busybox").await;
        let sandbox = fixture.sandbox("shim").await;
        let spec = fixture.script(&sandbox, "exec sleep 1000");
        let id = fixture.start(&sandbox, &spec).await;
        let ContainerState::Running { pid, .. } = fixture.runtime.container(&id).await.unwrap().state else {
            panic!("it runs");
        };
        let shim = nix::unistd::Pid::from_raw(parent(pid));
        nix::sys::signal::kill(shim, nix::sys::signal::Signal::SIGKILL).unwrap();
        assert_eq!(fixture.ended(&id).await, (137, false));
        let gone = async {
            while std::path::Path::new(&format!("/proc/{pid}")).exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), gone)
            .await
            .expect("nothing of it runs on");
        let next = fixture.start(&sandbox, &spec).await;
        assert_eq!(fixture.exec(&next, &["echo", "here"]).await.1, "here\n");
    });
}

#[test]
fn what_a_killed_kobune_was_making_is_found_and_removed() {
    run(|mut fixture| async move {
        fixture.import("busybox").await;
        let spec = SandboxSpec {
            share_process_namespace: true,
            ..fixture.sandbox_spec("half")
        };
        fixture.runtime.create_sandbox(&spec).await.unwrap();
        // As it is when the process ends between the start of the init process and its record.
        let path = fixture.config.data_dir.join("sandboxes/half.json");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut record: serde_json::Value = serde_json::from_str(&text).unwrap();
        let init = record["init"].take()["pid"].as_i64().unwrap();
        std::fs::write(&path, record.to_string()).unwrap();
        let leftovers = [
            fixture.config.run_dir.join("containers/unknown"),
            fixture.config.data_dir.join("exits/unknown.json"),
            fixture.config.data_dir.join("volumes/unknown"),
        ];
        std::fs::create_dir(&leftovers[0]).unwrap();
        std::fs::write(&leftovers[1], "{}").unwrap();
        std::fs::create_dir(&leftovers[2]).unwrap();
        fixture.restart().await;
        assert!(leftovers.iter().all(|path| !path.exists()));
        let found = fixture.runtime.sandboxes().await.unwrap();
        assert_eq!((found.len(), found[0].ready), (1, false));
        fixture.runtime.remove_sandbox("half").await.unwrap();
        assert!(!std::path::Path::new(&format!("/proc/{init}/ns/pid")).exists());
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&format!("{}/ns/half", fixture.config.run_dir.display())));
        assert!(!mounts.contains(&format!("{}/shm/half", fixture.config.run_dir.display())));
    });
}
