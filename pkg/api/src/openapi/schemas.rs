//! Schemas of types and fields, for v2 and v3.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::descriptions::Descriptions;
use super::json::Json;
use crate::kinds;
use crate::schema::{Extra, Field, ListType, Shape, Strategy, Type, TypeId, Types, json_schema};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const API_EXTENSIONS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1";

/// OpenAPI name of what is a type of its own there and a shape here.
pub(super) fn shape_name(shape: &Shape) -> Option<String> {
    Some(match shape {
        Shape::Quantity => "io.k8s.apimachinery.pkg.api.resource.Quantity".to_owned(),
        Shape::IntOrString => "io.k8s.apimachinery.pkg.util.intstr.IntOrString".to_owned(),
        Shape::RawExtension => "io.k8s.apimachinery.pkg.runtime.RawExtension".to_owned(),
        Shape::Time => format!("{META}.Time"),
        Shape::MicroTime => format!("{META}.MicroTime"),
        Shape::FieldsV1 => format!("{META}.FieldsV1"),
        Shape::Json => format!("{API_EXTENSIONS}.JSON"),
        Shape::SchemaOrArray => format!("{API_EXTENSIONS}.JSONSchemaPropsOrArray"),
        Shape::SchemaOrBool => format!("{API_EXTENSIONS}.JSONSchemaPropsOrBool"),
        Shape::SchemaOrStrings => format!("{API_EXTENSIONS}.JSONSchemaPropsOrStringArray"),
        _ => return None,
    })
}

/// Type and format of a scalar.
pub(super) fn scalar(shape: &Shape) -> Option<(&'static str, Option<&'static str>)> {
    Some(match shape {
        Shape::Bool => ("boolean", None),
        Shape::Int32 => ("integer", Some("int32")),
        Shape::Int64 => ("integer", Some("int64")),
        Shape::Double => ("number", Some("double")),
        Shape::String => ("string", None),
        Shape::Bytes => ("string", Some("byte")),
        _ => return None,
    })
}

/// The schema of a named shape. v2 has no `oneOf`.
pub(super) fn named(shape: &Shape, v3: bool) -> Value {
    match shape {
        Shape::Quantity if v3 => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        Shape::IntOrString if v3 => {
            json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
        }
        Shape::Quantity => json!({"type": "string"}),
        Shape::IntOrString => json!({"format": "int-or-string", "type": "string"}),
        Shape::Time | Shape::MicroTime => json!({"format": "date-time", "type": "string"}),
        Shape::RawExtension | Shape::FieldsV1 => json!({"type": "object"}),
        _ => json!({}),
    }
}

/// Types and named shapes that a document needs, by their OpenAPI names.
#[derive(Default)]
pub(super) struct Needed {
    pub(super) types: BTreeMap<String, TypeId>,
    pub(super) shapes: BTreeMap<String, Shape>,
}

impl Needed {
    /// Everything reachable from the types of these names.
    pub(super) fn from(names: &BTreeSet<String>) -> Needed {
        let mut needed = Needed::default();
        let types = Types::builtin();
        for (id, ty) in crate::schema::builtin_types() {
            if names.contains(&*ty.name) {
                needed.add(&types, &Shape::Object(id));
            }
        }
        needed
    }

    fn add(&mut self, types: &Types, shape: &Shape) {
        match shape {
            Shape::List(inner) | Shape::Map(inner) => self.add(types, inner),
            Shape::Object(id) => {
                let ty = types.get(*id);
                if self.types.insert(ty.name.to_string(), *id).is_none() {
                    ty.fields.iter().for_each(|field| self.add(types, &field.shape));
                }
            }
            _ => {
                if let Some(name) = shape_name(shape) {
                    self.shapes.insert(name, shape.clone());
                }
                if matches!(shape, Shape::SchemaOrArray) {
                    self.add(types, json_schema());
                }
            }
        }
    }
}

