//! The one table of packet rules: what is wanted, what the kernel has, and the batches between them.
//!
//! ```text
//! arrives --> from-pods --> prerouting --(jump)--> services --(vmap service-ips)--> service/NS/NAME/tcp/http
//!                                          |                                          dnat to a random endpoint
//!                                          +--> node-ports --(vmap node-ports)--> external/NS/NAME/tcp/http
//!                                                 +--> host ports                     mark, then as above
//! local process --> output --(jump)--> services    (the same)
//! for us --> input: connections to ports without endpoints are rejected
//! through, or out --> forward, out: Service addresses nobody serves are rejected
//! leaves --> postrouting: masquerade what could not find its way back
//! ```
//!
//! A start with a table already there (kobune was restarted, its pods ran on) leaves it in force until
//! everything wanted is known; then one batch replaces it. Connections live in conntrack and notice
//! nothing.

mod base;
mod hairpin;
mod host_ports;
mod services;

use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::conntrack::{self, Stale};
use crate::nft::{Batch, NftError, NftSocket};
use crate::service::plan::ServicePlan;
use crate::{Cidr, HostPort, NetworkError, NodeNetworkConfig};

use base::Base;
use hairpin::Hairpins;
use host_ports::HostPorts;
use services::Services;

/// The table.
#[derive(Debug)]
pub(crate) struct Ruleset {
    socket: NftSocket,
    base: Base,
    host_ports: HostPorts,
    services: Services,
    hairpins: Hairpins,
    kernel: Kernel,
}

/// What the kernel's table is to our notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kernel {
    /// The table of an earlier run.
    Inherited,
    /// As noted.
    Known,
    /// Behind our notes, since a change failed.
    Unknown,
}

impl Ruleset {
    /// Takes over the table that is there, or makes it, with the host ports noted by an earlier run.
    pub(crate) fn open<'a>(
        config: &NodeNetworkConfig,
        host_ports: impl Iterator<Item = (&'a str, Ipv4Addr, &'a [HostPort])>,
    ) -> Result<Self, NetworkError> {
        let socket = NftSocket::open().map_err(NetworkError::link("opening the nf_tables socket"))?;
        let mut ruleset = Self {
            socket,
            base: Base::new(config),
            host_ports: HostPorts::default(),
            services: Services::default(),
            hairpins: Hairpins::default(),
            kernel: Kernel::Inherited,
        };
        for (pod, address, ports) in host_ports {
            ruleset.host_ports.seed(pod, address, ports);
        }
        let there = ruleset
            .socket
            .has_table(&ruleset.base.table)
            .map_err(|error| ruleset.error(error))?;
        if !there {
            ruleset.rebuild()?;
        }
        Ok(ruleset)
    }

    fn error(&self, source: NftError) -> NetworkError {
        NetworkError::Rules {
            table: self.base.table.clone(),
            source,
        }
    }

    fn batch(&self) -> Batch {
        Batch::new(self.base.table.as_str())
    }

    /// Makes the table anew, all that is wanted in it, in one batch.
    fn rebuild(&mut self) -> Result<(), NetworkError> {
        let mut batch = self.batch();
        batch.add_table();
        batch.delete_table();
        batch.add_table();
        self.base.write(&mut batch);
        self.hairpins = Hairpins::default();
        self.host_ports.write_all(&mut batch, &mut self.hairpins);
        self.services
            .write_all(&mut batch, &mut self.hairpins, &self.base.pod_cidr);
        self.hairpins.write(&mut batch);
        self.kernel = Kernel::Unknown;
        self.commit(batch)?;
        self.kernel = Kernel::Known;
        Ok(())
    }

    /// A batch that fails leaves the kernel as it was, but our notes ahead of it: the next change then
    /// makes the table anew.
    fn commit(&mut self, batch: Batch) -> Result<(), NetworkError> {
        let result = self.socket.commit(batch);
        if result.is_err() {
            self.kernel = Kernel::Unknown;
        }
        result.map_err(|error| self.error(error))
    }

    /// Sets the ports of the node that lead to a pod; an empty list takes them back.
    pub(crate) fn set_host_ports(
        &mut self,
        pod: &str,
        address: Ipv4Addr,
        ports: &[HostPort],
    ) -> Result<(), NetworkError> {
        self.host_ports.check(pod, ports)?;
        let mut batch = self.batch();
        let stale = match self.kernel {
            Kernel::Inherited => return self.set_host_ports_in_inherited(pod, address, ports),
            Kernel::Unknown => {
                self.host_ports.seed(pod, address, ports);
                return self.rebuild();
            }
            Kernel::Known => self
                .host_ports
                .replace(pod, address, ports, &mut batch, &mut self.hairpins),
        };
        self.hairpins.write(&mut batch);
        self.commit(batch)?;
        self.forget(&stale);
        Ok(())
    }

    /// Flows that live on only delay what is right: not a failure.
    fn forget(&mut self, stale: &[Stale]) {
        match conntrack::forget(self.socket.netlink(), stale) {
            Ok(0) => {}
            Ok(flows) => tracing::debug!(flows, "UDP flows to endpoints that are gone forgotten"),
            Err(error) => tracing::warn!(%error, "UDP flows to endpoints that are gone not forgotten"),
        }
    }

    /// The table is an earlier run's and keeps its Services for the moment they are not known yet; its
    /// host ports are replaced by ours. A table that cannot take them is made anew.
    fn set_host_ports_in_inherited(
        &mut self,
        pod: &str,
        address: Ipv4Addr,
        ports: &[HostPort],
    ) -> Result<(), NetworkError> {
        if !self.host_ports.seed(pod, address, ports) {
            return Ok(());
        }
        let mut batch = self.batch();
        let mut hairpins = Hairpins::default();
        self.host_ports.flush(&mut batch);
        self.host_ports.write_all(&mut batch, &mut hairpins);
        hairpins.write(&mut batch);
        match self.socket.commit(batch) {
            Ok(()) => Ok(()),
            Err(error) => {
                tracing::info!(
                    error = &error as &dyn std::error::Error,
                    "packet rules of another version replaced"
                );
                self.rebuild()
            }
        }
    }

    /// Sets what packets to Services meet: with `whole`, these and no others; otherwise changes of these.
    pub(crate) fn set_services(
        &mut self,
        plans: Vec<(Arc<str>, ServicePlan)>,
        whole: bool,
    ) -> Result<(), NetworkError> {
        if whole {
            self.services.keep_only(&plans);
        }
        let mut batch = self.batch();
        let stale = self
            .services
            .change(plans, &mut batch, &mut self.hairpins, &self.base.pod_cidr);
        if whole || self.kernel != Kernel::Known {
            self.rebuild()?;
        } else {
            self.hairpins.write(&mut batch);
            self.commit(batch)?;
        }
        self.forget(&stale);
        Ok(())
    }

    /// Sets the ranges of Services beside the configured one. A table of an earlier run takes them over with
    /// the Services.
    pub(crate) fn set_further_service_cidrs(&mut self, ranges: Vec<Cidr>) -> Result<(), NetworkError> {
        if self.base.further_service_cidrs == ranges {
            return Ok(());
        }
        self.base.further_service_cidrs = ranges;
        match self.kernel {
            Kernel::Inherited => Ok(()),
            Kernel::Known | Kernel::Unknown => self.rebuild(),
        }
    }

    /// Deletes the table.
    pub(crate) fn remove(&mut self) -> Result<(), NetworkError> {
        let mut batch = self.batch();
        batch.add_table();
        batch.delete_table();
        self.commit(batch)?;
        self.kernel = Kernel::Unknown;
        Ok(())
    }
}
