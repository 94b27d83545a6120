//! The files of /etc that Kubernetes writes for a pod: hosts, hostname, resolv.conf.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::desired::Desired;

const MAX_HOSTNAME: usize = 63;
const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_CHARS: usize = 2048;

/// A pod's name in its own eyes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hostname {
    /// First label, at most 63 characters.
    pub host: String,
    /// `subdomain.namespace.svc.cluster-domain`, or empty.
    pub domain: String,
    /// What the UTS namespace gets: the host alone, or the whole name (`setHostnameAsFQDN`).
    pub kernel: String,
}

/// `spec.hostname`, `subdomain`, `setHostnameAsFQDN`, `hostnameOverride`. The error is an event's text.
pub fn hostname(pod: &Desired, cluster_domain: &str) -> Result<Hostname, String> {
    let spec = pod.spec();
    if let Some(name) = &spec.hostname_override {
        let host = truncate(name);
        return Ok(Hostname {
            kernel: host.clone(),
            host,
            domain: String::new(),
        });
    }
    let host = truncate(
        spec.hostname
            .as_deref()
            .filter(|h| !h.is_empty())
            .unwrap_or(pod.name()),
    );
    let domain = match spec.subdomain.as_deref().filter(|s| !s.is_empty()) {
        Some(sub) => format!("{sub}.{}.svc.{cluster_domain}", pod.namespace()),
        None => String::new(),
    };
    let mut kernel = host.clone();
    if spec.set_hostname_as_fqdn == Some(true) && !domain.is_empty() {
        kernel = format!("{host}.{domain}");
        if kernel.len() > 64 {
            return Err(format!(
                "Failed to construct FQDN from pod hostname and cluster domain, FQDN {kernel} is too long \
                 (64 characters is the max, {} characters requested)",
                kernel.len()
            ));
        }
    }
    Ok(Hostname { host, domain, kernel })
}

fn truncate(name: &str) -> String {
    let cut = &name[..name.len().min(MAX_HOSTNAME)];
    if cut.len() == name.len() {
        name.to_owned()
    } else {
        cut.trim_end_matches(['-', '.']).to_owned()
    }
}

/// The pod's /etc/hosts. `node_hosts` is the node's own file, used with `hostNetwork`.
pub fn hosts(pod: &Desired, name: &Hostname, ips: &[String], node_hosts: &str) -> String {
    let mut text = String::with_capacity(256 + node_hosts.len());
    if pod.host_network() {
        text.push_str("# Kubernetes-managed hosts file (host network).\n");
        text.push_str(node_hosts);
    } else {
        text.push_str(
            "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n\
             ::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
             fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
        );
        for ip in ips {
            let _ = match name.domain.as_str() {
                "" => writeln!(text, "{ip}\t{}", name.host),
                domain => writeln!(text, "{ip}\t{host}.{domain}\t{host}", host = name.host),
            };
        }
    }
    let aliases = pod.spec().host_aliases.as_deref().unwrap_or_default();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        for alias in aliases {
            let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
            let _ = writeln!(text, "{}\t{names}", alias.ip);
        }
    }
    text
}

/// A resolver configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolver {
    /// `nameserver` lines.
    pub servers: Vec<String>,
    /// The `search` line.
    pub searches: Vec<String>,
    /// The `options` line.
    pub options: Vec<String>,
}

/// Reads a resolv.conf; of several `search` lines the last counts.
pub fn parse_resolver(text: &str) -> Resolver {
    let mut resolver = Resolver::default();
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with(['#', ';']) {
            continue;
        }
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => resolver.servers.extend(words.next().map(str::to_owned)),
            Some("search") => resolver.searches = words.map(|w| w.trim_end_matches('.').to_owned()).collect(),
            Some("options") => resolver.options = words.map(str::to_owned).collect(),
            _ => {}
        }
    }
    resolver.searches.retain(|s| !s.is_empty());
    resolver
}

