//! Patches and intents that say something twice, or something that means nothing.

use crate::http::{self, Answer};
use crate::shared::{Space, deployment};

fn patch(space: &Space, kind: &str, mode: &str, body: &str) -> Answer {
    let path = format!(
        "/apis/apps/v1/namespaces/{}/deployments/web?fieldManager=me&force={}&fieldValidation={mode}",
        space.name,
        kind == "apply-patch+yaml"
    );
    let path = match kind {
        "apply-patch+yaml" => path,
        _ => path.replace("&force=false", ""),
    };
    let media = format!("Content-Type: application/{kind}");
    http::request("PATCH", &path, &["-H", &media], Some(body))
}

#[test]
fn a_patch_that_says_something_twice_is_refused_or_warned_of() {
    let space = Space::new("doubtful");
    space.with("create -f -", &deployment("web", "nginx", 0)).ok();
    let object = r#"{"spec":{"foo":1,"paused":true,"paused":false}}"#;
    let operations = r#"[{"op":"add","path":"/spec/replicas","path":"/spec/foo","value":1,"bar":2}]"#;
    for (kind, body, findings) in [
        (
            "merge-patch+json",
            object,
            [r#"duplicate field "spec.paused""#, r#"unknown field "spec.foo""#],
        ),
        (
            "strategic-merge-patch+json",
            object,
            [r#"duplicate field "spec.paused""#, r#"unknown field "spec.foo""#],
        ),
        (
            "json-patch+json",
            operations,
            [
                r#"json patch duplicate field "[0].path""#,
                r#"json patch unknown field "[0].bar""#,
            ],
        ),
    ] {
        let refused = patch(&space, kind, "Strict", body).fails(422, "Invalid");
        let message = refused["message"].as_str().unwrap_or("");
        assert!(
            message.contains(&format!(
                "strict decoding error: {}, {}",
                findings[0], findings[1]
            )),
            "{message}"
        );
        let warned = patch(&space, kind, "Warn", body);
        warned.ok();
        for finding in findings {
            warned.has_header(&format!("warning: 299 - \"{}\"", finding.replace('"', "\\\"")));
        }
        let silent = patch(&space, kind, "Ignore", body);
        silent.ok();
        assert!(!silent.headers.contains("warning:"), "{silent:?}");
    }
}

#[test]
fn an_intent_that_says_something_twice_is_refused_or_warned_of() {
    let space = Space::new("doubtful-intent");
    let intent = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 1\n  replicas: 0\n  \
        selector: {matchLabels: {a: b}}\n  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: x}]}}\n";
    let refused = patch(&space, "apply-patch+yaml", "Strict", intent).fails(400, "BadRequest");
    let message = refused["message"].as_str().unwrap_or("");
    assert!(
        message.contains("error strict decoding YAML")
            && message.contains(r#"key "replicas" already set in map"#),
        "{message}"
    );
    assert!(!space.names("deployments").contains(&"web".to_owned()));
    let warned = patch(&space, "apply-patch+yaml", "Warn", intent);
    warned.ok();
    warned.has_header(r#"key \"replicas\" already set in map"#);
}
