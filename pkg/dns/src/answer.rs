//! From a question and the zone to an answer. Pure.
//!
//! The names are those of Kubernetes' DNS specification 1.1.0, and where it is silent CoreDNS':
//!
//! ```text
//! SERVICE.NAMESPACE.svc.DOMAIN                   A: the cluster address, or all ready endpoints
//! HOST.SERVICE.NAMESPACE.svc.DOMAIN              A: an endpoint, by its hostname or dashed address
//! _PORT._PROTOCOL.SERVICE.NAMESPACE.svc.DOMAIN   SRV
//! 1-2-3-4.NAMESPACE.pod.DOMAIN                   A: what it says
//! D.C.B.A.in-addr.arpa                           PTR of Services and endpoints
//! dns-version.DOMAIN                             TXT
//! ```

use std::net::IpAddr;

use hickory_proto::rr::rdata::{CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::names::{Endpoint, Kind, Names, Port, undashed};
use crate::zone::Zone;

/// Seconds for which an answer may be remembered.
pub(crate) const TTL: u32 = 5;
/// Version of the DNS specification that the names follow.
const SPECIFICATION: &str = "1.1.0";
/// A chain of names of `ExternalName` Services is followed so far.
const ALIASES_AT_MOST: usize = 8;

/// The domain we answer for, and under which addresses we ourselves are found.
#[derive(Debug, Clone)]
pub(crate) struct Authority {
    domain: Vec<String>,
    name: Name,
    own: Vec<IpAddr>,
}

impl Authority {
    /// The authority of a domain such as `cluster.local`; `None` if it is not a domain name.
    pub(crate) fn new(domain: &str, own: Vec<IpAddr>) -> Option<Self> {
        let name = Name::from_ascii(format!("{}.", domain.trim_end_matches('.'))).ok()?;
        let domain = labels(&name);
        (!domain.is_empty()).then_some(Self { domain, name, own })
    }

    /// `RELATIVE.DOMAIN.`
    fn absolute(&self, relative: &str) -> Option<Name> {
        Name::from_ascii(format!("{relative}.{}", self.name)).ok()
    }

    /// Who is responsible for the domain; goes with every negative answer.
    pub(crate) fn start(&self, serial: u32) -> Option<Record> {
        let soa = SOA::new(
            self.absolute("ns.dns")?,
            self.absolute("hostmaster")?,
            serial,
            7200,
            1800,
            86400,
            TTL,
        );
        Some(Record::from_rdata(self.name.clone(), TTL, RData::SOA(soa)))
    }
}

/// What to reply.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    /// Somebody else's name.
    NotOurs,
    /// Not known yet: ask again.
    NotYet,
    /// Records; with `alias`, somebody else has to say what that name is.
    Found {
        answers: Vec<Record>,
        additionals: Vec<Record>,
        alias: Option<Name>,
    },
    /// There is such a name, but nothing of this type.
    NoData,
    /// There is no such name.
    NoName,
}

fn found(answers: Vec<Record>) -> Answer {
    match answers.is_empty() {
        true => Answer::NoData,
        false => Answer::Found {
            answers,
            additionals: Vec::new(),
            alias: None,
        },
    }
}

/// A name's labels in small letters, the last one first.
fn labels(name: &Name) -> Vec<String> {
    let mut labels: Vec<_> = name
        .iter()
        .map(|label| String::from_utf8_lossy(label).to_ascii_lowercase())
        .collect();
    labels.reverse();
    labels
}

/// Answers a question. `turn` counts the questions: the records of a name take turns at being first.
pub(crate) fn answer(
    name: &Name,
    kind: RecordType,
    authority: &Authority,
    zone: &Zone,
    turn: usize,
) -> Answer {
    let mut result = answer_one(name, kind, authority, zone, turn);
    for _ in 0..ALIASES_AT_MOST {
        let Answer::Found {
            answers,
            additionals,
            alias,
        } = &mut result
        else {
            break;
        };
        let Some(target) = alias else { break };
        match answer_one(target, kind, authority, zone, turn) {
            Answer::NotOurs => break,
            Answer::Found {
                answers: more,
                additionals: beside,
                alias: next,
            } => {
                answers.extend(more);
                additionals.extend(beside);
                *alias = next;
            }
            Answer::NotYet | Answer::NoData | Answer::NoName => *alias = None,
        }
    }
    result
}

