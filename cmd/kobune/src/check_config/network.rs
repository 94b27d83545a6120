//! What is in the way of packets: ports that others have, and rules that drop what is forwarded.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process::Command;

use kobune_network::NodeNetworkConfig;

use super::{Finding, Grade, finding};
use crate::paths::Paths;

/// Ports of the server itself.
pub(super) fn ports(api: u16) -> Vec<Finding> {
    let tcp = |port: u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
    let udp = |port: u16| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
    vec![
        finding(
            tcp(api),
            Grade::Failure,
            &format!("TCP port {api} is free for the API"),
            "stop what listens there (`ss -ltnp`) or choose another with --https-listen-port",
        ),
        finding(
            tcp(10250),
            Grade::Warning,
            "TCP port 10250 is free for the kubelet",
            "stop what listens there (`ss -ltnp`), or see the node's port in its object: another is taken by itself",
        ),
        finding(
            udp(8472),
            Grade::Warning,
            "UDP port 8472 is free for the overlay",
            "stop what uses it, if several nodes are to be joined",
        ),
    ]
}

/// A listener on port 53 of all addresses has the cluster DNS' address too. Those on other addresses, such as
/// systemd-resolved's, are in nobody's way.
pub(super) fn dns_port() -> Finding {
    let sockets = ["udp", "tcp", "udp6", "tcp6"].map(|table| {
        let text = std::fs::read_to_string(format!("/proc/net/{table}"));
        text.unwrap_or_default()
    });
    finding(
        !sockets.iter().any(|table| takes_all(table, 53)),
        Grade::Failure,
        "nobody listens on port 53 of all addresses, so the cluster DNS can have its own",
        "let what listens there (`ss -lnp 'sport = :53'`) listen on addresses of its own: `bind-dynamic` \
         of dnsmasq, `interface:` of unbound, `listen-on` of BIND; or start the server with --disable dns",
    )
}

/// Whether a table of /proc/net has a socket that waits on `port` of all addresses: bound, and for TCP
/// listening (state 0A), with nobody at the other end.
fn takes_all(table: &str, port: u16) -> bool {
    let wanted = format!(":{port:04X}");
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (Some(local), Some(_), Some(state)) = (fields.next(), fields.next(), fields.next()) else {
            return false;
        };
        let address = local.strip_suffix(&wanted);
        // 07: an unconnected UDP socket.
        address.is_some_and(|address| address.bytes().all(|digit| digit == b'0'))
            && matches!(state, "0A" | "07")
    })
}

/// Docker, among others, drops what is forwarded and not its own: pods could not leave the node.
pub(super) fn forwarding(paths: &Paths) -> Option<Finding> {
    let bridge = NodeNetworkConfig::bridge_for(&paths.instance);
    let rules = filter_rules()?;
    Some(finding(
        !drops_forwarded(&rules, &bridge),
        Grade::Failure,
        "no rule of the filter table drops what pods send",
        &format!(
            "let it pass: `iptables -I DOCKER-USER -i {bridge} -j ACCEPT; iptables -I DOCKER-USER -o {bridge} \
             -j ACCEPT` beside Docker (FORWARD instead of DOCKER-USER without it), or `iptables -P FORWARD ACCEPT`"
        ),
    ))
}

/// The filter table as iptables-save writes it; `None` when there is none, or no program to read it with.
fn filter_rules() -> Option<String> {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        (output.status.success() && !text.is_empty()).then_some(text)
    };
    // Reading an old-style table makes it, so its list is asked first.
    let old = std::fs::read_to_string("/proc/net/ip_tables_names").unwrap_or_default();
    let old = old.lines().any(|table| table == "filter");
    let old = old
        .then(|| said("iptables-legacy-save", &["-t", "filter"]))
        .flatten();
    old.or_else(|| said("nft", &["list", "table", "ip", "filter"]))
}

/// Whether the chain FORWARD drops what no rule accepts, and no rule speaks of our bridge. The rules are in
/// the words of iptables-save or of nft.
fn drops_forwarded(rules: &str, bridge: &str) -> bool {
    let mut chain = "";
    let mut drops = false;
    for line in rules.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("chain ") {
            chain = name.trim_end_matches(['{', ' ']);
        }
        drops |= line.starts_with(":FORWARD DROP") || (chain == "FORWARD" && line.ends_with("policy drop;"));
    }
    drops && !rules.split([' ', '"', '\n']).any(|word| word == bridge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_one_address_is_in_nobodys_way() {
        let head = "  sl  local_address rem_address   st tx_queue\n";
        let resolved = format!("{head}   0: 3500007F:0035 00000000:0000 0A 00000000:00000000\n");
        assert!(!takes_all(&resolved, 53));
        let dnsmasq = format!("{resolved}   1: 00000000:0035 00000000:0000 0A 00000000:00000000\n");
        assert!(takes_all(&dnsmasq, 53));
        let udp6 = format!("{head} 7: {:032}:0035 {:032}:0000 07 00000000:00000000\n", 0, 0);
        assert!(takes_all(&udp6, 53));
        let connection = format!("{head}   1: 00000000:0035 0100007F:8000 01 00000000:00000000\n");
        assert!(!takes_all(&connection, 53));
    }

    #[test]
    fn dockers_policy_is_seen_and_an_exception_for_the_bridge_too() {
        let nft = "table ip filter {\n\tchain INPUT {\n\t\ttype filter hook input priority filter; policy drop;\n\t}\n\
                   \tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}\n";
        assert!(drops_forwarded(nft, "kobune0"));
        assert!(!drops_forwarded(
            &nft.replace(
                "forward priority filter; policy drop",
                "forward priority filter; policy accept"
            ),
            "kobune0"
        ));
        let excepted = format!("{nft}\t\tiifname \"kobune0\" counter accept\n");
        assert!(!drops_forwarded(&excepted, "kobune0"));
        assert!(drops_forwarded(
            "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n",
            "kobune0"
        ));
        assert!(!drops_forwarded(
            "*filter\n:FORWARD DROP [0:0]\n-A DOCKER-USER -i kobune0 -j ACCEPT\n",
            "kobune0"
        ));
    }
}
