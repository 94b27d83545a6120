//! rtnetlink's requests, one function each.

use std::net::Ipv4Addr;

use crate::Cidr;
use crate::netlink::{Messages, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};

const IFLA_IFALIAS: u16 = 20;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const VETH_INFO_PEER: u16 = 1;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const ADDR_GEN_MODE_NONE: u8 = 1;
/// Marks our routes (`ip route` shows `proto 75`).
const ROUTE_PROTOCOL: u8 = 75;
const RT_SCOPE_HOST: u8 = 254;
const RT_SCOPE_LINK: u8 = 253;
/// Less wanted than any route someone else makes for the same range.
const UNREACHABLE_METRIC: u32 = 4096;

/// A device's Ethernet address.
pub(crate) type Mac = [u8; 6];

/// `struct ifinfomsg`: which link, and which of its flags to change.
fn link_body(m: &mut Messages, index: u32, up: bool) {
    let flags: u32 = if up { libc::IFF_UP as u32 } else { 0 };
    m.body(&[0; 4]);
    m.body(&index.to_ne_bytes());
    m.body(&flags.to_ne_bytes());
    m.body(&flags.to_ne_bytes());
}

/// No link-local IPv6 address on a link that only carries other people's packets.
fn quiet(m: &mut Messages) {
    m.nested(IFLA_AF_SPEC, |m| {
        m.nested(libc::AF_INET6 as u16, |m| {
            m.attribute(IFLA_INET6_ADDR_GEN_MODE, &[ADDR_GEN_MODE_NONE])
        });
    });
}

/// Makes the bridge (an existing one is a failure: EEXIST).
pub(crate) fn create_bridge(m: &mut Messages, name: &str, mac: Mac) {
    m.push(libc::RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, |m| {
        link_body(m, 0, false);
        m.text(libc::IFLA_IFNAME, name);
        m.attribute(libc::IFLA_ADDRESS, &mac);
        m.nested(libc::IFLA_LINKINFO, |m| {
            m.text(IFLA_INFO_KIND, "bridge");
            m.nested(IFLA_INFO_DATA, |m| m.attribute(IFLA_BR_MCAST_SNOOPING, &[0]));
        });
    });
}

/// Sets what the bridge must have, and takes it up.
pub(crate) fn set_bridge(m: &mut Messages, name: &str, mac: Mac, mtu: u32) {
    m.push(libc::RTM_NEWLINK, 0, |m| {
        link_body(m, 0, false);
        m.text(libc::IFLA_IFNAME, name);
        m.attribute(libc::IFLA_ADDRESS, &mac);
        m.attribute(libc::IFLA_MTU, &mtu.to_ne_bytes());
        quiet(m);
    });
    link_up_by_name(m, name);
}

/// What a pod's pair of links is made from.
pub(crate) struct Pair<'a> {
    pub host_name: &'a str,
    pub pod_name: &'a str,
    pub pod_mac: Mac,
    pub mtu: u32,
    /// An open descriptor of the pod's namespace.
    pub namespace: i32,
    /// What the host's side is called in `ip link`, for humans.
    pub alias: &'a str,
    pub bridge_index: u32,
    /// The node's way to the pod.
    pub route: Route,
}

/// Makes the pair, the pod's side at once in its namespace.
pub(crate) fn create_pair(m: &mut Messages, pair: &Pair<'_>) {
    m.push(libc::RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, |m| {
        link_body(m, 0, false);
        m.text(libc::IFLA_IFNAME, pair.host_name);
        m.attribute(libc::IFLA_MTU, &pair.mtu.to_ne_bytes());
        m.nested(libc::IFLA_LINKINFO, |m| {
            m.text(IFLA_INFO_KIND, "veth");
            m.nested(IFLA_INFO_DATA, |m| {
                m.nested(VETH_INFO_PEER, |m| {
                    // Not up: an end that is not yet tied to the other refuses.
                    link_body(m, 0, false);
                    m.text(libc::IFLA_IFNAME, pair.pod_name);
                    m.attribute(libc::IFLA_ADDRESS, &pair.pod_mac);
                    m.attribute(libc::IFLA_MTU, &pair.mtu.to_ne_bytes());
                    m.attribute(IFLA_NET_NS_FD, &pair.namespace.to_ne_bytes());
                });
            });
        });
    });
}

/// Plugs the host's side of a pair into the bridge and makes the node's route to the pod. A port with hairpin lets a pod reach itself by a
/// Service even where br_netfilter translates addresses inside the bridge.
pub(crate) fn plug_in(m: &mut Messages, pair: &Pair<'_>) {
    m.push(libc::RTM_NEWLINK, 0, |m| {
        link_body(m, 0, false);
        m.text(libc::IFLA_IFNAME, pair.host_name);
        m.attribute(libc::IFLA_MASTER, &pair.bridge_index.to_ne_bytes());
        if !pair.alias.is_empty() {
            m.attribute(IFLA_IFALIAS, pair.alias.as_bytes());
        }
        quiet(m);
    });
    m.push(libc::RTM_NEWLINK, 0, |m| {
        link_body(m, 0, true);
        m.text(libc::IFLA_IFNAME, pair.host_name);
        m.nested(libc::IFLA_LINKINFO, |m| {
            m.text(IFLA_INFO_SLAVE_KIND, "bridge");
            m.nested(IFLA_INFO_SLAVE_DATA, |m| m.attribute(IFLA_BRPORT_MODE, &[1]));
        });
    });
    add_route(m, &pair.route);
}

