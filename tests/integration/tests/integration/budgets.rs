//! Disruption budgets: their status, and what evictions they allow.

use serde_json::json;

use crate::http;
use crate::shared::Space;

/// A pod that a budget counts as healthy, though no node runs it.
fn healthy_pod(space: &Space, name: &str) {
    space.ok(&format!("run {name} --image=x --labels=app=web"));
    space.ok(&format!(
        r#"patch pod {name} --subresource=status -p {{"status":{{"phase":"Running","conditions":[{{"type":"Ready","status":"True"}}]}}}}"#
    ));
}

fn evict(space: &Space, pod: &str) -> http::Answer {
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}});
    http::post(
        &format!("{}/{pod}/eviction", space.path("pods")),
        &eviction.to_string(),
    )
}

#[test]
fn a_budget_allows_what_is_healthy_beyond_what_must_be() {
    let space = Space::new("budget");
    space.ok("create pdb web --selector=app=web --min-available=1");
    space.wait_field("pdb/web", ".status.observedGeneration", "1");
    assert_eq!(
        space.field(
            "pdb/web",
            r#".status.conditions[?(@.type=="DisruptionAllowed")].reason"#
        ),
        "InsufficientPods"
    );
    healthy_pod(&space, "a");
    healthy_pod(&space, "b");
    space.wait_field("pdb/web", ".status.disruptionsAllowed", "1");
    assert_eq!(evict(&space, "a").code, 201);
    // The next one would be one too many, also before the loop has seen the first.
    let refused = evict(&space, "b").fails(429, "TooManyRequests");
    assert_eq!(refused["details"]["causes"][0]["reason"], "DisruptionBudget");
    space.wait_field("pdb/web", ".status.currentHealthy", "1");
    space.ok(r#"patch pdb web -p {"spec":{"minAvailable":0}}"#);
    space.wait_field("pdb/web", ".status.disruptionsAllowed", "1");
    assert_eq!(evict(&space, "b").code, 201);
}

#[test]
fn a_budget_in_percent_counts_what_the_controllers_want() {
    let space = Space::new("budget-percent");
    space.ok("create deployment web --image=x --replicas=4");
    space.ok("create pdb web --selector=app=web --max-unavailable=25%");
    space.wait_field("pdb/web", ".status.expectedPods", "4");
    space.wait_field("pdb/web", ".status.desiredHealthy", "3");
    assert_eq!(space.field("pdb/web", ".status.disruptionsAllowed"), "0");
}
