//! The life of a pod: restarts, exit codes, what it says when it ends, what keeps it from starting.

use kobune_test_support::eventually;

use crate::shared::{Space, pod};

#[test]
fn a_killed_process_is_started_again() {
    let space = Space::new("lifecycle-heal");
    space.busybox("box", "sleep 1000");
    // Signals from inside do not reach a pod's first process: end it from the node.
    let id = space.field("pod/box", ".status.containerStatuses[0].containerID");
    let id = id.rsplit('/').next().expect("an id").to_owned();
    let pid = process_of(&id);
    // SAFETY: the number was just looked up as the first process of our own test container.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    space.wait_field("pod/box", ".status.containerStatuses[0].restartCount", "1");
    space.wait_ready("pod/box");
    assert_eq!(
        space.field(
            "pod/box",
            ".status.containerStatuses[0].lastState.terminated.exitCode"
        ),
        "137"
    );
}

/// The lowest process id in the container's cgroup.
fn process_of(container: &str) -> i32 {
    let entries = std::fs::read_dir("/proc").expect("/proc is there");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let belongs = |pid: &i32| {
        std::fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| text.contains(container))
    };
    pids.filter(belongs).min().expect("the container has a process")
}

#[test]
fn a_failing_container_is_restarted_with_a_back_off() {
    let space = Space::new("lifecycle-crash");
    space.apply(&pod("crash", "exit 3", ""));
    space.wait_field(
        "pod/crash",
        ".status.containerStatuses[0].state.waiting.reason",
        "CrashLoopBackOff",
    );
    assert_eq!(
        space.field(
            "pod/crash",
            ".status.containerStatuses[0].lastState.terminated.exitCode"
        ),
        "3"
    );
    let message = space.wait_event("crash", "BackOff");
    assert!(
        message.contains("Back-off restarting failed container main in pod crash_"),
        "{message}"
    );
    let shown = space.kubectl(&["get", "pod", "crash"]).ok();
    assert!(shown.contains("CrashLoopBackOff"), "{shown}");
}

#[test]
fn restart_policies_decide_how_a_pod_ends() {
    let space = Space::new("lifecycle-policy");
    space.apply(&pod("done", "exit 0", "  restartPolicy: Never\n"));
    space.apply(&pod("failed", "exit 5", "  restartPolicy: Never\n"));
    space.apply(&pod("retried", "[ -e /tmp/x/seen ] && exit 0; touch /tmp/x/seen; exit 1",
        "    volumeMounts: [{name: x, mountPath: /tmp/x}]\n  volumes: [{name: x, emptyDir: {}}]\n  restartPolicy: OnFailure\n"));
    space.wait_field("pod/done", ".status.phase", "Succeeded");
    space.wait_field("pod/failed", ".status.phase", "Failed");
    space.wait_field("pod/retried", ".status.phase", "Succeeded");
    assert_eq!(
        space.field(
            "pod/failed",
            ".status.containerStatuses[0].state.terminated.exitCode"
        ),
        "5"
    );
    assert_eq!(
        space.field("pod/done", ".status.containerStatuses[0].state.terminated.reason"),
        "Completed"
    );
    assert_eq!(
        space.field("pod/retried", ".status.containerStatuses[0].restartCount"),
        "1"
    );
}

#[test]
fn a_container_over_its_memory_limit_is_oom_killed() {
    let space = Space::new("lifecycle-oom");
    let spec = "    resources: {limits: {memory: 24Mi}}\n  restartPolicy: Never\n";
    space.apply(&pod("hungry", "exec tail /dev/zero", spec));
    space.wait_field(
        "pod/hungry",
        ".status.containerStatuses[0].state.terminated.reason",
        "OOMKilled",
    );
    assert_eq!(
        space.field(
            "pod/hungry",
            ".status.containerStatuses[0].state.terminated.exitCode"
        ),
        "137"
    );
}

#[test]
fn a_termination_message_arrives() {
    let space = Space::new("lifecycle-message");
    space.apply(&pod(
        "last",
        "echo the last word > /dev/termination-log; exit 1",
        "  restartPolicy: Never\n",
    ));
    space.wait_field(
        "pod/last",
        ".status.containerStatuses[0].state.terminated.message",
        "the last word\n",
    );
    let fallback = "    terminationMessagePolicy: FallbackToLogsOnError\n  restartPolicy: Never\n";
    space.apply(&pod("logged", "echo from the log; exit 1", fallback));
    space.wait_field(
        "pod/logged",
        ".status.containerStatuses[0].state.terminated.message",
        "from the log\n",
    );
}

#[test]
fn a_deleted_pod_is_asked_first_and_killed_after_its_grace_period() {
    let space = Space::new("lifecycle-grace");
    space.busybox(
        "polite",
        "trap 'echo bye; exit 0' TERM; while :; do sleep 0.1; done",
    );
    let began = std::time::Instant::now();
    space
        .kubectl(&["delete", "pod", "polite", "--grace-period=30"])
        .ok();
    assert!(began.elapsed().as_secs() < 20, "it left when asked");
    space.busybox("stubborn", "trap '' TERM; while :; do sleep 0.1; done");
    let began = std::time::Instant::now();
    space
        .kubectl(&["delete", "pod", "stubborn", "--grace-period=2"])
        .ok();
    assert!(
        (2..20).contains(&began.elapsed().as_secs()),
        "it was killed after two seconds"
    );
}