fn answer_one(name: &Name, kind: RecordType, authority: &Authority, zone: &Zone, turn: usize) -> Answer {
    let labels = labels(name);
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    if let Some(address) = reverse(&labels) {
        return pointer(name, kind, address, authority, zone);
    }
    let domain = authority.domain.len();
    let ours = labels.len() >= domain
        && labels[..domain]
            .iter()
            .zip(&authority.domain)
            .all(|(a, b)| a == b);
    if !ours {
        return Answer::NotOurs;
    }
    let question = Question {
        name,
        kind,
        authority,
        zone,
        turn,
    };
    match labels[domain..] {
        [] => question.apex(),
        ["dns-version"] => question.version(),
        ["dns"] => Answer::NoData,
        ["dns", "ns"] => question.addresses(authority.own.iter().copied()),
        _ if !zone.complete => Answer::NotYet,
        ["svc"] | ["pod"] => Answer::NoData,
        ["svc" | "pod", namespace] => question.namespace(namespace),
        ["pod", namespace, pod] => question.pod(namespace, pod),
        ["svc", namespace, service, ref rest @ ..] => question.service(namespace, service, rest),
        _ => Answer::NoName,
    }
}

struct Question<'a> {
    name: &'a Name,
    kind: RecordType,
    authority: &'a Authority,
    zone: &'a Zone,
    turn: usize,
}

impl Question<'_> {
    fn is(&self, kind: RecordType) -> bool {
        self.kind == kind || self.kind == RecordType::ANY
    }

    fn record(&self, data: RData) -> Record {
        Record::from_rdata(self.name.clone(), TTL, data)
    }

    /// Those of the addresses that are of the type asked for.
    fn addresses(&self, addresses: impl Iterator<Item = IpAddr>) -> Answer {
        let mut addresses: Vec<IpAddr> = addresses
            .filter(|address| {
                self.is(if address.is_ipv4() {
                    RecordType::A
                } else {
                    RecordType::AAAA
                })
            })
            .collect();
        if !addresses.is_empty() {
            let first = self.turn % addresses.len();
            addresses.rotate_left(first);
        }
        found(
            addresses
                .into_iter()
                .map(|address| self.record(RData::from(address)))
                .collect(),
        )
    }

    fn apex(&self) -> Answer {
        let mut answers = Vec::new();
        if self.is(RecordType::SOA) {
            answers.extend(self.authority.start(self.zone.serial));
        }
        if self.is(RecordType::NS) {
            answers.extend(
                self.authority
                    .absolute("ns.dns")
                    .map(|name| self.record(RData::NS(NS(name)))),
            );
        }
        found(answers)
    }

    fn version(&self) -> Answer {
        let text = || self.record(RData::TXT(TXT::new(vec![SPECIFICATION.to_owned()])));
        found(self.is(RecordType::TXT).then(text).into_iter().collect())
    }

    fn namespace(&self, namespace: &str) -> Answer {
        if self.zone.has_namespace(namespace) {
            Answer::NoData
        } else {
            Answer::NoName
        }
    }

    /// The pod need not exist, only its namespace.
    fn pod(&self, namespace: &str, pod: &str) -> Answer {
        match undashed(pod).filter(|_| self.zone.has_namespace(namespace)) {
            Some(address) => self.addresses([address].into_iter()),
            None => Answer::NoName,
        }
    }

    fn service(&self, namespace: &str, service: &str, rest: &[&str]) -> Answer {
        let Some(names) = self.zone.service(namespace, service) else {
            return Answer::NoName;
        };
        let path = format!("{service}.{namespace}.svc");
        match *rest {
            [] => self.whole(names, &path),
            [protocol, port] if protocol.starts_with('_') && port.starts_with('_') => {
                let named = |candidate: &Port| {
                    *candidate.protocol == protocol[1..] && *candidate.name == port[1..] && port.len() > 1
                };
                self.ports(names, &path, named)
            }
            [protocol] if protocol.starts_with('_') => {
                let some = all_ports(names).any(|port| *port.protocol == protocol[1..]);
                if some { Answer::NoData } else { Answer::NoName }
            }
            [host] => self.host(names, host),
            _ => Answer::NoName,
        }
    }

    /// The Service's own name. A headless one without endpoints does not exist, says the specification.
    fn whole(&self, names: &Names, path: &str) -> Answer {
        if let Kind::External(target) = &names.kind {
            return self.alias(target);
        }
        if self.kind == RecordType::SRV {
            return self.ports(names, path, |_| true);
        }
        match &names.kind {
            Kind::Cluster { addresses, .. } => self.addresses(addresses.iter().copied()),
            _ if names.endpoints.is_empty() => Answer::NoName,
            _ => self.addresses(names.endpoints.iter().map(|endpoint| endpoint.address)),
        }
    }

    fn host(&self, names: &Names, host: &str) -> Answer {
        let mut matching = names
            .endpoints
            .iter()
            .filter(|endpoint| *endpoint.host == *host)
            .peekable();
        if matching.peek().is_none() {
            return Answer::NoName;
        }
        self.addresses(matching.map(|endpoint| endpoint.address))
    }

    /// SRV records of the ports that `wanted` holds for, with the addresses they lead to.
    fn ports(&self, names: &Names, path: &str, wanted: impl Fn(&Port) -> bool) -> Answer {
        if !all_ports(names).any(&wanted) {
            return Answer::NoName;
        }
        if !self.is(RecordType::SRV) {
            return Answer::NoData;
        }
        let mut answers = Vec::new();
        let mut additionals = Vec::new();
        let mut add = |target: String, ports: &[Port], addresses: &[IpAddr]| {
            let Some(target) = self.authority.absolute(&target) else {
                return;
            };
            let ports = ports.iter().filter(|port| wanted(port));
            let before = answers.len();
            // Priority 0; weight 100 shared by nobody in particular, as clients choose.
            answers.extend(
                ports.map(|port| self.record(RData::SRV(SRV::new(0, 100, port.number, target.clone())))),
            );
            if answers.len() > before {
                let data = addresses.iter().map(|address| RData::from(*address));
                additionals.extend(data.map(|data| Record::from_rdata(target.clone(), TTL, data)));
            }
        };
        match &names.kind {
            Kind::Cluster { addresses, ports } => add(path.to_owned(), ports, addresses),
            _ => names
                .endpoints
                .iter()
                .for_each(|Endpoint { host, address, ports }| {
                    add(format!("{host}.{path}"), ports, &[*address]);
                }),
        }
        Answer::Found {
            answers,
            additionals,
            alias: None,
        }
    }

    /// An `ExternalName`: what the other name is, the caller finds out.
    fn alias(&self, target: &str) -> Answer {
        let Ok(target) = Name::from_ascii(format!("{target}.")) else {
            return Answer::NoData;
        };
        let answers = vec![self.record(RData::CNAME(CNAME(target.clone())))];
        let alias = (self.kind != RecordType::CNAME).then_some(target);
        Answer::Found {
            answers,
            additionals: Vec::new(),
            alias,
        }
    }
}

