//! What a container finds around it: namespaces, users, mounts, limits, volumes.

use std::time::Duration;

use kobune_runtime::*;

use crate::support::run;

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