/// `x-` members of a type, as JSON.
pub(super) fn type_extensions(ty: &Type, scope: Option<(&str, &str)>) -> Vec<(&'static str, String)> {
    let mut list = Vec::new();
    let kinds = kinds_of(ty, scope);
    if !kinds.is_empty() {
        list.push(("x-kubernetes-group-version-kind", Value::Array(kinds).to_string()));
    }
    if ty.atomic {
        list.push(("x-kubernetes-map-type", "\"atomic\"".to_owned()));
    }
    if let Some(unions) = &ty.unions {
        list.push(("x-kubernetes-unions", unions.to_string()));
    }
    list
}

/// The API objects of a type. Types of every group are those of the document's group (`scope`) and of the
/// core group in v3, and of all of them in v2.
fn kinds_of(ty: &Type, scope: Option<(&str, &str)>) -> Vec<Value> {
    let kind =
        |group: &str, version: &str, kind: &str| json!({"group": group, "kind": kind, "version": version});
    if !ty.every_group {
        return ty
            .kinds
            .iter()
            .map(|gvk| kind(&gvk.group, &gvk.version, &gvk.kind))
            .collect();
    }
    let name = ty.go_name();
    match scope {
        Some(("", version)) => vec![kind("", version, name)],
        Some((group, version)) => vec![kind("", "v1", name), kind(group, version, name)],
        None => kinds::groups()
            .iter()
            .flat_map(|group| {
                group
                    .versions
                    .iter()
                    .map(|version| kind(&group.name, version, name))
            })
            .collect(),
    }
}

/// `x-` members of a field, as JSON.
pub(super) fn field_extensions(extra: &Extra) -> Vec<(&'static str, String)> {
    let text = |text: &str| Value::from(text).to_string();
    let mut list = Vec::new();
    match &extra.list_type {
        Some(ListType::Atomic) => list.push(("x-kubernetes-list-type", text("atomic"))),
        Some(ListType::Set) => list.push(("x-kubernetes-list-type", text("set"))),
        Some(ListType::Map(keys)) => {
            let keys: Vec<&str> = keys.iter().map(|key| &**key).collect();
            list.push(("x-kubernetes-list-map-keys", Value::from(keys).to_string()));
            list.push(("x-kubernetes-list-type", text("map")));
        }
        None => {}
    }
    if extra.atomic {
        list.push(("x-kubernetes-map-type", text("atomic")));
    } else if extra.granular {
        list.push(("x-kubernetes-map-type", text("granular")));
    }
    if let Some(key) = &extra.merge_key {
        list.push(("x-kubernetes-patch-merge-key", text(key)));
    }
    let strategy = match (extra.strategy, extra.retain_keys) {
        (Strategy::Merge, true) => "merge,retainKeys",
        (Strategy::Merge, false) => "merge",
        (Strategy::Replace, _) => "replace",
        (Strategy::Default, true) => "retainKeys",
        (Strategy::Default, false) => "",
    };
    if !strategy.is_empty() {
        list.push(("x-kubernetes-patch-strategy", text(strategy)));
    }
    list
}

/// The default v3 publishes: the marked one, or Go's zero value for what cannot be left out.
pub(super) fn published_default(field: &Field) -> Option<Value> {
    if let Some(default) = field.extra().and_then(|extra| extra.default.clone()) {
        return Some(default);
    }
    let struct_value = matches!(field.shape, Shape::Object(_)) && !field.pointer();
    let plain = matches!(
        field.shape,
        Shape::Bool | Shape::Int32 | Shape::Int64 | Shape::Double | Shape::String
    );
    (struct_value || (plain && !field.pointer() && field.always_written())).then(|| field.shape.zero())
}

/// Writes schemas into a JSON document.
pub(super) struct Writer<'w> {
    pub(super) out: &'w mut Json,
    pub(super) types: &'w Types,
    pub(super) descriptions: &'w Descriptions,
    pub(super) v3: bool,
    /// Group and version of the document, for v3.
    pub(super) scope: Option<(&'w str, &'w str)>,
}

