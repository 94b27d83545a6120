//! What is done with links, addresses and routes of one network namespace.

use std::io;
use std::net::Ipv4Addr;

use super::message::{self, Mac, Pair, Route};
use crate::netlink::{Failure, Messages, Socket, attributes};
use crate::{Cidr, NodeNetworkConfig};

const LINK_BODY: usize = 16;
const ROUTE_BODY: usize = 12;
const IFLA_LINK: u16 = 5;

/// A link as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub index: u32,
    /// For one side of a pair: the index of the other.
    pub peer: Option<u32>,
    pub mac: Option<Mac>,
    pub mtu: u32,
}

/// The links, addresses and routes of the namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct Links {
    socket: Socket,
}

impl Links {
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self {
            socket: Socket::open(libc::NETLINK_ROUTE)?,
        })
    }

    /// Sends requests; the first failure not listed in `fine` is the result.
    fn change(&mut self, mut messages: Messages, fine: &[i32]) -> io::Result<()> {
        let failures = self.socket.execute(&mut messages)?;
        match failures.iter().find(|failure| !fine.contains(&failure.errno)) {
            Some(failure) => Err(failure.error()),
            None => Ok(()),
        }
    }

    /// The link of this name, if there is one.
    pub(crate) fn find(&mut self, name: &str) -> io::Result<Option<Link>> {
        let mut messages = Messages::new();
        message::get_link(&mut messages, name);
        match self.query(&mut messages, read_link)? {
            Err(Failure {
                errno: libc::ENODEV, ..
            }) => Ok(None),
            Err(failure) => Err(failure.error()),
            Ok(link) => Ok(link),
        }
    }

    /// Sends a question; the result is the first reply that `read` makes sense of.
    fn query<T>(
        &mut self,
        messages: &mut Messages,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> io::Result<Result<Option<T>, Failure>> {
        let mut first = None;
        let said = self.socket.query(messages, |body| {
            if first.is_none() {
                first = read(body);
            }
        })?;
        Ok(said.map(|()| first))
    }

    /// Makes the bridge as it must be, with the node's addresses and the routes of the cluster's
    /// ranges; what is there already stays. Returns the bridge's index.
    ///
    /// The Services' range gets a route to the bridge, not to be delivered there but so that the node
    /// itself can send to it before the packet rules choose an endpoint; the pods' range is unreachable
    /// but for the pods there are, each with a route of its own. So neither can ever leave by the default
    /// route, and who asks for an address that nobody has is told at once.
    pub(crate) fn set_up_bridge(
        &mut self,
        config: &NodeNetworkConfig,
        mac: Mac,
        mtu: u32,
        pods: impl Iterator<Item = Ipv4Addr>,
    ) -> io::Result<u32> {
        let mut messages = Messages::new();
        message::create_bridge(&mut messages, &config.bridge, mac);
        self.change(messages, &[libc::EEXIST])?;
        let mut messages = Messages::new();
        message::set_bridge(&mut messages, &config.bridge, mac, mtu);
        self.change(messages, &[])?;
        let bridge = self
            .find(&config.bridge)?
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))?;
        let gateway = config.gateway();
        let mut messages = Messages::new();
        message::add_address(&mut messages, bridge.index, gateway, 32, false);
        if let Some(dns) = config.cluster_dns {
            message::add_address(&mut messages, bridge.index, dns, 32, true);
        }
        message::add_unreachable(&mut messages, config.cluster_cidr);
        let services = Route {
            range: config.service_cidr,
            index: bridge.index,
            via: None,
            source: Some(gateway),
        };
        message::add_route(&mut messages, &services);
        for pod in pods {
            message::add_route(&mut messages, &Route::to_pod(pod, bridge.index, gateway));
        }
        self.change(messages, &[])?;
        Ok(bridge.index)
    }

    /// Removes the bridge, its addresses and the routes.
    pub(crate) fn remove_bridge(&mut self, config: &NodeNetworkConfig) -> io::Result<()> {
        let mut messages = Messages::new();
        message::delete_link(&mut messages, &config.bridge);
        message::delete_unreachable(&mut messages, config.cluster_cidr);
        self.change(messages, &[libc::ENODEV, libc::ESRCH])
    }

    /// Makes a pod's pair of links, plugged into the bridge.
    pub(crate) fn create_pair(&mut self, pair: &Pair<'_>) -> io::Result<()> {
        let mut messages = Messages::new();
        message::create_pair(&mut messages, pair);
        message::plug_in(&mut messages, pair);
        self.change(messages, &[])
    }

    /// Plugs the node's end of an existing pair into the bridge.
    pub(crate) fn plug_in(&mut self, pair: &Pair<'_>) -> io::Result<()> {
        let mut messages = Messages::new();
        message::plug_in(&mut messages, pair);
        self.change(messages, &[])
    }

    /// Inside a pod: its loopback and its interface up, with its address and its way out.
    ///
    /// The address stands alone (/32) and everything, also for pods of the same node, goes through the
    /// gateway: so every packet between pods meets the node's packet rules, with or without
    /// br_netfilter, and answers of a Service's endpoint find their way back through the translation.
    pub(crate) fn set_up_pod(&mut self, index: u32, address: Ipv4Addr, gateway: Ipv4Addr) -> io::Result<()> {
        const LOOPBACK: u32 = 1;
        let mut messages = Messages::new();
        message::link_up(&mut messages, LOOPBACK);
        message::link_up(&mut messages, index);
        message::add_address(&mut messages, index, address, 32, false);
        let gateway_itself = Route {
            range: Cidr::new(gateway, 32),
            index,
            via: None,
            source: Some(address),
        };
        message::add_route(&mut messages, &gateway_itself);
        let default = Route {
            range: Cidr::new([0, 0, 0, 0].into(), 0),
            index,
            via: Some(gateway),
            source: None,
        };
        message::add_route(&mut messages, &default);
        self.change(messages, &[])
    }

    /// Removes links; those that are not there are fine.
    pub(crate) fn remove<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) -> io::Result<()> {
        let mut messages = Messages::new();
        for name in names {
            message::delete_link(&mut messages, name);
        }
        if messages.count() == 0 {
            Ok(())
        } else {
            self.change(messages, &[libc::ENODEV])
        }
    }

    /// Removes a pod's link and the node's route to it, as far as they are there.
    pub(crate) fn remove_pod(&mut self, name: &str, route: Option<Route>) -> io::Result<()> {
        let mut messages = Messages::new();
        message::delete_link(&mut messages, name);
        if let Some(route) = route {
            message::delete_route(&mut messages, &route);
        }
        self.change(messages, &[libc::ENODEV, libc::ESRCH])
    }

    /// The largest packet of the link with the default route.
    pub(crate) fn uplink_mtu(&mut self) -> io::Result<Option<u32>> {
        let mut messages = Messages::new();
        message::get_routes(&mut messages);
        let index = self
            .query(&mut messages, default_route)?
            .map_err(|failure| failure.error())?;
        let Some(index) = index else { return Ok(None) };
        let mut messages = Messages::new();
        message::get_link_by_index(&mut messages, index);
        let link = self
            .query(&mut messages, read_link)?
            .map_err(|failure| failure.error())?;
        Ok(link.map(|link| link.mtu))
    }
}

impl Route {
    /// The node's way to a pod: through the bridge, from the address that the pod knows the node by.
    pub(crate) fn to_pod(address: Ipv4Addr, bridge_index: u32, gateway: Ipv4Addr) -> Self {
        Self {
            range: Cidr::new(address, 32),
            index: bridge_index,
            via: None,
            source: Some(gateway),
        }
    }
}

fn read_link(body: &[u8]) -> Option<Link> {
    let index = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
    let found = attributes(body.get(LINK_BODY..)?);
    Some(Link {
        index,
        peer: found.u32(IFLA_LINK),
        mac: found.find(libc::IFLA_ADDRESS).and_then(|mac| mac.try_into().ok()),
        mtu: found.u32(libc::IFLA_MTU)?,
    })
}

/// The link a default route of the main table leads to.
fn default_route(body: &[u8]) -> Option<u32> {
    let (prefix, table, kind) = (*body.get(1)?, *body.get(4)?, *body.get(7)?);
    let default = prefix == 0 && table == libc::RT_TABLE_MAIN && kind == libc::RTN_UNICAST;
    default.then(|| attributes(&body[ROUTE_BODY..]).u32(libc::RTA_OIF))?
}
