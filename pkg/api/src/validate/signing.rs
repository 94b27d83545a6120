//! Signing requests: what is asked for, the verdict on it, and the certificate that comes of it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Errors;
use super::at::At;
use crate::fields::FieldError;

/// What a certificate may be for.
const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// Conditions that are true or not there.
const VERDICTS: [&str; 3] = ["Approved", "Denied", "Failed"];

/// The request itself.
pub(super) fn request(root: &At<'_, '_>, errors: &mut Errors) {
    let spec = root.child("spec");
    let asked = spec.child("request");
    let blocks = STANDARD.decode(asked.text()).ok().and_then(|pem| blocks(&pem));
    let is_request = |blocks: &Vec<Block>| matches!(blocks.first(), Some(first) if first.kind.ends_with("CERTIFICATE REQUEST") && first.is_der);
    if !blocks.as_ref().is_some_and(is_request) {
        asked.invalid(errors, "PEM block type must be CERTIFICATE REQUEST");
    }
    let usages = spec.child("usages");
    usages.require(errors, "");
    let mut seen: Vec<&str> = Vec::new();
    for usage in usages.items() {
        usage.one_of(errors, &USAGES);
        if seen.contains(&usage.text()) {
            errors.push(FieldError::duplicate(usage.path, usage.text()));
        }
        seen.push(usage.text());
    }
    signer(&spec.child("signerName"), errors);
    let duration = spec.child("expirationSeconds");
    if duration.number().is_some_and(|s| s < 600) {
        duration.invalid(
            errors,
            "may not specify a duration less than 600 seconds (10 minutes)",
        );
    }
}

fn signer(signer: &At<'_, '_>, errors: &mut Errors) {
    if !signer.require(errors, "") {
        return;
    }
    let parts = signer.text().split_once('/');
    if parts.is_none_or(|(domain, path)| domain.is_empty() || path.is_empty()) {
        signer.invalid(
            errors,
            "must be a fully qualified domain and path of the form 'example.com/signer-name'",
        );
    } else if signer.text() == "kubernetes.io/legacy-unknown" {
        signer.invalid(
            errors,
            "the legacy signerName is not allowed via this API version",
        );
    }
}

/// The conditions and the certificate: a verdict once given stays, there is one only, and so with the
/// certificate, which is `settable` through the status and not with the approval.
pub(super) fn verdict(root: &At<'_, '_>, before: &At<'_, '_>, settable: bool, errors: &mut Errors) {
    let (status, had_status) = (root.child("status"), before.child("status"));
    let conditions = status.child("conditions");
    let (now, had) = (kinds(&conditions), kinds(&had_status.child("conditions")));
    each_condition(&conditions, errors);
    let mut verdicts = now.iter().filter(|kind| matches!(**kind, "Approved" | "Denied"));
    if now.contains(&"Approved") && now.contains(&"Denied") {
        errors.push(FieldError::invalid(
            conditions.path,
            verdicts.next_back().copied().unwrap_or_default(),
            "Approved and Denied conditions are mutually exclusive",
        ));
    }
    let count = |list: &[&str], kind: &str| list.iter().filter(|known| **known == kind).count();
    for kind in VERDICTS {
        if count(&now, kind) < count(&had, kind) {
            conditions.forbid(
                errors,
                format!("updates may not remove a condition of type \"{kind}\""),
            );
        }
    }
    let (certificate, old) = (status.child("certificate"), had_status.child("certificate"));
    if certificate.text() == old.text() {
        return;
    }
    if !settable {
        certificate.forbid(errors, "updates may not set certificate content");
    } else if !old.text().is_empty() {
        certificate.forbid(errors, "updates may not modify existing certificate content");
    } else if let Err(why) = certificates(certificate.text()) {
        errors.push(FieldError::invalid(certificate.path, "<certificate data>", why));
    }
}

fn kinds<'v>(conditions: &At<'v, '_>) -> Vec<&'v str> {
    let kinds = conditions.items().map(|condition| condition.child("type").text());
    kinds.collect()
}

