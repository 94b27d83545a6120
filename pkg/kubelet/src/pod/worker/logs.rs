//! The log files of containers and pods that are gone.

use std::path::Path;

use kobune_runtime::Container;

use crate::context::Context;
use crate::pod::desired::Desired;

/// Removes a container's log and the link to it.
pub(super) fn remove_log(container: &Container, links: Option<&Path>) {
    let _ = std::fs::remove_file(&container.log_path);
    if let Some(links) = links {
        let name = format!(
            "{}_{}_{}-{}.log",
            container.pod_name, container.pod_namespace, container.name, container.id
        );
        let _ = std::fs::remove_file(links.join(name));
    }
}

/// The pod is gone from the API: nobody can ask for its logs any more.
pub(super) fn remove_logs(context: &Context, pod: &Desired) {
    if let Some(links) = &context.config.log_links {
        let prefix = format!("{}_{}_", pod.name(), pod.namespace());
        for entry in std::fs::read_dir(links).into_iter().flatten().flatten() {
            let target = std::fs::read_link(entry.path()).unwrap_or_default();
            let ours = entry.file_name().to_string_lossy().starts_with(&prefix);
            if ours && target.starts_with(context.log_dir(pod)) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
    let _ = std::fs::remove_dir_all(context.log_dir(pod));
}
