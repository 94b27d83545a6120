//! Who makes a request.

use std::collections::BTreeMap;

use crate::{Error, Result};

/// An authenticated user, as authorization and admission see it (`user.Info` of Kubernetes).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// For example `kubernetes-admin` or `system:node:edge-1`.
    pub user: String,
    /// For example `system:masters`.
    pub groups: Vec<String>,
    /// Set for service accounts.
    pub uid: Option<String>,
    /// Further attributes.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Identity {
    /// An identity with a name and groups; `system:authenticated` is added.
    pub fn new(user: impl Into<String>, groups: &[&str]) -> Self {
        let mut groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        groups.push("system:authenticated".to_owned());
        Identity {
            user: user.into(),
            groups,
            ..Identity::default()
        }
    }

    /// Who sends no credentials.
    pub fn anonymous() -> Self {
        Identity {
            user: "system:anonymous".to_owned(),
            groups: vec!["system:unauthenticated".to_owned()],
            ..Identity::default()
        }
    }

    /// A service account of the cluster.
    pub fn service_account(namespace: &str, name: &str, uid: Option<String>) -> Self {
        let mut identity = Identity::new(
            format!("system:serviceaccount:{namespace}:{name}"),
            &[
                "system:serviceaccounts",
                &format!("system:serviceaccounts:{namespace}"),
            ],
        );
        identity.uid = uid;
        identity
    }

    /// True when this identity is a member of `group`.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }
}

/// The identity that a verified client certificate (DER) carries: common name = user,
/// organizations = groups (Kubernetes' X.509 authenticator).
pub fn identity_of(certificate: &[u8]) -> Result<Identity> {
    let malformed = |message: String| Error::Malformed {
        what: "a client".to_owned(),
        message,
    };
    let (_, parsed) =
        x509_parser::parse_x509_certificate(certificate).map_err(|error| malformed(error.to_string()))?;
    let subject = parsed.subject();
    let user = subject
        .iter_common_name()
        .next()
        .and_then(|name| name.as_str().ok())
        .filter(|name| !name.is_empty())
        .ok_or_else(|| malformed("it has no common name".to_owned()))?;
    let groups: Vec<&str> = subject
        .iter_organization()
        .filter_map(|name| name.as_str().ok())
        .collect();
    Ok(Identity::new(user, &groups))
}
