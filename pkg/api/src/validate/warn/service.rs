//! Fields of a Service that its type ignores, and those that will go away.

use super::{Warnings, address, annotation};
use crate::validate::at::At;

const HINTS: &str = "service.kubernetes.io/topology-aware-hints";

pub(super) fn service(root: &At<'_, '_>, warnings: &mut Warnings) {
    let spec = root.child("spec");
    let kind = spec.child("type").text();
    let headless = kind == "ClusterIP" && spec.child("clusterIP").text() == "None";
    let outside = spec.child("externalIPs");
    let mut say = |text: &str| warnings.push(text.to_owned());
    if annotation(root, HINTS).is_some() {
        say(&format!(
            "annotation {HINTS} is deprecated, please use service.kubernetes.io/topology-mode instead"
        ));
    }
    if headless {
        if !spec.child("loadBalancerIP").text().is_empty() {
            say("spec.loadBalancerIP is ignored for headless services");
        }
        if outside.len() > 0 {
            say("spec.externalIPs is ignored for headless services");
        }
        if spec.child("sessionAffinity").text() != "None" {
            say("spec.SessionAffinity is ignored for headless services");
        }
    } else if outside.len() > 0 && kind != "ExternalName" {
        say("spec.externalIPs is deprecated and may no longer be implemented in some clusters");
    }
    if kind == "ExternalName" && outside.len() > 0 {
        say(r#"spec.externalIPs is ignored when spec.type is "ExternalName""#);
    }
    if kind != "ExternalName" && !spec.child("externalName").text().is_empty() {
        say(r#"spec.externalName is ignored when spec.type is not "ExternalName""#);
    }
    if spec.child("trafficDistribution").text() == "PreferClose" {
        say(r#"spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone""#);
    }
    outside.items().for_each(|ip| address(&ip, warnings));
    address(&spec.child("loadBalancerIP"), warnings);
}
