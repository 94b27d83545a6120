//! `kubectl --as`: a caller who is allowed to may be treated as somebody else.

use http::HeaderMap;
use kobune_api::status::Status;
use kobune_pki::Identity;

use crate::authz::{Attributes, Chain};

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";

/// Who the request's headers ask to be; `None` without such headers.
///
/// # Errors
///
/// 403 when the caller may not `impersonate` the user or one of the groups and attributes, 400 when
/// there are groups or attributes but no user.
pub fn wanted(who: &Identity, headers: &HeaderMap, chain: &Chain) -> Result<Option<Identity>, Status> {
    let all = |name: &str| -> Vec<&str> {
        let values = headers.get_all(name).into_iter();
        values.filter_map(|value| value.to_str().ok()).collect()
    };
    let mut extra: Vec<(String, &str)> = Vec::new();
    for (name, value) in headers {
        if let Some(key) = name.as_str().strip_prefix(EXTRA) {
            let key = crate::http::query::decode(key, false).into_owned();
            extra.extend(value.to_str().ok().map(|value| (key, value)));
        }
    }
    let (groups, uid) = (all(GROUP), all(UID).first().copied());
    let Some(user) = all(USER).first().copied().filter(|user| !user.is_empty()) else {
        if groups.is_empty() && uid.is_none() && extra.is_empty() {
            return Ok(None);
        }
        return Err(Status::bad_request(
            "groups, uid or extra attributes are impersonated without a user",
        ));
    };
    let may = |group, resource, subresource, namespace, name| {
        chain.check(&Attributes {
            who,
            verb: "impersonate",
            is_resource: true,
            group,
            resource,
            subresource,
            namespace,
            name,
            path: "",
        })
    };
    let account = user
        .strip_prefix("system:serviceaccount:")
        .and_then(|account| account.split_once(':'));
    match account {
        Some((namespace, name)) => may("", "serviceaccounts", "", namespace, name)?,
        None => may("", "users", "", "", user)?,
    }
    for group in &groups {
        may("", "groups", "", "", group)?;
    }
    if let Some(uid) = uid {
        may("authentication.k8s.io", "uids", "", "", uid)?;
    }
    for (key, value) in &extra {
        may("authentication.k8s.io", "userextras", key, "", value)?;
    }
    let mut other = match account {
        Some((namespace, name)) if groups.is_empty() => Identity::service_account(namespace, name, None),
        _ if user == "system:anonymous" => Identity::anonymous(),
        _ => {
            let own: Vec<&str> = groups
                .into_iter()
                .filter(|group| *group != "system:authenticated")
                .collect();
            Identity::new(user, &own)
        }
    };
    other.uid = uid.map(str::to_owned).or(other.uid);
    for (key, value) in extra {
        other.extra.entry(key).or_default().push(value.to_owned());
    }
    Ok(Some(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Chain {
        Chain::masters_only()
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, http::HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn the_administrator_becomes_somebody_else() {
        let admin = Identity::new("admin", &["system:masters"]);
        assert_eq!(
            wanted(&admin, &HeaderMap::new(), &chain()).expect("allowed"),
            None
        );
        let jane = headers(&[
            (USER, "jane"),
            (GROUP, "a"),
            (GROUP, "b"),
            ("impersonate-extra-scopes", "x"),
        ]);
        let jane = wanted(&admin, &jane, &chain())
            .expect("allowed")
            .expect("another");
        assert_eq!(jane.user, "jane");
        assert_eq!(jane.groups, ["a", "b", "system:authenticated"]);
        assert_eq!(jane.extra["scopes"], ["x"]);
        let robot = headers(&[(USER, "system:serviceaccount:ns:robot")]);
        let robot = wanted(&admin, &robot, &chain())
            .expect("allowed")
            .expect("another");
        assert!(robot.is_in("system:serviceaccounts:ns"));
    }

    #[test]
    fn others_may_not() {
        let jane = Identity::new("jane", &[]);
        let refused = wanted(
            &jane,
            &headers(&[(USER, "admin"), (GROUP, "system:masters")]),
            &chain(),
        );
        assert_eq!(refused.expect_err("not allowed").code, 403);
        let admin = Identity::new("admin", &["system:masters"]);
        assert_eq!(
            wanted(&admin, &headers(&[(GROUP, "a")]), &chain())
                .expect_err("no user")
                .code,
            400
        );
    }
}
