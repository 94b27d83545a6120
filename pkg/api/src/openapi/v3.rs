//! OpenAPI v3: one document for each group version.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::descriptions::Descriptions;
use super::json::Json;
use super::params::Param;
use super::routes::{Body, Operation, Route, routes, tags};
use super::schemas::{Needed, Writer};
use crate::schema::Types;

const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
const WATCH_EVENT: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent";
const RESOURCE_LIST: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.APIResourceList";
/// Media types of answers, and those of watches.
const MEDIA: [&str; 3] = [
    "application/json",
    "application/vnd.kubernetes.protobuf",
    "application/yaml",
];
const WATCH_MEDIA: [&str; 2] = [
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];
const PATCH_MEDIA: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

pub(super) fn document(group: &str, version: &str) -> Bytes {
    let routes = routes(group, version);
    let (tag, _) = tags(group, version);
    let mut out = Json::new();
    out.object(|out| {
        out.key("openapi").text("3.0.0");
        out.key("info").object(|out| {
            out.key("title").text("Kubernetes");
            out.key("version").text(super::KUBERNETES);
        });
        out.key("paths").object(|out| {
            discovery(out, group, version);
            for route in &routes {
                out.key(&route.path).object(|out| write_route(out, route, &tag));
            }
        });
        out.key("components").object(|out| {
            out.key("schemas")
                .object(|out| schemas(out, &routes, (group, version)));
            out.key("securitySchemes").object(|out| {
                out.key("BearerToken").object(|out| {
                    out.key("description").text("Bearer Token authentication");
                    out.key("in").text("header");
                    out.key("name").text("authorization");
                    out.key("type").text("apiKey");
                });
            });
        });
    });
    out.into_bytes()
}

/// The path that lists the group version's resources.
fn discovery(out: &mut Json, group: &str, version: &str) {
    let base = if group.is_empty() { "/api" } else { "/apis" };
    let (tag, id) = tags(group, version);
    out.key(&format!("{base}/{}/", crate::kinds::api_version(group, version)))
        .object(|out| {
            out.key("get").object(|out| {
                out.key("description").text("get available resources");
                out.key("operationId").text(&format!("get{id}APIResources"));
                out.key("responses")
                    .object(|out| answer(out, "200", Some(RESOURCE_LIST), &MEDIA));
                out.key("tags").texts([&tag]);
            });
        });
}

/// Names of the types that paths refer to.
pub(super) fn referred(routes: &[Route]) -> BTreeSet<String> {
    let mut names = BTreeSet::from([RESOURCE_LIST.to_owned(), WATCH_EVENT.to_owned()]);
    for operation in routes.iter().flat_map(|route| &route.operations) {
        names.extend(operation.answer.clone());
        match &operation.body {
            Some(Body::Object(name)) => {
                names.insert(name.clone());
            }
            Some(Body::DeleteOptions) => {
                names.insert(DELETE_OPTIONS.to_owned());
            }
            _ => {}
        }
    }
    names
}

fn schemas(out: &mut Json, routes: &[Route], scope: (&str, &str)) {
    let needed = Needed::from(&referred(routes));
    let descriptions = Descriptions::unpack();
    let types = Types::builtin();
    Writer {
        out,
        types: &types,
        descriptions: &descriptions,
        v3: true,
        scope: Some(scope),
    }
    .all(&needed);
    out.key(PATCH).object(|out| {
        out.key("description")
            .text("A patch, in one of the forms its media type names.");
        out.key("type").text("object");
    });
}

fn write_route(out: &mut Json, route: &Route, tag: &str) {
    for operation in &route.operations {
        out.key(operation.method)
            .object(|out| write_operation(out, operation, tag));
    }
    parameters(out, &route.params);
}

fn parameters(out: &mut Json, params: &[&Param]) {
    if params.is_empty() {
        return;
    }
    out.key("parameters").array(|out| {
        for param in params {
            out.object(|out| {
                out.key("in").text(if param.in_path { "path" } else { "query" });
                out.key("name").text(param.name);
                if param.in_path {
                    out.key("required").bool(true);
                }
                out.key("schema").object(|out| {
                    out.key("type").text(param.ty);
                    out.key("uniqueItems").bool(true);
                });
            });
        }
    });
}

fn write_operation(out: &mut Json, operation: &Operation, tag: &str) {
    out.key("description").text(&operation.description);
    out.key("operationId").text(&operation.id);
    parameters(out, &operation.params);
    if let Some(body) = &operation.body {
        out.key("requestBody").object(|out| request(out, body));
    }
    out.key("responses").object(|out| {
        let mut media = MEDIA.to_vec();
        if operation.watch {
            media.extend(WATCH_MEDIA);
        }
        for code in operation.codes {
            answer(out, code, operation.answer.as_deref(), &media);
        }
        out.key("401")
            .object(|out| out.key("description").text("Unauthorized"));
    });
    out.key("tags").texts([tag]);
    out.key("x-kubernetes-action").text(operation.action);
    let [group, version, kind] = &operation.kind;
    out.key("x-kubernetes-group-version-kind").object(|out| {
        out.key("group").text(group);
        out.key("kind").text(kind);
        out.key("version").text(version);
    });
}

fn request(out: &mut Json, body: &Body) {
    let (name, media): (&str, &[&str]) = match body {
        Body::Object(name) => (name, &["*/*"]),
        Body::DeleteOptions => (DELETE_OPTIONS, &["*/*"]),
        Body::Patch => (PATCH, &PATCH_MEDIA),
    };
    content(out, Some(name), media);
    if *body != Body::DeleteOptions {
        out.key("required").bool(true);
    }
}

fn answer(out: &mut Json, code: &str, name: Option<&str>, media: &[&str]) {
    out.key(code).object(|out| {
        content(out, name, if name.is_some() { media } else { &["*/*"] });
        out.key("description").text(match code {
            "201" => "Created",
            "202" => "Accepted",
            _ => "OK",
        });
    });
}

/// A body of this type in each of the media types; plain text without one.
fn content(out: &mut Json, name: Option<&str>, media: &[&str]) {
    out.key("content").object(|out| {
        for media in media {
            out.key(media).object(|out| {
                out.key("schema").object(|out| match name {
                    Some(name) => out.key("$ref").text(&format!("#/components/schemas/{name}")),
                    None => out.key("type").text("string"),
                });
            });
        }
    });
}
