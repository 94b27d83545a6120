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

/// What a server without a node is started with.
pub fn without_node() -> Options {
    Options {
        without_node: true,
        ..Options::default()
    }
}

/// The shared server; removed when the test program ends.
pub fn cluster() -> &'static Cluster {
    CLUSTER.get_or_init(|| {
        // Statics are not dropped; the C library calls this at the end, also after a failed test.
        // SAFETY: `remove` is a plain function that lives as long as the program.
        unsafe { libc::atexit(remove) };
        Cluster::start(&without_node())
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

    /// kubectl in the namespace, its arguments separated by blanks; it must succeed.
    #[track_caller]
    pub fn ok(&self, line: &str) -> String {
        self.kubectl(&line.split_whitespace().collect::<Vec<_>>()).ok()
    }

    /// The same, but it must fail; the answer is what it said.
    #[track_caller]
    pub fn fails(&self, line: &str) -> String {
        self.kubectl(&line.split_whitespace().collect::<Vec<_>>()).fails()
    }

    /// kubectl in the namespace with a standard input, its arguments separated by blanks.
    pub fn with(&self, line: &str, input: &str) -> Output {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut command = self
            .cluster
            .kubectl_command(&[&["-n", &self.name], &words[..]].concat());
        run(&mut command, Some(input))
    }

    /// One field, by JSONPath.
    #[track_caller]
    pub fn field(&self, object: &str, path: &str) -> String {
        self.kubectl(&["get", object, "-o", &format!("jsonpath={{{path}}}")])
            .ok()
    }

    /// A whole object or list.
    #[track_caller]
    pub fn json(&self, line: &str) -> Value {
        let text = self.ok(&format!("get {line} -o json --show-managed-fields"));
        serde_json::from_str(&text).expect("kubectl prints JSON")
    }

    /// Waits for a field to have a value.
    #[track_caller]
    pub fn wait_field(&self, object: &str, path: &str, value: &str) {
        eventually(&format!("{object} {path} = {value}"), 30, || {
            let path = format!("jsonpath={{{path}}}");
            let found = self.kubectl(&["get", object, "-o", &path]).result()?;
            if found == value { Ok(()) } else { Err(found) }
        });
    }

    /// Waits until these are gone, or not there from the start.
    #[track_caller]
    pub fn wait_gone(&self, line: &str) {
        self.ok(&format!("wait --for=delete {line} --timeout=30s"));
    }

    /// The names of a list, sorted.
    #[track_caller]
    pub fn names(&self, line: &str) -> Vec<String> {
        let list = self.ok(&format!("get {line} -o name"));
        let mut names: Vec<String> = list
            .lines()
            .map(|line| line.rsplit('/').next().unwrap_or(line).to_owned())
            .collect();
        names.sort();
        names
    }

    /// The path of the namespace's objects of a kind of the core group.
    pub fn path(&self, plural: &str) -> String {
        format!("/api/v1/namespaces/{}/{plural}", self.name)
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.cluster
            .kubectl(&["delete", "namespace", &self.name, "--wait=false"]);
    }
}

/// A deployment of pods that no node can run here.
pub fn deployment(name: &str, image: &str, replicas: u32) -> String {
    format!(
        r#"{{"apiVersion":"apps/v1","kind":"Deployment","metadata":{{"name":"{name}"}},"spec":{{"replicas":{replicas},
        "selector":{{"matchLabels":{{"app":"{name}"}}}},"template":{{"metadata":{{"labels":{{"app":"{name}"}}}},
        "spec":{{"containers":[{{"name":"main","image":"{image}"}}]}}}}}}}}"#
    )
}

/// A config map with some metadata beside its name.
pub fn map(name: &str, metadata: &str) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"{metadata}}},"data":{{"k":"v"}}}}"#
    )
}
