//! A pod's link: a pair of virtual Ethernet devices, one end in the pod, the other in the bridge.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::sync::Mutex;

use super::Links;
use super::message::{Mac, Pair, Route};
use crate::{namespace, sysctl};

/// The name of every pod's interface.
pub(crate) const POD_INTERFACE: &str = "eth0";

/// The node's end of a pod's link: `kb` and a hash of the pod's uid, the same at every attempt.
pub(crate) fn host_name(pod_uid: &str) -> String {
    // FNV-1a, 48 of its 64 bits: names must be stable over versions, so not std's hasher.
    let hash = pod_uid.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    format!("kb{:012x}", (hash >> 16) ^ (hash & 0xffff))
}

/// The Ethernet address that goes with an IP address. An address that is used again so has the same
/// one, and nobody's neighbour table is ever stale.
pub(crate) fn mac(address: Ipv4Addr) -> Mac {
    let [a, b, c, d] = address.octets();
    [0x0a, 0x58, a, b, c, d]
}

/// What a pod's link is made from.
pub(crate) struct PodLink<'a> {
    pub host_name: &'a str,
    pub namespace: &'a File,
    pub address: Ipv4Addr,
    pub gateway: Ipv4Addr,
    pub mtu: u32,
    pub bridge_index: u32,
    pub alias: &'a str,
}

impl PodLink<'_> {
    /// Makes the link, or what is missing of it. `host` are the node's links.
    pub(crate) fn set_up(&self, host: &Mutex<Links>) -> io::Result<()> {
        namespace::within(self.namespace, || {
            let mut inside = Links::open()?;
            prepare();
            let index = match self.create(host) {
                Ok(()) => inside.find(POD_INTERFACE)?.map(|link| link.index),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    self.adopt_or_replace(host, &mut inside)?
                }
                Err(error) => return Err(error),
            };
            let index = index.ok_or_else(|| io::Error::other("the pod's interface has vanished"))?;
            inside.set_up_pod(index, self.address, self.gateway)
        })
    }

    fn create(&self, host: &Mutex<Links>) -> io::Result<()> {
        lock(host).create_pair(&self.pair())
    }

    fn pair(&self) -> Pair<'_> {
        Pair {
            host_name: self.host_name,
            pod_name: POD_INTERFACE,
            pod_mac: mac(self.address),
            mtu: self.mtu,
            namespace: self.namespace.as_raw_fd(),
            alias: self.alias,
            bridge_index: self.bridge_index,
            route: Route::to_pod(self.address, self.bridge_index, self.gateway),
        }
    }

    /// One of the two names is taken: by this very link (then it is kept), or by what an attempt before
    /// left behind (then it goes).
    fn adopt_or_replace(&self, host: &Mutex<Links>, inside: &mut Links) -> io::Result<Option<u32>> {
        let outside = lock(host).find(self.host_name)?;
        let found = inside.find(POD_INTERFACE)?;
        if let (Some(outside), Some(found)) = (&outside, &found)
            && outside.peer == Some(found.index)
            && found.peer == Some(outside.index)
            && found.mac == Some(mac(self.address))
        {
            lock(host).plug_in(&self.pair())?;
            return Ok(Some(found.index));
        }
        lock(host).remove([self.host_name])?;
        inside.remove([POD_INTERFACE])?;
        self.create(host)?;
        Ok(inside.find(POD_INTERFACE)?.map(|link| link.index))
    }
}

/// Switches of a pod's namespace: it must not learn short cuts past its gateway, and, in a cluster with
/// IPv4 only, needs no IPv6 but on its loopback.
fn prepare() {
    for scope in ["all", "default"] {
        sysctl::set_if_there(&format!("ipv4/conf/{scope}/accept_redirects"), "0");
    }
    sysctl::set_if_there("ipv6/conf/default/disable_ipv6", "1");
}

pub(crate) fn lock(links: &Mutex<Links>) -> std::sync::MutexGuard<'_, Links> {
    // A panic in another thread leaves the socket usable: each call sends and receives a whole batch.
    links.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_links_name_is_stable_and_fits() {
        let name = host_name("0b1f8c1e-6f43-4c0e-9c52-0d8f4f0c7a11");
        assert_eq!(name, host_name("0b1f8c1e-6f43-4c0e-9c52-0d8f4f0c7a11"));
        assert_eq!(name.len(), 14);
        assert_ne!(name, host_name("0b1f8c1e-6f43-4c0e-9c52-0d8f4f0c7a12"));
    }

    #[test]
    fn an_ethernet_address_follows_from_the_ip_address() {
        assert_eq!(mac(Ipv4Addr::new(10, 42, 0, 7)), [0x0a, 0x58, 10, 42, 0, 7]);
    }
}
