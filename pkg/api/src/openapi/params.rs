//! The parameters paths and operations have.

/// A parameter of a path or an operation.
pub(super) struct Param {
    pub(super) name: &'static str,
    pub(super) in_path: bool,
    pub(super) ty: &'static str,
}

const fn query(name: &'static str, ty: &'static str) -> Param {
    Param {
        name,
        in_path: false,
        ty,
    }
}

const fn path(name: &'static str) -> Param {
    Param {
        name,
        in_path: true,
        ty: "string",
    }
}

pub(super) static NAME: Param = path("name");
pub(super) static NAMESPACE: Param = path("namespace");
pub(super) static PATH: Param = path("path");
pub(super) static PRETTY: Param = query("pretty", "string");
pub(super) static WRITE: [Param; 3] = [
    query("dryRun", "string"),
    query("fieldManager", "string"),
    query("fieldValidation", "string"),
];
pub(super) static FORCE: Param = query("force", "boolean");
pub(super) static DELETE: [Param; 5] = [
    query("dryRun", "string"),
    query("gracePeriodSeconds", "integer"),
    query("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean"),
    query("orphanDependents", "boolean"),
    query("propagationPolicy", "string"),
];
pub(super) static LIST: [Param; 9] = [
    query("continue", "string"),
    query("fieldSelector", "string"),
    query("labelSelector", "string"),
    query("limit", "integer"),
    query("resourceVersion", "string"),
    query("resourceVersionMatch", "string"),
    query("sendInitialEvents", "boolean"),
    query("shardSelector", "string"),
    query("timeoutSeconds", "integer"),
];
pub(super) static WATCH: [Param; 2] = [query("allowWatchBookmarks", "boolean"), query("watch", "boolean")];
pub(super) static STREAM: [Param; 6] = [
    query("command", "string"),
    query("container", "string"),
    query("stderr", "boolean"),
    query("stdin", "boolean"),
    query("stdout", "boolean"),
    query("tty", "boolean"),
];
pub(super) static PORTS: Param = query("ports", "integer");
pub(super) static LOG: [Param; 9] = [
    query("container", "string"),
    query("follow", "boolean"),
    query("insecureSkipTLSVerifyBackend", "boolean"),
    query("limitBytes", "integer"),
    query("previous", "boolean"),
    query("sinceSeconds", "integer"),
    query("stream", "string"),
    query("tailLines", "integer"),
    query("timestamps", "boolean"),
];
