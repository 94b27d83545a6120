//! OpenAPI v2: one document for all groups.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::descriptions::Descriptions;
use super::json::Json;
use super::params::Param;
use super::routes::{Body, Operation, Route, routes, tags};
use super::schemas::{Needed, Writer};
use super::v3::referred;
use crate::kinds::groups;
use crate::schema::Types;

pub(super) const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
pub(super) const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
pub(super) const PATCH_TEXT: &str = "A patch, in one of the forms its media type names.";
pub(super) const PRODUCES: [&str; 3] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];
pub(super) const PATCH_MEDIA: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

/// Every path with its tag.
pub(super) fn all_routes() -> Vec<(String, Route)> {
    let mut all = Vec::new();
    for group in groups() {
        for version in &group.versions {
            let (tag, _) = tags(&group.name, version);
            all.extend(
                routes(&group.name, version)
                    .into_iter()
                    .map(|route| (tag.clone(), route)),
            );
        }
    }
    all
}

/// Every type that the paths refer to, and what those hold.
pub(super) fn needed(routes: &[(String, Route)]) -> Needed {
    let names: BTreeSet<String> = routes
        .iter()
        .flat_map(|(_, route)| referred(std::slice::from_ref(route)))
        .collect();
    Needed::from(&names)
}

pub(super) fn document() -> Bytes {
    let routes = all_routes();
    let descriptions = Descriptions::unpack();
    let types = Types::builtin();
    let mut out = Json::new();
    out.object(|out| {
        out.key("swagger").text("2.0");
        out.key("info").object(|out| {
            out.key("title").text("Kubernetes");
            out.key("version").text(super::KUBERNETES);
        });
        out.key("paths").object(|out| {
            for (tag, route) in &routes {
                out.key(&route.path).object(|out| write_route(out, route, tag));
            }
        });
        out.key("definitions").object(|out| {
            Writer {
                out,
                types: &types,
                descriptions: &descriptions,
                v3: false,
                scope: None,
            }
            .all(&needed(&routes));
            out.key(PATCH).object(|out| {
                out.key("description").text(PATCH_TEXT);
                out.key("type").text("object");
            });
        });
        security(out);
    });
    out.into_bytes()
}

fn security(out: &mut Json) {
    out.key("securityDefinitions").object(|out| {
        out.key("BearerToken").object(|out| {
            out.key("description").text("Bearer Token authentication");
            out.key("in").text("header");
            out.key("name").text("authorization");
            out.key("type").text("apiKey");
        });
    });
    out.key("security")
        .array(|out| out.object(|out| out.key("BearerToken").array(|_| {})));
}

fn write_route(out: &mut Json, route: &Route, tag: &str) {
    for operation in &route.operations {
        out.key(operation.method)
            .object(|out| write_operation(out, operation, tag));
    }
    out.key("parameters")
        .array(|out| route.params.iter().for_each(|param| parameter(out, param)));
}

fn parameter(out: &mut Json, param: &Param) {
    out.object(|out| {
        out.key("in").text(if param.in_path { "path" } else { "query" });
        out.key("name").text(param.name);
        if param.in_path {
            out.key("required").bool(true);
        }
        out.key("type").text(param.ty);
        out.key("uniqueItems").bool(true);
    });
}

fn write_operation(out: &mut Json, operation: &Operation, tag: &str) {
    let patch = operation.body == Some(Body::Patch);
    out.key("consumes")
        .texts(if patch { &PATCH_MEDIA[..] } else { &["*/*"] });
    out.key("description").text(&operation.description);
    out.key("operationId").text(&operation.id);
    out.key("parameters").array(|out| {
        if let Some(body) = &operation.body {
            out.object(|out| body_parameter(out, body));
        }
        operation.params.iter().for_each(|param| parameter(out, param));
    });
    out.key("produces").texts(PRODUCES);
    out.key("responses").object(|out| {
        for code in operation.codes {
            out.key(code)
                .object(|out| response(out, operation.answer.as_deref()));
        }
        out.key("401")
            .object(|out| out.key("description").text("Unauthorized"));
    });
    out.key("schemes").texts(["https"]);
    out.key("tags").texts([tag]);
    out.key("x-kubernetes-action").text(operation.action);
    out.key("x-kubernetes-group-version-kind").value(&gvk(operation));
}

/// Group, version and kind of an operation.
pub(super) fn gvk(operation: &Operation) -> serde_json::Value {
    let [group, version, kind] = &operation.kind;
    serde_json::json!({"group": group, "kind": kind, "version": version})
}

/// Name of the type a body is.
pub(super) fn body_type(body: &Body) -> &str {
    match body {
        Body::Object(name) => name,
        Body::DeleteOptions => DELETE_OPTIONS,
        Body::Patch => PATCH,
    }
}

fn body_parameter(out: &mut Json, body: &Body) {
    out.key("in").text("body");
    out.key("name").text("body");
    if *body != Body::DeleteOptions {
        out.key("required").bool(true);
    }
    out.key("schema")
        .object(|out| reference(out, Some(body_type(body))));
}

fn response(out: &mut Json, answer: Option<&str>) {
    out.key("description").text("OK");
    out.key("schema").object(|out| reference(out, answer));
}

fn reference(out: &mut Json, name: Option<&str>) {
    match name {
        Some(name) => out.key("$ref").text(&format!("#/definitions/{name}")),
        None => out.key("type").text("string"),
    }
}
