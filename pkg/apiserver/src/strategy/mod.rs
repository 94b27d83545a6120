//! What a kind does differently. Everything that is not here is the same for all kinds.

mod certificates;
mod facts;
mod jobs;
mod memory;
mod namespaces;
pub mod pods;
mod quotas;
pub mod services;
mod volumes;

use kobune_api::kinds::Kind;
use kobune_api::status::Status;
use kobune_store::{Durability, Op};
use serde_json::Value;

pub use facts::{Facts, facts};

use crate::registry::call::Call;

/// The places where a kind may differ. Every method has the common behaviour as its default.
pub trait Strategy: Sync {
    /// Edits a new object before it is validated: upstream's `PrepareForCreate`.
    fn prepare_create(&self, _call: &Call<'_>, _object: &mut Value) -> Result<(), Status> {
        Ok(())
    }

    /// Edits an update of the object (`part` is empty) or of one of its subresources before it is
    /// validated: upstream's `PrepareForUpdate`. Status and spec are already kept apart.
    fn prepare_update(
        &self,
        _call: &Call<'_>,
        _part: &str,
        _old: &Value,
        _new: &mut Value,
    ) -> Result<(), Status> {
        Ok(())
    }

    /// Whether a write must be on disk before it is acknowledged. `old` is absent for a create.
    fn durability(&self, _old: Option<&Value>, _new: &Value) -> Durability {
        Durability::Synced
    }

    /// Takes what the object needs of a shared supply (addresses, ports) and writes it into the
    /// object. What was taken is given back unless the write is done.
    fn reserve(
        &self,
        _call: &Call<'_>,
        _old: Option<&Value>,
        _new: &mut Value,
    ) -> Result<Option<Box<dyn Reservation>>, Status> {
        Ok(None)
    }

    /// The writes to other objects that belong to a write of this one: they are of the same commit.
    /// `old` is absent for a create, `new` when the object goes.
    fn beside(
        &self,
        _call: &Call<'_>,
        _old: Option<&Value>,
        _new: Option<&Value>,
    ) -> Result<Vec<Op>, Status> {
        Ok(Vec::new())
    }

    /// The seconds between asking for the object's deletion and its end; `None` where a kind knows
    /// no grace and goes at once.
    fn grace(&self, _object: &Value, _asked: Option<i64>) -> Option<i64> {
        None
    }

    /// Looks at a delete before it is done; may refuse it.
    fn check_delete(&self, _call: &Call<'_>, _object: &Value) -> Result<(), Status> {
        Ok(())
    }

    /// Whether an object whose deletion was asked for may go now, beside its finalizers.
    fn may_go(&self, _object: &Value) -> bool {
        true
    }

    /// Edits an object whose deletion begins.
    fn marked(&self, _object: &mut Value) {}

    /// Called when the object is gone, to give back what it held.
    fn deleted(&self, _call: &Call<'_>, _object: &Value) {}
}

/// Something taken for a write that is not done yet. Dropping it gives back what was taken.
pub trait Reservation: Send {
    /// The write is done: keep what was taken, give back what the old object held.
    fn keep(self: Box<Self>);
}

struct Plain;
impl Strategy for Plain {}

/// The strategy of a kind.
pub fn of(kind: &Kind) -> &'static dyn Strategy {
    match (&*kind.group, &*kind.plural) {
        ("", "pods") => &pods::Pods,
        ("", "services") => &services::Services,
        ("", "resourcequotas") => &quotas::Quotas,
        ("", "namespaces") => &namespaces::Namespaces,
        ("", "persistentvolumes" | "persistentvolumeclaims") => &volumes::Volumes,
        ("" | "events.k8s.io", "events") => &memory::Events,
        ("coordination.k8s.io", "leases") => &memory::Leases,
        ("batch", "jobs") => &jobs::Jobs,
        ("certificates.k8s.io", "certificatesigningrequests") => &certificates::Requests,
        _ => &Plain,
    }
}
