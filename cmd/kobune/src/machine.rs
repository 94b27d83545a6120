//! What this machine says of itself: its name and its address.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, anyhow};

/// This machine's name in lower case, as nodes are named.
pub fn hostname() -> Result<String> {
    let name = nix::unistd::gethostname().context("asking for this machine's name")?;
    let name = name.to_string_lossy().to_lowercase();
    crate::values::node_name(&name).map_err(|problem| {
        anyhow!("this machine's name cannot name a node: {problem}; choose one with --node-name")
    })
}

/// The address of the interface with the default route, else the first that is not loopback.
pub fn address() -> Result<Ipv4Addr> {
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    let default_interface = routes.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let (interface, destination) = (fields.next()?, fields.next()?);
        (destination == "00000000").then(|| interface.to_owned())
    });
    let addresses: Vec<(String, Ipv4Addr)> = nix::ifaddrs::getifaddrs()
        .context("listing this machine's addresses")?
        .filter_map(|interface| {
            let address = interface.address?.as_sockaddr_in()?.ip();
            (!address.is_loopback()).then_some((interface.interface_name, address))
        })
        .collect();
    addresses
        .iter()
        .find(|(interface, _)| Some(interface) == default_interface.as_ref())
        .or_else(|| addresses.first())
        .map(|(_, address)| *address)
        .ok_or_else(|| anyhow!("this machine has no IPv4 address but loopback; name one with --node-ip"))
}
