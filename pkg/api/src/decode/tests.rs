use serde_json::json;

use super::*;
use crate::kinds::find_kind;

fn read(kind: (&str, &str, &str), body: &str, mode: FieldValidation) -> Result<Decoded, DecodeError> {
    let kind = find_kind(kind.0, kind.1, kind.2).unwrap();
    decode(Some(kind), kind.schema, ContentType::Json, body.as_bytes(), mode)
}

const DEPLOYMENT: (&str, &str, &str) = ("apps", "v1", "Deployment");
const POD: (&str, &str, &str) = ("", "v1", "Pod");

#[test]
fn strict_validation_names_every_unknown_and_duplicate_field() {
    let body = r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"a"},"spec":{"replicass":3,
        "replicas":1,"replicas":2,"template":{"spec":{"containers":[{"name":"c","imagee":"x"}]}}},"foo":1}"#;
    let error = read(DEPLOYMENT, body, FieldValidation::Strict).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: \
         unknown field \"spec.replicass\", duplicate field \"spec.replicas\", \
         unknown field \"spec.template.spec.containers[0].imagee\", unknown field \"foo\""
    );
    let decoded = read(DEPLOYMENT, body, FieldValidation::Warn).unwrap();
    assert_eq!(decoded.warnings[0], "unknown field \"spec.replicass\"");
    assert_eq!(decoded.value["spec"]["replicas"], 2);
    assert_eq!(decoded.value["foo"], Value::Null);
    assert!(
        read(DEPLOYMENT, body, FieldValidation::Ignore)
            .unwrap()
            .warnings
            .is_empty()
    );
}

#[test]
fn type_errors_are_gos() {
    let cases = [
        (
            r#"{"apiVersion":"apps/v1","kind":"Deployment","spec":{"replicas":"3"}}"#,
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            r#"{"apiVersion":"apps/v1","kind":"Deployment","spec":{"replicas":1.5}}"#,
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"labels":{"a":1}}}"#,
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            r#"{"apiVersion":"apps/v1","kind":"Deployment","spec":{"template":{"spec":{"containers":{}}}}}"#,
            "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
        ),
        (
            r#"{"apiVersion":"apps/v1","kind":"Deployment","spec":[]}"#,
            "json: cannot unmarshal array into Go struct field Deployment.spec of type v1.DeploymentSpec",
        ),
    ];
    for (body, detail) in cases {
        let error = read(DEPLOYMENT, body, FieldValidation::Warn)
            .unwrap_err()
            .to_string();
        let expected = "Deployment in version \"v1\" cannot be handled as a Deployment: ".to_owned() + detail;
        assert_eq!(error, expected);
    }
}

#[test]
fn what_is_no_object_is_unrecognized() {
    for (body, summary) in [
        ("", "(<empty>)"),
        ("[1]", "(5b315d)"),
        (r#"{"kind":"#, r#"({"kind":)"#),
    ] {
        let error = read(POD, body, FieldValidation::Strict).unwrap_err().to_string();
        assert!(
            error.starts_with("the object provided is unrecognized (must be of type Pod): "),
            "{error}"
        );
        assert!(error.ends_with(summary), "{error}");
    }
    assert!(read(POD, "{} trailing", FieldValidation::Strict).is_err());
}

#[test]
fn a_missing_kind_is_the_resources_own() {
    let value = read(POD, r#"{"metadata":{"name":"a"}}"#, FieldValidation::Strict)
        .unwrap()
        .value;
    assert_eq!(
        value,
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}})
    );
    let error = read(
        POD,
        r#"{"apiVersion":"apps/v1","kind":"Deployment"}"#,
        FieldValidation::Strict,
    )
    .unwrap_err();
    let expected = "the API version in the data (apps/v1) does not match the expected API version (v1)";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn values_take_the_form_upstream_stores() {
    let body = r#"{"metadata":{"name":"p","creationTimestamp":null,"labels":{"x":null}},
        "spec":{"hostNetwork":false,"nodeName":"","terminationGracePeriodSeconds":0,"activeDeadlineSeconds":null,
        "tolerations":[],"securityContext":{},"containers":[{"name":"c","resources":{"limits":{"cpu":2,"memory":"1Gi"}},
        "livenessProbe":{"httpGet":{"port":"http"}},"ports":[{"containerPort":80}]}]},
        "status":{"startTime":"2026-11-21T12:00:00.5+02:00"}}"#;
    let value = read(POD, body, FieldValidation::Strict).unwrap().value;
    let expected = json!({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","labels":{"x":""}},
        "spec":{"terminationGracePeriodSeconds":0,"securityContext":{},
        "containers":[{"name":"c","resources":{"limits":{"cpu":"2","memory":"1Gi"}},
        "livenessProbe":{"httpGet":{"port":"http"}},"ports":[{"containerPort":80}]}]},
        "status":{"startTime":"2026-11-21T10:00:00Z"}});
    assert_eq!(value, expected);
}

