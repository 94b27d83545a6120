//! Certificate authorities: made once, kept in files, issuing leaves.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

use crate::files::{read, write_private};
use crate::service_account::ServiceAccountKey;
use crate::{CertifiedKey, Error, Leaf, Result, SubjectAltName};

/// A CA lives ten years, as k3s' do.
const AUTHORITY_DAYS: i64 = 3650;
/// A leaf lives one year and is renewed at a start when less than 120 days are left, as k3s does.
const LEAF_DAYS: i64 = 365;
const RENEW_DAYS: i64 = 120;
/// Clocks differ: certificates are valid from an hour ago.
const SKEW: Duration = Duration::hours(1);

/// All that a server signs with.
pub struct Authorities {
    /// Signs what servers show (API server, kubelets).
    pub server: Authority,
    /// Signs what clients show (users, components, nodes).
    pub client: Authority,
    /// Signs the front proxy's certificate (aggregated API servers trust it).
    pub request_header: Authority,
    /// Signs service-account tokens.
    pub service_account: ServiceAccountKey,
}

impl Authorities {
    /// Reads the authorities in `folder`, or makes those that are missing.
    pub fn load_or_create(folder: &Path) -> Result<Self> {
        Ok(Authorities {
            server: Authority::load_or_create(folder, "server-ca", "kobune-server-ca")?,
            client: Authority::load_or_create(folder, "client-ca", "kobune-client-ca")?,
            request_header: Authority::load_or_create(
                folder,
                "request-header-ca",
                "kobune-request-header-ca",
            )?,
            service_account: ServiceAccountKey::load_or_create(&folder.join("service.key"))?,
        })
    }
}

/// One certificate authority.
pub struct Authority {
    folder: PathBuf,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Reads `{stem}.crt` and `{stem}.key` in `folder`, or makes them.
    pub fn load_or_create(folder: &Path, stem: &str, common_name: &str) -> Result<Self> {
        let (certificate_path, key_path) = paths(folder, stem);
        let doing = |what: &str| format!("{what} the authority {}", certificate_path.display());
        if let (Some(certificate_pem), Some(key_pem)) = (read(&certificate_path)?, read(&key_path)?) {
            let issuer = KeyPair::from_pem(&key_pem)
                .and_then(|key| Issuer::from_ca_cert_pem(&certificate_pem, key))
                .map_err(|source| Error::Certificate {
                    doing: doing("reading"),
                    source,
                })?;
            return Ok(Authority {
                folder: folder.to_owned(),
                certificate_pem,
                issuer,
            });
        }
        let failed = |source| Error::Certificate {
            doing: doing("making"),
            source,
        };
        let key = KeyPair::generate().map_err(failed)?;
        let params = authority_params(common_name).map_err(failed)?;
        let certificate_pem = params.self_signed(&key).map_err(failed)?.pem();
        // The key first: a certificate without its key would be unusable for ever.
        write_private(&key_path, key.serialize_pem().as_bytes(), 0o600)?;
        write_private(&certificate_path, certificate_pem.as_bytes(), 0o644)?;
        Ok(Authority {
            folder: folder.to_owned(),
            certificate_pem,
            issuer: Issuer::new(params, key),
        })
    }

    /// The authority's own certificate.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Issues a leaf certificate with a new key; nothing is written.
    pub fn issue(&self, leaf: &Leaf) -> Result<CertifiedKey> {
        let failed = |source| Error::Certificate {
            doing: format!("issuing a certificate to {}", leaf.subject.user),
            source,
        };
        let key = KeyPair::generate().map_err(failed)?;
        let params = leaf_params(leaf).map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok(CertifiedKey {
            certificate_pem: certificate.pem() + &self.certificate_pem,
            key_pem: key.serialize_pem(),
        })
    }

    /// Reads `{stem}.crt` and `{stem}.key` beside the authority's own files while they are signed by
    /// it, say what `leaf` says and live long enough; issues and writes them otherwise.
    pub fn load_or_issue(&self, stem: &str, leaf: &Leaf) -> Result<CertifiedKey> {
        let (certificate_path, key_path) = paths(&self.folder, stem);
        if let (Some(certificate_pem), Some(key_pem)) = (read(&certificate_path)?, read(&key_path)?) {
            let present = CertifiedKey {
                certificate_pem,
                key_pem,
            };
            if self.is_current(&present, leaf) {
                return Ok(present);
            }
            tracing::info!(certificate = %certificate_path.display(), "renewing a certificate");
        }
        let issued = self.issue(leaf)?;
        write_private(&key_path, issued.key_pem.as_bytes(), 0o600)?;
        write_private(&certificate_path, issued.certificate_pem.as_bytes(), 0o644)?;
        Ok(issued)
    }

    /// Signs a certificate signing request (PEM) for what `leaf` says, whatever the request asks for.
    pub fn sign_request(&self, request_pem: &str, leaf: &Leaf) -> Result<String> {
        let failed = |source| Error::Certificate {
            doing: format!("signing the request of {}", leaf.subject.user),
            source,
        };
        let mut request = CertificateSigningRequestParams::from_pem(request_pem).map_err(failed)?;
        request.params = leaf_params(leaf).map_err(failed)?;
        let certificate = request.signed_by(&self.issuer).map_err(failed)?;
        Ok(certificate.pem() + &self.certificate_pem)
    }

