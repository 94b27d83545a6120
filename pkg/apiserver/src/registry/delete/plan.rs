//! What a delete does to an object: decided here, done by the caller.

use jiff::{SignedDuration, Timestamp};
use kobune_api::meta;
use serde_json::{Value, json};

use crate::registry::options::{DeleteOptions, Propagation};
use crate::strategy::{Facts, Strategy};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// The next step of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Its deletion was asked for before and this request changes nothing.
    Wait,
    /// Store the object as it is now: with its deletion's time, for others to finish.
    Mark,
    /// Remove it.
    Remove,
}

/// Decides, and edits the object into the state that is stored or told to watchers.
pub fn step(
    facts: &Facts,
    strategy: &dyn Strategy,
    options: &DeleteOptions,
    object: &mut Value,
    now: Timestamp,
) -> Step {
    let asked = options.grace.map(|seconds| if seconds < 0 { 1 } else { seconds });
    let grace = match begin(strategy, asked, object, now) {
        Begun::Pending => return Step::Wait,
        Begun::Graceful(seconds) => Some(seconds),
        Begun::AtOnce => None,
    };
    if !facts.no_dependents {
        set_finalizers(facts, options, object);
    }
    let held = meta::finalizers(object).next().is_some() || !strategy.may_go(object);
    match grace {
        None if held => {
            mark_now(object, now);
            Step::Mark
        }
        None => Step::Remove,
        Some(seconds) if held || seconds > 0 => Step::Mark,
        Some(_) => Step::Remove,
    }
}

enum Begun {
    Pending,
    Graceful(i64),
    AtOnce,
}

/// Gives the object its time of deletion, if its kind knows grace.
fn begin(strategy: &dyn Strategy, asked: Option<i64>, object: &mut Value, now: Timestamp) -> Begun {
    let Some(seconds) = strategy.grace(object, asked) else {
        return Begun::AtOnce;
    };
    let Some(begun) = meta::parse_time(meta::deletion_timestamp(object)) else {
        meta::begin_deletion(object, seconds, now);
        if meta::generation(object) > 0 {
            meta::set(object, "generation", meta::generation(object) + 1);
        }
        return Begun::Graceful(seconds);
    };
    let current = crate::object::integer(object, &["metadata", "deletionGracePeriodSeconds"]);
    let current = current.unwrap_or(0);
    match asked {
        _ if current == 0 => Begun::AtOnce,
        // The grace can only get shorter.
        Some(seconds) if seconds < current => {
            let shorter = SignedDuration::from_secs(current - seconds);
            let mut end = begun.checked_sub(shorter).unwrap_or(now);
            let mut left = seconds;
            if end < now {
                end = now;
                left = left.min(1);
            }
            meta::set(object, "deletionTimestamp", meta::time(end));
            meta::set(object, "deletionGracePeriodSeconds", left);
            Begun::Graceful(left)
        }
        _ => Begun::Pending,
    }
}

/// The deletion's time is now, and finalizers are all that is waited for.
fn mark_now(object: &mut Value, now: Timestamp) {
    let begun = meta::parse_time(meta::deletion_timestamp(object));
    if begun.is_none() && meta::generation(object) > 0 {
        meta::set(object, "generation", meta::generation(object) + 1);
    }
    if begun.is_none_or(|begun| begun > now) {
        meta::set(object, "deletionTimestamp", meta::time(now));
    }
    meta::set(object, "deletionGracePeriodSeconds", 0);
}

