//! OpenAPI v2 as gnostic's protobuf (`openapi.v2.Document`), whose field numbers are in the comments' names.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::Value;

use super::descriptions::Descriptions;
use super::params::Param;
use super::routes::{Body, Operation, Route};
use super::schemas::{Needed, field_extensions, named, scalar, shape_name, type_extensions};
use super::v2::{PATCH, PATCH_MEDIA, PATCH_TEXT, PRODUCES, all_routes, body_type, gvk, needed};
use crate::protobuf::wire::Writer;
use crate::schema::{Field, Name, Shape, Type, Types};

/// Numbers of `Schema`'s fields.
mod schema {
    pub(super) const REF: u16 = 1;
    pub(super) const FORMAT: u16 = 2;
    pub(super) const DESCRIPTION: u16 = 4;
    pub(super) const REQUIRED: u16 = 19;
    pub(super) const ENUM: u16 = 20;
    pub(super) const ADDITIONAL_PROPERTIES: u16 = 21;
    pub(super) const TYPE: u16 = 22;
    pub(super) const ITEMS: u16 = 23;
    pub(super) const PROPERTIES: u16 = 25;
    pub(super) const EXTENSION: u16 = 31;
}

pub(super) fn document() -> Bytes {
    let routes = all_routes();
    let mut out = Writer::new(&[]);
    out.text(1, "2.0");
    out.message(2, |info| {
        info.text(1, "Kubernetes");
        info.text(2, super::KUBERNETES);
    });
    out.message(8, |paths| {
        for (tag, route) in &routes {
            paths.message(2, |named| {
                named.text(1, &route.path);
                named.message(2, |item| write_route(item, route, tag));
            });
        }
    });
    out.message(9, |definitions| Definitions::write(definitions, &needed(&routes)));
    security(&mut out);
    out.into_bytes().into()
}

fn security(out: &mut Writer) {
    out.message(12, |requirement| {
        requirement.message(1, |named| {
            named.text(1, "BearerToken");
            named.message(2, |_| {});
        });
    });
    out.message(13, |definitions| {
        definitions.message(1, |named| {
            named.text(1, "BearerToken");
            named.message(2, |item| {
                item.message(2, |key| {
                    key.text(1, "apiKey");
                    key.text(2, "authorization");
                    key.text(3, "header");
                    key.text(4, "Bearer Token authentication");
                });
            });
        });
    });
}

/// A `NamedAny` whose value is YAML; JSON is YAML.
fn extension(out: &mut Writer, number: u16, name: &str, json: &str) {
    out.message(number, |any| {
        any.text(1, name);
        any.message(2, |value| value.text(2, json));
    });
}

fn write_route(item: &mut Writer, route: &Route, tag: &str) {
    for operation in &route.operations {
        let number = match operation.method {
            "get" => 2,
            "put" => 3,
            "post" => 4,
            "delete" => 5,
            _ => 8,
        };
        item.message(number, |out| write_operation(out, operation, tag));
    }
    route.params.iter().for_each(|param| parameter(item, 9, param));
}

/// `ParametersItem { Parameter { NonBodyParameter { query or path } } }`
fn parameter(out: &mut Writer, number: u16, param: &Param) {
    out.message(number, |item| {
        item.message(1, |parameter| {
            parameter.message(2, |non_body| {
                let (kind, ty, unique) = if param.in_path { (4, 5, 18) } else { (3, 6, 20) };
                non_body.message(kind, |out| {
                    if param.in_path {
                        out.varint(1, 1);
                    }
                    out.text(2, if param.in_path { "path" } else { "query" });
                    out.text(4, param.name);
                    out.text(ty, param.ty);
                    out.varint(unique, 1);
                });
            });
        });
    });
}

fn body_parameter(out: &mut Writer, body: &Body) {
    out.message(8, |item| {
        item.message(1, |parameter| {
            parameter.message(1, |out| {
                out.text(2, "body");
                out.text(3, "body");
                if *body != Body::DeleteOptions {
                    out.varint(4, 1);
                }
                out.message(5, |schema| reference(schema, Some(body_type(body))));
            });
        });
    });
}

fn write_operation(out: &mut Writer, operation: &Operation, tag: &str) {
    out.text(1, tag);
    out.text(3, &operation.description);
    out.text(5, &operation.id);
    PRODUCES.iter().for_each(|media| out.text(6, media));
    let consumes: &[&str] = if operation.body == Some(Body::Patch) {
        &PATCH_MEDIA
    } else {
        &["*/*"]
    };
    consumes.iter().for_each(|media| out.text(7, media));
    if let Some(body) = &operation.body {
        body_parameter(out, body);
    }
    operation.params.iter().for_each(|param| parameter(out, 8, param));
    out.message(9, |responses| {
        for code in operation.codes {
            response(responses, code, "OK", Some(operation.answer.as_deref()));
        }
        response(responses, "401", "Unauthorized", None);
    });
    out.text(10, "https");
    extension(out, 13, "x-kubernetes-action", operation.action);
    extension(
        out,
        13,
        "x-kubernetes-group-version-kind",
        &gvk(operation).to_string(),
    );
}