#[test]
fn an_image_that_cannot_be_had_is_told() {
    let space = Space::new("lifecycle-image");
    space.apply(
        &pod("never", "true", "")
            .replace("image: busybox", "image: not-here")
            .replace("IfNotPresent", "Never"),
    );
    space.wait_field(
        "pod/never",
        ".status.containerStatuses[0].state.waiting.reason",
        "ErrImageNeverPull",
    );
    space.wait_event("never", "ErrImageNeverPull");
    // Nobody listens on the discard port of the loopback.
    space.apply(&pod("absent", "true", "").replace("image: busybox", "image: 127.0.0.1:9/nothing:1"));
    space.wait_event("absent", "Pulling");
    let failed = space.wait_event("absent", "Failed");
    assert!(failed.contains("Failed to pull image"), "{failed}");
    space.wait_field(
        "pod/absent",
        ".status.containerStatuses[0].state.waiting.reason",
        "ImagePullBackOff",
    );
    space.wait_event("absent", "BackOff");
    space.apply(&pod("odd", "true", "").replace("image: busybox", "image: 'UPPER/case:!'"));
    space.wait_field(
        "pod/odd",
        ".status.containerStatuses[0].state.waiting.reason",
        "InvalidImageName",
    );
}

#[test]
fn a_missing_configuration_is_told_and_healed_when_it_comes() {
    let space = Space::new("lifecycle-config");
    let env = "    envFrom: [{configMapRef: {name: late}}]\n";
    space.apply(&pod("waits", "sleep 1000", env));
    let reason = ".status.containerStatuses[0].state.waiting.reason";
    space.wait_field("pod/waits", reason, "CreateContainerConfigError");
    let message = space.field("pod/waits", ".status.containerStatuses[0].state.waiting.message");
    assert!(message.contains("configmap \"late\" not found"), "{message}");
    space
        .kubectl(&["create", "configmap", "late", "--from-literal=A=1"])
        .ok();
    space.wait_ready("pod/waits");
    assert_eq!(space.exec("waits", &["sh", "-c", "echo $A"]).ok(), "1\n");
}

#[test]
fn a_program_that_is_not_there_is_told() {
    let space = Space::new("lifecycle-start");
    let manifest = pod("broken", "x", "  restartPolicy: Never\n");
    let (head, _) = manifest.split_once("    command:").expect("there is a command");
    space.apply(&format!(
        "{head}    command: [/no/such/program]\n  restartPolicy: Never\n"
    ));
    space.wait_field("pod/broken", ".status.phase", "Failed");
    assert_eq!(
        space.field(
            "pod/broken",
            ".status.containerStatuses[0].state.terminated.exitCode"
        ),
        "128"
    );
    let message = space.wait_event("broken", "Failed");
    assert!(message.contains("/no/such/program"), "{message}");
}

#[test]
fn init_containers_run_one_after_the_other_first() {
    let space = Space::new("lifecycle-init");
    let init = "    volumeMounts: [{name: x, mountPath: /x}]
  initContainers:
  - {name: one, image: busybox, imagePullPolicy: IfNotPresent, command: [sh, -c, 'echo 1 >> /x/order'], volumeMounts: [{name: x, mountPath: /x}]}
  - {name: two, image: busybox, imagePullPolicy: IfNotPresent, command: [sh, -c, 'echo 2 >> /x/order'], volumeMounts: [{name: x, mountPath: /x}]}
  volumes: [{name: x, emptyDir: {}}]
";
    space.apply(&pod("main", "sleep 1000", init));
    space.wait_ready("pod/main");
    assert_eq!(space.exec("main", &["cat", "/x/order"]).ok(), "1\n2\n");
}

#[test]
fn a_pod_that_fits_nowhere_says_why() {
    let space = Space::new("lifecycle-pending");
    space.apply(&pod("huge", "true", "    resources: {requests: {cpu: '1000'}}\n"));
    let message = space.wait_event("huge", "FailedScheduling");
    assert!(
        message.contains("0/1 nodes are available") && message.contains("Insufficient cpu"),
        "{message}"
    );
    space.apply(&pod("picky", "sleep 1000", "  nodeSelector: {disk: fast}\n"));
    let message = space.wait_event("picky", "FailedScheduling");
    assert!(
        message.contains("didn't match Pod's node affinity/selector"),
        "{message}"
    );
    space
        .cluster
        .kubectl(&["label", "node", "node-1", "disk=fast"])
        .ok();
    space.wait_ready("pod/picky");
    space.cluster.kubectl(&["label", "node", "node-1", "disk-"]).ok();
}

#[test]
fn probes_decide_readiness_and_restarts() {
    let space = Space::new("lifecycle-probes");
    let readiness = "    readinessProbe: {exec: {command: [test, -e, /tmp/ready]}, periodSeconds: 1}\n";
    space.apply(&pod("slow", "sleep 1000", readiness));
    space.wait_field("pod/slow", ".status.phase", "Running");
    space.wait_event("slow", "Unhealthy");
    assert_eq!(
        space.field("pod/slow", ".status.containerStatuses[0].ready"),
        "false"
    );
    space.exec("slow", &["touch", "/tmp/ready"]).ok();
    space.wait_ready("pod/slow");
    let liveness = "    livenessProbe: {exec: {command: ['false']}, periodSeconds: 1, failureThreshold: 1}\n";
    space.apply(&pod("sick", "sleep 1000", liveness));
    eventually("the sick container was restarted", 60, || {
        let path = "jsonpath={.status.containerStatuses[0].restartCount}";
        match space
            .kubectl(&["get", "pod", "sick", "-o", path])
            .result()?
            .parse::<u32>()
        {
            Ok(1..) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}
