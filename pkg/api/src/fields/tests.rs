use super::*;
use serde_json::json;

#[test]
fn a_path_prints_names_indexes_and_keys() {
    let spec = Path::new("spec");
    let containers = spec.child("containers");
    let first = containers.index(0);
    let limits = first.child("resources.limits");
    assert_eq!(
        limits.key("cpu").to_string(),
        "spec.containers[0].resources.limits[cpu]"
    );
}

#[test]
fn messages_are_upstreams() {
    let p = Path::new("spec.x");
    assert_eq!(FieldError::required(p, "").to_string(), "spec.x: Required value");
    assert_eq!(
        FieldError::required(p, "why").to_string(),
        "spec.x: Required value: why"
    );
    assert_eq!(
        FieldError::invalid(p, "a\"b\n", "bad").to_string(),
        "spec.x: Invalid value: \"a\\\"b\\n\": bad"
    );
    assert_eq!(
        FieldError::invalid(p, 0, "bad").to_string(),
        "spec.x: Invalid value: 0: bad"
    );
    assert_eq!(
        FieldError::invalid(p, json!({"a":"<b>"}), "bad").to_string(),
        "spec.x: Invalid value: {\"a\":\"\\u003cb\\u003e\"}: bad"
    );
    assert_eq!(
        FieldError::not_supported(p, "x", &["A", "B"]).to_string(),
        "spec.x: Unsupported value: \"x\": supported values: \"A\", \"B\""
    );
    assert_eq!(
        FieldError::too_long(p, 63).to_string(),
        "spec.x: Too long: may not be more than 63 bytes"
    );
    assert_eq!(
        FieldError::too_many(p, 3, 2).to_string(),
        "spec.x: Too many: 3: must have at most 2 items"
    );
    assert_eq!(
        FieldError::forbidden(p, "no").to_string(),
        "spec.x: Forbidden: no"
    );
}

#[test]
fn several_errors_are_listed_once_each_in_brackets() {
    let (a, b) = (FieldError::required("a", ""), FieldError::required("b", ""));
    assert_eq!(aggregate(std::slice::from_ref(&a)), "a: Required value");
    assert_eq!(
        aggregate(&[a.clone(), b, a]),
        "[a: Required value, b: Required value]"
    );
}
