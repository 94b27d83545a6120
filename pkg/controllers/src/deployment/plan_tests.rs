//! What the plan promises, and a whole rollout played against it.

use std::collections::HashSet;

use jiff::Timestamp;
use kobune_client::k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet, ReplicaSetStatus};
use kobune_client::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::annotations::{MAX_REPLICAS, REVISION, REVISION_HISTORY};
use super::plan::{Observed, Plan, Step, plan};
use super::progress::condition;
use super::size::wanted;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn deployment(replicas: i32, strategy: Value, image: &str) -> Deployment {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "a", "uid": "d", "generation": 1,
            "annotations": {"kubernetes.io/change-cause": image}},
        "spec": {"replicas": replicas, "strategy": strategy, "progressDeadlineSeconds": 600, "revisionHistoryLimit": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}}}
    }))
    .unwrap()
}

fn rolling(surge: Value, unavailable: Value) -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})
}

/// A cluster of one Deployment whose ReplicaSets reach their size at once.
struct World {
    deployment: Deployment,
    sets: Vec<ReplicaSet>,
    second: i64,
}

impl World {
    fn new(deployment: Deployment) -> Self {
        World {
            deployment,
            sets: Vec::new(),
            second: 1000,
        }
    }

    fn look(&self) -> Plan {
        plan(Observed {
            deployment: self.deployment.clone(),
            sets: self.sets.clone(),
            sets_with_pods: HashSet::new(),
            now: at(self.second),
        })
    }

    /// One round; answers whether it changed anything.
    fn round(&mut self) -> bool {
        self.second += 1;
        let Plan {
            steps,
            revision,
            status,
            ..
        } = self.look();
        let changed =
            !steps.is_empty() || revision.is_some() || self.deployment.status.as_ref() != Some(&status);
        for step in steps {
            match step {
                Step::Create(mut set) => {
                    set.metadata.uid = set.metadata.name.clone();
                    set.metadata.creation_timestamp = Some(Time(at(self.second)));
                    self.sets.push(*set);
                }
                Step::Update { set, .. } => {
                    let slot = self
                        .sets
                        .iter_mut()
                        .find(|old| old.metadata.name == set.metadata.name)
                        .unwrap();
                    *slot = *set;
                }
                Step::Delete(set) => self.sets.retain(|old| old.metadata.name != set.metadata.name),
            }
        }
        if let Some(revision) = revision {
            self.deployment
                .metadata
                .annotations
                .get_or_insert_default()
                .insert(REVISION.into(), revision);
        }
        self.deployment.status = Some(status);
        changed
    }

    fn pods_come_up(&mut self) {
        for set in &mut self.sets {
            let size = wanted(set);
            set.status = Some(ReplicaSetStatus {
                replicas: size,
                ready_replicas: Some(size),
                available_replicas: Some(size),
                ..Default::default()
            });
        }
    }

    fn settle(&mut self) {
        for _ in 0..100 {
            // First: a round may have been played that waits for its pods.
            self.pods_come_up();
            if !self.round() {
                return;
            }
        }
        panic!("never settles: {:?}", self.sizes());
    }

    fn set_image(&mut self, image: &str) {
        let fresh = deployment(0, Value::Null, image);
        self.deployment.spec.as_mut().unwrap().template = fresh.spec.unwrap().template;
        *self.deployment.metadata.generation.as_mut().unwrap() += 1;
    }

    fn sizes(&self) -> Vec<i32> {
        self.sets.iter().map(wanted).collect()
    }

    fn status(&self) -> &DeploymentStatus {
        self.deployment.status.as_ref().unwrap()
    }
}

#[test]
fn a_new_deployment_makes_one_replica_set_at_full_size() {
    let mut world = World::new(deployment(3, rolling(json!("25%"), json!("25%")), "a"));
    let steps = world.look().steps;
    let [Step::Create(set)] = steps.as_slice() else {
        panic!("{steps:?}")
    };
    assert_eq!(wanted(set), 3);
    let labels = set.metadata.labels.as_ref().unwrap();
    assert_eq!(
        set.metadata.name.as_ref().unwrap(),
        &format!("web-{}", labels["pod-template-hash"])
    );
    world.settle();
    assert_eq!(
        condition(world.status(), "Progressing")
            .unwrap()
            .reason
            .as_deref(),
        Some("NewReplicaSetAvailable")
    );
    assert_eq!(condition(world.status(), "Available").unwrap().status, "True");
    assert_eq!(
        world.deployment.metadata.annotations.as_ref().unwrap()[REVISION],
        "1"
    );
}

#[test]
fn a_rollout_never_exceeds_surge_nor_falls_below_availability() {
    let mut world = World::new(deployment(10, rolling(json!(2), json!(1)), "a"));
    world.settle();
    world.set_image("b");
    loop {
        let changed = world.round();
        let available: i32 = world
            .sets
            .iter()
            .map(|set| super::size::available(set).min(wanted(set)))
            .sum();
        assert!(world.sizes().iter().sum::<i32>() <= 12, "{:?}", world.sizes());
        assert!(available >= 9, "{available} available of {:?}", world.sizes());
        world.pods_come_up();
        if !changed {
            break;
        }
    }
    assert_eq!(world.sizes(), [0, 10]);
}

