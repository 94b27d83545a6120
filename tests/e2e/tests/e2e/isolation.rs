//! securityContext and the host's namespaces.

use crate::shared::{Space, pod};

#[test]
fn users_and_groups_are_as_asked_for() {
    let space = Space::new("isolation-users");
    let spec = "    volumeMounts: [{name: v, mountPath: /v}]
  securityContext: {runAsUser: 1000, runAsGroup: 2000, fsGroup: 3000, supplementalGroups: [4000]}
  volumes: [{name: v, emptyDir: {}}]
";
    space.apply(&pod("user", "sleep 1000", spec));
    space.wait_ready("pod/user");
    let groups = space.exec("user", &["id", "-G"]).ok();
    assert_eq!(space.exec("user", &["id", "-u"]).ok(), "1000\n");
    assert_eq!(
        groups.split_whitespace().collect::<Vec<_>>(),
        ["2000", "3000", "4000"]
    );
    assert_eq!(space.exec("user", &["stat", "-c", "%g", "/v"]).ok(), "3000\n");
    space.apply(&pod(
        "root",
        "true",
        "    securityContext: {runAsNonRoot: true}\n",
    ));
    let reason = ".status.containerStatuses[0].state.waiting.reason";
    space.wait_field("pod/root", reason, "CreateContainerConfigError");
}

#[test]
fn privileges_are_dropped_added_and_refused() {
    let space = Space::new("isolation-privileges");
    let bare = "    securityContext: {capabilities: {drop: [ALL]}, allowPrivilegeEscalation: false, \
                readOnlyRootFilesystem: true, seccompProfile: {type: RuntimeDefault}}\n";
    space.apply(&pod("bare", "sleep 1000", bare));
    space.apply(&pod(
        "all",
        "sleep 1000",
        "    securityContext: {privileged: true}\n",
    ));
    space.apply(&pod(
        "usual",
        "sleep 1000",
        "    securityContext: {capabilities: {add: [NET_ADMIN]}}\n",
    ));
    for name in ["bare", "all", "usual"] {
        space.wait_ready(&format!("pod/{name}"));
    }
    let status = space.exec("bare", &["cat", "/proc/self/status"]).ok();
    for line in ["CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(line), "{line} is missing:\n{status}");
    }
    assert_ne!(space.exec("bare", &["touch", "/x"]).code, 0);
    space.exec("all", &["mount", "-t", "tmpfs", "none", "/tmp"]).ok();
    assert_ne!(
        space
            .exec("usual", &["mount", "-t", "tmpfs", "none", "/tmp"])
            .code,
        0
    );
    space.exec("usual", &["ip", "link", "add", "d0", "type", "dummy"]);
}

#[test]
fn the_hosts_namespaces_are_shared_on_request() {
    let space = Space::new("isolation-host");
    space.apply(&pod(
        "host",
        "sleep 1000",
        "  hostNetwork: true\n  hostPID: true\n  hostIPC: true\n",
    ));
    space.apply(&pod("own", "sleep 1000", ""));
    space.wait_ready("pod/host");
    space.wait_ready("pod/own");
    let namespace = |pod: &str, kind: &str| {
        space
            .exec(pod, &["readlink", &format!("/proc/self/ns/{kind}")])
            .ok()
    };
    for kind in ["net", "pid", "ipc"] {
        let host = std::fs::read_link(format!("/proc/self/ns/{kind}")).expect("we have namespaces");
        assert_eq!(namespace("host", kind).trim(), host.to_string_lossy());
        assert_ne!(namespace("own", kind).trim(), host.to_string_lossy());
    }
    assert_eq!(
        space.field("pod/host", ".status.podIP"),
        space.field("pod/host", ".status.hostIP")
    );
}

#[test]
fn containers_of_a_pod_share_its_network_and_processes_on_request() {
    let space = Space::new("isolation-shared");
    let second = "  - {name: second, image: busybox, imagePullPolicy: IfNotPresent, command: [sleep, '4242']}\n  shareProcessNamespace: true\n";
    space.apply(&pod("pair", "sleep 4141", second));
    space.wait_ready("pod/pair");
    let seen = space.kubectl(&["exec", "pair", "-c", "main", "--", "ps"]).ok();
    assert!(
        seen.contains("sleep 4242") && seen.contains("sleep 4141"),
        "{seen}"
    );
}

#[test]
fn a_status_says_who_a_container_runs_as() {
    let space = Space::new("isolation-status");
    let spec = "  securityContext: {runAsUser: 1000, runAsGroup: 3000, supplementalGroups: [4000], supplementalGroupsPolicy: Strict}";
    space.apply(&pod("who", "sleep 1000", spec));
    space.wait_ready("pod/who");
    let user = &space.json("pod/who")["status"]["containerStatuses"][0]["user"]["linux"];
    assert_eq!((&user["uid"], &user["gid"]), (&1000.into(), &3000.into()));
    let groups = user["supplementalGroups"].as_array().expect("a list");
    assert!(groups.contains(&4000.into()), "{user}");
    assert_eq!(
        space.field("node", ".items[0].status.features.supplementalGroupsPolicy"),
        "true"
    );
}

#[test]
fn an_ephemeral_container_sees_the_processes_of_its_target() {
    let space = Space::new("debugged");
    space.busybox("looked-at", "sleep 12345");
    let debug = [
        "debug",
        "looked-at",
        "--image=busybox",
        "--image-pull-policy=Never",
        "--target=main",
        "--container=looks",
        "--profile=general",
        "--",
        "sh",
        "-c",
        "ps; cat /proc/1/root/etc/hostname",
    ];
    space.kubectl(&debug).ok();
    space.wait_field(
        "pod/looked-at",
        ".status.ephemeralContainerStatuses[0].state.terminated.reason",
        "Completed",
    );
    let seen = space.kubectl(&["logs", "looked-at", "-c", "looks"]).ok();
    assert!(
        seen.contains("sleep 12345") && seen.contains("looked-at"),
        "{seen}"
    );
    // Another one finds nothing to look at.
    let mut debug = debug;
    (debug[4], debug[5]) = ("--target=nobody", "--container=blind");
    let refused = space.kubectl(&debug);
    let shown = format!("{}{}", refused.stdout, refused.stderr);
    assert!(shown.contains("nobody"), "{shown}");
}

#[test]
fn a_host_port_leads_into_the_pod() {
    let space = Space::new("isolation-hostport");
    space.apply(
        "
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
  - {name: web, image: nginx, imagePullPolicy: IfNotPresent, ports: [{containerPort: 80, hostPort: 38080}]}
",
    );
    space.wait_ready("pod/web");
    let node = space.field("pod/web", ".status.hostIP");
    kobune_test_support::eventually("the host port answers", 20, || {
        crate::service::fetch(&node, 38080)
    });
}
