//! Pods that wait for a node.
//!
//! ```text
//! new ──> active ──pop──> cycle ── placed ──> (bound)
//!           ^               │ no node fits
//!           │               v
//!        backoff <── unschedulable      an event that one of the plugins
//!           1 s .. 10 s                 that rejected it says may help
//! ```
//!
//! Backoff lets others go first. Who was rejected by plugins does not wait it out when there are no others;
//! who failed to be bound does.
//!
//! The clock is handed in; the queue never waits by itself but says when it wants to be looked at.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kobune_client::Key;
use kobune_client::k8s_openapi::api::core::v1::Pod;

use crate::plugins::{ClusterEvent, PLUGINS};

/// The first backoff; it doubles with each attempt.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// The longest backoff.
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
/// A pod that no event has helped is tried again after this long: a net below the plugins' hints.
const LONGEST_REST: Duration = Duration::from_secs(300);

/// Where a waiting pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Active,
    Backoff(Instant),
    Unschedulable {
        since: Instant,
    },
    /// Its cycle or its binding is under way. Something that happened meanwhile sends it to backoff, not
    /// to rest.
    InFlight {
        missed: bool,
    },
}

#[derive(Debug)]
struct Waiting {
    pod: Arc<Pod>,
    place: Place,
    sequence: u64,
    attempts: u32,
    last_attempt: Option<Instant>,
    rejected_by: Vec<&'static str>,
}

impl Waiting {
    fn backoff_ends(&self) -> Option<Instant> {
        let doublings = self.attempts.saturating_sub(1).min(4);
        let backoff = (FIRST_BACKOFF * 2u32.pow(doublings)).min(LONGEST_BACKOFF);
        Some(self.last_attempt? + backoff)
    }
}

/// An entry of the active heap: higher priority first, then who came first. Entries go stale when their pod
/// moves; `sequence` tells.
#[derive(Debug, PartialEq, Eq)]
struct Turn {
    priority: i32,
    sequence: Reverse<u64>,
    key: Key,
}

impl Ord for Turn {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.priority, self.sequence).cmp(&(other.priority, other.sequence))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The queue. It is owned by the scheduler's one task.
#[derive(Debug, Default)]
pub struct SchedulingQueue {
    pods: HashMap<Key, Waiting>,
    active: BinaryHeap<Turn>,
    sequence: u64,
}

impl SchedulingQueue {
    /// A pod without a node was seen, new or changed.
    pub fn set(&mut self, pod: Arc<Pod>, now: Instant) {
        let key = Key::of(&*pod);
        let Some(waiting) = self
            .pods
            .get_mut(&key)
            .filter(|known| known.pod.metadata.uid == pod.metadata.uid)
        else {
            self.insert(key, pod);
            return;
        };
        let changed = matters(&waiting.pod, &pod);
        waiting.pod = pod;
        if changed {
            match waiting.place {
                Place::Unschedulable { .. } => self.wake(&key, now),
                Place::InFlight { .. } => waiting.place = Place::InFlight { missed: true },
                Place::Active | Place::Backoff(_) => {}
            }
        }
    }

    fn insert(&mut self, key: Key, pod: Arc<Pod>) {
        let waiting = Waiting {
            pod,
            place: Place::Active,
            sequence: 0,
            attempts: 0,
            last_attempt: None,
            rejected_by: Vec::new(),
        };
        self.pods.insert(key.clone(), waiting);
        self.activate(&key);
    }

    /// The pod is gone or has a node. A namesake that came after it stays.
    pub fn remove(&mut self, pod: &Pod) {
        let key = Key::of(pod);
        if self
            .pods
            .get(&key)
            .is_some_and(|waiting| waiting.pod.metadata.uid == pod.metadata.uid)
        {
            self.pods.remove(&key);
        }
    }

    /// The next pod to place; it is in flight until [`Self::failed`] or [`Self::remove`].
    pub fn pop(&mut self, now: Instant) -> Option<Arc<Pod>> {
        self.pop_active(now).or_else(|| {
            self.end_backoffs();
            self.pop_active(now)
        })
    }

    fn pop_active(&mut self, now: Instant) -> Option<Arc<Pod>> {
        while let Some(turn) = self.active.pop() {
            let Some(waiting) = self.pods.get_mut(&turn.key) else {
                continue;
            };
            if waiting.place != Place::Active || waiting.sequence != turn.sequence.0 {
                continue;
            }
            waiting.place = Place::InFlight { missed: false };
            waiting.attempts += 1;
            waiting.last_attempt = Some(now);
            return Some(waiting.pod.clone());
        }
        None
    }

