//! The newest results of a pod's probes.

use std::collections::HashMap;

/// Which probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProbeKind {
    /// `startupProbe`
    Startup,
    /// `livenessProbe`
    Liveness,
    /// `readinessProbe`
    Readiness,
}

impl ProbeKind {
    /// As in an event's text.
    pub fn title(self) -> &'static str {
        match self {
            ProbeKind::Startup => "Startup",
            ProbeKind::Liveness => "Liveness",
            ProbeKind::Readiness => "Readiness",
        }
    }
}

/// Results by container id, after thresholds were applied.
#[derive(Debug, Clone, Default)]
pub struct ProbeBook {
    results: HashMap<(String, ProbeKind), bool>,
}

impl ProbeBook {
    /// Takes in a result; true when it differs from before.
    pub fn record(&mut self, container: &str, kind: ProbeKind, success: bool) -> bool {
        self.results.insert((container.to_owned(), kind), success) != Some(success)
    }

    /// Forgets a container.
    pub fn forget(&mut self, container: &str) {
        self.results.retain(|(id, _), _| id != container);
    }

    fn get(&self, container: &str, kind: ProbeKind) -> Option<bool> {
        self.results.get(&(container.to_owned(), kind)).copied()
    }

    /// A running container has started: it has no startup probe, or that succeeded.
    pub fn started(&self, container: &str, has_probe: bool) -> bool {
        !has_probe || self.get(container, ProbeKind::Startup) == Some(true)
    }

    /// A started container is ready: it has no readiness probe, or that succeeded last.
    pub fn ready(&self, container: &str, has_probe: bool) -> bool {
        !has_probe || self.get(container, ProbeKind::Readiness) == Some(true)
    }

    /// The liveness probe failed often enough.
    pub fn liveness_failed(&self, container: &str) -> bool {
        self.get(container, ProbeKind::Liveness) == Some(false)
    }

    /// The startup probe failed often enough.
    pub fn startup_failed(&self, container: &str) -> bool {
        self.get(container, ProbeKind::Startup) == Some(false)
    }
}
