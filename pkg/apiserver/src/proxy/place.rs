//! Where a connection leads: from the names in a path to an address.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use kobune_api::status::{Reason, Status};
use rustls::ClientConfig;
use serde_json::Value;

use super::dial::unverified;
use crate::object::{elements, integer, text};
use crate::registry::call::Call;

/// The kubelet's port where the Node does not say.
const KUBELET: u16 = 10250;

/// The other end of a connection.
pub struct Place {
    /// Its address.
    pub address: SocketAddr,
    /// How to speak TLS with it; `None` for plain HTTP.
    pub tls: Option<Arc<ClientConfig>>,
    /// What its certificate must say, and the `Host` it is asked for.
    pub host: String,
}

/// The pod of the path.
pub fn pod(call: &Call<'_>) -> Result<Value, Status> {
    let record = call
        .server
        .store
        .get(&call.row.key(call.info.namespace, call.info.name));
    let record = record.ok_or_else(|| Status::not_found(call.row.resource(), call.info.name))?;
    call.read(&record.value)
}

/// The node that a pod runs on.
pub fn node_of(pod: &Value) -> Result<String, Status> {
    match text(pod, &["spec", "nodeName"]) {
        "" => Err(Status::bad_request(format!(
            "pod {} does not have a host assigned",
            kobune_api::meta::name(pod)
        ))),
        node => Ok(node.to_owned()),
    }
}

/// The container that is meant: the named one, or the only one.
pub fn container(pod: &Value, named: Option<&str>) -> Result<String, Status> {
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    let names = |list: &str| -> Vec<&str> {
        let containers = elements(pod, &["spec", list]).iter();
        containers.map(|container| text(container, &["name"])).collect()
    };
    let name = kobune_api::meta::name(pod);
    if let Some(named) = named {
        if lists.iter().any(|list| names(list).contains(&named)) {
            return Ok(named.to_owned());
        }
        return Err(Status::bad_request(format!(
            "container {named} is not valid for pod {name}"
        )));
    }
    let (regular, init, ephemeral) = (
        names("containers"),
        names("initContainers"),
        names("ephemeralContainers"),
    );
    match (regular.as_slice(), init.is_empty() && ephemeral.is_empty()) {
        ([only], true) => Ok((*only).to_owned()),
        ([], _) => Err(Status::bad_request(format!(
            "a container name must be specified for pod {name}"
        ))),
        (_, _) => {
            let mut message = format!(
                "a container name must be specified for pod {name}, choose one of: [{}]",
                regular.join(" ")
            );
            if !init.is_empty() {
                message.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
            }
            if !ephemeral.is_empty() {
                message.push_str(&format!(
                    " or one of the ephemeral containers: [{}]",
                    ephemeral.join(" ")
                ));
            }
            Err(Status::bad_request(message))
        }
    }
}

/// The kubelet of a node.
pub fn kubelet(call: &Call<'_>, node: &str) -> Result<Place, Status> {
    let record = call.server.store.get(&format!("/registry/core/nodes/{node}"));
    let record = record.ok_or_else(|| Status::not_found(("", "nodes"), node))?;
    let node = call.read(&record.value)?;
    let port = integer(&node, &["status", "daemonEndpoints", "kubeletEndpoint", "Port"]);
    let port = port
        .and_then(|port| u16::try_from(port).ok())
        .filter(|port| *port > 0)
        .unwrap_or(KUBELET);
    let ip = address_of(&node)?;
    Ok(Place {
        address: (ip, port).into(),
        tls: Some(call.server.config.kubelet_client_tls.clone()),
        host: ip.to_string(),
    })
}

fn address_of(node: &Value) -> Result<IpAddr, Status> {
    let addresses = elements(node, &["status", "addresses"]);
    ["InternalIP", "ExternalIP"]
        .iter()
        .flat_map(|kind| addresses.iter().filter(move |address| address["type"] == *kind))
        .find_map(|address| text(address, &["address"]).parse().ok())
        .ok_or_else(|| {
            let name = kobune_api::meta::name(node);
            Status::internal(format!(
                "no preferred addresses found for node {name}; known addresses: {addresses:?}"
            ))
        })
}

