//! Pods and Deployments: create, look, scale, change, roll back, delete.

use kobune_test_support::eventually;

use crate::shared::Space;

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: nginx:1.22
        imagePullPolicy: IfNotPresent
        ports: [{containerPort: 80}]
        readinessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 1}
        resources:
          requests: {cpu: 10m, memory: 16Mi}
          limits: {memory: 128Mi}
";

fn deploy(name: &str) -> Space {
    let space = Space::new(name);
    space.apply(WEB);
    space
        .kubectl(&["rollout", "status", "deployment/web", "--timeout=90s"])
        .ok();
    space
}

#[test]
fn a_deployment_is_applied_and_shown() {
    let space = deploy("workloads-shown");
    let deployments = space.kubectl(&["get", "deployments"]).ok();
    assert!(
        deployments.contains("READY") && deployments.contains("3/3"),
        "{deployments}"
    );
    let pods = space.kubectl(&["get", "pods", "-o", "wide"]).ok();
    assert_eq!(pods.matches("Running").count(), 3, "{pods}");
    assert!(
        pods.contains("NOMINATED NODE") && pods.contains("node-1"),
        "{pods}"
    );
    let described = space.kubectl(&["describe", "deployment", "web"]).ok();
    assert!(
        described.contains("RollingUpdate") && described.contains("ScalingReplicaSet"),
        "{described}"
    );
    let pod = space.field("pods", ".items[0].metadata.name");
    let described = space.kubectl(&["describe", "pod", &pod]).ok();
    for reason in ["Scheduled", "Pulled", "Created", "Started"] {
        assert!(described.contains(reason), "{reason} is missing:\n{described}");
    }
    assert!(
        space.kubectl(&["apply", "-f", "-"]).code != 0,
        "nothing on standard input is an error"
    );
    let again = space.kubectl_with(&["apply", "-f", "-"], WEB).ok();
    assert!(again.contains("unchanged"), "{again}");
}

#[test]
fn a_deployment_is_scaled_both_ways() {
    let space = deploy("workloads-scale");
    space.kubectl(&["scale", "deployment/web", "--replicas=5"]).ok();
    space.wait_field("deployment/web", ".status.readyReplicas", "5");
    space.kubectl(&["scale", "deployment/web", "--replicas=1"]).ok();
    space.wait_field("deployment/web", ".status.replicas", "1");
    eventually("one pod is left", 60, || {
        let names = space.kubectl(&["get", "pods", "-o", "name"]).result()?;
        if names.lines().count() == 1 {
            Ok(())
        } else {
            Err(names)
        }
    });
}

#[test]
fn a_new_image_rolls_out_and_back() {
    let space = deploy("workloads-roll");
    space
        .kubectl(&["set", "image", "deployment/web", "web=nginx:1.23"])
        .ok();
    let status = space
        .kubectl(&["rollout", "status", "deployment/web", "--timeout=90s"])
        .ok();
    assert!(status.contains("successfully rolled out"), "{status}");
    let image = |space: &Space| space.field("deployment/web", ".spec.template.spec.containers[0].image");
    assert_eq!(image(&space), "nginx:1.23");
    let history = space.kubectl(&["rollout", "history", "deployment/web"]).ok();
    assert!(history.contains('1') && history.contains('2'), "{history}");
    let second = space
        .kubectl(&["rollout", "history", "deployment/web", "--revision=2"])
        .ok();
    assert!(second.contains("nginx:1.23"), "{second}");
    space.kubectl(&["rollout", "undo", "deployment/web"]).ok();
    space
        .kubectl(&["rollout", "status", "deployment/web", "--timeout=90s"])
        .ok();
    assert_eq!(image(&space), "nginx:1.22");
    space.kubectl(&["rollout", "restart", "deployment/web"]).ok();
    space
        .kubectl(&["rollout", "status", "deployment/web", "--timeout=90s"])
        .ok();
}

#[test]
fn a_paused_deployment_waits_for_its_resumption() {
    let space = deploy("workloads-pause");
    space.kubectl(&["rollout", "pause", "deployment/web"]).ok();
    space
        .kubectl(&["set", "image", "deployment/web", "web=nginx:1.23"])
        .ok();
    space.wait_field(
        "deployment/web",
        ".status.observedGeneration",
        &space.field("deployment/web", ".metadata.generation"),
    );
    assert_eq!(
        space
            .field("replicasets", ".items[*].metadata.name")
            .split_whitespace()
            .count(),
        1
    );
    space.kubectl(&["rollout", "resume", "deployment/web"]).ok();
    space
        .kubectl(&["rollout", "status", "deployment/web", "--timeout=90s"])
        .ok();
    assert_eq!(
        space
            .field("replicasets", ".items[*].metadata.name")
            .split_whitespace()
            .count(),
        2
    );
}

#[test]
fn a_deleted_pod_is_replaced() {
    let space = deploy("workloads-heal");
    let pod = space.field("pods", ".items[0].metadata.name");
    space.kubectl(&["delete", "pod", &pod]).ok();
    space.wait_field("deployment/web", ".status.readyReplicas", "3");
    assert!(!space.kubectl(&["get", "pods", "-o", "name"]).ok().contains(&pod));
}