/// `schema`: the answer's type, plain text, or nothing.
fn response(responses: &mut Writer, code: &str, description: &str, schema: Option<Option<&str>>) {
    responses.message(1, |named| {
        named.text(1, code);
        named.message(2, |value| {
            value.message(1, |out| {
                out.text(1, description);
                if let Some(name) = schema {
                    out.message(2, |item| item.message(1, |schema| reference(schema, name)));
                }
            });
        });
    });
}

fn reference(out: &mut Writer, name: Option<&str>) {
    match name {
        Some(name) => out.text(schema::REF, &format!("#/definitions/{name}")),
        None => type_item(out, "string"),
    }
}

fn type_item(out: &mut Writer, ty: &str) {
    out.message(schema::TYPE, |item| item.text(1, ty));
}

/// Writes the definitions of types.
struct Definitions<'d> {
    types: &'d Types,
    descriptions: &'d Descriptions,
}

impl Definitions<'_> {
    fn write(out: &mut Writer, needed: &Needed) {
        let definitions = Definitions {
            types: &Types::builtin(),
            descriptions: &Descriptions::unpack(),
        };
        let names: BTreeSet<&String> = needed.types.keys().chain(needed.shapes.keys()).collect();
        for name in names {
            definitions.named(out, name, |schema| {
                if let Some(id) = needed.types.get(name) {
                    definitions.object_type(schema, definitions.types.get(*id));
                } else if let Some(shape) = needed.shapes.get(name) {
                    definitions.named_shape(schema, name, shape);
                }
            });
        }
        definitions.named(out, PATCH, |schema| {
            schema.text(schema::DESCRIPTION, PATCH_TEXT);
            type_item(schema, "object");
        });
    }

    fn named(&self, out: &mut Writer, name: &str, write: impl FnOnce(&mut Writer)) {
        out.message(1, |named| {
            named.text(1, name);
            named.message(2, write);
        });
    }

    fn described(&self, out: &mut Writer, description: Option<String>) {
        if let Some(description) = description {
            out.text(schema::DESCRIPTION, &description);
        }
    }

    fn named_shape(&self, out: &mut Writer, name: &str, shape: &Shape) {
        let json = named(shape, false);
        if let Some(format) = json["format"].as_str() {
            out.text(schema::FORMAT, format);
        }
        self.described(out, self.descriptions.of_type(name));
        if let Some(ty) = json["type"].as_str() {
            type_item(out, ty);
        }
    }

    fn object_type(&self, out: &mut Writer, ty: &Type) {
        self.described(out, self.descriptions.of_type(&ty.name));
        for field in ty.fields.iter().filter(|field| field.required()) {
            out.text(schema::REQUIRED, &field.name);
        }
        type_item(out, "object");
        if !ty.fields.is_empty() {
            out.message(schema::PROPERTIES, |properties| {
                for field in &ty.fields {
                    self.named(properties, &field.name, |schema| self.field(schema, ty, field));
                }
            });
        }
        for (name, json) in type_extensions(ty, None) {
            extension(out, schema::EXTENSION, name, &json);
        }
    }

    fn field(&self, out: &mut Writer, ty: &Type, field: &Field) {
        self.described(out, self.descriptions.of_field(&ty.name, &field.name));
        let on_element = matches!(field.shape, Shape::List(_) | Shape::Map(_));
        let values = field.enum_values();
        self.shape(out, &field.shape, if on_element { values } else { &[] });
        if !on_element {
            enumerate(out, values);
        }
        for (name, json) in field.extra().map(field_extensions).unwrap_or_default() {
            extension(out, schema::EXTENSION, name, &json);
        }
    }

    fn shape(&self, out: &mut Writer, shape: &Shape, values: &[Name]) {
        if let Shape::Object(id) = shape {
            reference(out, Some(&self.types.get(*id).name));
        } else if let Some(name) = shape_name(shape) {
            reference(out, Some(&name));
        } else if let Some((ty, format)) = scalar(shape) {
            format
                .into_iter()
                .for_each(|format| out.text(schema::FORMAT, format));
            type_item(out, ty);
        } else {
            let (number, element, ty) = match shape {
                Shape::Map(value) => (schema::ADDITIONAL_PROPERTIES, &**value, "object"),
                Shape::List(element) => (schema::ITEMS, &**element, "array"),
                _ => (schema::ITEMS, &Shape::String, "array"),
            };
            out.message(number, |item| {
                item.message(1, |inner| {
                    self.shape(inner, element, &[]);
                    enumerate(inner, values);
                });
            });
            type_item(out, ty);
        }
    }
}

fn enumerate(out: &mut Writer, values: &[Name]) {
    for value in values {
        out.message(schema::ENUM, |any| {
            any.text(2, &Value::from(&**value).to_string())
        });
    }
}
