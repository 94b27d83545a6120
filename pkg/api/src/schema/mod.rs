//! The types of Kubernetes' API: which fields an object has, how they merge, default and travel.
//!
//! Everything that must know an object's structure walks these tables: decoding, pruning, patches,
//! server-side apply, OpenAPI and protobuf. The built-in types come from one committed text file that is
//! parsed on first use (names stay slices of it); a custom resource's types are registered at run time
//! and live as long as their [`Registered`] handle.

mod parse;
mod registry;
mod shape;

use std::sync::{Arc, LazyLock};

pub use registry::{Registered, register};
pub use shape::{Extra, Field, GroupVersionKind, ListType, Name, Place, Shape, Strategy, Type};

/// The committed table every part of this crate reads (see `generate/`).
pub(crate) const TABLE: &str = include_str!("v1_36.txt");

/// Names one object type: its schema's number above [`INDEX_BITS`], its place in that schema below.
/// Cheap to copy and to compare. Schema 0 is the built-in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(pub(crate) u32);

const INDEX_BITS: u32 = 16;

impl TypeId {
    pub(crate) const fn new(schema: u16, index: u16) -> TypeId {
        TypeId(((schema as u32) << INDEX_BITS) | index as u32)
    }

    fn schema(self) -> u16 {
        (self.0 >> INDEX_BITS) as u16
    }

    fn index(self) -> usize {
        (self.0 & 0xffff) as usize
    }

    /// Place in [`builtin_types`] of a built-in type.
    pub(crate) fn builtin_index(self) -> Option<usize> {
        (self.schema() == 0).then(|| self.index())
    }
}

/// The types of one API, or of one custom resource.
#[derive(Debug, Default)]
pub struct Schema {
    types: Vec<Type>,
}

static BUILTIN: LazyLock<Schema> = LazyLock::new(|| Schema {
    types: parse::types(TABLE),
});

/// Resolves the [`TypeId`]s met on a walk from one root: built-in ones, and those of the root's own schema.
#[derive(Clone)]
pub struct Types {
    builtin: &'static Schema,
    dynamic: Option<Arc<Schema>>,
}

impl Types {
    /// Types reachable from `root`.
    pub fn of(root: TypeId) -> Types {
        let dynamic = if root.schema() == 0 {
            None
        } else {
            registry::schema(root.schema())
        };
        Types {
            builtin: &BUILTIN,
            dynamic,
        }
    }

    /// The built-in types only.
    pub fn builtin() -> Types {
        Types {
            builtin: &BUILTIN,
            dynamic: None,
        }
    }

    /// The type behind an id. An id whose schema is gone resolves to a type without fields.
    pub fn get(&self, id: TypeId) -> &Type {
        static GONE: Type = Type::empty();
        let schema = match (&self.dynamic, id.schema()) {
            (_, 0) => Some(self.builtin),
            (Some(dynamic), _) => Some(&**dynamic),
            (None, _) => None,
        };
        schema
            .and_then(|schema| schema.types.get(id.index()))
            .unwrap_or(&GONE)
    }
}

/// All built-in types with their ids, in the table's order.
pub fn builtin_types() -> impl Iterator<Item = (TypeId, &'static Type)> {
    BUILTIN
        .types
        .iter()
        .enumerate()
        .map(|(index, ty)| (TypeId::new(0, index as u16), ty))
}

/// The built-in type of this OpenAPI name, such as `io.k8s.api.core.v1.Pod`.
pub fn find_type(name: &str) -> Option<TypeId> {
    builtin_types().find(|(_, ty)| ty.name == name).map(|(id, _)| id)
}

/// The built-in type of objects with this group, version and kind; lists and `Status` included.
/// `DeleteOptions` and `WatchEvent` are of every group and version.
pub fn find_kind(group: &str, version: &str, kind: &str) -> Option<TypeId> {
    let same = |gvk: &shape::GroupVersionKind| gvk.is(group, version, kind);
    let of_every_group = |ty: &Type| ty.every_group && ty.go_name() == kind;
    builtin_types()
        .find(|(_, ty)| ty.kinds.iter().any(same) || of_every_group(ty))
        .map(|(id, _)| id)
}

/// The shape of a JSON schema within a CustomResourceDefinition.
pub(crate) fn json_schema() -> &'static Shape {
    static SHAPE: LazyLock<Shape> = LazyLock::new(|| {
        find_type("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps")
            .map_or(Shape::Json, Shape::Object)
    });
    &SHAPE
}

#[cfg(test)]
mod tests;
