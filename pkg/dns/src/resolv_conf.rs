//! The nameservers of the node, from its resolv.conf. Pure.

use std::net::{IpAddr, SocketAddr};

/// At most as many nameservers as glibc asks.
const AT_MOST: usize = 3;

/// The nameservers in a resolv.conf, without those at which we ourselves listen.
pub(crate) fn nameservers(text: &str, listen: &[SocketAddr]) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let address: IpAddr = (words.next()? == "nameserver").then(|| words.next()?.parse().ok())??;
            Some(SocketAddr::new(address, 53))
        })
        .filter(|server| !listen.iter().any(|own| is_ours(own, server)))
        .take(AT_MOST)
        .collect()
}

/// Listening on all addresses takes the loopback's, too.
fn is_ours(own: &SocketAddr, server: &SocketAddr) -> bool {
    let everywhere = own.ip().is_unspecified() && server.ip().is_loopback();
    own.port() == server.port() && (own.ip() == server.ip() || everywhere)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nameservers_are_read_but_never_ourselves() {
        let text = "# comment\nsearch example.org\nnameserver 10.43.0.10\nnameserver\t192.0.2.1 # one\n\
                    nameserver nonsense\nnameserver fd00::1\noptions ndots:5\nnameserver 127.0.0.53\n";
        let servers = |own: &str| nameservers(text, &[own.parse().unwrap()]);
        let ours = servers("10.43.0.10:53");
        assert_eq!(
            ours.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["192.0.2.1:53", "[fd00::1]:53", "127.0.0.53:53"]
        );
        assert!(!servers("0.0.0.0:53").contains(&"127.0.0.53:53".parse().unwrap()));
        assert_eq!(servers("10.43.0.10:5353").len(), 3);
    }
}
