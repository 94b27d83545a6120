//! A namespace that one test has for itself on a shared server.

use serde_json::Value;

use crate::cluster::Cluster;
use crate::command::{Output, run};
use crate::deadline::eventually;

/// One test's own namespace; deleted (without waiting for it) when the test ends.
pub struct Space {
    /// The server.
    pub cluster: &'static Cluster,
    /// The namespace.
    pub name: String,
}

impl Space {
    /// A new namespace.
    pub fn on(cluster: &'static Cluster, name: &str) -> Space {
        let name = cluster.namespace(name);
        Space { cluster, name }
    }

    /// kubectl in the namespace.
    pub fn kubectl(&self, arguments: &[&str]) -> Output {
        self.cluster.kubectl(&[&["-n", &self.name], arguments].concat())
    }

    /// kubectl in the namespace with a standard input.
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> Output {
        let arguments = [&["-n", &self.name], arguments].concat();
        run(&mut self.cluster.kubectl_command(&arguments), Some(input))
    }

    /// kubectl in the namespace, its arguments separated by blanks; it must succeed.
    #[track_caller]
    pub fn ok(&self, line: &str) -> String {
        self.kubectl(&words(line)).ok()
    }

    /// The same, but it must fail; the answer is what it said.
    #[track_caller]
    pub fn fails(&self, line: &str) -> String {
        self.kubectl(&words(line)).fails()
    }

    /// kubectl in the namespace with a standard input, its arguments separated by blanks.
    pub fn with(&self, line: &str, input: &str) -> Output {
        self.kubectl_with(&words(line), input)
    }

    /// Applies a manifest; it must be taken.
    #[track_caller]
    pub fn apply(&self, manifest: &str) -> String {
        self.cluster.apply(&self.name, manifest).ok()
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

    /// Waits for a field to have a value.
    #[track_caller]
    pub fn wait_field(&self, object: &str, path: &str, value: &str) {
        eventually(&format!("{object} {path} = {value}"), 60, || {
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

    /// The path of the namespace's objects of a kind of the core group.
    pub fn path(&self, plural: &str) -> String {
        format!("/api/v1/namespaces/{}/{plural}", self.name)
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

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}
