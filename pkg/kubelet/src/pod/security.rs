//! `securityContext` of pod and container merged, and `runAsNonRoot`.

use std::path::Path;

use kobune_client::k8s_openapi::api::core::v1::{Container, SeccompProfile};
use kobune_runtime::{Seccomp, Security, User};

use super::desired::Desired;

/// What the runtime is asked for. `seccomp_dir` is where `Localhost` profiles lie.
pub fn merged(pod: &Desired, container: &Container, seccomp_dir: &Path) -> Security {
    let pod_level = pod.spec().security_context.as_ref();
    let own = container.security_context.as_ref();
    let user = own
        .and_then(|s| s.run_as_user)
        .or_else(|| pod_level.and_then(|s| s.run_as_user));
    let group = own
        .and_then(|s| s.run_as_group)
        .or_else(|| pod_level.and_then(|s| s.run_as_group));
    let privileged = own.and_then(|s| s.privileged).unwrap_or(false);
    let profile = own
        .and_then(|s| s.seccomp_profile.as_ref())
        .or_else(|| pod_level.and_then(|s| s.seccomp_profile.as_ref()));
    let capabilities = own.and_then(|s| s.capabilities.as_ref());
    let names =
        |list: Option<&Vec<String>>| list.into_iter().flatten().map(|c| plain_capability(c)).collect();
    Security {
        privileged,
        user: user.map(|u| User::Uid(id(u))),
        group: group.map(id),
        supplemental_groups: supplemental_groups(pod),
        supplemental_groups_strict: pod_level.and_then(|s| s.supplemental_groups_policy.as_deref())
            == Some("Strict"),
        capabilities_add: names(capabilities.and_then(|c| c.add.as_ref())),
        capabilities_drop: names(capabilities.and_then(|c| c.drop.as_ref())),
        read_only_root: own.and_then(|s| s.read_only_root_filesystem).unwrap_or(false),
        no_new_privileges: own.and_then(|s| s.allow_privilege_escalation) == Some(false),
        unmasked_proc: own.and_then(|s| s.proc_mount.as_deref()) == Some("Unmasked"),
        seccomp: if privileged {
            Seccomp::Unconfined
        } else {
            seccomp(profile, seccomp_dir)
        },
    }
}

fn supplemental_groups(pod: &Desired) -> Vec<u32> {
    let Some(context) = &pod.spec().security_context else {
        return Vec::new();
    };
    let mut groups: Vec<u32> = context
        .supplemental_groups
        .iter()
        .flatten()
        .map(|g| id(*g))
        .collect();
    groups.extend(context.fs_group.map(id));
    groups
}

fn id(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn plain_capability(name: &str) -> String {
    let upper = name.to_uppercase();
    upper.strip_prefix("CAP_").map(str::to_owned).unwrap_or(upper)
}

fn seccomp(profile: Option<&SeccompProfile>, dir: &Path) -> Seccomp {
    match profile.map(|p| (p.type_.as_str(), p.localhost_profile.as_deref())) {
        Some(("RuntimeDefault", _)) => Seccomp::RuntimeDefault,
        Some(("Localhost", Some(file))) => Seccomp::Localhost(dir.join(file)),
        _ => Seccomp::Unconfined,
    }
}

/// Checks `runAsNonRoot` against the user that the container will have; `image_user` is the
/// image's (`uid`, `name`, `uid:gid` or empty). The error is `CreateContainerConfigError`'s message.
pub fn verify_non_root(pod: &Desired, container: &Container, image_user: &str) -> Result<(), String> {
    let pod_level = pod.spec().security_context.as_ref();
    let own = container.security_context.as_ref();
    let required = own
        .and_then(|s| s.run_as_non_root)
        .or_else(|| pod_level.and_then(|s| s.run_as_non_root))
        .unwrap_or(false);
    if !required {
        return Ok(());
    }
    let whose = format!("(pod: {:?}, container: {})", pod.full_name(), container.name);
    let user = own
        .and_then(|s| s.run_as_user)
        .or_else(|| pod_level.and_then(|s| s.run_as_user));
    match user {
        Some(0) => return Err(format!("container's runAsUser breaks non-root policy {whose}")),
        Some(_) => return Ok(()),
        None => {}
    }
    let name = image_user.split(':').next().unwrap_or_default();
    match name.parse::<i64>() {
        Ok(0) => Err(format!(
            "container has runAsNonRoot and image will run as root {whose}"
        )),
        Ok(_) => Ok(()),
        Err(_) if name.is_empty() => Err(format!(
            "container has runAsNonRoot and image will run as root {whose}"
        )),
        Err(_) => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root {whose}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::desired::tests::pod;
    use super::*;
    use serde_json::json;

    #[test]
    fn the_containers_context_wins_over_the_pods() {
        let p = pod(json!({"spec": {
            "securityContext": {"runAsUser": 1000, "runAsGroup": 2000, "fsGroup": 3000, "supplementalGroups": [4],
                "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "a", "image": "x", "securityContext": {"runAsUser": 7,
                "allowPrivilegeEscalation": false, "capabilities": {"add": ["CAP_NET_ADMIN"], "drop": ["all"]}}}]}}));
        let s = merged(&p, &p.main()[0], Path::new("/seccomp"));
        assert_eq!(s.user, Some(User::Uid(7)));
        assert_eq!(s.group, Some(2000));
        assert_eq!(s.supplemental_groups, [4, 3000]);
        assert_eq!(s.capabilities_add, ["NET_ADMIN"]);
        assert_eq!(s.capabilities_drop, ["ALL"]);
        assert!(s.no_new_privileges);
        assert_eq!(s.seccomp, Seccomp::RuntimeDefault);
    }

    #[test]
    fn non_root_is_verified_against_the_image() {
        let p = pod(json!({"spec": {"securityContext": {"runAsNonRoot": true}}}));
        let check = |user: &str| verify_non_root(&p, &p.main()[0], user);
        assert_eq!(check("1000:1000"), Ok(()));
        assert_eq!(
            check("").unwrap_err(),
            "container has runAsNonRoot and image will run as root (pod: \"web_default(u1)\", container: a)"
        );
        assert!(check("nginx").unwrap_err().contains("non-numeric user (nginx)"));
        let p = pod(json!({"spec": {"securityContext": {"runAsNonRoot": true, "runAsUser": 0}}}));
        assert!(
            verify_non_root(&p, &p.main()[0], "5")
                .unwrap_err()
                .contains("breaks non-root policy")
        );
    }
}
