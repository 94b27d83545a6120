//! Services in the table: what each of them wants, and the changes from what the kernel has.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::base::{MASQUERADE_MARK, NO_ENDPOINT_NODE_PORTS, NO_ENDPOINTS, NODE_PORTS, SERVICE_IPS};
use super::hairpin::Hairpins;
use crate::Cidr;
use crate::conntrack::Stale;
use crate::nft::{Batch, Element, Verdict, concat};
use crate::service::plan::{Chain, Front, ServicePlan, Target};

/// All Services, by `namespace/name`.
#[derive(Debug, Default)]
pub(super) struct Services {
    plans: HashMap<Arc<str>, ServicePlan>,
    /// Who wants each address and port; the first one gets it. (The API gives cluster addresses and node
    /// ports to one Service only; external addresses are the users' to keep apart.)
    claims: HashMap<Front, Vec<(Arc<str>, Target)>>,
}

/// What changed, with what the kernel has of it.
#[derive(Default)]
struct Changes {
    fronts: BTreeMap<Front, Option<Target>>,
    new: Vec<(String, Chain)>,
    changed: Vec<(String, Chain)>,
    gone: Vec<String>,
    /// Maps of remembered clients, by name and seconds.
    new_clients: Vec<(String, u32)>,
    gone_clients: Vec<String>,
}

impl Services {
    /// Plans nothing for all Services but these.
    pub(super) fn keep_only(&mut self, plans: &[(Arc<str>, ServicePlan)]) {
        let kept: HashSet<_> = plans.iter().map(|(service, _)| service).collect();
        self.plans.retain(|service, _| kept.contains(service));
        for claims in self.claims.values_mut() {
            claims.retain(|(service, _)| kept.contains(service));
        }
        self.claims.retain(|_, claims| !claims.is_empty());
    }

    /// Replaces the plans of some Services and writes what the kernel must change. Returns which flows
    /// are stale afterwards.
    pub(super) fn change(
        &mut self,
        plans: Vec<(Arc<str>, ServicePlan)>,
        batch: &mut Batch,
        hairpins: &mut Hairpins,
        pod_cidr: &Cidr,
    ) -> Vec<Stale> {
        let mut changes = Changes::default();
        let mut stale = Vec::new();
        for (service, plan) in plans {
            let old = self.plans.remove(&service).unwrap_or_default();
            if old != plan {
                stale.extend(stale_flows(&old, &plan));
                self.change_claims(&service, &old, &plan, &mut changes);
                change_chains(&old, &plan, &mut changes);
                endpoints_in(&old, pod_cidr).for_each(|address| hairpins.remove(address));
                endpoints_in(&plan, pod_cidr).for_each(|address| hairpins.add(address));
            }
            if plan != ServicePlan::default() {
                self.plans.insert(service, plan);
            }
        }
        self.write(changes, batch);
        stale
    }

    fn change_claims(
        &mut self,
        service: &Arc<str>,
        old: &ServicePlan,
        new: &ServicePlan,
        changes: &mut Changes,
    ) {
        let gone = old.fronts.keys().filter(|front| !new.fronts.contains_key(front));
        for front in gone {
            changes.remember(*front, &self.claims);
            if let Some(claims) = self.claims.get_mut(front) {
                claims.retain(|(claimant, _)| claimant != service);
                if claims.is_empty() {
                    self.claims.remove(front);
                }
            }
        }
        for (front, target) in &new.fronts {
            if old.fronts.get(front) == Some(target) {
                continue;
            }
            changes.remember(*front, &self.claims);
            let claims = self.claims.entry(*front).or_default();
            match claims.iter_mut().find(|(claimant, _)| claimant == service) {
                Some((_, claimed)) => *claimed = target.clone(),
                None => claims.push((Arc::clone(service), target.clone())),
            }
        }
    }

    fn effective(&self, front: &Front) -> Option<&Target> {
        Some(&self.claims.get(front)?.first()?.1)
    }

