//! What a server is told, complete: flags with the rest derived, contradictions refused.

use std::net::Ipv4Addr;

use anyhow::{Result, bail};
use kobune_pki::SubjectAltName;

use crate::cli::ServerArgs;
use crate::paths::Paths;
use crate::values::Cidr;

/// Bits of one node's part of `--cluster-cidr` (kube-controller-manager's `--node-cidr-mask-size`).
const NODE_PREFIX: u8 = 24;

/// A server's settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The flags as given.
    pub flags: ServerArgs,
    /// The folders.
    pub paths: Paths,
    /// The node's name.
    pub node_name: String,
    /// The node's address.
    pub node_ip: Ipv4Addr,
    /// Where others reach the API.
    pub advertise: Ipv4Addr,
    /// Where this node's pods reach an API that listens on a loopback address, which they cannot: their
    /// gateway. Other machines have no route there.
    pub pods_door: Option<Ipv4Addr>,
    /// This node's part of the pods' range.
    pub pod_cidr: Cidr,
    /// The cluster DNS' address.
    pub cluster_dns: Ipv4Addr,
    /// Whether the built-in cluster DNS runs.
    pub dns: bool,
}

impl Settings {
    /// Completes the flags with what this machine says, and checks them against each other.
    pub fn resolve(flags: ServerArgs) -> Result<Self> {
        let node_ip = match flags.node_ip.or(flags
            .bind_address
            .filter(|address| !address.is_unspecified() && !address.is_loopback()))
        {
            Some(address) => address,
            None => crate::machine::address()?,
        };
        let node_name = match &flags.node_name {
            Some(name) => name.clone(),
            None => crate::machine::hostname()?,
        };
        check_ranges(&flags, node_ip)?;
        let cluster_dns = flags.cluster_dns.unwrap_or_else(|| flags.service_cidr.nth(10));
        if !flags.service_cidr.contains(cluster_dns) {
            bail!(
                "--cluster-dns {cluster_dns} is not in --service-cidr {}",
                flags.service_cidr
            );
        }
        let pod_cidr = flags.cluster_cidr.first_subnet(NODE_PREFIX);
        let loopback = flags.bind_address.filter(Ipv4Addr::is_loopback);
        let pods_door = loopback.filter(|_| !flags.disable_agent).map(|_| pod_cidr.nth(1));
        let reachable = pods_door.or(loopback).unwrap_or(node_ip);
        Ok(Settings {
            paths: Paths::of(&flags.data_dir),
            node_name,
            node_ip,
            advertise: flags.advertise_address.unwrap_or(reachable),
            pods_door,
            pod_cidr,
            cluster_dns,
            dns: !flags
                .disable
                .iter()
                .any(|part| part == "dns" || part == "coredns"),
            flags,
        })
    }

    /// What the API's certificate is valid for.
    pub fn api_names(&self) -> Vec<SubjectAltName> {
        let domain = &self.flags.cluster_domain;
        let mut names: Vec<SubjectAltName> = [
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "localhost",
        ]
        .map(SubjectAltName::parse)
        .into();
        names.push(SubjectAltName::Name(format!("kubernetes.default.svc.{domain}")));
        names.push(SubjectAltName::Name(self.node_name.clone()));
        for address in [
            Ipv4Addr::LOCALHOST,
            self.node_ip,
            self.advertise,
            self.flags.service_cidr.nth(1),
        ] {
            names.push(SubjectAltName::Address(address.into()));
        }
        names.extend(
            self.flags
                .bind_address
                .map(|address| SubjectAltName::Address(address.into())),
        );
        names.extend(self.flags.tls_san.iter().map(|name| SubjectAltName::parse(name)));
        names
    }

    /// Where clients on this machine reach the API.
    pub fn local_url(&self) -> String {
        let host = self
            .flags
            .bind_address
            .filter(|address| !address.is_unspecified())
            .unwrap_or(Ipv4Addr::LOCALHOST);
        format!("https://{host}:{}", self.flags.https_listen_port)
    }
}

fn check_ranges(flags: &ServerArgs, node_ip: Ipv4Addr) -> Result<()> {
    let (pods, services) = (flags.cluster_cidr, flags.service_cidr);
    if pods.overlaps(services) {
        bail!(
            "--cluster-cidr {pods} and --service-cidr {services} overlap: choose ranges that share no address"
        );
    }
    if pods.prefix > 28 {
        bail!("--cluster-cidr {pods} is too small for a node's pods: it needs a prefix of 28 or less");
    }
    if !(8..=28).contains(&services.prefix) {
        bail!("--service-cidr {services} must have a prefix from 8 to 28");
    }
    for (flag, range) in [("--cluster-cidr", pods), ("--service-cidr", services)] {
        if range.contains(node_ip) {
            bail!(
                "{flag} {range} contains this node's address {node_ip}: choose another range, or --node-ip"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn resolve(arguments: &[&str]) -> Result<Settings> {
        let words = ["kobune", "server", "--node-ip=192.0.2.7", "--node-name=n"]
            .iter()
            .chain(arguments);
        match crate::cli::Cli::parse_from(words).command {
            crate::cli::Command::Server(flags) => Settings::resolve(*flags),
            _ => unreachable!("the words say server"),
        }
    }

    #[test]
    fn the_defaults_are_those_of_k3s() {
        let settings = resolve(&[]).unwrap();
        assert_eq!(settings.cluster_dns.to_string(), "10.43.0.10");
        assert_eq!(settings.pod_cidr.to_string(), "10.42.0.0/24");
        assert_eq!(settings.local_url(), "https://127.0.0.1:6443");
    }

    #[test]
    fn pods_reach_an_api_on_a_loopback_address_by_their_gateway() {
        let settings = resolve(&["--bind-address=127.0.0.1", "--https-listen-port=7443"]).unwrap();
        assert_eq!(settings.local_url(), "https://127.0.0.1:7443");
        assert_eq!(settings.node_ip.to_string(), "192.0.2.7");
        assert_eq!(settings.advertise.to_string(), "10.42.0.1");
        assert_eq!(settings.pods_door, Some(settings.advertise));
        // Without pods there is nobody to reach it.
        let alone = resolve(&["--bind-address=127.0.0.1", "--disable-agent"]).unwrap();
        assert_eq!((alone.pods_door, alone.advertise), (None, Ipv4Addr::LOCALHOST));
        assert_eq!(resolve(&[]).unwrap().pods_door, None);
    }

    #[test]
    fn ranges_that_overlap_are_refused_by_name() {
        let error = resolve(&["--service-cidr=10.42.128.0/17"])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("--cluster-cidr") && error.contains("--service-cidr"),
            "{error}"
        );
    }

    #[test]
    fn a_range_with_the_nodes_own_address_is_refused() {
        assert!(
            resolve(&["--cluster-cidr=192.0.0.0/16"])
                .unwrap_err()
                .to_string()
                .contains("192.0.2.7")
        );
    }

    #[test]
    fn the_dns_address_must_be_a_services() {
        assert!(
            resolve(&["--cluster-dns=1.1.1.1"])
                .unwrap_err()
                .to_string()
                .contains("--service-cidr")
        );
    }
}
