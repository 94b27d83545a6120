//! Who may do what: certificates, strangers, limited users, the kubeconfig itself.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use kobune_test_support::{Output, run};

use crate::http;
use crate::shared::{Space, cluster};

fn kubectl(line: &str) -> Output {
    cluster().kubectl(&line.split_whitespace().collect::<Vec<_>>())
}

/// A kubeconfig for a user who is nobody special.
fn kubeconfig(user: &str, groups: &[&str]) -> PathBuf {
    let server = format!("--server=https://127.0.0.1:{}", cluster().port());
    let mut arguments = vec!["kubeconfig", "--user", user, &server];
    arguments.extend(groups.iter().flat_map(|group| ["--group", group]));
    let file = cluster().folder().join(user);
    std::fs::write(&file, cluster().kobune(&arguments).ok()).expect("the test's folder is writable");
    file
}

fn kubectl_as(file: &PathBuf, line: &str) -> Output {
    let mut command = Command::new("kubectl");
    command.env("KUBECONFIG", file).env("HOME", cluster().folder());
    run(command.args(line.split_whitespace()), None)
}

#[test]
fn the_administrator_is_known_and_may_do_all() {
    let who = kubectl("auth whoami").ok();
    assert!(
        who.contains("kubernetes-admin") && who.contains("[system:masters system:authenticated]"),
        "{who}"
    );
    assert_eq!(kubectl("auth can-i delete nodes").ok(), "yes\n");
    assert!(kubectl("auth can-i --list").ok().contains("*.*"));
}

#[test]
fn the_kubeconfig_is_for_its_owner_only() {
    let mode = |path: PathBuf| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(cluster().kubeconfig()), 0o600);
    let tls = cluster().data().join("server/tls");
    for entry in std::fs::read_dir(&tls).expect("keys are there").flatten() {
        if entry.file_name().to_string_lossy().ends_with(".key") {
            assert_eq!(mode(entry.path()), 0o600, "{:?}", entry.path());
        }
    }
}

#[test]
fn a_stranger_sees_health_and_version_only() {
    for path in [
        "/api/v1/namespaces/kube-system/secrets",
        "/metrics",
        "/api",
        "/openapi/v2",
        "/nonsense",
    ] {
        http::anonymous(path, &[]).fails(401, "Unauthorized");
    }
    for path in ["/livez", "/readyz", "/healthz", "/version"] {
        assert_eq!(http::anonymous(path, &[]).code, 200);
    }
}

#[test]
fn a_wrong_token_is_unauthorized() {
    let bearer = http::anonymous("/api/v1/pods", &["-H", "Authorization: Bearer nonsense"]);
    assert_eq!(bearer.fails(401, "Unauthorized")["message"], "Unauthorized");
    http::anonymous("/api/v1/pods", &["-H", "Authorization: Bearer a.b.c"]).fails(401, "Unauthorized");
    http::anonymous("/version", &["-H", "Authorization: Bearer a.b.c"]).fails(401, "Unauthorized");
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let script = format!(
        "cd {} && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 \
         -subj '/O=system:masters/CN=mallory' -keyout mallory.key -out mallory.crt 2>/dev/null && \
         curl -sk -o /dev/null -w '%{{http_code}}' --cert mallory.crt --key mallory.key https://127.0.0.1:{}/api",
        cluster().folder().display(),
        cluster().port()
    );
    let output = run(Command::new("sh").args(["-c", &script]), None);
    assert!(output.stdout == "401" || output.stdout == "000", "{output:?}");
}

#[test]
fn a_limited_user_is_forbidden_in_upstreams_words() {
    let jane = kubeconfig("jane", &["developers"]);
    let who = kubectl_as(&jane, "auth whoami").ok();
    assert!(
        who.contains("jane") && who.contains("[developers system:authenticated]"),
        "{who}"
    );
    let refused = kubectl_as(&jane, "get pods").fails();
    assert_eq!(
        refused,
        "Error from server (Forbidden): pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"\n"
    );
    let refused = kubectl_as(&jane, "delete node n").fails();
    assert!(refused.contains(r#"nodes "n" is forbidden: User "jane" cannot delete resource "nodes" in API group "" at the cluster scope"#), "{refused}");
    let answer = kubectl_as(&jane, "auth can-i create deployments.apps");
    assert_eq!((answer.stdout.as_str(), answer.code), ("no\n", 1));
    let refused = kubectl("get pods --as=jane").fails();
    assert!(refused.contains(r#"User "jane" cannot list"#), "{refused}");
    let refused = kubectl_as(&jane, "get pods --as=kubernetes-admin --as-group=system:masters").fails();
    assert!(
        refused.contains(r#"users "kubernetes-admin" is forbidden: User "jane" cannot impersonate"#),
        "{refused}"
    );
    assert_eq!(
        kubectl("auth can-i get pods --as=jane --as-group=developers").stdout,
        "no\n"
    );
    // Discovery is open to everybody who is known.
    assert!(kubectl_as(&jane, "api-versions").ok().contains("apps/v1"));
}

#[test]
fn a_service_accounts_token_is_its_identity() {
    let space = Space::new("tokens");
    space.ok("create serviceaccount robot");
    let token = space.ok("create token robot --duration=1h");
    let header = format!("Authorization: Bearer {}", token.trim());
    let status = http::anonymous("/api/v1/namespaces/tokens/pods", &["-H", &header]).fails(403, "Forbidden");
    assert!(
        status["message"]
            .to_string()
            .contains("system:serviceaccount:tokens:robot"),
        "{status}"
    );
    space.ok("delete serviceaccount robot");
    http::anonymous("/api/v1/namespaces/tokens/pods", &["-H", &header]).fails(401, "Unauthorized");
}
