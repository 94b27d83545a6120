//! Pods and containers on a real containerd and runc.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::time::Duration;

use kobune_runtime::*;
use support::{finish, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

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
fn containers_of_a_pod_share_network_ipc_and_memory_but_not_processes() {
    run(|fixture| async move {
        fixture.import("busybox").await;
        let sandbox = fixture.sandbox("b").await;
        let first = fixture
            .start(
                &sandbox,
                &fixture.script(&sandbox, "echo shared > /dev/shm/x; exec sleep 1000"),
            )
            .await;
        let mut spec = fixture.script(&sandbox, "exec sleep 1000");
        spec.name = "other".into();
        spec.log_path.set_file_name("other.log");
        let second = fixture.start(&sandbox, &spec).await;
        let links = |id: String| {
            let fixture = &fixture;
            async move {
                let (_, out, _) = fixture
                    .exec(
                        &id,
                        &[
                            "sh",
                            "-c",
                            "for n in net ipc uts pid; do readlink /proc/self/ns/$n; done",
                        ],
                    )
                    .await;
                out.lines().map(str::to_owned).collect::<Vec<_>>()
            }
        };
        let (one, two) = (links(first.clone()).await, links(second.clone()).await);
        assert_eq!(one[..3], two[..3]);
        assert_ne!(one[3], two[3]);
        assert_eq!(fixture.exec(&second, &["cat", "/dev/shm/x"]).await.1, "shared\n");
        let (_, out, _) = fixture
            .exec(
                &first,
                &["sh", "-c", "cat /proc/sys/net/ipv4/ip_unprivileged_port_start"],
            )
            .await;
        assert_eq!(out, "0\n");
        // One shim for both.
        let parent = |id: String| {
            let fixture = &fixture;
            async move {
                let ContainerState::Running { pid, .. } = fixture.runtime.container(&id).await.unwrap().state
                else {
                    panic!("runs")
                };
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
                stat.rsplit_once(") ")
                    .unwrap()
                    .1
                    .split(' ')
                    .nth(1)
                    .unwrap()
                    .to_owned()
            }
        };
        assert_eq!(parent(first).await, parent(second).await);
    });
}

#[test]
fn a_shared_process_namespace_has_an_init_of_ours() {
    run(|mut fixture| async move {
        fixture.import("busybox").await;
        let spec = SandboxSpec {
            share_process_namespace: true,
            ..fixture.sandbox_spec("c")
        };
        let sandbox = fixture.runtime.create_sandbox(&spec).await.unwrap();
        let id = fixture
            .start(&sandbox, &fixture.script(&sandbox, "exec sleep 1000"))
            .await;
        let (_, out, _) = fixture.exec(&id, &["cat", "/proc/1/comm"]).await;
        assert_eq!(out, "pod-init\n");
        fixture.restart().await;
        let found = fixture.runtime.sandboxes().await.unwrap();
        assert_eq!((found.len(), found[0].ready), (1, true));
        fixture.runtime.stop_container(&id, Duration::ZERO).await.unwrap();
        fixture.runtime.remove_sandbox("c").await.unwrap();
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

#[test]
fn the_process_has_the_user_capabilities_and_filter_asked_for() {
    run(|fixture| async move {
        fixture.import("busybox").await;
        let sandbox = fixture.sandbox("m").await;
        let script = "id -u; id -g; id -G; grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status; touch /x";
        let mut spec = fixture.script(&sandbox, script);
        spec.security = Security {
            user: Some(User::Uid(1000)),
            group: Some(2000),
            supplemental_groups: vec![3000],
            read_only_root: true,
            no_new_privileges: true,
            seccomp: Seccomp::RuntimeDefault,
            ..Default::default()
        };
        let (code, out) = fixture.output(&sandbox, &spec).await;
        assert_eq!(code, 1);
        for wanted in [
            "F 1000\n",
            "F 2000\n",
            "F 2000 3000\n",
            "CapEff:\t0000000000000000",
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
            "Read-only file system",
        ] {
            assert!(out.contains(wanted), "{wanted:?} in {out}");
        }
        spec.security = Security {
            user: Some(User::Name("nobody".into())),
            ..Default::default()
        };
        assert!(fixture.output(&sandbox, &spec).await.1.contains("F 65534\n"));
        spec.security = Security {
            capabilities_drop: vec!["ALL".into()],
            ..Default::default()
        };
        assert!(
            fixture
                .output(&sandbox, &spec)
                .await
                .1
                .contains("CapEff:\t0000000000000000")
        );
        spec.security = Security::default();
        assert!(
            fixture
                .output(&sandbox, &spec)
                .await
                .1
                .contains("CapEff:\t00000000a80425fb")
        );
        spec.security = Security {
            privileged: true,
            ..Default::default()
        };
        spec.command[2] = "mount -t tmpfs none /mnt 2>&1 || mkdir /mnt && mount -t tmpfs none /mnt; ls /dev/loop0 /dev/vda 2>&1; echo ok".into();
        assert!(fixture.output(&sandbox, &spec).await.1.contains("F ok\n"));
    });
}

#[test]
fn mounts_sysctls_and_terminals_reach_the_container() {
    run(|fixture| async move {
        fixture.import("busybox").await;
        let mut spec = fixture.sandbox_spec("n");
        spec.sysctls.insert("net.core.somaxconn".into(), "777".into());
        spec.sysctls.insert("kernel.shm_rmid_forced".into(), "1".into());
        let sandbox = fixture.runtime.create_sandbox(&spec).await.unwrap();
        let source = fixture.folder.path().join("volume");
        std::fs::create_dir(&source).unwrap();
        std::fs::write(source.join("file"), "content\n").unwrap();
        let script = "cat /data/file /proc/sys/net/core/somaxconn /proc/sys/kernel/shm_rmid_forced; echo x > /data/y; tty; pwd; echo $A-$HOSTNAME";
        let mut spec = fixture.script(&sandbox, script);
        spec.mounts = vec![Mount {
            source,
            target: "/data".into(),
            read_only: true,
            ..Default::default()
        }];
        spec.tty = true;
        spec.working_dir = Some("/made/here".into());
        spec.env = vec![("A".into(), "b=c".into())];
        let (_, out) = fixture.output(&sandbox, &spec).await;
        for wanted in [
            "F content",
            "F 777",
            "F 1",
            "Read-only",
            "F /dev/",
            "F /made/here",
            "F b=c-host-n",
        ] {
            assert!(out.contains(wanted), "{wanted:?} in {out}");
        }
        let spec = SandboxSpec {
            host: HostNamespaces {
                network: true,
                pid: true,
                ipc: true,
            },
            ..fixture.sandbox_spec("o")
        };
        let sandbox = fixture.runtime.create_sandbox(&spec).await.unwrap();
        assert_eq!(sandbox.network_namespace, None);
        let script = "for n in net ipc uts pid; do readlink /proc/self/ns/$n; done";
        let (_, out) = fixture.output(&sandbox, &fixture.script(&sandbox, script)).await;
        for kind in ["net", "ipc", "uts", "pid"] {
            let own = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
            assert!(out.contains(own.to_str().unwrap()), "{own:?} in {out}");
        }
    });
}

#[test]
fn limits_and_statistics_are_those_of_the_control_group() {
    run(|fixture| async move {
        fixture.import("busybox").await;
        let sandbox = fixture.sandbox("p").await;
        let mut spec = fixture.script(&sandbox, "exec sleep 1000");
        spec.resources = Resources {
            cpu_shares: Some(512),
            cpu_quota: Some(50_000),
            cpu_period: Some(100_000),
            memory_limit: Some(64 << 20),
            oom_score_adj: Some(-997),
            pids_limit: Some(50),
            ..Default::default()
        };
        let id = fixture.start(&sandbox, &spec).await;
        let stats = fixture.runtime.stats(&id).await.unwrap();
        assert!(stats.memory_usage > 0 && stats.pids >= 1, "{stats:?}");
        fixture
            .exec(&id, &["dd", "if=/dev/zero", "of=/file", "bs=1M", "count=3"])
            .await;
        assert!(fixture.runtime.stats(&id).await.unwrap().writable_layer_bytes >= 3 << 20);
        let limit = || {
            let group = format!("{}/{id}", sandbox.spec.cgroup_parent);
            let v1 = format!("/sys/fs/cgroup/memory{group}/memory.limit_in_bytes");
            let v2 = format!("/sys/fs/cgroup{group}/memory.max");
            std::fs::read_to_string(v1)
                .or_else(|_| std::fs::read_to_string(v2))
                .unwrap()
                .trim()
                .to_owned()
        };
        assert_eq!(limit(), (64 << 20).to_string());
        let more = Resources {
            memory_limit: Some(128 << 20),
            ..Default::default()
        };
        fixture.runtime.update_resources(&id, &more).await.unwrap();
        assert_eq!(limit(), (128 << 20).to_string());
    });
}

#[test]
fn nginx_and_redis_serve() {
    run(|fixture| async move {
        fixture.import("nginx").await;
        fixture.import("redis").await;
        let sandbox = fixture.sandbox("q").await;
        let script = |image: &str, name: &str| ContainerSpec {
            name: name.into(),
            image: image.into(),
            command: Vec::new(),
            log_path: fixture.folder.path().join(format!("logs/{name}.log")),
            ..fixture.script(&sandbox, "")
        };
        let nginx = fixture.start(&sandbox, &script("nginx:1.22", "nginx")).await;
        let redis = fixture.start(&sandbox, &script("redis", "redis")).await;
        // The pod's loopback is the network's business; here it is not up yet.
        let up = "ip link set lo up; for i in $(seq 100); do wget -qO- http://127.0.0.1 && break; sleep 0.05; done";
        let namespace = sandbox.network_namespace.clone().unwrap();
        let status = std::process::Command::new("nsenter")
            .arg(format!("--net={}", namespace.display()))
            .args(["ip", "link", "set", "lo", "up"])
            .status()
            .unwrap();
        assert!(status.success());
        let (_, out, err) = fixture.exec(&nginx, &["sh", "-c", up]).await;
        assert!(out.contains("Welcome to nginx!"), "{out} {err}");
        let pong = "for i in $(seq 100); do [ \"$(redis-cli ping)\" = PONG ] && echo PONG && break; sleep 0.05; done";
        let (_, out, err) = fixture.exec(&redis, &["sh", "-c", pong]).await;
        assert_eq!(out, "PONG\n", "{err}");
        // The image says SIGQUIT.
        fixture
            .runtime
            .stop_container(&nginx, Duration::from_secs(20))
            .await
            .unwrap();
        assert_eq!(fixture.ended(&nginx).await.0, 0);
    });
}

#[test]
fn an_images_volumes_begin_with_its_content_and_go_with_the_container() {
    run(|mut fixture| async move {
        fixture.import("shelf").await;
        let sandbox = fixture.sandbox("volumes").await;
        let folders = fixture.config.data_dir.join("volumes");
        let count = || std::fs::read_dir(&folders).unwrap().count();
        let look = "cat /data/book /data/same; ls /data | tr '\\n' ' '; stat -c '%u %a' /data /data/book /empty; \
                    touch /empty/new /data/new && echo written";
        let mut spec = ContainerSpec {
            image: "shelf".into(),
            ..fixture.script(&sandbox, &format!("{look}; exec sleep 1000"))
        };
        spec.security.read_only_root = true;
        let id = fixture.start(&sandbox, &spec).await;
        fixture.logged(&sandbox, "written").await;
        let log = fixture.read_log(&sandbox).replace("stdout F ", "");
        assert_eq!(
            log,
            "second edition\nsecond edition\nbook same 1000 750\n1000 640\n0 755\nwritten\n"
        );
        assert_eq!(count(), 1);
        // What was written stays as long as the container, over restarts of ours too; a folder that
        // no container was ever made for does not.
        let orphan = folders.join("orphan");
        std::fs::create_dir(&orphan).unwrap();
        fixture.restart().await;
        assert!(!orphan.exists());
        let (code, ..) = fixture.exec(&id, &["test", "-e", "/data/new"]).await;
        assert_eq!(code, 0);
        fixture.runtime.stop_container(&id, Duration::ZERO).await.unwrap();
        fixture.runtime.remove_container(&id).await.unwrap();
        assert_eq!(count(), 0);
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(folders.to_str().unwrap()), "{mounts}");
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

#[test]
fn a_volume_of_the_pod_takes_the_place_of_the_images() {
    run(|fixture| async move {
        fixture.import("shelf").await;
        let sandbox = fixture.sandbox("volumes").await;
        let own = fixture.folder.path().join("own");
        std::fs::create_dir(&own).unwrap();
        let mount = |target: &str| Mount {
            source: own.clone(),
            target: target.into(),
            ..Default::default()
        };
        let spec = ContainerSpec {
            image: "shelf".into(),
            mounts: vec![mount("/shelf/"), mount("/empty")],
            ..fixture.script(&sandbox, "ls /shelf/; ls /empty; echo end")
        };
        let (code, log) = fixture.output(&sandbox, &spec).await;
        assert_eq!((code, log.as_str()), (0, "stdout F end\n"));
        let folders = std::fs::read_dir(fixture.config.data_dir.join("volumes")).unwrap();
        assert_eq!(folders.count(), 0);
    });
}