    /// No node fits: the pod rests until an event concerns one of these plugins. Without plugins (the
    /// binding failed) it is tried again after its backoff.
    pub fn failed(&mut self, pod: &Pod, rejected_by: Vec<&'static str>, now: Instant) {
        let key = &Key::of(pod);
        let Some(waiting) = self
            .pods
            .get_mut(key)
            .filter(|waiting| waiting.pod.metadata.uid == pod.metadata.uid)
        else {
            return;
        };
        let missed = matches!(waiting.place, Place::InFlight { missed: true });
        let again = rejected_by.is_empty() || missed;
        waiting.rejected_by = rejected_by;
        waiting.place = Place::Unschedulable { since: now };
        if again {
            self.wake(key, now);
        }
    }

    /// Something happened: wakes the pods that it may help. `fits` says whether the node concerned would
    /// take a pod now; a pod that it would not take keeps resting and its backoff does not grow.
    pub fn happened(&mut self, event: &ClusterEvent, fits: impl Fn(&Pod) -> bool, now: Instant) {
        let helped: Vec<Key> = self
            .pods
            .iter_mut()
            .filter_map(|(key, waiting)| match waiting.place {
                Place::Unschedulable { .. } => {
                    (may_help(waiting, event) && fits(&waiting.pod)).then(|| key.clone())
                }
                Place::InFlight { .. } => {
                    waiting.place = Place::InFlight { missed: true };
                    None
                }
                Place::Active | Place::Backoff(_) => None,
            })
            .collect();
        helped.iter().for_each(|key| self.wake(key, now));
    }

    /// Moves what is due to the active pods; answers when to come again.
    pub fn advance(&mut self, now: Instant) -> Option<Instant> {
        let due = |waiting: &Waiting| match waiting.place {
            Place::Backoff(until) => Some(until),
            Place::Unschedulable { since } => Some(since + LONGEST_REST),
            Place::Active | Place::InFlight { .. } => None,
        };
        let ripe: Vec<Key> = self
            .pods
            .iter()
            .filter(|(_, waiting)| due(waiting).is_some_and(|at| at <= now))
            .map(|(key, _)| key.clone())
            .collect();
        ripe.iter().for_each(|key| self.activate(key));
        self.pods.values().filter_map(due).min()
    }

    /// Nobody else waits: those that plugins had rejected need not wait any longer.
    fn end_backoffs(&mut self) {
        let mut ended: Vec<(Instant, Key)> = self
            .pods
            .iter()
            .filter(|(_, waiting)| !waiting.rejected_by.is_empty())
            .filter_map(|(key, waiting)| match waiting.place {
                Place::Backoff(until) => Some((until, key.clone())),
                _ => None,
            })
            .collect();
        ended.sort();
        ended.iter().for_each(|(_, key)| self.activate(key));
    }

    fn wake(&mut self, key: &Key, now: Instant) {
        let Some(waiting) = self.pods.get_mut(key) else {
            return;
        };
        match waiting.backoff_ends().filter(|ends| *ends > now) {
            Some(ends) => waiting.place = Place::Backoff(ends),
            None => self.activate(key),
        }
    }

    fn activate(&mut self, key: &Key) {
        let Some(waiting) = self.pods.get_mut(key) else {
            return;
        };
        self.sequence += 1;
        waiting.place = Place::Active;
        waiting.sequence = self.sequence;
        let priority = waiting
            .pod
            .spec
            .as_ref()
            .and_then(|spec| spec.priority)
            .unwrap_or_default();
        self.active.push(Turn {
            priority,
            sequence: Reverse(self.sequence),
            key: key.clone(),
        });
    }
}

/// Whether the change of a waiting pod can make a difference to its placing: anything but its status.
fn matters(before: &Pod, now: &Pod) -> bool {
    before.spec != now.spec || before.metadata.labels != now.metadata.labels
}