/// `nodes/{name}/proxy`: the kubelet, or another port of the node.
pub fn node(call: &Call<'_>) -> Result<Place, Status> {
    let (scheme, name, port) = split_name(call.info.name)?;
    let kubelet = kubelet(call, name)?;
    let number: Option<u16> = port.parse().ok();
    match number {
        Some(port) if port != kubelet.address.port() => Ok(Place {
            address: (kubelet.address.ip(), port).into(),
            tls: (scheme == "https").then(unverified),
            host: kubelet.host,
        }),
        _ => Ok(kubelet),
    }
}

/// `pods/{name}/proxy`: a port of the pod, the first one that it tells when none is named.
pub fn pod_port(call: &Call<'_>) -> Result<Place, Status> {
    let (scheme, name, port) = split_name(call.info.name)?;
    let record = call.server.store.get(&call.row.key(call.info.namespace, name));
    let record = record.ok_or_else(|| Status::not_found(call.row.resource(), name))?;
    let pod = call.read(&record.value)?;
    let ports = elements(&pod, &["spec", "containers"]).iter();
    let mut ports = ports.flat_map(|container| elements(container, &["ports"]));
    let number = match port {
        "" => ports
            .next()
            .and_then(|port| integer(port, &["containerPort"]))
            .unwrap_or(80),
        named => match named.parse() {
            Ok(number) => number,
            Err(_) => ports
                .find(|port| text(port, &["name"]) == named)
                .and_then(|port| integer(port, &["containerPort"]))
                .ok_or_else(|| unavailable(format!("pod {name} has no port named {named}")))?,
        },
    };
    let ip = text(&pod, &["status", "podIP"])
        .parse()
        .map_err(|_| unavailable(format!("address not allowed: pod {name} has no address yet")))?;
    place(ip, number, scheme)
}

/// A place by its parts.
pub fn place(ip: IpAddr, port: i64, scheme: &str) -> Result<Place, Status> {
    let port = u16::try_from(port).map_err(|_| Status::bad_request(format!("invalid port {port}")))?;
    // An object could name any address: those of the machine itself are not what proxies are for.
    if ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || is_link_local(ip) {
        return Err(Status::bad_request(format!("address not allowed: {ip}")));
    }
    Ok(Place {
        address: (ip, port).into(),
        tls: (scheme == "https").then(unverified),
        host: ip.to_string(),
    })
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// Nobody is there to ask.
pub fn unavailable(message: String) -> Status {
    Status::new(503, Reason::ServiceUnavailable, message)
}

/// `name`, `name:port`, `scheme:name:port`.
pub fn split_name(text: &str) -> Result<(&str, &str, &str), Status> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        [name] if !name.is_empty() => Ok(("http", name, "")),
        [name, port] if !name.is_empty() => Ok(("http", name, port)),
        [scheme @ ("http" | "https" | ""), name, port] if !name.is_empty() => {
            Ok((if scheme.is_empty() { "http" } else { scheme }, name, port))
        }
        _ => Err(Status::bad_request(format!(
            "invalid request {text:?}: expected name, name:port or scheme:name:port"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_container_is_chosen_only_where_there_is_no_choice() {
        let one = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}]}});
        assert_eq!(container(&one, None).ok().as_deref(), Some("a"));
        let two = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
        assert_eq!(container(&two, Some("b")).ok().as_deref(), Some("b"));
        let error = container(&two, None).expect_err("two");
        assert_eq!(
            error.message,
            "a container name must be specified for pod p, choose one of: [a b]"
        );
        assert!(container(&two, Some("c")).is_err());
    }

    #[test]
    fn names_may_carry_scheme_and_port() {
        assert_eq!(split_name("a").ok(), Some(("http", "a", "")));
        assert_eq!(split_name("a:http").ok(), Some(("http", "a", "http")));
        assert_eq!(split_name("https:a:443").ok(), Some(("https", "a", "443")));
        assert!(split_name("ftp:a:1").is_err());
    }

    #[test]
    fn the_machine_itself_is_not_proxied_to() {
        for address in ["127.0.0.1", "169.254.169.254", "::1", "0.0.0.0"] {
            assert!(place(address.parse().expect("an address"), 80, "http").is_err());
        }
    }
}