    fn is_current(&self, present: &CertifiedKey, leaf: &Leaf) -> bool {
        let Ok(chain) = present.chain() else { return false };
        let Some((_, certificate)) = chain
            .first()
            .and_then(|der| x509_parser::parse_x509_certificate(der).ok())
        else {
            return false;
        };
        let remaining =
            certificate.validity().not_after.timestamp() - OffsetDateTime::now_utc().unix_timestamp();
        let signed_by_us = present.certificate_pem.ends_with(&self.certificate_pem);
        let same_subject = crate::identity_of(chain[0].as_ref()).is_ok_and(|identity| {
            identity.user == leaf.subject.user && identity.groups == leaf.subject.groups
        });
        signed_by_us
            && same_subject
            && names_of(&certificate) == sorted(&leaf.names)
            && remaining > RENEW_DAYS * 24 * 3600
    }
}

fn paths(folder: &Path, stem: &str) -> (PathBuf, PathBuf) {
    (
        folder.join(format!("{stem}.crt")),
        folder.join(format!("{stem}.key")),
    )
}

fn sorted(names: &[SubjectAltName]) -> Vec<SubjectAltName> {
    let mut names = names.to_vec();
    names.sort();
    names.dedup();
    names
}

fn names_of(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Vec<SubjectAltName> {
    use x509_parser::extensions::GeneralName;
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names: Vec<SubjectAltName> = extension
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(SubjectAltName::Name((*name).to_owned())),
            GeneralName::IPAddress(bytes) => match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes)
                    .ok()
                    .map(|b| SubjectAltName::Address(b.into())),
                _ => <[u8; 16]>::try_from(*bytes)
                    .ok()
                    .map(|b| SubjectAltName::Address(b.into())),
            },
            _ => None,
        })
        .collect();
    sorted(&names)
}

fn valid_for(params: &mut CertificateParams, days: i64) {
    let now = OffsetDateTime::now_utc();
    params.not_before = now - SKEW;
    params.not_after = now + Duration::days(days);
}

fn authority_params(common_name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    // The time of making tells two authorities with one name apart, as k3s does.
    let name = format!("{common_name}@{}", OffsetDateTime::now_utc().unix_timestamp());
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    valid_for(&mut params, AUTHORITY_DAYS);
    Ok(params)
}

fn leaf_params(leaf: &Leaf) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    for group in leaf
        .subject
        .groups
        .iter()
        .filter(|group| *group != "system:authenticated")
    {
        params
            .distinguished_name
            .push(DnType::OrganizationName, group.as_str());
    }
    params
        .distinguished_name
        .push(DnType::CommonName, leaf.subject.user.as_str());
    for name in sorted(&leaf.names) {
        params.subject_alt_names.push(match name {
            SubjectAltName::Name(name) => SanType::DnsName(name.try_into()?),
            SubjectAltName::Address(address) => SanType::IpAddress(address),
        });
    }
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    if leaf.server {
        params
            .extended_key_usages
            .push(ExtendedKeyUsagePurpose::ServerAuth);
    }
    if leaf.client {
        params
            .extended_key_usages
            .push(ExtendedKeyUsagePurpose::ClientAuth);
    }
    params.use_authority_key_identifier_extension = true;
    valid_for(&mut params, LEAF_DAYS);
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let first = Authority::load_or_create(folder.path(), "server-ca", "test").unwrap();
        let again = Authority::load_or_create(folder.path(), "server-ca", "test").unwrap();
        assert_eq!(first.certificate_pem(), again.certificate_pem());
    }

    #[test]
    fn keys_are_readable_by_their_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        Authorities::load_or_create(folder.path()).unwrap();
        for name in [
            "server-ca.key",
            "client-ca.key",
            "request-header-ca.key",
            "service.key",
        ] {
            let mode = std::fs::metadata(folder.path().join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_leaf_carries_user_and_groups() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::load_or_create(folder.path(), "client-ca", "test").unwrap();
        let leaf = authority
            .issue(&Leaf::client("kubernetes-admin", &["system:masters"]))
            .unwrap();
        let identity = crate::identity_of(&leaf.chain().unwrap()[0]).unwrap();
        assert_eq!(identity.user, "kubernetes-admin");
        assert!(identity.is_in("system:masters") && identity.is_in("system:authenticated"));
    }

    #[test]
    fn a_leaf_is_kept_until_its_names_change() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::load_or_create(folder.path(), "server-ca", "test").unwrap();
        let mut leaf = Leaf::server("kube-apiserver", vec![SubjectAltName::parse("127.0.0.1")]);
        let first = authority.load_or_issue("serving", &leaf).unwrap();
        let kept = authority.load_or_issue("serving", &leaf).unwrap();
        assert_eq!(first.certificate_pem, kept.certificate_pem);
        leaf.names.push(SubjectAltName::parse("kubernetes.default.svc"));
        let renewed = authority.load_or_issue("serving", &leaf).unwrap();
        assert_ne!(first.certificate_pem, renewed.certificate_pem);
    }
}