fn may_help(waiting: &Waiting, event: &ClusterEvent) -> bool {
    PLUGINS
        .iter()
        .filter(|plugin| waiting.rejected_by.contains(&plugin.name()))
        .any(|plugin| plugin.may_help(&waiting.pod, event))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_objects::{node, pod, pod_with_cpu};
    use serde_json::json;

    fn name(pod: Option<Arc<Pod>>) -> Option<String> {
        pod.and_then(|pod| pod.metadata.name.clone())
    }

    fn new_node() -> ClusterEvent {
        ClusterEvent::Node {
            node: node("n2", json!({})),
            before: None,
        }
    }

    #[test]
    fn higher_priority_goes_first_and_equals_in_order() {
        let (mut queue, now) = (SchedulingQueue::default(), Instant::now());
        queue.set(pod("first", json!({"containers": []})), now);
        queue.set(pod("second", json!({"containers": []})), now);
        queue.set(pod("urgent", json!({"containers": [], "priority": 10})), now);
        let order: Vec<String> = std::iter::from_fn(|| name(queue.pop(now))).collect();
        assert_eq!(order, ["urgent", "first", "second"]);
    }

    #[test]
    fn an_unschedulable_pod_rests_until_something_helps() {
        let (mut queue, now) = (SchedulingQueue::default(), Instant::now());
        queue.set(pod_with_cpu("a", "64"), now);
        queue.pop(now);
        queue.failed(&pod_with_cpu("a", "64"), vec!["NodeResourcesFit"], now);
        let later = now + Duration::from_secs(20);
        queue.happened(
            &ClusterEvent::PodGone(pod(
                "x",
                json!({"containers": [{"name": "c", "resources": {"requests": {"memory": "1"}}}]}),
            )),
            |_| true,
            later,
        );
        assert_eq!(
            name(queue.pop(later)),
            None,
            "memory does not help a pod that lacks CPU"
        );
        queue.happened(&new_node(), |_| true, later);
        assert_eq!(name(queue.pop(later)).as_deref(), Some("a"));
    }

    #[test]
    fn backoff_doubles_up_to_ten_seconds() {
        let (mut queue, mut now) = (SchedulingQueue::default(), Instant::now());
        queue.set(pod_with_cpu("a", "64"), now);
        for seconds in [1, 2, 4, 8, 10, 10] {
            queue.pop(now).expect("it is due");
            queue.failed(&pod_with_cpu("a", "64"), Vec::new(), now);
            assert_eq!(queue.advance(now), Some(now + Duration::from_secs(seconds)));
            assert_eq!(name(queue.pop(now)), None);
            now += Duration::from_secs(seconds);
            queue.advance(now);
        }
    }

    #[test]
    fn a_backoff_lets_others_go_first_and_ends_when_there_are_none() {
        let (mut queue, now) = (SchedulingQueue::default(), Instant::now());
        queue.set(pod_with_cpu("early", "1"), now);
        queue.pop(now);
        queue.failed(&pod_with_cpu("early", "1"), vec!["NodeResourcesFit"], now);
        assert_eq!(name(queue.pop(now)), None, "nothing has helped it yet");
        queue.happened(&new_node(), |_| true, now);
        queue.set(pod_with_cpu("late", "1"), now);
        let order: Vec<String> = std::iter::from_fn(|| name(queue.pop(now))).collect();
        assert_eq!(order, ["late", "early"]);
    }

    #[test]
    fn a_node_that_would_not_take_the_pod_does_not_wake_it() {
        let (mut queue, now) = (SchedulingQueue::default(), Instant::now());
        queue.set(pod_with_cpu("a", "64"), now);
        queue.pop(now);
        queue.failed(&pod_with_cpu("a", "64"), vec!["NodeResourcesFit"], now);
        let later = now + Duration::from_secs(20);
        queue.happened(&new_node(), |_| false, later);
        assert_eq!(name(queue.pop(later)), None);
    }

    #[test]
    fn an_event_during_the_cycle_is_not_missed() {
        let (mut queue, now) = (SchedulingQueue::default(), Instant::now());
        queue.set(pod_with_cpu("a", "64"), now);
        queue.pop(now);
        queue.happened(&new_node(), |_| true, now);
        queue.failed(&pod_with_cpu("a", "64"), vec!["NodeResourcesFit"], now);
        assert_eq!(queue.advance(now), Some(now + Duration::from_secs(1)));
        assert_eq!(name(queue.pop(now)).as_deref(), Some("a"));
    }

    #[test]
    fn a_deleted_pod_is_not_scheduled() {
        let (mut queue, now) = (SchedulingQueue::default(), Instant::now());
        queue.set(pod_with_cpu("a", "1"), now);
        queue.remove(&pod_with_cpu("a", "1"));
        assert_eq!(name(queue.pop(now)), None);
        assert_eq!(queue.advance(now), None, "nothing to wait for");
    }

    #[test]
    fn a_status_update_does_not_wake_but_a_changed_spec_does() {
        let (mut queue, now) = (SchedulingQueue::default(), Instant::now());
        queue.set(pod_with_cpu("a", "64"), now);
        queue.pop(now);
        queue.failed(&pod_with_cpu("a", "64"), vec!["NodeResourcesFit"], now);
        let later = now + Duration::from_secs(20);
        queue.set(pod_with_cpu("a", "64"), later);
        assert_eq!(name(queue.pop(later)), None);
        queue.set(pod_with_cpu("a", "1"), later);
        assert_eq!(name(queue.pop(later)).as_deref(), Some("a"));
    }
}
