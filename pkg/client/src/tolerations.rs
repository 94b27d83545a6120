//! Which taints a toleration covers: the scheduler and the eviction from nodes must agree on it.

use k8s_openapi::api::core::v1::{Taint, Toleration};

/// Whether `toleration` covers `taint`. An empty effect covers all effects; an empty key with `Exists`
/// covers all taints.
pub fn covers(toleration: &Toleration, taint: &Taint) -> bool {
    let any_or = |mine: &Option<String>, taints: &str| {
        let mine = mine.as_deref().unwrap_or_default();
        mine.is_empty() || mine == taints
    };
    if !any_or(&toleration.effect, &taint.effect) || !any_or(&toleration.key, &taint.key) {
        return false;
    }
    match toleration.operator.as_deref() {
        Some("Exists") => true,
        None | Some("" | "Equal") => {
            toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default()
        }
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toleration(key: &str, operator: &str, value: &str, effect: &str) -> Toleration {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Toleration {
            key: some(key),
            operator: some(operator),
            value: some(value),
            effect: some(effect),
            toleration_seconds: None,
        }
    }

    fn taint(value: Option<&str>, effect: &str) -> Taint {
        Taint {
            key: "k".into(),
            value: value.map(str::to_owned),
            effect: effect.into(),
            time_added: None,
        }
    }

    #[test]
    fn a_toleration_covers_its_key_value_and_effect() {
        let own = toleration("k", "", "v", "NoSchedule");
        assert!(covers(&own, &taint(Some("v"), "NoSchedule")));
        assert!(!covers(&own, &taint(Some("v"), "NoExecute")));
        assert!(!covers(&own, &taint(Some("w"), "NoSchedule")));
        assert!(!covers(
            &toleration("other", "Exists", "", ""),
            &taint(None, "NoSchedule")
        ));
        assert!(covers(
            &toleration("k", "Equal", "", ""),
            &taint(None, "NoExecute")
        ));
    }

    #[test]
    fn exists_without_key_covers_everything() {
        let all = toleration("", "Exists", "", "");
        assert!(covers(&all, &taint(Some("v"), "NoSchedule")) && covers(&all, &taint(None, "NoExecute")));
    }

    #[test]
    fn an_operator_nobody_knows_covers_nothing() {
        assert!(!covers(
            &toleration("k", "Gt", "1", ""),
            &taint(Some("2"), "NoSchedule")
        ));
    }
}
