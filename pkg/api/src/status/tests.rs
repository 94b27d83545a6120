use super::*;
use crate::fields::FieldError;
use serde_json::json;

const PODS: (&str, &str) = ("", "pods");
const DEPLOYMENTS: (&str, &str) = ("apps", "deployments");

#[test]
fn messages_have_upstreams_form() {
    assert_eq!(Status::not_found(PODS, "x").message, "pods \"x\" not found");
    assert_eq!(
        Status::modified(DEPLOYMENTS, "x").message,
        "Operation cannot be fulfilled on deployments.apps \"x\": the object has been modified; please \
         apply your changes to the latest version and try again"
    );
    assert_eq!(
        Status::already_exists(DEPLOYMENTS, "x").message,
        "deployments.apps \"x\" already exists"
    );
    assert_eq!(Status::forbidden(PODS, "", "no").message, "pods is forbidden: no");
    assert_eq!(
        Status::forbidden(PODS, "x", "no").message,
        "pods \"x\" is forbidden: no"
    );
    assert_eq!(
        Status::version_too_large(9, 3).message,
        "Timeout: Too large resource version: 9, current: 3"
    );
}

#[test]
fn an_invalid_object_lists_every_cause() {
    let errors = [
        FieldError::required("spec.containers", ""),
        FieldError::invalid("metadata.name", "X", "bad"),
    ];
    let status = Status::invalid(("", "Pod"), "X", &errors);
    assert_eq!(
        status.message,
        "Pod \"X\" is invalid: [spec.containers: Required value, metadata.name: Invalid value: \"X\": bad]"
    );
    assert_eq!(
        status.to_json(),
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": status.message, "reason": "Invalid", "code": 422,
            "details": { "name": "X", "kind": "Pod", "causes": [
                { "reason": "FieldValueRequired", "message": "Required value", "field": "spec.containers" },
                { "reason": "FieldValueInvalid", "message": "Invalid value: \"X\": bad", "field": "metadata.name" },
            ] },
        })
    );
}

#[test]
fn codes_and_reasons_belong_together() {
    let all = [
        (Status::bad_request(""), 400, "BadRequest"),
        (Status::unauthorized(""), 401, "Unauthorized"),
        (Status::method_not_allowed(), 405, "MethodNotAllowed"),
        (Status::not_acceptable(&[]), 406, "NotAcceptable"),
        (Status::watch_expired(), 410, "Expired"),
        (Status::gone(""), 410, "Gone"),
        (Status::too_large(3), 413, "RequestEntityTooLarge"),
        (Status::unsupported_media_type(&[]), 415, "UnsupportedMediaType"),
        (Status::too_many("", 1), 429, "TooManyRequests"),
        (Status::internal("x"), 500, "InternalError"),
        (Status::service_unavailable(""), 503, "ServiceUnavailable"),
        (Status::timeout("", 1), 504, "Timeout"),
    ];
    for (status, code, reason) in all {
        assert_eq!((status.code, status.reason.as_str()), (code, reason));
    }
}