#[test]
fn recreate_waits_until_the_old_pods_are_gone() {
    let mut world = World::new(deployment(3, json!({"type": "Recreate"}), "a"));
    world.settle();
    world.set_image("b");
    world.round();
    assert_eq!(world.sizes(), [0]);
    world.pods_come_up();
    let uid = world.sets[0].metadata.uid.clone().unwrap();
    let observed = Observed {
        deployment: world.deployment.clone(),
        sets: world.sets.clone(),
        sets_with_pods: [uid].into(),
        now: at(2000),
    };
    assert!(
        plan(observed).steps.is_empty(),
        "a terminating pod still holds the rollout"
    );
    world.settle();
    assert_eq!(world.sizes(), [0, 3]);
}

#[test]
fn recreate_ends_the_pods_that_somebody_gave_an_old_replica_set() {
    let mut world = World::new(deployment(3, json!({"type": "Recreate"}), "a"));
    world.settle();
    world.set_image("b");
    world.settle();
    world.deployment.spec.as_mut().unwrap().replicas = Some(2);
    world.settle();
    assert_eq!(world.sizes(), [0, 2]);
    // Its annotation still speaks of three.
    world.sets[0].spec.as_mut().unwrap().replicas = Some(5);
    world.settle();
    assert_eq!(world.sizes(), [0, 2]);
}

#[test]
fn going_back_to_an_old_template_reuses_its_replica_set_under_a_new_revision() {
    let mut world = World::new(deployment(1, rolling(json!(1), json!(0)), "a"));
    world.settle();
    world.set_image("b");
    world.settle();
    world.set_image("a");
    world.settle();
    assert_eq!(world.sizes(), [1, 0]);
    let annotations = world.sets[0].metadata.annotations.as_ref().unwrap();
    assert_eq!(
        (
            annotations[REVISION].as_str(),
            annotations[REVISION_HISTORY].as_str()
        ),
        ("3", "1")
    );
}

#[test]
fn the_history_keeps_its_limit() {
    let mut world = World::new(deployment(1, rolling(json!(1), json!(0)), "a"));
    for image in ["a", "b", "c", "d", "e"] {
        world.set_image(image);
        world.settle();
    }
    assert_eq!(world.sets.len(), 3, "the new one and two of the history");
}

#[test]
fn the_change_cause_goes_to_the_replica_set() {
    let mut world = World::new(deployment(1, rolling(json!(1), json!(0)), "a"));
    world.settle();
    assert_eq!(
        world.sets[0].metadata.annotations.as_ref().unwrap()["kubernetes.io/change-cause"],
        "a"
    );
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut world = World::new(deployment(2, rolling(json!(1), json!(0)), "a"));
    world.settle();
    world.deployment.spec.as_mut().unwrap().paused = Some(true);
    world.set_image("b");
    world.deployment.spec.as_mut().unwrap().replicas = Some(5);
    world.settle();
    assert_eq!(world.sizes(), [5]);
    assert_eq!(
        condition(world.status(), "Progressing")
            .unwrap()
            .reason
            .as_deref(),
        Some("DeploymentPaused")
    );
    world.deployment.spec.as_mut().unwrap().paused = Some(false);
    world.settle();
    assert_eq!(world.sizes(), [0, 5]);
}

#[test]
fn a_rollout_without_progress_times_out() {
    let mut world = World::new(deployment(1, rolling(json!(1), json!(0)), "a"));
    world.round();
    let before = world.look();
    assert!(before.deadline.is_some());
    world.second += 700;
    world.round();
    let progressing = condition(world.status(), "Progressing").unwrap();
    assert_eq!(
        (progressing.status.as_str(), progressing.reason.as_deref()),
        ("False", Some("ProgressDeadlineExceeded"))
    );
    assert_eq!(world.look().deadline, None, "nothing to wait for any more");
}

#[test]
fn a_resize_in_mid_rollout_is_proportional() {
    let mut world = World::new(deployment(10, rolling(json!(3), json!(2)), "a"));
    world.settle();
    world.set_image("b");
    world.round();
    assert_eq!(world.sizes(), [10, 3]);
    world.deployment.spec.as_mut().unwrap().replicas = Some(20);
    world.round();
    assert_eq!(world.sizes().iter().sum::<i32>(), 23);
    assert!(
        world
            .sets
            .iter()
            .all(|set| set.metadata.annotations.as_ref().unwrap()[MAX_REPLICAS] == "23")
    );
}

#[test]
fn a_settled_deployment_plans_nothing() {
    let mut world = World::new(deployment(3, rolling(json!("25%"), json!("25%")), "a"));
    world.settle();
    let plan = world.look();
    assert!(plan.steps.is_empty() && plan.revision.is_none() && plan.deadline.is_none());
    assert_eq!(&plan.status, world.status());
}

proptest! {
    #[test]
    fn every_rollout_ends_with_the_new_template_at_full_size(
        replicas in 0..40i32, surge in 0..120u32, unavailable in 0..100u32, resize in 0..40i32,
    ) {
        let strategy = rolling(json!(format!("{surge}%")), json!(format!("{unavailable}%")));
        let mut world = World::new(deployment(replicas, strategy, "a"));
        world.settle();
        world.set_image("b");
        world.round();
        world.deployment.spec.as_mut().unwrap().replicas = Some(resize);
        world.settle();
        prop_assert_eq!(world.sizes().iter().sum::<i32>(), resize);
        prop_assert_eq!(world.status().updated_replicas.unwrap_or_default(), resize);
    }
}