/// Takes a link up.
pub(crate) fn link_up(m: &mut Messages, index: u32) {
    m.push(libc::RTM_NEWLINK, 0, |m| link_body(m, index, true));
}

fn link_up_by_name(m: &mut Messages, name: &str) {
    m.push(libc::RTM_NEWLINK, 0, |m| {
        link_body(m, 0, true);
        m.text(libc::IFLA_IFNAME, name);
    });
}

/// Removes a link (of a pair: both sides).
pub(crate) fn delete_link(m: &mut Messages, name: &str) {
    m.push(libc::RTM_DELLINK, 0, |m| {
        link_body(m, 0, false);
        m.text(libc::IFLA_IFNAME, name);
    });
}

/// Asks for one link.
pub(crate) fn get_link(m: &mut Messages, name: &str) {
    m.push(libc::RTM_GETLINK, 0, |m| {
        link_body(m, 0, false);
        m.text(libc::IFLA_IFNAME, name);
    });
}

/// Asks for one link.
pub(crate) fn get_link_by_index(m: &mut Messages, index: u32) {
    m.push(libc::RTM_GETLINK, 0, |m| link_body(m, index, false));
}

/// Puts an address on a link. `local` addresses are never chosen as the source of outgoing packets.
pub(crate) fn add_address(m: &mut Messages, index: u32, address: Ipv4Addr, prefix: u8, local: bool) {
    m.push(libc::RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, |m| {
        let scope = if local { RT_SCOPE_HOST } else { 0 };
        m.body(&[libc::AF_INET as u8, prefix, 0, scope]);
        m.body(&index.to_ne_bytes());
        m.attribute(libc::IFA_LOCAL, &address.octets());
        m.attribute(libc::IFA_ADDRESS, &address.octets());
    });
}

/// A route to `range`.
pub(crate) struct Route {
    pub range: Cidr,
    pub index: u32,
    /// The next router; none when the range is on the link.
    pub via: Option<Ipv4Addr>,
    /// Our address in packets that the node itself sends this way.
    pub source: Option<Ipv4Addr>,
}

/// Adds or replaces a route.
pub(crate) fn add_route(m: &mut Messages, route: &Route) {
    m.push(libc::RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, |m| {
        unicast(m, route)
    });
}

/// Takes back what [`add_route`] added.
pub(crate) fn delete_route(m: &mut Messages, route: &Route) {
    m.push(libc::RTM_DELROUTE, 0, |m| unicast(m, route));
}

fn unicast(m: &mut Messages, route: &Route) {
    let scope = if route.via.is_some() { 0 } else { RT_SCOPE_LINK };
    route_body(m, route.range, scope, libc::RTN_UNICAST);
    m.attribute(libc::RTA_OIF, &route.index.to_ne_bytes());
    if let Some(via) = route.via {
        m.attribute(libc::RTA_GATEWAY, &via.octets());
    }
    if let Some(source) = route.source {
        m.attribute(libc::RTA_PREFSRC, &source.octets());
    }
}

/// Says that nobody serves `range` beyond what longer routes lead to.
pub(crate) fn add_unreachable(m: &mut Messages, range: Cidr) {
    m.push(libc::RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, |m| {
        unreachable(m, range)
    });
}

/// Takes back what [`add_unreachable`] said.
pub(crate) fn delete_unreachable(m: &mut Messages, range: Cidr) {
    m.push(libc::RTM_DELROUTE, 0, |m| unreachable(m, range));
}

fn unreachable(m: &mut Messages, range: Cidr) {
    route_body(m, range, 0, libc::RTN_UNREACHABLE);
    m.attribute(libc::RTA_PRIORITY, &UNREACHABLE_METRIC.to_ne_bytes());
}

fn route_body(m: &mut Messages, range: Cidr, scope: u8, kind: u8) {
    m.body(&[libc::AF_INET as u8, range.prefix(), 0, 0]);
    m.body(&[libc::RT_TABLE_MAIN, ROUTE_PROTOCOL, scope, kind]);
    m.body(&[0; 4]);
    m.attribute(libc::RTA_DST, &range.network().octets());
}

/// Asks for all IPv4 routes.
pub(crate) fn get_routes(m: &mut Messages) {
    m.push(libc::RTM_GETROUTE, crate::netlink::NLM_F_DUMP, |m| {
        m.body(&[libc::AF_INET as u8, 0, 0, 0]);
        m.body(&[0; 8]);
    });
}
