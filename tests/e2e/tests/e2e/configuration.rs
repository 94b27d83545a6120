//! What a container is given: environment, arguments, files.

use crate::shared::{Space, pod};

#[test]
fn environments_come_from_values_fields_config_maps_and_secrets() {
    let space = Space::new("configuration-env");
    space
        .kubectl(&["create", "configmap", "settings", "--from-literal=COLOR=blue"])
        .ok();
    space
        .kubectl(&[
            "create",
            "secret",
            "generic",
            "password",
            "--from-literal=word=s3cret",
        ])
        .ok();
    let env = "    resources: {limits: {memory: 64Mi, cpu: 500m}}
    env:
    - {name: PLAIN, value: one}
    - {name: COMBINED, value: $(PLAIN)-$(COLOR)-$$(PLAIN)}
    - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: ADDRESS, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
    - {name: LIMIT, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
    - {name: CPUS, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}
    - {name: WORD, valueFrom: {secretKeyRef: {name: password, key: word}}}
    - {name: MAYBE, valueFrom: {configMapKeyRef: {name: none, key: none, optional: true}}}
    envFrom: [{configMapRef: {name: settings}}, {prefix: P_, configMapRef: {name: settings}}]
";
    space.apply(&pod("env", "sleep 1000", env));
    space.wait_ready("pod/env");
    let address = space.field("pod/env", ".status.podIP");
    let printed = space.exec("env", &["env"]).ok();
    for line in [
        "PLAIN=one",
        "COMBINED=one-blue-$(PLAIN)",
        "NAME=env",
        &format!("ADDRESS={address}"),
        "NODE=node-1",
        "LIMIT=64",
        "CPUS=500",
        "WORD=s3cret",
        "COLOR=blue",
        "P_COLOR=blue",
        "KUBERNETES_SERVICE_PORT=443",
        "HOSTNAME=env",
    ] {
        assert!(
            printed.lines().any(|own| own == line),
            "{line} is missing:\n{printed}"
        );
    }
    assert!(!printed.contains("MAYBE"), "{printed}");
}

#[test]
fn commands_and_arguments_are_expanded() {
    let space = Space::new("configuration-args");
    space.apply(
        "
apiVersion: v1
kind: Pod
metadata: {name: args}
spec:
  restartPolicy: Never
  containers:
  - name: main
    image: busybox
    imagePullPolicy: IfNotPresent
    workingDir: /tmp
    env: [{name: WHO, value: world}]
    command: [sh, -c, 'echo \"$0 $1\"; pwd']
    args: [hello, $(WHO)]
",
    );
    space.wait_field("pod/args", ".status.phase", "Succeeded");
    assert_eq!(space.kubectl(&["logs", "args"]).ok(), "hello world\n/tmp\n");
}

#[test]
fn config_maps_and_secrets_are_files_that_follow_changes() {
    let space = Space::new("configuration-files");
    space
        .kubectl(&["create", "configmap", "page", "--from-literal=index.html=first"])
        .ok();
    space
        .kubectl(&[
            "create",
            "secret",
            "generic",
            "key",
            "--from-literal=private=hidden",
        ])
        .ok();
    let volumes = "    volumeMounts:
    - {name: page, mountPath: /page}
    - {name: key, mountPath: /key, readOnly: true}
    - {name: page, mountPath: /single/index.html, subPath: index.html}
  volumes:
  - {name: page, configMap: {name: page}}
  - {name: key, secret: {secretName: key, defaultMode: 0400, items: [{key: private, path: deep/er}]}}
";
    space.apply(&pod("files", "sleep 1000", volumes));
    space.wait_ready("pod/files");
    assert_eq!(space.exec("files", &["cat", "/page/index.html"]).ok(), "first");
    assert_eq!(space.exec("files", &["cat", "/key/deep/er"]).ok(), "hidden");
    assert_eq!(
        space.exec("files", &["stat", "-Lc", "%a", "/key/deep/er"]).ok(),
        "400\n"
    );
    assert!(
        space
            .exec("files", &["sh", "-c", "mount | grep ' /key '"])
            .ok()
            .contains("tmpfs")
    );
    let patch = r#"{"data":{"index.html":"second"}}"#;
    space.kubectl(&["patch", "configmap", "page", "-p", patch]).ok();
    kobune_test_support::eventually("the file follows", 90, || {
        let found = space.exec("files", &["cat", "/page/index.html"]).result()?;
        if found == "second" { Ok(()) } else { Err(found) }
    });
    assert_eq!(
        space.exec("files", &["cat", "/single/index.html"]).ok(),
        "first",
        "a subPath stays as it was"
    );
}

#[test]
fn scratch_host_downward_and_projected_volumes_are_there() {
    let space = Space::new("configuration-volumes");
    let volumes = "    volumeMounts:
    - {name: disk, mountPath: /disk}
    - {name: memory, mountPath: /memory}
    - {name: host, mountPath: /host}
    - {name: about, mountPath: /about}
    - {name: all, mountPath: /all}
  volumes:
  - {name: disk, emptyDir: {}}
  - {name: memory, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
  - {name: host, hostPath: {path: /tmp/kobune-e2e-host, type: DirectoryOrCreate}}
  - {name: about, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
  - name: all
    projected:
      sources:
      - configMap: {name: part}
      - downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}
";
    space
        .kubectl(&["create", "configmap", "part", "--from-literal=a=1"])
        .ok();
    space.apply(&pod("volumes", "sleep 1000", volumes));
    space.wait_ready("pod/volumes");
    space
        .exec("volumes", &["sh", "-c", "echo x > /disk/x && echo y > /host/y"])
        .ok();
    assert_eq!(
        std::fs::read_to_string("/tmp/kobune-e2e-host/y").expect("the host has it"),
        "y\n"
    );
    std::fs::remove_dir_all("/tmp/kobune-e2e-host").expect("the test made it");
    assert!(
        space
            .exec(
                "volumes",
                &["dd", "if=/dev/zero", "of=/memory/big", "bs=1k", "count=2000"]
            )
            .code
            != 0
    );
    assert_eq!(
        space.exec("volumes", &["cat", "/about/labels"]).ok(),
        "app=\"volumes\""
    );
    assert_eq!(
        space.exec("volumes", &["sh", "-c", "cat /all/a /all/name"]).ok(),
        "1volumes"
    );
    space.kubectl(&["label", "pod", "volumes", "more=yes"]).ok();
    kobune_test_support::eventually("the labels follow", 90, || {
        let found = space.exec("volumes", &["cat", "/about/labels"]).result()?;
        if found.contains("more=\"yes\"") {
            Ok(())
        } else {
            Err(found)
        }
    });
}

#[test]
fn a_pod_has_its_hostname_hosts_file_and_resolver() {
    let space = Space::new("configuration-hosts");
    let spec =
        "  hostname: named\n  subdomain: sub\n  hostAliases: [{ip: 10.9.8.7, hostnames: [far.example]}]\n";
    space.apply(&pod("hosts", "sleep 1000", spec));
    space.wait_ready("pod/hosts");
    assert_eq!(space.exec("hosts", &["hostname"]).ok(), "named\n");
    let hosts = space.exec("hosts", &["cat", "/etc/hosts"]).ok();
    let full = format!("named.sub.{}.svc.cluster.local", space.name);
    assert!(
        hosts.contains("10.9.8.7\tfar.example") && hosts.contains(&full),
        "{hosts}"
    );
    let resolver = space.exec("hosts", &["cat", "/etc/resolv.conf"]).ok();
    let search = format!(
        "search {}.svc.cluster.local svc.cluster.local cluster.local",
        space.name
    );
    assert!(
        resolver.contains(&search) && resolver.contains("options ndots:5"),
        "{resolver}"
    );
}

#[test]
fn the_quality_of_service_follows_the_resources() {
    let space = Space::new("configuration-qos");
    space.apply(&pod("best", "sleep 1000", ""));
    space.apply(&pod(
        "burst",
        "sleep 1000",
        "    resources: {requests: {cpu: 10m}}\n",
    ));
    space.apply(&pod(
        "sure",
        "sleep 1000",
        "    resources: {limits: {cpu: 100m, memory: 32Mi}}\n",
    ));
    for (name, class) in [
        ("best", "BestEffort"),
        ("burst", "Burstable"),
        ("sure", "Guaranteed"),
    ] {
        assert_eq!(space.field(&format!("pod/{name}"), ".status.qosClass"), class);
        space.wait_ready(&format!("pod/{name}"));
    }
    let limit =
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max";
    assert_eq!(
        space.exec("sure", &["sh", "-c", limit]).ok().trim(),
        (32 << 20).to_string()
    );
    assert_eq!(
        space.exec("best", &["cat", "/proc/1/oom_score_adj"]).ok(),
        "1000\n"
    );
}