#[test]
fn secrets_must_be_base64() {
    let error = read(
        ("", "v1", "Secret"),
        r#"{"data":{"a":"%%"}}"#,
        FieldValidation::Warn,
    )
    .unwrap_err();
    assert!(
        error.to_string().ends_with("illegal base64 data at input byte 0"),
        "{error}"
    );
}

#[test]
fn quantities_are_checked() {
    for (text, good) in [
        ("1", true),
        ("1.5Gi", true),
        ("-2m", true),
        ("1e3", true),
        (".5", true),
        ("x", false),
        ("1Xi", false),
        ("", false),
        ("--1", false),
        ("1 Gi", false),
    ] {
        let body =
            json!({"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":text}}}]}}).to_string();
        assert_eq!(read(POD, &body, FieldValidation::Warn).is_ok(), good, "{text:?}");
    }
}

#[test]
fn yaml_is_read_by_the_same_rules() {
    let body = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  labels: {n: \"1\"}\ndata:\n  1: x\n  multi: |\n    line\nfoo: bar\n";
    let kind = find_kind("", "v1", "ConfigMap").unwrap();
    let decoded = decode(
        Some(kind),
        kind.schema,
        ContentType::Yaml,
        body.as_bytes(),
        FieldValidation::Warn,
    )
    .unwrap();
    assert_eq!(decoded.value["data"], json!({"1": "x", "multi": "line\n"}));
    assert_eq!(decoded.warnings, ["unknown field \"foo\""]);
    let twice = "metadata:\n  name: a\n  name: b\n";
    let error = decode(
        Some(kind),
        kind.schema,
        ContentType::Yaml,
        twice.as_bytes(),
        FieldValidation::Strict,
    );
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("duplicate field \"metadata.name\"")
    );
}

#[test]
fn a_custom_resource_without_schema_keeps_everything_but_shows_duplicates() {
    let body = br#"{"a":{"b":1,"b":null},"c":[{"d":1,"d":2}]}"#;
    let decoded = decode(None, None, ContentType::Json, body, FieldValidation::Warn).unwrap();
    assert_eq!(decoded.value, json!({"a":{"b":null},"c":[{"d":2}]}));
    assert_eq!(
        decoded.warnings,
        ["duplicate field \"a.b\"", "duplicate field \"c[0].d\""]
    );
    let error = decode(None, None, ContentType::Json, body, FieldValidation::Strict)
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "strict decoding error: duplicate field \"a.b\", duplicate field \"c[0].d\""
    );
}

#[test]
fn a_hostile_body_gets_a_short_answer() {
    let fields: Vec<String> = (0..500).map(|n| format!("\"x{n}\":1")).collect();
    let body = format!("{{{}}}", fields.join(","));
    assert_eq!(
        read(POD, &body, FieldValidation::Warn).unwrap().warnings.len(),
        100
    );
}

#[test]
fn table_defaults_fill_what_is_missing() {
    let kind = find_kind("", "v1", "Pod").unwrap();
    let mut pod = json!({"spec":{"containers":[{"name":"c","ports":[{"containerPort":1},{"containerPort":2,"protocol":"UDP"}]}],
        "volumes":[{"name":"v","iscsi":{"targetPortal":"t"}}]}});
    apply_defaults(kind.schema.unwrap(), &mut pod);
    let ports = json!([{"containerPort":1,"protocol":"TCP"},{"containerPort":2,"protocol":"UDP"}]);
    assert_eq!(pod["spec"]["containers"][0]["ports"], ports);
    assert_eq!(pod["spec"]["volumes"][0]["iscsi"]["iscsiInterface"], "default");
}

#[test]
fn complete_writes_what_go_always_writes() {
    let kind = find_kind("apps", "v1", "Deployment").unwrap();
    let mut value =
        json!({"metadata":{"name":"a"},"spec":{"template":{"spec":{"containers":[{"name":"c"}]}}}});
    complete(kind.schema.unwrap(), &mut value);
    let expected = json!({"metadata":{"name":"a"},"spec":{"selector":null,"strategy":{},
        "template":{"metadata":{},"spec":{"containers":[{"name":"c","resources":{}}]}}},"status":{}});
    assert_eq!(value, expected);
    let before = value.clone();
    prune_and_check(kind.schema.unwrap(), &mut value, FieldValidation::Strict).unwrap();
    complete(kind.schema.unwrap(), &mut value);
    assert_eq!(value, before);
}