fn each_condition(conditions: &At<'_, '_>, errors: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for condition in conditions.items() {
        let (kind, says) = (condition.child("type"), condition.child("status"));
        kind.require(errors, "");
        if says.require(errors, "") {
            let allowed: &[&str] = if VERDICTS.contains(&kind.text()) {
                &["True"]
            } else {
                &["False", "True", "Unknown"]
            };
            says.one_of_if_set(errors, allowed);
        }
        if seen.contains(&kind.text()) {
            errors.push(FieldError::duplicate(kind.path, kind.text()));
        }
        seen.push(kind.text());
    }
}

/// Whether a base64 text is certificates in PEM.
fn certificates(text: &str) -> Result<(), String> {
    let pem = STANDARD.decode(text).map_err(|error| error.to_string())?;
    let found = blocks(&pem).unwrap_or_default();
    for block in &found {
        if block.kind != "CERTIFICATE" {
            let kind = &block.kind;
            return Err(format!("only CERTIFICATE PEM blocks are allowed, found {kind:?}"));
        }
        if block.has_headers {
            return Err("no PEM block headers are permitted".to_owned());
        }
        if !block.is_der {
            return Err("x509: malformed certificate".to_owned());
        }
    }
    if found.is_empty() {
        return Err("must contain at least one CERTIFICATE PEM block".to_owned());
    }
    Ok(())
}

/// One block of a PEM text.
struct Block {
    kind: String,
    has_headers: bool,
    /// Its content is one ASN.1 sequence, as all of X.509 is.
    is_der: bool,
}

/// The blocks of a PEM text; what stands between them is none of them. `None`: it is no text.
fn blocks(pem: &[u8]) -> Option<Vec<Block>> {
    let mut rest = std::str::from_utf8(pem).ok()?;
    let mut found = Vec::new();
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        let Some((kind, body)) = after.split_once("-----") else {
            break;
        };
        let Some((body, after)) = body.split_once(&format!("-----END {kind}-----")) else {
            break;
        };
        let (headers, body) = body.split_once("\n\n").unwrap_or(("", body));
        let body: String = body.split_whitespace().collect();
        found.push(Block {
            kind: kind.to_owned(),
            has_headers: headers.contains(':'),
            is_der: STANDARD.decode(body).is_ok_and(|der| is_sequence(&der)),
        });
        rest = after;
    }
    Some(found)
}

/// Whether these bytes are one DER sequence and nothing else.
fn is_sequence(der: &[u8]) -> bool {
    let [0x30, first, rest @ ..] = der else {
        return false;
    };
    let bytes = match first {
        0..=0x7f => return rest.len() == usize::from(*first),
        0x81..=0x84 => usize::from(first & 0x7f),
        _ => return false,
    };
    let Some((length, content)) = rest.split_at_checked(bytes) else {
        return false;
    };
    let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    content.len() == length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(kind: &str, body: &[u8]) -> String {
        STANDARD.encode(format!(
            "-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n",
            STANDARD.encode(body)
        ))
    }

    #[test]
    fn a_certificate_is_pem_of_one_sequence() {
        assert_eq!(certificates(&pem("CERTIFICATE", &[0x30, 1, 5])), Ok(()));
        let long: Vec<u8> = [vec![0x30, 0x82, 1, 0], vec![7; 256]].concat();
        assert_eq!(certificates(&pem("CERTIFICATE", &long)), Ok(()));
        for (text, why) in [
            (pem("CERTIFICATE", &[0x30, 9, 5]), "x509: malformed certificate"),
            (
                pem("RSA PRIVATE KEY", &[0x30, 0]),
                "only CERTIFICATE PEM blocks are allowed, found \"RSA PRIVATE KEY\"",
            ),
            (
                STANDARD.encode("x"),
                "must contain at least one CERTIFICATE PEM block",
            ),
        ] {
            assert_eq!(certificates(&text), Err(why.to_owned()));
        }
        let headed = "-----BEGIN CERTIFICATE-----\nA: b\n\nMAA=\n-----END CERTIFICATE-----\n";
        assert_eq!(
            certificates(&STANDARD.encode(headed)),
            Err("no PEM block headers are permitted".to_owned())
        );
    }
}
