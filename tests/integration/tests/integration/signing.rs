//! Certificate signing requests: who asked, one verdict, one certificate.

use std::process::Command;

use kobune_test_support::run;
use serde_json::json;

use crate::shared::Space;

/// What a program that makes keys and certificates says, in base64.
fn openssl(arguments: &str) -> String {
    let script = format!("openssl {arguments} 2>/dev/null | base64 -w0");
    run(Command::new("sh").arg("-c").arg(script), None).ok()
}

fn request(name: &str, body: &str) -> String {
    json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name},
        "spec": {"request": body, "signerName": "example.com/signer", "usages": ["client auth"]}})
    .to_string()
}

fn wanted() -> String {
    openssl(
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout /dev/null -subj /CN=jane",
    )
}

#[test]
fn a_request_says_who_asked_and_gets_one_verdict() {
    let space = Space::new("signing-verdict");
    space.with("create -f -", &request("jane", &wanted())).ok();
    assert_eq!(space.field("csr/jane", ".spec.username"), "kubernetes-admin");
    space.ok("certificate approve jane");
    space.wait_field("csr/jane", ".status.conditions[0].type", "Approved");
    let both = r#"{"status":{"conditions":[{"type":"Denied","status":"True"},{"type":"Approved","status":"True"}]}}"#;
    let refused = space.fails(&format!(
        "patch csr jane --subresource=approval --type=merge -p {both}"
    ));
    assert!(refused.contains("mutually exclusive"), "{refused}");
    let none = r#"{"status":{"conditions":[]}}"#;
    let refused = space.fails(&format!(
        "patch csr jane --subresource=approval --type=merge -p {none}"
    ));
    assert!(refused.contains("may not remove"), "{refused}");
    // The signer's door cannot take it back either.
    space.ok(&format!(
        "patch csr jane --subresource=status --type=merge -p {none}"
    ));
    assert_eq!(space.field("csr/jane", ".status.conditions[0].type"), "Approved");
    space.ok("delete csr jane");
}

#[test]
fn a_certificate_is_one_and_is_written_once() {
    let space = Space::new("signing-certificate");
    space.with("create -f -", &request("john", &wanted())).ok();
    space.ok("certificate approve john");
    let set = |certificate: &str| {
        let patch = json!({"status": {"certificate": certificate}}).to_string();
        space.kubectl(&[
            "patch",
            "csr",
            "john",
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ])
    };
    let refused = set("Z2FyYmFnZQ==").fails();
    assert!(
        refused.contains("must contain at least one CERTIFICATE PEM block"),
        "{refused}"
    );
    let certificate = openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout /dev/null -subj /CN=john",
    );
    set(&certificate).ok();
    assert_eq!(space.field("csr/john", ".status.certificate"), certificate);
    let refused = set("").fails();
    assert!(refused.contains("may not modify existing"), "{refused}");
    space.ok("delete csr john");
}

#[test]
fn what_is_no_request_is_refused() {
    let space = Space::new("signing-garbage");
    let refused = space
        .with("create -f -", &request("none", "Z2FyYmFnZQ=="))
        .fails();
    assert!(
        refused.contains("PEM block type must be CERTIFICATE REQUEST"),
        "{refused}"
    );
}