/// The pod's resolver by `dnsPolicy` and `dnsConfig`.
pub fn resolver(pod: &Desired, node: &Resolver, cluster_dns: &[IpAddr], cluster_domain: &str) -> Resolver {
    let policy = pod.spec().dns_policy.as_deref().unwrap_or("ClusterFirst");
    let cluster = match policy {
        "ClusterFirstWithHostNet" => true,
        "ClusterFirst" => !pod.host_network(),
        _ => false,
    };
    let mut resolver = if policy == "None" {
        Resolver::default()
    } else if cluster && !cluster_dns.is_empty() {
        let namespace = pod.namespace();
        let mut searches = vec![
            format!("{namespace}.svc.{cluster_domain}"),
            format!("svc.{cluster_domain}"),
            cluster_domain.to_owned(),
        ];
        add_missing(&mut searches, &node.searches);
        Resolver {
            servers: cluster_dns.iter().map(ToString::to_string).collect(),
            searches,
            options: vec!["ndots:5".into()],
        }
    } else {
        node.clone()
    };
    if let Some(config) = &pod.spec().dns_config {
        add_missing(
            &mut resolver.servers,
            config.nameservers.as_deref().unwrap_or_default(),
        );
        add_missing(
            &mut resolver.searches,
            config.searches.as_deref().unwrap_or_default(),
        );
        for option in config.options.iter().flatten() {
            let Some(name) = option.name.as_deref() else {
                continue;
            };
            let written = match option.value.as_deref() {
                Some(value) => format!("{name}:{value}"),
                None => name.to_owned(),
            };
            match resolver
                .options
                .iter_mut()
                .find(|o| o.split(':').next() == Some(name))
            {
                Some(present) => *present = written,
                None => resolver.options.push(written),
            }
        }
    }
    limit(&mut resolver);
    resolver
}

fn add_missing(into: &mut Vec<String>, from: &[String]) {
    for item in from {
        if !into.contains(item) {
            into.push(item.clone());
        }
    }
}

fn limit(resolver: &mut Resolver) {
    resolver.servers.truncate(MAX_NAMESERVERS);
    resolver.searches.truncate(MAX_SEARCHES);
    let mut chars = 0;
    resolver.searches.retain(|s| {
        chars += s.len() + 1;
        chars <= MAX_SEARCH_CHARS + 1
    });
}

impl std::fmt::Display for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.searches.is_empty() {
            writeln!(f, "search {}", self.searches.join(" "))?;
        }
        for server in &self.servers {
            writeln!(f, "nameserver {server}")?;
        }
        if !self.options.is_empty() {
            writeln!(f, "options {}", self.options.join(" "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::desired::tests::pod;
    use super::*;
    use serde_json::json;

    const NODE: &str = "# made by dhcp\nnameserver 192.168.1.1\nsearch lan.\noptions timeout:2\n";

    #[test]
    fn a_pod_asks_the_cluster_first() {
        let dns = ["10.43.0.10".parse().unwrap()];
        let node = parse_resolver(NODE);
        let text = resolver(&pod(json!({})), &node, &dns, "cluster.local").to_string();
        assert_eq!(
            text,
            "search default.svc.cluster.local svc.cluster.local cluster.local lan\n\
             nameserver 10.43.0.10\noptions ndots:5\n"
        );
        let host = pod(json!({"spec": {"hostNetwork": true}}));
        assert_eq!(resolver(&host, &node, &dns, "cluster.local"), node);
    }

    #[test]
    fn dns_config_adds_and_overrides() {
        let p = pod(
            json!({"spec": {"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"],
            "searches": ["a.b"], "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}}}),
        );
        let text = resolver(&p, &parse_resolver(NODE), &[], "cluster.local").to_string();
        assert_eq!(text, "search a.b\nnameserver 1.1.1.1\noptions ndots:2 edns0\n");
        let p = pod(json!({"spec": {"dnsConfig": {"options": [{"name": "ndots", "value": "2"}]}}}));
        let r = resolver(&p, &parse_resolver(NODE), &["10.43.0.10".parse().unwrap()], "c");
        assert_eq!(r.options, ["ndots:2"]);
    }

    #[test]
    fn a_subdomain_gives_the_pod_a_full_name() {
        let p = pod(json!({"spec": {"hostname": "db-0", "subdomain": "db", "setHostnameAsFQDN": true}}));
        let name = hostname(&p, "cluster.local").unwrap();
        assert_eq!(name.kernel, "db-0.db.default.svc.cluster.local");
        let text = hosts(&p, &name, &["10.42.0.3".into()], "");
        assert!(
            text.contains("10.42.0.3\tdb-0.db.default.svc.cluster.local\tdb-0\n"),
            "{text}"
        );
    }

    #[test]
    fn a_long_pod_name_is_cut_for_the_hostname() {
        let p = pod(json!({"metadata": {"name": format!("{}-x", "a".repeat(62))}}));
        assert_eq!(hostname(&p, "c").unwrap().host, "a".repeat(62));
    }

    #[test]
    fn host_aliases_are_added() {
        let p = pod(json!({"spec": {"hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]}}));
        let text = hosts(
            &p,
            &Hostname {
                host: "web".into(),
                ..Default::default()
            },
            &["10.0.0.1".into()],
            "",
        );
        assert!(
            text.ends_with("10.0.0.1\tweb\n\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"),
            "{text}"
        );
    }
}
