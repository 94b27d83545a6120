//! Keeping a running pod's volumes up to date.

use jiff::{SignedDuration, Timestamp};
use kobune_client::EventType;

use super::{Outcome, Worker};
use crate::pod::setup;
use crate::volume;

impl Worker {
    /// Brings volumes up to date when an object they show changed or a token gets old.
    pub(super) fn refresh_volumes(&mut self, now: Timestamp) {
        let due = self.refresh_at.is_some_and(|t| t <= now);
        let Some(prepared) = &self.prepared else { return };
        if !due || self.refreshing || self.stop.is_some() {
            return;
        }
        self.refreshing = true;
        self.refresh_at = None;
        let (context, pod, tokens) = (self.context.clone(), self.pod.clone(), self.tokens.clone());
        let ips = prepared.ips.clone();
        self.operations
            .spawn(async move { Outcome::Volumes(setup::mount_volumes(&context, &pod, &tokens, ips).await) });
    }

    pub(super) fn volumes_done(
        &mut self,
        result: Result<volume::Paths, volume::MountErrors>,
        now: Timestamp,
    ) {
        self.refreshing = false;
        for error in result.err().into_iter().flat_map(|errors| errors.0) {
            self.context
                .tell(&self.pod, EventType::Warning, "FailedMount", error.to_string());
        }
        let renewal = self.tokens.try_lock().ok().and_then(|t| t.next_renewal());
        let soonest = now.checked_add(SignedDuration::from_secs(10)).unwrap_or(now);
        self.refresh_at = self.refresh_at.or(renewal.map(|t| t.max(soonest)));
    }
}
