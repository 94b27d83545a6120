//! Create, update and patch one object, and what is refused.

use crate::http;
use crate::shared::{Space, map};

#[test]
fn a_new_object_gets_its_server_side_metadata() {
    let space = Space::new("new");
    space.ok("create configmap a --from-literal=k=v");
    let object = space.json("configmap/a");
    let metadata = &object["metadata"];
    assert_eq!(metadata["uid"].as_str().map(str::len), Some(36));
    assert!(
        metadata["creationTimestamp"]
            .as_str()
            .is_some_and(|time| time.ends_with('Z'))
    );
    assert!(
        metadata["resourceVersion"]
            .as_str()
            .is_some_and(|v| v.parse::<u64>().is_ok())
    );
    assert_eq!(metadata["managedFields"][0]["manager"], "kubectl-create");
    let twice = space.fails("create configmap a");
    assert!(twice.contains(r#"configmaps "a" already exists"#), "{twice}");
    assert!(
        space
            .fails("get configmap b")
            .contains(r#"Error from server (NotFound): configmaps "b" not found"#)
    );
    assert!(
        space
            .fails("get nonsense")
            .contains(r#"the server doesn't have a resource type "nonsense""#)
    );
}

#[test]
fn a_generated_name_starts_with_its_prefix() {
    let space = Space::new("generated");
    for _ in 0..3 {
        space
            .with(
                "create -f -",
                r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"some-"}}"#,
            )
            .ok();
    }
    let names = space.names("configmaps");
    assert_eq!(
        names
            .iter()
            .filter(|name| name.starts_with("some-") && name.len() == 10)
            .count(),
        3
    );
}

#[test]
fn patches_of_three_types_change_an_object() {
    let space = Space::new("patches");
    space.ok("create deployment web --image=nginx");
    let patch =
        |kind: &str, patch: &str| space.kubectl(&["patch", "deployment", "web", "--type", kind, "-p", patch]);
    // A strategic merge adds to the list of containers by name; a merge patch replaces it.
    patch(
        "strategic",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"b","image":"busybox"}]}}}}"#,
    )
    .ok();
    let images = ".spec.template.spec.containers[*].image";
    assert_eq!(space.field("deployment/web", images), "busybox nginx");
    patch(
        "merge",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"redis"}]}}}}"#,
    )
    .ok();
    assert_eq!(space.field("deployment/web", images), "redis");
    patch("json", r#"[{"op":"test","path":"/spec/replicas","value":1},{"op":"replace","path":"/spec/replicas","value":0}]"#).ok();
    assert_eq!(space.field("deployment/web", ".spec.replicas"), "0");
    let failed = patch("json", r#"[{"op":"test","path":"/spec/replicas","value":7}]"#).fails();
    assert!(failed.contains("testing value /spec/replicas failed"), "{failed}");
    let removed = patch(
        "strategic",
        r#"{"spec":{"template":{"spec":{"containers":[{"$patch":"delete","name":"c"}]}}}}"#,
    );
    assert!(
        removed
            .fails()
            .contains("spec.template.spec.containers: Required value")
    );
}

#[test]
fn a_write_at_an_old_version_conflicts() {
    let space = Space::new("conflicts");
    space.with("create -f -", &map("a", "")).ok();
    let old = space.json("configmap/a").to_string();
    space.ok("label configmap a l=1");
    let conflict = space.with("replace -f -", &old).fails();
    assert!(
        conflict.contains(r#"(Conflict): error when replacing "STDIN": Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the latest version and try again"#),
        "{conflict}"
    );
    // Without a version the last writer wins.
    space
        .with("replace -f -", &map("a", r#","labels":{"l":"2"}"#))
        .ok();
    assert_eq!(space.field("configmap/a", ".metadata.labels.l"), "2");
    let uid = map("a", r#","uid":"00000000-0000-0000-0000-000000000000""#);
    assert!(
        space
            .with("replace -f -", &uid)
            .fails()
            .contains("Precondition failed: UID in precondition")
    );
}

#[test]
fn a_dry_run_changes_nothing() {
    let space = Space::new("dry");
    let shown = space
        .with("create --dry-run=server -o yaml -f -", &map("a", ""))
        .ok();
    assert!(
        shown.contains("uid: ") && !shown.contains("resourceVersion"),
        "{shown}"
    );
    assert!(!space.names("configmaps").contains(&"a".to_owned()));
    space.with("create -f -", &map("a", "")).ok();
    space.ok("label configmap a l=1 --dry-run=server");
    space.ok("delete configmap a --dry-run=server");
    assert_eq!(space.field("configmap/a", ".metadata.labels"), "");
}

#[test]
fn unknown_fields_are_refused_warned_of_or_ignored() {
    let space = Space::new("strict");
    let unknown = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"dta":{"k":"v"},"data":{"k":"1","k":"2"}}"#;
    let strict = space
        .with(
            "create --validate=strict -f -",
            &unknown.replace(r#""k":"1","#, ""),
        )
        .fails();
    assert!(
        strict.contains(r#"ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "dta""#),
        "{strict}"
    );
    let warned = space.with("create --validate=warn -f -", unknown);
    assert!(
        warned.stderr.contains(r#"Warning: unknown field "dta""#),
        "{warned:?}"
    );
    let ignored = space.with("replace --validate=ignore -f -", unknown);
    assert_eq!((ignored.code, ignored.stderr.as_str()), (0, ""));
    let twice = http::post(
        &format!("{}?fieldValidation=Strict", space.path("configmaps")),
        unknown,
    );
    assert!(
        twice.fails(400, "BadRequest")["message"]
            .to_string()
            .contains("duplicate field"),
        "{twice:?}"
    );
}

#[test]
fn bad_fields_are_named_with_their_paths_and_reasons() {
    let space = Space::new("invalid");
    let pod =
        |spec: &str| format!(r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"p"}},"spec":{spec}}}"#);
    for (object, message) in [
        (
            map("Bad_Name", ""),
            r#"metadata.name: Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain must consist of"#,
        ),
        (
            map("a", r#","labels":{"l":"-"}"#),
            r#"metadata.labels: Invalid value: "-": a valid label must be an empty string or"#,
        ),
        (pod(r#"{"containers":[]}"#), "spec.containers: Required value"),
        (
            pod(r#"{"containers":[{"name":"c"}]}"#),
            "spec.containers[0].image: Required value",
        ),
        (
            pod(r#"{"containers":[{"name":"C","image":"x"}]}"#),
            r#"spec.containers[0].name: Invalid value: "C": a lowercase RFC 1123 label"#,
        ),
        (
            pod(r#"{"containers":[{"name":"c","image":"x"},{"name":"c","image":"x"}]}"#),
            r#"spec.containers[1].name: Duplicate value: "c""#,
        ),
        (
            pod(r#"{"restartPolicy":"Sometimes","containers":[{"name":"c","image":"x"}]}"#),
            r#"spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never""#,
        ),
        (
            pod(
                r#"{"containers":[{"name":"c","image":"x","resources":{"requests":{"cpu":"2"},"limits":{"cpu":"1"}}}]}"#,
            ),
            r#"spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1"#,
        ),
        (
            pod(r#"{"containers":[{"name":"c","image":"x","resources":{"limits":{"cpu":"much"}}}]}"#),
            "quantities must match the regular expression",
        ),
        (
            pod(
                r#"{"containers":[{"name":"c","image":"x","volumeMounts":[{"name":"v","mountPath":"/v"}]}]}"#,
            ),
            r#"spec.containers[0].volumeMounts[0].name: Not found: "v""#,
        ),
        (
            pod(r#"{"containers":[{"name":"c","image":"x","ports":[{"containerPort":70000}]}]}"#),
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            pod(r#"{"containers":[{"name":"c","image":"x","ports":[{"containerPort":"80"}]}]}"#),
            "json: cannot unmarshal string into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32",
        ),
    ] {
        let refused = space.with("create --validate=ignore -f -", &object).fails();
        assert!(refused.contains(message), "{message}\n{refused}");
    }
}

#[test]
fn immutable_fields_stay() {
    let space = Space::new("immutable");
    space.ok("create deployment web --image=nginx");
    let patch = r#"{"spec":{"selector":{"matchLabels":{"app":"other"}},"template":{"metadata":{"labels":{"app":"other"}}}}}"#;
    let refused = space
        .kubectl(&["patch", "deployment", "web", "-p", patch])
        .fails();
    assert!(
        refused.contains("spec.selector: Invalid value") && refused.contains("field is immutable"),
        "{refused}"
    );
    space.ok("run p --image=nginx");
    let refused = space
        .kubectl(&["patch", "pod", "p", "-p", r#"{"spec":{"hostNetwork":true}}"#])
        .fails();
    assert!(
        refused.contains("spec: Forbidden: pod updates may not change fields other than"),
        "{refused}"
    );
    space.ok("set image pod/p p=nginx:2");
    space.ok("create secret generic s --from-literal=k=v");
    space
        .kubectl(&["patch", "secret", "s", "-p", r#"{"immutable":true}"#])
        .ok();
    let refused = space
        .kubectl(&["patch", "secret", "s", "-p", r#"{"stringData":{"k":"w"}}"#])
        .fails();
    assert!(
        refused.contains("data: Forbidden: field is immutable when `immutable` is set"),
        "{refused}"
    );
}

#[test]
fn labels_and_annotations_are_set_and_removed() {
    let space = Space::new("labels");
    space.ok("create configmap a");
    space.ok("label configmap a l=1 m=2");
    assert!(
        space
            .fails("label configmap a l=2")
            .contains("--overwrite is false")
    );
    space.ok("label configmap a l=2 m- --overwrite");
    space.ok("annotate configmap a note=x");
    assert_eq!(space.field("configmap/a", ".metadata.labels"), r#"{"l":"2"}"#);
    assert_eq!(space.field("configmap/a", ".metadata.annotations.note"), "x");
}
