//! How values relate to their parts: which are merged part by part, and how parts are told apart.

use serde_json::{Map, Value};

use super::set::shown;
use crate::schema::{Extra, ListType, Name, Shape, Type, TypeId, Types, find_kind};

/// How a value merges.
#[derive(Clone, Copy)]
pub(super) enum Relation<'t> {
    /// As a whole.
    Atomic,
    /// Field by field, of these.
    Struct(&'t Type),
    /// Key by key.
    Map(&'t Shape),
    /// Element by element, told apart by keys.
    ListMap(&'t Shape, &'t [Name]),
    /// A list that is a set.
    Set,
    /// Not known: maps key by key, everything else as a whole.
    Deduced,
    /// An object without a schema: only its metadata is known.
    DeducedObject,
}

/// Finds relations in a schema.
#[derive(Clone, Copy)]
pub(super) struct Relations<'t> {
    types: &'t Types,
}

impl<'t> Relations<'t> {
    pub(super) fn new(types: &'t Types) -> Relations<'t> {
        Relations { types }
    }

    /// Relation of a whole object.
    pub(super) fn root(self, root: Option<TypeId>) -> Relation<'t> {
        root.map_or(Relation::DeducedObject, |root| {
            Relation::Struct(self.types.get(root))
        })
    }

    fn of(self, shape: &'t Shape, extra: Option<&'t Extra>) -> Relation<'t> {
        let atomic = extra.is_some_and(|extra| extra.atomic);
        match shape {
            Shape::Object(id) => {
                let ty = self.types.get(*id);
                if atomic || ty.atomic {
                    Relation::Atomic
                } else {
                    Relation::Struct(ty)
                }
            }
            Shape::Map(value) if !atomic => Relation::Map(value),
            Shape::List(element) => match extra.and_then(|extra| extra.list_type.as_ref()) {
                Some(ListType::Set) => Relation::Set,
                Some(ListType::Map(keys)) => Relation::ListMap(element, keys),
                _ => Relation::Atomic,
            },
            _ => Relation::Atomic,
        }
    }

    /// Relation of a part under this key; `true` when the schema declares the key itself.
    pub(super) fn part(self, relation: Relation<'t>, key: &str) -> (Relation<'t>, bool) {
        match relation {
            Relation::Struct(ty) => match ty.field(key) {
                Some(field) => (self.of(&field.shape, field.extra()), true),
                None => (Relation::Atomic, false),
            },
            Relation::Map(value) => (self.of(value, None), false),
            Relation::DeducedObject => match key {
                "metadata" => (self.metadata(), true),
                "apiVersion" | "kind" => (Relation::Atomic, true),
                _ => (Relation::Deduced, false),
            },
            Relation::Deduced => (Relation::Deduced, false),
            _ => (Relation::Atomic, false),
        }
    }

    /// Relation of a list's elements.
    pub(super) fn element(self, relation: Relation<'t>) -> Relation<'t> {
        match relation {
            Relation::ListMap(element, _) => self.of(element, None),
            _ => Relation::Atomic,
        }
    }

    fn metadata(self) -> Relation<'t> {
        let partial = find_kind("meta.k8s.io", "v1", "PartialObjectMetadata");
        partial.map_or(Relation::Deduced, |id| {
            self.part(Relation::Struct(self.types.get(id)), "metadata").0
        })
    }

    /// The path element of a list's element; `Err` says why it has none.
    pub(super) fn key(self, relation: Relation<'t>, element: &Value) -> Result<String, String> {
        match relation {
            Relation::ListMap(shape, keys) => self.map_key(shape, keys, element),
            _ => match element {
                Value::Object(_) => {
                    Err("associative list without keys has an element that's a map type".into())
                }
                Value::Array(_) => Err("not supported: associative list with lists as elements".into()),
                Value::Null => {
                    Err("associative list without keys has an element that's an explicit null".into())
                }
                scalar => Ok(format!("v:{scalar}")),
            },
        }
    }

    fn map_key(self, shape: &Shape, keys: &[Name], element: &Value) -> Result<String, String> {
        let Value::Object(map) = element else {
            return Err("associative list with keys may not have non-map elements".to_owned());
        };
        let mut values = Map::new();
        for key in keys {
            if let Some(value) = map.get(&**key).or_else(|| self.default_of(shape, key)) {
                values.insert(key.to_string(), value.clone());
            }
        }
        if values.is_empty() {
            return Err(format!(
                "associative list with keys has an element that omits all key fields {keys:?} (and doesn't have \
                 default values for any key fields)"
            ));
        }
        Ok(format!("k:{}", Value::Object(values)))
    }

    fn default_of(self, shape: &Shape, key: &str) -> Option<&'t Value> {
        let Shape::Object(id) = shape else { return None };
        self.types.get(*id).field(key)?.extra()?.default.as_ref()
    }
}