/// The two finalizers of garbage collection follow the policy that was asked for.
fn set_finalizers(facts: &Facts, options: &DeleteOptions, object: &mut Value) {
    let has = |wanted: &str| meta::finalizers(object).any(|finalizer| finalizer == wanted);
    let (orphan, foreground) = match (options.orphan_dependents, options.propagation) {
        (Some(orphan), _) => (orphan, false),
        (None, Some(policy)) => (policy == Propagation::Orphan, policy == Propagation::Foreground),
        (None, None) if has(ORPHAN) => (true, false),
        (None, None) if has(FOREGROUND) => (false, true),
        (None, None) => (facts.orphans, false),
    };
    let wanted = |finalizer: &str| match finalizer {
        ORPHAN => orphan,
        FOREGROUND => foreground,
        _ => true,
    };
    let mut all: Vec<Value> = meta::finalizers(object)
        .filter(|finalizer| wanted(finalizer))
        .map(|finalizer| json!(finalizer))
        .collect();
    for (name, add) in [(ORPHAN, orphan), (FOREGROUND, foreground)] {
        if add && !has(name) {
            all.push(json!(name));
        }
    }
    if all.is_empty() {
        meta::remove(object, "finalizers");
    } else {
        meta::set(object, "finalizers", all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Plain;
    impl Strategy for Plain {}

    /// Thirty seconds, unless asked otherwise.
    struct Graceful;
    impl Strategy for Graceful {
        fn grace(&self, _object: &Value, asked: Option<i64>) -> Option<i64> {
            Some(asked.unwrap_or(30))
        }
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_000_000_000).expect("in range")
    }

    fn object(finalizers: &[&str]) -> Value {
        json!({"metadata": {"name": "x", "generation": 1, "finalizers": finalizers}})
    }

    #[test]
    fn an_object_that_nobody_holds_is_removed() {
        let mut x = object(&[]);
        let step = step(
            &Facts::default(),
            &Plain,
            &DeleteOptions::default(),
            &mut x,
            now(),
        );
        assert_eq!(step, Step::Remove);
    }

    #[test]
    fn a_finalizer_holds_an_object() {
        let mut x = object(&["example.com/hold"]);
        let options = DeleteOptions::default();
        assert_eq!(
            step(&Facts::default(), &Plain, &options, &mut x, now()),
            Step::Mark
        );
        assert_eq!(x["metadata"]["deletionGracePeriodSeconds"], 0);
        assert_eq!(x["metadata"]["generation"], 2);
    }

    #[test]
    fn the_policy_becomes_a_finalizer() {
        for (policy, finalizer) in [
            (Propagation::Orphan, ORPHAN),
            (Propagation::Foreground, FOREGROUND),
        ] {
            let mut x = object(&[]);
            let options = DeleteOptions {
                propagation: Some(policy),
                ..DeleteOptions::default()
            };
            assert_eq!(
                step(&Facts::default(), &Plain, &options, &mut x, now()),
                Step::Mark
            );
            assert_eq!(x["metadata"]["finalizers"], json!([finalizer]));
        }
        let mut x = object(&[ORPHAN]);
        let options = DeleteOptions {
            propagation: Some(Propagation::Background),
            ..DeleteOptions::default()
        };
        assert_eq!(
            step(&Facts::default(), &Plain, &options, &mut x, now()),
            Step::Remove
        );
    }

    #[test]
    fn grace_is_given_once_and_can_only_get_shorter() {
        let mut x = object(&[]);
        let ask = |grace| DeleteOptions {
            grace,
            ..DeleteOptions::default()
        };
        let facts = Facts::default();
        assert_eq!(step(&facts, &Graceful, &ask(None), &mut x, now()), Step::Mark);
        let first = x.clone();
        assert_eq!(step(&facts, &Graceful, &ask(Some(60)), &mut x, now()), Step::Wait);
        assert_eq!(step(&facts, &Graceful, &ask(None), &mut x, now()), Step::Wait);
        assert_eq!(x, first);
        assert_eq!(step(&facts, &Graceful, &ask(Some(5)), &mut x, now()), Step::Mark);
        assert_eq!(x["metadata"]["deletionGracePeriodSeconds"], 5);
        assert_eq!(
            step(&facts, &Graceful, &ask(Some(0)), &mut x, now()),
            Step::Remove
        );
    }
}