fn all_ports(names: &Names) -> impl Iterator<Item = &Port> {
    let own = match &names.kind {
        Kind::Cluster { ports, .. } => &**ports,
        _ => &[],
    };
    let endpoints = match &names.kind {
        Kind::Headless => &*names.endpoints,
        _ => &[],
    };
    own.iter()
        .chain(endpoints.iter().flat_map(|endpoint| &endpoint.ports))
}

/// The address in `4.3.2.1.in-addr.arpa` or its IPv6 sister, whose labels come last first.
fn reverse(labels: &[&str]) -> Option<IpAddr> {
    match labels {
        ["arpa", "in-addr", bytes @ ..] if bytes.len() == 4 => {
            bytes.join(".").parse::<std::net::Ipv4Addr>().ok().map(IpAddr::V4)
        }
        ["arpa", "ip6", digits @ ..] if digits.len() == 32 && digits.iter().all(|digit| digit.len() == 1) => {
            let number = u128::from_str_radix(&digits.concat(), 16).ok()?;
            Some(IpAddr::V6(number.into()))
        }
        _ => None,
    }
}

/// An address that is nobody's here may be somebody else's.
fn pointer(name: &Name, kind: RecordType, address: IpAddr, authority: &Authority, zone: &Zone) -> Answer {
    let names = match authority.own.contains(&address) {
        true => vec!["ns.dns".to_owned()],
        false => zone.names_of(address),
    };
    if names.is_empty() {
        return Answer::NotOurs;
    }
    if !matches!(kind, RecordType::PTR | RecordType::ANY) {
        return Answer::NoData;
    }
    let names = names.iter().filter_map(|relative| authority.absolute(relative));
    found(
        names
            .map(|target| Record::from_rdata(name.clone(), TTL, RData::PTR(PTR(target))))
            .collect(),
    )
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