impl Writer<'_> {
    /// All that a document needs, as members of the object being written.
    pub(super) fn all(&mut self, needed: &Needed) {
        let names: BTreeSet<&String> = needed.types.keys().chain(needed.shapes.keys()).collect();
        for name in names {
            self.out.key(name);
            if let Some(id) = needed.types.get(name) {
                self.object_type(*id);
            } else if let Some(shape) = needed.shapes.get(name) {
                self.named_shape(name, shape);
            }
        }
    }

    fn described(&mut self, description: Option<String>) {
        if let Some(description) = description {
            self.out.key("description").text(&description);
        }
    }

    fn named_shape(&mut self, name: &str, shape: &Shape) {
        let mut schema = named(shape, self.v3);
        if let (Some(description), Value::Object(map)) = (self.descriptions.of_type(name), &mut schema) {
            map.insert("description".to_owned(), description.into());
        }
        self.out.value(&schema);
    }

    fn object_type(&mut self, id: TypeId) {
        let ty = self.types.get(id).clone();
        self.nested(|this| {
            this.described(this.descriptions.of_type(&ty.name));
            if !ty.fields.is_empty() {
                this.out.key("properties");
                this.nested(|this| {
                    for field in &ty.fields {
                        this.out.key(&field.name);
                        this.nested(|this| this.field(&ty, field));
                    }
                });
            }
            let required: Vec<_> = ty.fields.iter().filter(|field| field.required()).collect();
            if !required.is_empty() {
                this.out
                    .key("required")
                    .texts(required.iter().map(|field| &field.name));
            }
            this.out.key("type").text("object");
            for (name, json) in type_extensions(&ty, this.scope) {
                this.out.key(name).raw(&json);
            }
        });
    }

    /// An object whose members `write` puts.
    fn nested(&mut self, write: impl FnOnce(&mut Writer<'_>)) {
        let Writer {
            out,
            types,
            descriptions,
            v3,
            scope,
        } = self;
        out.object(|out| {
            write(&mut Writer {
                out,
                types,
                descriptions,
                v3: *v3,
                scope: *scope,
            })
        });
    }

    fn field(&mut self, ty: &Type, field: &Field) {
        let default = if self.v3 { published_default(field) } else { None };
        if let Some(default) = &default {
            self.out.key("default").value(default);
        }
        let description = self.descriptions.of_field(&ty.name, &field.name);
        let alone = default.is_none() && description.is_none();
        self.described(description);
        let values = field.enum_values();
        let on_element = matches!(field.shape, Shape::List(_) | Shape::Map(_));
        match self.reference(&field.shape) {
            // Beside a reference v3 allows nothing else.
            Some(reference) if self.v3 && !alone => {
                self.out
                    .key("allOf")
                    .array(|out| out.object(|out| out.key("$ref").text(&reference)));
            }
            _ => self.shape(&field.shape, if on_element { values } else { &[] }),
        }
        if !on_element && !values.is_empty() {
            self.out.key("enum").texts(values);
        }
        for (name, json) in field.extra().map(field_extensions).unwrap_or_default() {
            self.out.key(name).raw(&json);
        }
    }

    fn reference(&self, shape: &Shape) -> Option<String> {
        let name = match shape {
            Shape::Object(id) => self.types.get(*id).name.to_string(),
            _ => shape_name(shape)?,
        };
        let place = if self.v3 {
            "#/components/schemas/"
        } else {
            "#/definitions/"
        };
        Some(format!("{place}{name}"))
    }

    /// Members that say what a value is; `values` are those an element may have.
    fn shape(&mut self, shape: &Shape, values: &[crate::schema::Name]) {
        if let Some(reference) = self.reference(shape) {
            self.out.key("$ref").text(&reference);
        } else if let Some((ty, format)) = scalar(shape) {
            if let Some(format) = format {
                self.out.key("format").text(format);
            }
            self.out.key("type").text(ty);
        } else {
            let (member, element, ty) = match shape {
                Shape::Map(value) => ("additionalProperties", &**value, "object"),
                Shape::List(element) => ("items", &**element, "array"),
                _ => ("items", &Shape::String, "array"),
            };
            self.out.key(member);
            self.nested(|this| {
                this.shape(element, &[]);
                if !values.is_empty() {
                    this.out.key("enum").texts(values);
                }
            });
            self.out.key("type").text(ty);
        }
    }
}