/// The path element of a field.
pub(super) fn field_key(name: &str) -> String {
    format!("f:{name}")
}

/// Whether the value is of no map or list at all, or of an empty one.
pub(super) fn is_empty(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(_) => false,
    }
}

/// What a pair of values is, for the merge and the comparison of both.
pub(super) enum Pair<'v> {
    /// One value as a whole.
    Leaf,
    /// Two maps; a missing one has no keys.
    Maps(Option<&'v Map<String, Value>>, Option<&'v Map<String, Value>>),
    /// Two lists with parts of their own; a missing one has no elements.
    Lists(&'v [Value], &'v [Value]),
}

/// Tells how two versions of a value (one may be missing) are looked at.
pub(super) fn pair<'v>(
    relation: Relation<'_>,
    left: Option<&'v Value>,
    right: Option<&'v Value>,
) -> Pair<'v> {
    if is_empty(left) && is_empty(right) {
        return Pair::Leaf;
    }
    let maps = |value: Option<&Value>| matches!(value, None | Some(Value::Null | Value::Object(_)));
    let lists = |value: Option<&Value>| matches!(value, None | Some(Value::Null | Value::Array(_)));
    match relation {
        Relation::Struct(_) | Relation::Map(_) | Relation::Deduced | Relation::DeducedObject
            if maps(left) && maps(right) =>
        {
            Pair::Maps(left.and_then(Value::as_object), right.and_then(Value::as_object))
        }
        Relation::ListMap(..) | Relation::Set if lists(left) && lists(right) => {
            let list = |value: Option<&'v Value>| -> &'v [Value] {
                value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
            };
            Pair::Lists(list(left), list(right))
        }
        _ => Pair::Leaf,
    }
}

/// Text of a path for messages, as a list on the call stack.
#[derive(Clone, Copy)]
pub(super) struct Path<'p> {
    pub(super) parent: Option<&'p Path<'p>>,
    pub(super) step: Step<'p>,
}

#[derive(Clone, Copy)]
pub(super) enum Step<'p> {
    Root,
    Field(&'p str),
    /// An element's text as in sets.
    Element(&'p str),
}

impl<'p> Path<'p> {
    pub(super) const ROOT: Path<'static> = Path {
        parent: None,
        step: Step::Root,
    };

    pub(super) fn field<'c>(&'c self, name: &'c str) -> Path<'c> {
        Path {
            parent: Some(self),
            step: Step::Field(name),
        }
    }

    pub(super) fn element<'c>(&'c self, element: &'c str) -> Path<'c> {
        Path {
            parent: Some(self),
            step: Step::Element(element),
        }
    }

    /// Elements as sets have them.
    pub(super) fn elements(&self) -> Vec<String> {
        let mut elements = Vec::new();
        let mut at = Some(self);
        while let Some(path) = at {
            match path.step {
                Step::Root => {}
                Step::Field(name) => elements.push(field_key(name)),
                Step::Element(element) => elements.push(element.to_owned()),
            }
            at = path.parent;
        }
        elements.reverse();
        elements
    }

    pub(super) fn shown(&self) -> String {
        self.elements().iter().map(|element| shown(element)).collect()
    }
}
