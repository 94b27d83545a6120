//! The server that all tests share, and a namespace for each.

use std::sync::OnceLock;

use kobune_test_support::{Cluster, Options, Output, eventually, run};
use serde_json::Value;

static CLUSTER: OnceLock<Cluster> = OnceLock::new();

extern "C" fn remove() {
    if let Some(cluster) = CLUSTER.get() {
        cluster.remove();
    }
}

/// The shared server; removed when the test program ends.
pub fn cluster() -> &'static Cluster {
    CLUSTER.get_or_init(|| {
        // Statics are not dropped; the C library calls this at the end, also after a failed test.
        // SAFETY: `remove` is a plain function that lives as long as the program.
        unsafe { libc::atexit(remove) };
        Cluster::start(&Options {
            images: vec!["busybox", "nginx", "nginx-next", "redis"],
            ..Options::default()
        })
    })
}

/// One test's own namespace on the shared server.
pub struct Space {
    pub cluster: &'static Cluster,
    pub name: String,
}

impl Space {
    /// A new namespace.
    pub fn new(name: &str) -> Space {
        let cluster = cluster();
        cluster.namespace(name);
        Space {
            cluster,
            name: name.to_owned(),
        }
    }

    /// kubectl in the namespace.
    pub fn kubectl(&self, arguments: &[&str]) -> Output {
        self.cluster.kubectl(&[&["-n", &self.name], arguments].concat())
    }

    /// kubectl in the namespace with a standard input.
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> Output {
        run(
            &mut self
                .cluster
                .kubectl_command(&[&["-n", &self.name], arguments].concat()),
            Some(input),
        )
    }

    /// Applies a manifest; it must be taken.
    #[track_caller]
    pub fn apply(&self, manifest: &str) -> String {
        self.cluster.apply(&self.name, manifest).ok()
    }

    /// One field, by JSONPath.
    pub fn field(&self, object: &str, path: &str) -> String {
        self.kubectl(&["get", object, "-o", &format!("jsonpath={{{path}}}")])
            .ok()
    }

    /// A whole object.
    pub fn json(&self, object: &str) -> Value {
        serde_json::from_str(&self.kubectl(&["get", object, "-o", "json"]).ok()).expect("kubectl prints JSON")
    }

    /// Waits for a field to have a value.
    #[track_caller]
    pub fn wait_field(&self, object: &str, path: &str, value: &str) {
        eventually(&format!("{object} {path} = {value}"), 60, || {
            let path = format!("jsonpath={{{path}}}");
            let found = self.kubectl(&["get", object, "-o", &path]).result()?;
            if found == value { Ok(()) } else { Err(found) }
        });
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

impl Drop for Space {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.kubectl(&["get", "pods,events", "-o", "wide"]).stdout);
        }
        self.cluster
            .kubectl(&["delete", "namespace", &self.name, "--wait=false"]);
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
