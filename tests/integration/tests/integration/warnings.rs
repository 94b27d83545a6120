//! What the server takes and warns of, as kubectl prints it.

use crate::shared::{Space, deployment};

#[test]
fn a_doubtful_pod_is_taken_and_warned_of() {
    let space = Space::new("warnings-pod");
    let pod = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"doubtful"},"spec":{
        "nodeSelector":{"beta.kubernetes.io/os":"linux"},"imagePullSecrets":[{"name":""}],
        "containers":[{"name":"main","image":"nginx","env":[{"name":"A","value":"1"},{"name":"A","value":"2"}]}]}}"#;
    let created = space.with("create -f -", pod);
    for warning in [
        r#"Warning: spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead"#,
        r#"Warning: spec.imagePullSecrets[0].name: invalid empty name """#,
        r#"Warning: spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply"#,
    ] {
        assert!(created.stderr.contains(warning), "{warning}: {created:?}");
    }
    // Its changes are the business of controllers.
    let labelled = space.kubectl(&["label", "pod", "doubtful", "a=b"]);
    assert!(!labelled.stderr.contains("Warning"), "{labelled:?}");
}

#[test]
fn a_template_is_warned_of_when_it_is_made_and_changed() {
    let space = Space::new("warnings-template");
    let doubtful = deployment("web", "nginx", 0).replace(
        r#""containers""#,
        r#""nodeSelector":{"beta.kubernetes.io/arch":"amd64"},"containers""#,
    );
    let warning = "Warning: spec.template.spec.nodeSelector[beta.kubernetes.io/arch]: deprecated";
    let created = space.with("create -f -", &doubtful);
    assert!(created.stderr.contains(warning), "{created:?}");
    let scaled = space.kubectl(&["set", "image", "deployment/web", "main=redis"]);
    assert!(scaled.stderr.contains(warning), "{scaled:?}");
    let labelled = space.kubectl(&["label", "deployment", "web", "a=b"]);
    assert!(!labelled.stderr.contains("Warning"), "{labelled:?}");
}

#[test]
fn fields_that_a_service_ignores_are_told() {
    let space = Space::new("warnings-service");
    let service = r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"web"},"spec":{"clusterIP":"None",
        "externalName":"a.example","ports":[{"port":80}]}}"#;
    let created = space.with("create -f -", service);
    let warning = r#"Warning: spec.externalName is ignored when spec.type is not "ExternalName""#;
    assert!(created.stderr.contains(warning), "{created:?}");
}