#[test]
fn recreate_ends_old_pods_before_new_ones_start() {
    let space = Space::new("workloads-recreate");
    space.apply(&WEB.replace("  replicas: 3", "  replicas: 2\n  strategy: {type: Recreate}"));
    space
        .kubectl(&["rollout", "status", "deployment/web", "--timeout=90s"])
        .ok();
    space
        .kubectl(&["set", "image", "deployment/web", "web=nginx:1.23"])
        .ok();
    space
        .kubectl(&["rollout", "status", "deployment/web", "--timeout=90s"])
        .ok();
    let starts = space.json("pods");
    let items = starts["items"].as_array().expect("a list has items");
    assert!(
        items
            .iter()
            .all(|pod| pod["spec"]["containers"][0]["image"] == "nginx:1.23")
    );
}

#[test]
fn objects_are_labelled_annotated_and_edited() {
    let space = deploy("workloads-edit");
    space.kubectl(&["label", "deployment/web", "tier=front"]).ok();
    let refused = space.kubectl(&["label", "deployment/web", "tier=back"]).fails();
    assert!(refused.contains("--overwrite"), "{refused}");
    space.kubectl(&["annotate", "deployment/web", "owner=me"]).ok();
    assert_eq!(space.field("deployment/web", ".metadata.labels.tier"), "front");
    assert_eq!(space.field("deployment/web", ".metadata.annotations.owner"), "me");
    let mut edit = space
        .cluster
        .kubectl_command(&["-n", &space.name, "edit", "deployment/web"]);
    edit.env("KUBE_EDITOR", "sed -i s/tier:.front/tier:\\ edited/");
    kobune_test_support::run(&mut edit, None).ok();
    assert_eq!(space.field("deployment/web", ".metadata.labels.tier"), "edited");
    space
        .kubectl(&["patch", "deployment/web", "-p", r#"{"spec":{"replicas":2}}"#])
        .ok();
    assert_eq!(space.field("deployment/web", ".spec.replicas"), "2");
}

#[test]
fn a_watch_shows_changes_as_they_happen() {
    let space = Space::new("workloads-watch");
    let mut command = space
        .cluster
        .kubectl_command(&["-n", &space.name, "get", "pods", "-w"]);
    let mut watching = command
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("kubectl starts");
    space.busybox("seen", "sleep 1000");
    space.kubectl(&["delete", "pod", "seen"]).ok();
    let output = watching.stdout.take().expect("its output is piped");
    let lines = std::io::BufRead::lines(std::io::BufReader::new(output));
    let mut seen = Vec::new();
    for line in lines.map_while(Result::ok) {
        seen.push(line);
        let last = seen.last().map(String::as_str).unwrap_or_default();
        if last.contains("Terminating") || last.contains("Completed") || last.contains("Error") {
            break;
        }
    }
    watching.kill().expect("kubectl is ours");
    watching.wait().expect("kubectl is ours");
    let seen = seen.join("\n");
    for state in ["Pending", "ContainerCreating", "Running"] {
        assert!(seen.contains(state), "{state} was not seen:\n{seen}");
    }
}

#[test]
fn a_namespace_takes_everything_in_it_along() {
    let space = deploy("workloads-namespace");
    space
        .cluster
        .kubectl(&["delete", "namespace", &space.name, "--timeout=90s"])
        .ok();
    let pods = space
        .cluster
        .kubectl(&[
            "get",
            "pods",
            "-A",
            "-o",
            "jsonpath={.items[*].metadata.namespace}",
        ])
        .ok();
    assert!(!pods.contains(&space.name), "{pods}");
}

#[test]
fn deleting_a_deployment_deletes_what_it_owns_unless_orphaned() {
    let space = deploy("workloads-gc");
    space
        .kubectl(&["delete", "deployment", "web", "--cascade=orphan"])
        .ok();
    let sets = space.kubectl(&["get", "replicasets", "-o", "name"]).ok();
    assert_eq!(sets.lines().count(), 1, "{sets}");
    space
        .kubectl(&["delete", sets.trim(), "--cascade=foreground", "--timeout=60s"])
        .ok();
    assert_eq!(space.kubectl(&["get", "pods", "-o", "name"]).ok(), "");
}

#[test]
fn helm_installs_upgrades_and_removes_a_chart() {
    let space = Space::new("workloads-helm");
    let chart = space.cluster.folder().join("chart");
    std::fs::create_dir_all(chart.join("templates")).expect("the cluster's folder is writable");
    std::fs::write(
        chart.join("Chart.yaml"),
        "apiVersion: v2\nname: web\nversion: 0.1.0\n",
    )
    .expect("as above");
    std::fs::write(chart.join("values.yaml"), "replicas: 1\n").expect("as above");
    let template = WEB.replace("replicas: 3", "replicas: {{ .Values.replicas }}");
    std::fs::write(chart.join("templates/web.yaml"), template).expect("as above");
    let helm = |arguments: &[&str]| {
        let mut command = std::process::Command::new("helm");
        command
            .env("KUBECONFIG", space.cluster.kubeconfig())
            .env("HOME", space.cluster.folder());
        command.args(["-n", &space.name]).args(arguments);
        kobune_test_support::run(&mut command, None)
    };
    let path = chart.display().to_string();
    helm(&["install", "shop", &path, "--wait", "--timeout", "90s"]).ok();
    assert_eq!(space.field("deployment/web", ".spec.replicas"), "1");
    helm(&[
        "upgrade",
        "shop",
        &path,
        "--set",
        "replicas=2",
        "--wait",
        "--timeout",
        "90s",
    ])
    .ok();
    assert_eq!(space.field("deployment/web", ".status.readyReplicas"), "2");
    helm(&["rollback", "shop", "1", "--wait", "--timeout", "90s"]).ok();
    helm(&["uninstall", "shop", "--wait", "--timeout", "90s"]).ok();
    assert_eq!(space.kubectl(&["get", "deployments", "-o", "name"]).ok(), "");
}
