//! The server that all tests share, and a namespace for each.

use std::ops::Deref;

use kobune_test_support::{self as support, Cluster, Options, Output, eventually};

/// The shared server.
pub fn cluster() -> &'static Cluster {
    support::shared(|| Options {
        images: vec!["busybox", "nginx", "nginx-next", "redis"],
        ..Options::default()
    })
}

/// One test's own namespace on the shared server.
pub struct Space(support::Space);

impl Deref for Space {
    type Target = support::Space;
    fn deref(&self) -> &support::Space {
        &self.0
    }
}

impl Space {
    /// A new namespace.
    pub fn new(name: &str) -> Space {
        Space(support::Space::on(cluster(), name))
    }

    /// Waits until a pod is ready.
    #[track_caller]
    pub fn wait_ready(&self, pod: &str) {
        let waited = self.kubectl(&["wait", "--for=condition=Ready", pod, "--timeout=60s"]);
        if waited.code != 0 {
            panic!("{}\n{}", waited.stderr, self.kubectl(&["describe", pod]).stdout);
        }
    }

    /// Waits for an event of this reason; the answer is its message.
    #[track_caller]
    pub fn wait_event(&self, object: &str, reason: &str) -> String {
        eventually(&format!("an event {reason} of {object}"), 60, || {
            let selector = format!("--field-selector=involvedObject.name={object},reason={reason}");
            let found = self
                .kubectl(&["get", "events", &selector, "-o", "jsonpath={.items[*].message}"])
                .result()?;
            if found.is_empty() {
                Err(self.kubectl(&["get", "events"]).stdout)
            } else {
                Ok(found)
            }
        })
    }

    /// A pod of busybox that runs a shell script, then is waited for.
    #[track_caller]
    pub fn busybox(&self, name: &str, script: &str) {
        self.apply(&pod(name, script, ""));
        self.wait_ready(&format!("pod/{name}"));
    }

    /// Runs a command in a pod.
    pub fn exec(&self, pod: &str, command: &[&str]) -> Output {
        self.kubectl(&[&["exec", pod, "--"], command].concat())
    }
}

/// A pod of one busybox container that runs a shell script; `spec` is further YAML of the pod's spec,
/// indented by two.
pub fn pod(name: &str, script: &str, spec: &str) -> String {
    let script = serde_json::to_string(script).expect("text is JSON");
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sh, -c, {script}]
{spec}"
    )
}