    /// Elements go before the chains they lead to, and come after them.
    fn write(&self, changes: Changes, batch: &mut Batch) {
        let mut added = Fronts::default();
        let mut removed = Fronts::default();
        for (front, before) in &changes.fronts {
            let now = self.effective(front);
            if before.as_ref() != now {
                removed.extend(*front, before.as_ref());
                added.extend(*front, now);
            }
        }
        removed.write(|set, elements| batch.delete_elements(set, elements.iter().map(Key::bare)));
        for (name, _) in &changes.new {
            batch.add_chain(name);
        }
        for name in changes.changed.iter().map(|(name, _)| name).chain(&changes.gone) {
            batch.flush_chain(name);
        }
        for name in &changes.gone_clients {
            batch.delete_set(name);
        }
        for (name, seconds) in &changes.new_clients {
            batch.add_client_map(name, *seconds);
        }
        for (name, chain) in changes.new.iter().chain(&changes.changed) {
            write_rules(batch, name, chain);
        }
        added.write(|set, elements| batch.add_new_elements(set, elements.iter().map(Key::element)));
        for name in &changes.gone {
            batch.delete_chain(name);
        }
    }

    /// Writes all Services into an empty table.
    pub(super) fn write_all(&self, batch: &mut Batch, hairpins: &mut Hairpins, pod_cidr: &Cidr) {
        let mut changes = Changes::default();
        for plan in self.plans.values() {
            endpoints_in(plan, pod_cidr).for_each(|address| hairpins.add(address));
            change_chains(&ServicePlan::default(), plan, &mut changes);
        }
        changes.fronts = self.claims.keys().map(|front| (*front, None)).collect();
        self.write(changes, batch);
    }
}

impl Changes {
    /// Notes what the kernel has for a front, the first time it is touched.
    fn remember(&mut self, front: Front, claims: &HashMap<Front, Vec<(Arc<str>, Target)>>) {
        let has = || {
            claims
                .get(&front)
                .and_then(|claims| claims.first())
                .map(|(_, target)| target.clone())
        };
        self.fronts.entry(front).or_insert_with(has);
    }
}

fn affinity(plan: &ServicePlan, chain: &str) -> Option<u32> {
    plan.chains.get(chain)?.affinity()
}

/// The name of the map of a chain's remembered clients.
fn clients(chain: &str) -> String {
    format!("clients-of-{chain}")
}

fn change_chains(old: &ServicePlan, new: &ServicePlan, changes: &mut Changes) {
    changes.gone.extend(
        old.chains
            .keys()
            .filter(|name| !new.chains.contains_key(*name))
            .cloned(),
    );
    for (name, chain) in &old.chains {
        if chain.affinity().is_some() && affinity(new, name) != chain.affinity() {
            changes.gone_clients.push(clients(name));
        }
    }
    for (name, chain) in &new.chains {
        if let Some(seconds) = chain.affinity()
            && affinity(old, name) != Some(seconds)
        {
            changes.new_clients.push((clients(name), seconds));
        }
        match old.chains.get(name) {
            None => changes.new.push((name.clone(), chain.clone())),
            Some(before) if before != chain => changes.changed.push((name.clone(), chain.clone())),
            Some(_) => {}
        }
    }
}

fn stale_flows(old: &ServicePlan, new: &ServicePlan) -> impl Iterator<Item = Stale> {
    let fronts: BTreeSet<_> = old.fronts.keys().chain(new.fronts.keys()).copied().collect();
    fronts
        .into_iter()
        .filter_map(|front| Stale::between(front, old.endpoints(&front), new.endpoints(&front)))
}

fn endpoints_in(plan: &ServicePlan, range: &Cidr) -> impl Iterator<Item = std::net::Ipv4Addr> {
    plan.chains
        .values()
        .flat_map(Chain::endpoints)
        .map(|endpoint| endpoint.address)
        .filter(|address| range.contains(*address))
}

