//! `status.phase` out of the containers' statuses.

use kobune_client::k8s_openapi::api::core::v1::{Container, ContainerStatus};

use super::desired::{Desired, Role, init_role};

#[derive(Default)]
struct Count {
    pending_init: bool,
    pending_sidecar: bool,
    failed_init: bool,
    unknown: usize,
    running: usize,
    waiting: usize,
    stopped: usize,
    stopped_for_good: usize,
    succeeded: usize,
}

/// The phase. `terminal`: nothing of the pod will be started again whatever its policy;
/// `initialized`: a main container ran before.
pub fn phase(pod: &Desired, statuses: &[ContainerStatus], terminal: bool, initialized: bool) -> &'static str {
    let find = |c: &Container| statuses.iter().find(|s| s.name == c.name);
    let mut count = Count::default();
    for container in pod.init() {
        match init_role(container) {
            Role::Sidecar => count.sidecar(find(container)),
            _ => count.init(pod, container, find(container)),
        }
    }
    for container in pod.main() {
        count.main(pod, container, find(container));
    }
    count.phase(terminal, initialized)
}

impl Count {
    fn init(&mut self, pod: &Desired, container: &Container, status: Option<&ContainerStatus>) {
        match status.and_then(exit_code) {
            Some(0) if status.is_some_and(is_terminated) => {}
            Some(code) if code != 0 => self.failed_init |= !pod.restarts(Role::Init, container, code),
            // Waiting after a success: it is run again in a new sandbox.
            _ => self.pending_init = true,
        }
    }

    fn sidecar(&mut self, status: Option<&ContainerStatus>) {
        let Some(status) = status else {
            self.unknown += 1;
            return;
        };
        if is_running(status) {
            self.pending_sidecar |= status.started != Some(true);
            self.running += 1;
        } else if exit_code(status).is_none() {
            self.pending_sidecar = true;
            self.waiting += 1;
        }
    }

    fn main(&mut self, pod: &Desired, container: &Container, status: Option<&ContainerStatus>) {
        let Some(status) = status else {
            self.unknown += 1;
            return;
        };
        if is_running(status) {
            self.running += 1;
        } else if let Some(code) = exit_code(status) {
            self.stopped += 1;
            self.stopped_for_good += usize::from(!pod.restarts(Role::Main, container, code));
            self.succeeded += usize::from(is_terminated(status) && code == 0);
        } else {
            self.waiting += 1;
        }
    }

    fn phase(&self, terminal: bool, initialized: bool) -> &'static str {
        if self.failed_init {
            return "Failed";
        }
        if self.pending_init || (self.pending_sidecar && !initialized) || self.waiting > 0 {
            return "Pending";
        }
        if self.unknown > 0 {
            return "Pending";
        }
        if self.running > 0 {
            return "Running";
        }
        if self.stopped == 0 {
            return "Pending";
        }
        if !terminal && self.stopped != self.stopped_for_good {
            return "Running";
        }
        if self.stopped == self.succeeded {
            "Succeeded"
        } else {
            "Failed"
        }
    }
}

fn is_running(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|s| s.running.is_some())
}

fn is_terminated(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|s| s.terminated.is_some())
}

/// Exit code of a container that is not running: of this life, or of the last when it waits.
fn exit_code(status: &ContainerStatus) -> Option<i32> {
    let state = status.state.as_ref();
    if is_running(status) {
        return None;
    }
    let terminated = state
        .and_then(|s| s.terminated.as_ref())
        .or_else(|| status.last_state.as_ref().and_then(|s| s.terminated.as_ref()));
    terminated.map(|t| t.exit_code)
}

#[cfg(test)]
mod tests {
    use super::super::desired::tests::pod;
    use super::*;
    use serde_json::json;

    fn status(name: &str, state: serde_json::Value, last: serde_json::Value) -> ContainerStatus {
        serde_json::from_value(json!({"name": name, "image": "", "imageID": "", "ready": false,
            "restartCount": 0, "started": true, "state": state, "lastState": last}))
        .unwrap()
    }

    #[test]
    fn the_phase_is_upstreams() {
        let running = json!({"running": {}});
        let waiting = json!({"waiting": {"reason": "X"}});
        let ended = |code: i32| json!({"terminated": {"exitCode": code}});
        let none = json!({});
        for (policy, state, last, terminal, expected) in [
            ("Always", &running, &none, false, "Running"),
            ("Always", &waiting, &none, false, "Pending"),
            ("Always", &waiting, &ended(1), false, "Running"),
            ("Always", &ended(0), &none, false, "Running"),
            ("Always", &ended(0), &none, true, "Succeeded"),
            ("Always", &ended(2), &none, true, "Failed"),
            ("Never", &ended(0), &none, false, "Succeeded"),
            ("Never", &ended(1), &none, false, "Failed"),
            ("OnFailure", &ended(1), &none, false, "Running"),
            ("OnFailure", &ended(0), &none, false, "Succeeded"),
        ] {
            let p = pod(json!({"spec": {"restartPolicy": policy}}));
            let s = [status("a", state.clone(), last.clone())];
            assert_eq!(phase(&p, &s, terminal, true), expected, "{policy} {state} {last}");
        }
    }

    #[test]
    fn a_pod_is_pending_until_its_init_containers_are_done() {
        let p = pod(json!({"spec": {"initContainers": [{"name": "i", "image": "x"}]}}));
        let wait = status("a", json!({"waiting": {}}), json!({}));
        let init = status("i", json!({"running": {}}), json!({}));
        assert_eq!(phase(&p, &[init, wait.clone()], false, false), "Pending");
        let p =
            pod(json!({"spec": {"restartPolicy": "Never", "initContainers": [{"name": "i", "image": "x"}]}}));
        let init = status("i", json!({"terminated": {"exitCode": 3}}), json!({}));
        assert_eq!(phase(&p, &[init, wait], false, false), "Failed");
    }
}
