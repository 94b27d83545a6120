//! Forgetting UDP flows that were translated to what is no longer there.
//!
//! A connection's first packet decides on its translation, the rest follow. TCP notices when the other
//! end is gone; a UDP client that goes on sending keeps its flow, and so its dead endpoint, for ever.

use std::io;
use std::net::Ipv4Addr;

use crate::Protocol;
use crate::netlink::{Messages, NLM_F_DUMP, Socket, attributes};
use crate::service::plan::{Endpoint, Front};

const GET: u16 = 1 << 8 | 1;
const DELETE: u16 = 1 << 8 | 2;
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const ID: u16 = 12;
const TUPLE_ADDRESSES: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const SOURCE: u16 = 1;
const DESTINATION: u16 = 2;
const PROTOCOL_NUMBER: u16 = 1;
const SOURCE_PORT: u16 = 2;
const DESTINATION_PORT: u16 = 3;
const BODY: usize = 4;

/// Flows to a front that lead to none of these endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stale {
    pub front: Front,
    pub keep: Vec<Endpoint>,
}

impl Stale {
    /// What is stale when a front's endpoints change: nothing if all that were there still are.
    pub(crate) fn between(front: Front, old: &[Endpoint], new: &[Endpoint]) -> Option<Self> {
        let stays = !old.is_empty() && old.iter().all(|endpoint| new.contains(endpoint));
        let concerned = front.protocol() == Protocol::Udp && old != new && !stays;
        concerned.then(|| Self {
            front,
            keep: new.to_vec(),
        })
    }

    fn has(&self, flow: &Flow) -> bool {
        let to_front = match self.front {
            Front::Address(address, _, port) => flow.to == (Endpoint { address, port }),
            Front::NodePort(_, port) => flow.to.port == port,
        };
        to_front && !self.keep.contains(&flow.answered_by)
    }
}

/// A UDP flow: where its first packet was sent, and who is to answer.
#[derive(Debug, PartialEq, Eq)]
struct Flow {
    to: Endpoint,
    answered_by: Endpoint,
}

/// Deletes the stale flows; returns how many there were.
pub(crate) fn forget(socket: &mut Socket, stale: &[Stale]) -> io::Result<u32> {
    if stale.is_empty() {
        return Ok(0);
    }
    let mut dump = Messages::new();
    dump.push(GET, NLM_F_DUMP, |m| m.body(&[libc::AF_INET as u8, 0, 0, 0]));
    let mut deletions = Messages::new();
    let said = socket.query(&mut dump, |body| {
        let Some(body) = body.get(BODY..) else { return };
        if read_flow(body).is_some_and(|flow| stale.iter().any(|stale| stale.has(&flow))) {
            delete(&mut deletions, body);
        }
    })?;
    said.map_err(|failure| failure.error())?;
    if deletions.count() > 0 {
        let failures = socket.execute(&mut deletions)?;
        // One that ended by itself meanwhile is as good as deleted.
        if let Some(failure) = failures.iter().find(|failure| failure.errno != libc::ENOENT) {
            return Err(failure.error());
        }
    }
    Ok(deletions.count())
}

fn delete(deletions: &mut Messages, flow: &[u8]) {
    let found = attributes(flow);
    let (Some(original), Some(id)) = (found.find(TUPLE_ORIGINAL), found.find(ID)) else {
        return;
    };
    deletions.push(DELETE, 0, |m| {
        m.body(&[libc::AF_INET as u8, 0, 0, 0]);
        m.nested_bytes(TUPLE_ORIGINAL, original);
        m.attribute(ID, id);
    });
}

fn read_flow(flow: &[u8]) -> Option<Flow> {
    let found = attributes(flow);
    let (original, reply) = (found.find(TUPLE_ORIGINAL)?, found.find(TUPLE_REPLY)?);
    let protocol = attributes(attributes(original).find(TUPLE_PROTOCOL)?);
    if protocol.find(PROTOCOL_NUMBER)? != [Protocol::Udp.number()] {
        return None;
    }
    Some(Flow {
        to: end(original, DESTINATION, DESTINATION_PORT)?,
        answered_by: end(reply, SOURCE, SOURCE_PORT)?,
    })
}

fn end(tuple: &[u8], address: u16, port: u16) -> Option<Endpoint> {
    let parts = attributes(tuple);
    let address: [u8; 4] = attributes(parts.find(TUPLE_ADDRESSES)?)
        .find(address)?
        .try_into()
        .ok()?;
    let port: [u8; 2] = attributes(parts.find(TUPLE_PROTOCOL)?)
        .find(port)?
        .try_into()
        .ok()?;
    Some(Endpoint {
        address: Ipv4Addr::from(address),
        port: u16::from_be_bytes(port),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Endpoint = Endpoint {
        address: Ipv4Addr::new(10, 42, 0, 2),
        port: 53,
    };
    const B: Endpoint = Endpoint {
        address: Ipv4Addr::new(10, 42, 0, 3),
        port: 53,
    };

    #[test]
    fn flows_are_stale_when_an_endpoint_goes_or_the_first_one_comes() {
        let front = Front::NodePort(Protocol::Udp, 30053);
        assert!(Stale::between(front, &[A, B], &[A]).is_some());
        assert!(Stale::between(front, &[], &[A]).is_some());
        assert!(Stale::between(front, &[A], &[A, B]).is_none());
        assert!(Stale::between(front, &[A], &[A]).is_none());
        assert!(Stale::between(Front::NodePort(Protocol::Tcp, 30053), &[A, B], &[A]).is_none());
    }

    #[test]
    fn only_flows_to_the_front_that_nobody_answers_are_stale() {
        let address = Ipv4Addr::new(10, 43, 0, 5);
        let stale = Stale {
            front: Front::Address(address, Protocol::Udp, 80),
            keep: vec![A],
        };
        let to = Endpoint { address, port: 80 };
        assert!(stale.has(&Flow { to, answered_by: B }));
        assert!(!stale.has(&Flow { to, answered_by: A }));
        assert!(!stale.has(&Flow {
            to: Endpoint { port: 81, ..to },
            answered_by: B
        }));
    }
}