fn write_rules(batch: &mut Batch, name: &str, chain: &Chain) {
    let endpoints = match chain {
        Chain::Balance { endpoints, .. } => endpoints,
        Chain::External { to } => {
            return batch.add_rule(name, |rule| {
                rule.mark(MASQUERADE_MARK).verdict(Verdict::Goto(to));
            });
        }
    };
    let targets: Vec<_> = endpoints
        .iter()
        .map(|endpoint| concat::address_port(endpoint.address, endpoint.port))
        .collect();
    match (endpoints.as_slice(), chain.affinity()) {
        ([], _) => {}
        (_, Some(_)) => write_affinity(batch, name, &targets),
        ([only], None) => batch.add_rule(name, |rule| {
            rule.translate_to(only.address, only.port);
        }),
        (_, None) => {
            let map = batch.add_targets(targets.iter());
            batch.add_rule(name, |rule| {
                rule.translate_to_random(&map);
            });
        }
    }
}

/// Clients go where they went before; others, and those whose endpoint is gone, anywhere. What is
/// remembered stays when endpoints come and go, but not when the whole table is made anew.
fn write_affinity(batch: &mut Batch, name: &str, targets: &[[u8; 8]]) {
    let clients = clients(name);
    let set = batch.add_target_set(targets.iter());
    batch.add_rule(name, |rule| {
        rule.translate_as_remembered(&clients, &set);
    });
    let map = batch.add_targets(targets.iter());
    batch.add_rule(name, |rule| {
        rule.translate_and_remember(&clients, &map);
    });
}

/// A key of one of the four sets, with the verdict it leads to.
struct Key<'a> {
    bytes: [u8; 12],
    length: usize,
    verdict: Option<Verdict<'a>>,
}

impl Key<'_> {
    fn bare(&self) -> Element<'_> {
        Element::Key(&self.bytes[..self.length])
    }

    fn element(&self) -> Element<'_> {
        match self.verdict {
            Some(verdict) => Element::Verdict(&self.bytes[..self.length], verdict),
            None => self.bare(),
        }
    }
}

/// Fronts, sorted by the set they are in.
#[derive(Default)]
struct Fronts<'a> {
    service_ips: Vec<Key<'a>>,
    node_ports: Vec<Key<'a>>,
    no_endpoints: Vec<Key<'a>>,
    no_endpoint_node_ports: Vec<Key<'a>>,
}

impl<'a> Fronts<'a> {
    fn extend(&mut self, front: Front, target: Option<&'a Target>) {
        let Some(target) = target else { return };
        let verdict = match target {
            Target::Chain(chain) => Some(Verdict::Goto(chain)),
            Target::Drop => Some(Verdict::Drop),
            Target::Reject => None,
        };
        let mut bytes = [0; 12];
        let length = match front {
            Front::Address(address, protocol, port) => {
                bytes = concat::address_protocol_port(address, protocol, port);
                12
            }
            Front::NodePort(protocol, port) => {
                bytes[..8].copy_from_slice(&concat::protocol_port(protocol, port));
                8
            }
        };
        let list = match (front, verdict.is_some()) {
            (Front::Address(..), true) => &mut self.service_ips,
            (Front::Address(..), false) => &mut self.no_endpoints,
            (Front::NodePort(..), true) => &mut self.node_ports,
            (Front::NodePort(..), false) => &mut self.no_endpoint_node_ports,
        };
        list.push(Key {
            bytes,
            length,
            verdict,
        });
    }

    fn write(&self, mut each: impl FnMut(&str, &[Key<'_>])) {
        each(SERVICE_IPS, &self.service_ips);
        each(NODE_PORTS, &self.node_ports);
        each(NO_ENDPOINTS, &self.no_endpoints);
        each(NO_ENDPOINT_NODE_PORTS, &self.no_endpoint_node_ports);
    }
}
