//! A pod's life on a node, against the real API server and a fake runtime.

#![allow(clippy::unwrap_used, reason = "a test that panics says enough")]

mod node;

use std::time::{Duration, Instant};

use kobune_client::k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kobune_client::kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use node::Node;
use serde_json::json;

fn container<'a>(pod: &'a Pod, name: &str) -> &'a ContainerStatus {
    let status = pod.status.as_ref().unwrap();
    status
        .container_statuses
        .iter()
        .flatten()
        .find(|c| c.name == name)
        .unwrap()
}

fn waits(pod: &Pod, reason: &str) -> bool {
    let status = pod
        .status
        .as_ref()
        .and_then(|s| s.container_statuses.as_ref()?.first());
    let waiting = status.and_then(|s| s.state.as_ref()?.waiting.as_ref());
    waiting.and_then(|w| w.reason.as_deref()) == Some(reason)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions
        .filter(|c| c.type_ == "Ready")
        .any(|c| c.status == "True")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_runs_and_goes_without_a_trace() {
    let node = Node::start().await;
    let begun = Instant::now();
    let pod = node.create("web", json!({})).await;
    let running = node.until_phase("web", "Running").await;
    eprintln!("create to Running: {:?}", begun.elapsed());
    let uid = pod.metadata.uid.unwrap();
    assert!(is_ready(&running));
    let status = running.status.as_ref().unwrap();
    assert_eq!(status.pod_ip.as_deref(), Some("10.42.0.2"));
    assert_eq!(status.host_ip.as_deref(), Some("127.0.0.1"));
    let a = container(&running, "a");
    assert!(a.ready && a.started == Some(true));
    assert!(a.container_id.as_ref().unwrap().starts_with("containerd://"));
    assert_eq!(a.image_id, "nginx:1@sha256:0");
    let spec = node.runtime.spec("a").unwrap();
    assert!(
        spec.env.iter().any(|(n, _)| n == "KUBERNETES_SERVICE_HOST"),
        "{:?}",
        spec.env
    );
    assert!(spec.mounts.iter().any(|m| m.target.ends_with("etc/hosts")));
    let dir = node.config.pod_dir(&uid);
    assert!(
        std::fs::read_to_string(dir.join("etc-hosts"))
            .unwrap()
            .contains("10.42.0.2\tweb")
    );
    assert!(
        std::fs::read_to_string(dir.join("resolv.conf"))
            .unwrap()
            .contains("nameserver 10.43.0.10")
    );
    node.until_event("Pulled Container image \"nginx:1\" already present")
        .await;
    node.until_event("Created Container created").await;
    node.until_event("Started Container started").await;

    let begun = Instant::now();
    node.delete("web").await;
    node.until_gone("web").await;
    eprintln!("delete to gone: {:?}", begun.elapsed());
    node.until_event("Killing Stopping container a").await;
    let journal = node.runtime.journal();
    assert!(journal.contains(&"stop a 30".to_owned()), "{journal:?}");
    assert!(journal.contains(&"remove sandbox web".to_owned()));
    assert!(node.network.attached.lock().unwrap().is_empty());
    assert!(!dir.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashing_container_is_restarted_and_then_backs_off() {
    let node = Node::start().await;
    node.create("web", json!({})).await;
    node.until_phase("web", "Running").await;
    node.runtime.exit("a", 3);
    let again = node
        .until("web", "restarted once", |p| {
            container(p, "a").restart_count == 1 && container(p, "a").ready
        })
        .await;
    let last = container(&again, "a")
        .last_state
        .as_ref()
        .unwrap()
        .terminated
        .as_ref()
        .unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (3, Some("Error")));
    node.runtime.exit("a", 3);
    let waiting = node
        .until("web", "in back-off", |p| waits(p, "CrashLoopBackOff"))
        .await;
    let message = container(&waiting, "a")
        .state
        .as_ref()
        .unwrap()
        .waiting
        .as_ref()
        .unwrap()
        .message
        .clone()
        .unwrap();
    assert!(
        message.starts_with("back-off 10s restarting failed container=a pod=web_default("),
        "{message}"
    );
    assert_eq!(waiting.status.as_ref().unwrap().phase.as_deref(), Some("Running"));
    node.until_event("BackOff Back-off restarting failed container a in pod web_default")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_like_pod_succeeds_or_fails_and_frees_the_node() {
    let node = Node::start().await;
    for (name, code, phase) in [("good", 0, "Succeeded"), ("bad", 7, "Failed")] {
        node.create(name, json!({"restartPolicy": "Never"})).await;
        node.until_phase(name, "Running").await;
        node.runtime.exit("a", code);
        let ended = node.until_phase(name, phase).await;
        let state = container(&ended, "a")
            .state
            .as_ref()
            .unwrap()
            .terminated
            .as_ref()
            .unwrap();
        assert_eq!(state.exit_code, code);
        node.until(name, "without a sandbox", |_| {
            node.runtime.journal().contains(&format!("remove sandbox {name}"))
        })
        .await;
        let kept = node.pods().get(name).await.unwrap();
        assert_eq!(kept.status.as_ref().unwrap().phase.as_deref(), Some(phase));
        node.delete(name).await;
        node.until_gone(name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_pulled_is_told_and_tried_again() {
    let node = Node::start().await;
    node.create("web", json!({"containers": [{"name": "a", "image": "nope:1"}]}))
        .await;
    node.until("web", "failing to pull", |p| waits(p, "ErrImagePull"))
        .await;
    node.until("web", "backing off", |p| waits(p, "ImagePullBackOff"))
        .await;
    for event in [
        "Pulling Pulling image \"nope:1\"",
        "Failed Failed to pull image \"nope:1\"",
        "Failed Error: ErrImagePull",
        "BackOff Back-off pulling image \"nope:1\"",
    ] {
        node.until_event(event).await;
    }
    node.create(
        "never",
        json!({"containers": [{"name": "a", "image": "nope:1", "imagePullPolicy": "Never"}]}),
    )
    .await;
    node.until("never", "refused", |p| waits(p, "ErrImageNeverPull"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_waits_for_its_config_map_and_follows_it() {
    let node = Node::start().await;
    let pod = node
        .create(
            "web",
            json!({"volumes": [{"name": "v", "configMap": {"name": "c"}}],
            "containers": [{"name": "a", "image": "nginx:1", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}),
        )
        .await;
    node.until_event("FailedMount MountVolume.SetUp failed for volume \"v\" : configmap \"c\" not found")
        .await;
    let map = serde_json::from_value(json!({"metadata": {"name": "c"}, "data": {"k": "1"}})).unwrap();
    node.config_maps()
        .create(&PostParams::default(), &map)
        .await
        .unwrap();
    node.until_phase("web", "Running").await;
    let file = node
        .config
        .pod_dir(pod.metadata.uid.as_ref().unwrap())
        .join("volumes/kubernetes.io~configmap/v/k");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "1");
    let patch = Patch::Merge(json!({"data": {"k": "2"}}));
    node.config_maps()
        .patch("c", &PatchParams::default(), &patch)
        .await
        .unwrap();
    node.until("web", "updated", |_| {
        std::fs::read_to_string(&file).unwrap() == "2"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_reference_in_the_environment_is_a_configuration_error() {
    let node = Node::start().await;
    node.create(
        "web",
        json!({"containers": [{"name": "a", "image": "nginx:1", "envFrom": [{"configMapRef": {"name": "c"}}]}]}),
    )
    .await;
    let pod = node
        .until("web", "refused", |p| waits(p, "CreateContainerConfigError"))
        .await;
    let waiting = container(&pod, "a")
        .state
        .as_ref()
        .unwrap()
        .waiting
        .as_ref()
        .unwrap();
    assert_eq!(waiting.message.as_deref(), Some("configmap \"c\" not found"));
    let map = serde_json::from_value(json!({"metadata": {"name": "c"}, "data": {"K": "1"}})).unwrap();
    node.config_maps()
        .create(&PostParams::default(), &map)
        .await
        .unwrap();
    node.until_phase("web", "Running").await;
    assert!(
        node.runtime
            .spec("a")
            .unwrap()
            .env
            .contains(&("K".into(), "1".into()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_kubelet_touches_no_container() {
    let node = Node::start().await;
    node.create("web", json!({})).await;
    node.create("gone", json!({"containers": [{"name": "b", "image": "nginx:1"}]}))
        .await;
    node.until("web", "ready", is_ready).await;
    node.until("gone", "ready", is_ready).await;
    let before = node.runtime.newest("a").unwrap().id;
    node.shut_down().await;
    // While nobody looks, one pod's object is removed for good.
    let now = DeleteParams {
        grace_period_seconds: Some(0),
        ..DeleteParams::default()
    };
    node.pods().delete("gone", &now).await.unwrap();
    node.launch().await;
    node.until("web", "alone", |_| node.runtime.running() == 1).await;
    assert_eq!(node.runtime.newest("a").unwrap().id, before);
    let journal = node.runtime.journal();
    assert_eq!(
        journal.iter().filter(|j| *j == "create a").count(),
        1,
        "{journal:?}"
    );
    assert!(!journal.iter().any(|j| j.starts_with("stop a")), "{journal:?}");
    // And it still belongs to somebody.
    node.runtime.exit("a", 1);
    node.until("web", "restarted", |p| {
        container(p, "a").restart_count == 1 && container(p, "a").ready
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn init_containers_run_first_and_sidecars_stop_last() {
    let node = Node::start().await;
    node.create(
        "web",
        json!({"initContainers": [{"name": "i", "image": "nginx:1"},
            {"name": "s", "image": "nginx:1", "restartPolicy": "Always"}]}),
    )
    .await;
    node.until("web", "initializing", |p| {
        waits(p, "PodInitializing") && node.runtime.newest("i").is_some()
    })
    .await;
    assert!(node.runtime.newest("s").is_none());
    node.until("web", "running i", |_| node.runtime.running() == 1)
        .await;
    node.runtime.exit("i", 0);
    node.until("web", "ready", is_ready).await;
    node.delete("web").await;
    node.until_gone("web").await;
    let journal = node.runtime.journal();
    let at = |what: &str| {
        journal
            .iter()
            .position(|j| j.starts_with(what))
            .unwrap_or_else(|| panic!("{what}: {journal:?}"))
    };
    assert!(at("start i") < at("start s") && at("start s") < at("start a"));
    assert!(at("stop a") < at("stop s"));
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_decide_readiness_and_restarts() {
    let node = Node::start().await;
    let (ready, alive) = (
        std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)),
        std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true)),
    );
    let (r, l) = (ready.clone(), alive.clone());
    node.runtime.on_exec(move |_, command| {
        let flag = if command[0] == "ready" { &r } else { &l };
        (
            i32::from(!flag.load(std::sync::atomic::Ordering::SeqCst)),
            "no".into(),
        )
    });
    node.create(
        "web",
        json!({"containers": [{"name": "a", "image": "nginx:1",
            "readinessProbe": {"exec": {"command": ["ready"]}, "periodSeconds": 1},
            "livenessProbe": {"exec": {"command": ["alive"]}, "periodSeconds": 1, "failureThreshold": 1}}]}),
    )
    .await;
    node.until_phase("web", "Running").await;
    node.until_event("Unhealthy Readiness probe failed: no").await;
    ready.store(true, std::sync::atomic::Ordering::SeqCst);
    node.until("web", "ready", is_ready).await;
    alive.store(false, std::sync::atomic::Ordering::SeqCst);
    node.until_event("Killing Container a failed liveness probe, will be restarted")
        .await;
    alive.store(true, std::sync::atomic::Ordering::SeqCst);
    node.until("web", "restarted", |p| container(p, "a").restart_count == 1)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_pods_come_and_go() {
    let node = Node::start().await;
    let begun = Instant::now();
    for n in 0..100 {
        node.create(&format!("p{n}"), json!({})).await;
    }
    for n in 0..100 {
        node.until(&format!("p{n}"), "ready", is_ready).await;
    }
    eprintln!("100 pods: {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(30));
    for n in 0..100 {
        node.delete(&format!("p{n}")).await;
    }
    for n in 0..100 {
        node.until_gone(&format!("p{n}")).await;
    }
    assert_eq!(node.runtime.running(), 0);
    assert!(node.network.attached.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_that_was_away_is_looked_at_again() {
    let node = Node::start().await;
    node.create("web", json!({})).await;
    node.until("web", "ready", is_ready).await;
    node.runtime.set_down(true);
    node.create("late", json!({"containers": [{"name": "b", "image": "nginx:1"}]}))
        .await;
    node.until_event("FailedCreatePodSandBox").await;
    node.runtime.set_down(false);
    node.until("late", "ready", is_ready).await;
    assert_eq!(node.runtime.running(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_ended_is_no_longer_ready_for_containers() {
    let node = Node::start().await;
    node.create("job", json!({"restartPolicy": "Never"})).await;
    node.until_phase("job", "Running").await;
    let held = node.network.detaching.write().await;
    node.runtime.exit("a", 0);
    node.until_phase("job", "Succeeded").await;
    // Its worker knows that, too.
    node.until_event("Started Container started").await;
    drop(held);
    let taken_down = |p: &Pod| {
        let mut conditions = p.status.iter().flat_map(|s| s.conditions.iter().flatten());
        conditions.any(|c| c.type_ == "PodReadyToStartContainers" && c.status == "False")
    };
    node.until("job", "taken down", taken_down).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_cannot_start_is_tried_again_at_once_and_then_backs_off() {
    let node = Node::start().await;
    node.runtime.refuse_start("a", Some("no such file"));
    let begun = Instant::now();
    node.create("web", json!({})).await;
    node.until("web", "tried again", |p| {
        waits(p, "RunContainerError") && container(p, "a").restart_count == 1
    })
    .await;
    assert!(begun.elapsed().as_secs() < 8, "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_that_hangs_makes_the_node_unready_and_does_not_hold_up_its_lease() {
    use kobune_client::k8s_openapi::api::coordination::v1::Lease;
    use kobune_client::k8s_openapi::api::core::v1;
    use kobune_client::kube::Api;
    let node = Node::start().await;
    let nodes: Api<v1::Node> = Api::all(node.client.clone());
    let leases: Api<Lease> = Api::namespaced(node.client.clone(), "kube-node-lease");
    let ready = async || {
        let status = nodes.get("node-1").await.unwrap().status.unwrap_or_default();
        let mut conditions = status.conditions.into_iter().flatten();
        let ready = conditions.find(|c| c.type_ == "Ready").unwrap();
        (ready.status, ready.message.unwrap_or_default())
    };
    let renewed = async || {
        leases
            .get("node-1")
            .await
            .unwrap()
            .spec
            .unwrap()
            .renew_time
            .unwrap()
            .0
    };
    let until = async |wanted: &str, words: &str| {
        for _ in 0..300 {
            let (status, message) = ready().await;
            if status == wanted && message.contains(words) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{:?}", ready().await);
    };
    let before = renewed().await;
    node.runtime.set_hung(true);
    until("False", "container runtime is down").await;
    let since = renewed().await;
    assert!(since > before);
    node.runtime.set_hung(false);
    until("True", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_deleted_while_its_image_comes_does_not_wait_for_it() {
    let node = Node::start().await;
    node.runtime.add_to_registry("large:1");
    node.runtime.hold_pulls(true);
    node.create("web", json!({"containers": [{"name": "a", "image": "large:1"}]}))
        .await;
    node.until_event("Pulling Pulling image \"large:1\"").await;
    let begun = Instant::now();
    node.delete("web").await;
    node.until_gone("web").await;
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    assert!(node.network.attached.lock().unwrap().is_empty());
    // The next one begins its pull anew.
    node.runtime.hold_pulls(false);
    node.create("web", json!({"containers": [{"name": "a", "image": "large:1"}]}))
        .await;
    node.until_phase("web", "Running").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reboot_is_told() {
    use kobune_client::k8s_openapi::api::core::v1;
    use kobune_client::kube::Api;
    let node = Node::start().await;
    node.shut_down().await;
    let nodes: Api<v1::Node> = Api::all(node.client.clone());
    let another = Patch::Merge(json!({"status": {"nodeInfo": {"bootID": "the-boot-before"}}}));
    nodes
        .patch_status("node-1", &PatchParams::default(), &another)
        .await
        .unwrap();
    node.launch().await;
    node.until_event("Rebooted Node node-1 has been rebooted, boot id: ")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_without_the_runtime_is_tried_when_it_is_back() {
    let node = Node::start().await;
    node.runtime.refuse_create("a", true);
    node.create("web", json!({})).await;
    node.until("web", "refused", |p| waits(p, "CreateContainerError"))
        .await;
    node.runtime.refuse_create("a", false);
    let begun = std::time::Instant::now();
    node.runtime.set_down(true);
    node.runtime.set_down(false);
    node.until("web", "ready", is_ready).await;
    // Left alone it is tried every ten seconds.
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_gives_logs_to_the_api_server_only() {
    let node = Node::start().await;
    node.create("wait", json!({"containers": [{"name": "a", "image": "nope:1"}]}))
        .await;
    node.until("wait", "failing", |p| waits(p, "ErrImagePull")).await;
    let (status, text) = node.kubelet("/containerLogs/default/wait/a", true).await;
    assert_eq!(
        (status, text.trim()),
        (
            400,
            "container \"a\" in pod \"wait\" is waiting to start: image can't be pulled"
        )
    );
    node.create("web", json!({})).await;
    node.until("web", "ready", is_ready).await;
    let log = node.runtime.newest("a").unwrap().log_path;
    let lines = "2024-01-02T03:04:05.000000000Z stdout F one\n2024-01-02T03:04:06.000000000Z stderr F two\n";
    std::fs::write(&log, lines).unwrap();
    assert_eq!(
        node.kubelet("/containerLogs/default/web/a", true).await,
        (200, "one\ntwo\n".into())
    );
    let last = node
        .kubelet("/containerLogs/default/web/a?tailLines=1&timestamps=true", true)
        .await;
    assert_eq!(last, (200, "2024-01-02T03:04:06.000000000Z two\n".into()));
    let (status, text) = node
        .kubelet("/containerLogs/default/web/a?previous=true", true)
        .await;
    assert_eq!(
        (status, text.trim()),
        (
            400,
            "previous terminated container \"a\" in pod \"web\" not found"
        )
    );
    assert_eq!(node.kubelet("/containerLogs/default/none/a", true).await.0, 404);
    assert_eq!(node.kubelet("/healthz", true).await, (200, "ok".into()));
    assert_eq!(node.kubelet("/containerLogs/default/web/a", false).await.0, 401);
    assert!(
        node.kubelet("/stats/summary", true)
            .await
            .1
            .contains("usageCoreNanoSeconds")
    );
}
