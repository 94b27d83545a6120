//! What a type, a field and a value look like.

use std::borrow::Cow;

use serde_json::Value;

use super::TypeId;

/// A name out of the committed table, or owned by a custom resource's schema.
pub type Name = Cow<'static, str>;

/// The form of a value, in JSON and in protobuf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `true` or `false`.
    Bool,
    /// Whole number of 32 bits.
    Int32,
    /// Whole number of 64 bits.
    Int64,
    /// Floating point number.
    Double,
    /// Text.
    String,
    /// Base64 in JSON.
    Bytes,
    /// Resource quantity: text, or a number that becomes text.
    Quantity,
    /// A whole number of 32 bits, or text.
    IntOrString,
    /// Instant with whole seconds, RFC 3339.
    Time,
    /// Instant with microseconds, RFC 3339.
    MicroTime,
    /// An embedded object of any kind.
    RawExtension,
    /// Any JSON value.
    Json,
    /// The field set of a managedFields entry.
    FieldsV1,
    /// A JSON schema, or a list of them.
    SchemaOrArray,
    /// A JSON schema, or a truth value.
    SchemaOrBool,
    /// A JSON schema, or a list of texts.
    SchemaOrStrings,
    /// A list of texts that is a message of its own in protobuf.
    Strings,
    /// A list.
    List(Box<Shape>),
    /// A map with text keys.
    Map(Box<Shape>),
    /// An object with known fields.
    Object(TypeId),
}

/// Field numbers that lead to a field's value in protobuf: one, or more when the field's Go struct is
/// inlined in JSON but a message of its own in protobuf. Zeros after the last; all zero when the field
/// does not travel in protobuf (`kind` and `apiVersion` go in the envelope).
pub type Place = [u16; 3];

/// How a list merges in server-side apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListType {
    /// Replaced as a whole.
    Atomic,
    /// A set of scalars.
    Set,
    /// A list of objects told apart by these fields.
    Map(Vec<Name>),
}

/// How a field merges in a strategic merge patch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Lists are replaced, maps are merged.
    #[default]
    Default,
    /// Lists are merged, by merge key or as a set.
    Merge,
    /// Replaced, maps too.
    Replace,
}

/// What few fields have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extra {
    /// Key that tells a list's elements apart in a strategic merge patch.
    pub merge_key: Option<Name>,
    /// How a strategic merge patch treats the field.
    pub strategy: Strategy,
    /// Whether `retainKeys` is part of the patch strategy (published, for clients).
    pub retain_keys: bool,
    /// How server-side apply treats the list.
    pub list_type: Option<ListType>,
    /// Whether server-side apply replaces the map or object as a whole.
    pub atomic: bool,
    /// Whether the map is marked granular (published; it is what maps are anyway).
    pub granular: bool,
    /// Value a missing field gets.
    pub default: Option<Value>,
    /// Values the field (or the elements of the list or map) may have, sorted.
    pub enum_values: Vec<Name>,
}

pub(super) const REQUIRED: u8 = 1;
pub(super) const POINTER: u8 = 2;
pub(super) const OMIT_EMPTY: u8 = 4;
pub(super) const OMIT_ZERO: u8 = 8;

/// One field of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Name in JSON.
    pub name: Name,
    /// Form of the value.
    pub shape: Shape,
    /// Place in protobuf.
    pub place: Place,
    pub(super) flags: u8,
    pub(super) extra: Option<Box<Extra>>,
}

impl Field {
    /// A custom resource's field: what is given for it is kept, be it zero or not.
    pub fn new(name: impl Into<Name>, shape: Shape, required: bool, extra: Extra) -> Field {
        Field {
            name: name.into(),
            shape,
            place: Place::default(),
            flags: POINTER | OMIT_EMPTY | if required { REQUIRED } else { 0 },
            extra: (extra != Extra::default()).then(|| Box::new(extra)),
        }
    }

    /// Whether OpenAPI lists the field as required.
    pub fn required(&self) -> bool {
        self.flags & REQUIRED != 0
    }

    /// Whether upstream keeps apart "missing" and "zero" for the field.
    pub fn pointer(&self) -> bool {
        self.flags & POINTER != 0
    }

    /// What few fields have, if this one has any of it.
    pub fn extra(&self) -> Option<&Extra> {
        self.extra.as_deref()
    }

    /// Values the field may have; empty when it is not an enum.
    pub fn enum_values(&self) -> &[Name] {
        self.extra().map_or(&[], |extra| &extra.enum_values)
    }

    /// The value a missing field gets; not one that upstream would not write anyway.
    pub fn default_value(&self) -> Option<&Value> {
        let default = self.extra()?.default.as_ref()?;
        (!self.omits(default)).then_some(default)
    }

    /// Whether upstream does not write the value: a field without presence of its own holds its zero value.
    pub fn omits(&self, value: &Value) -> bool {
        match value {
            Value::Null => true,
            _ if self.pointer() => false,
            Value::Object(map) => map.is_empty() && self.omits_empty_map(),
            Value::Array(list) => list.is_empty() && self.flags & OMIT_EMPTY != 0,
            Value::Bool(on) => !on && self.flags & OMIT_EMPTY != 0,
            // An omitted quantity or int-or-string is a Go struct, which omitempty does not drop.
            Value::Number(number) => {
                number.as_f64() == Some(0.0) && self.flags & OMIT_EMPTY != 0 && !self.shape.go_struct()
            }
            Value::String(text) => text.is_empty() && self.flags & OMIT_EMPTY != 0 && !self.shape.go_struct(),
        }
    }

    fn omits_empty_map(&self) -> bool {
        let flag = if matches!(self.shape, Shape::Object(_)) {
            OMIT_ZERO
        } else {
            OMIT_EMPTY
        };
        self.flags & flag != 0
    }

    /// Whether upstream writes the field even when nothing was given for it.
    pub fn always_written(&self) -> bool {
        if self.pointer() {
            return self.flags & (OMIT_EMPTY | OMIT_ZERO) == 0;
        }
        match self.flags & (OMIT_EMPTY | OMIT_ZERO) {
            0 => true,
            OMIT_EMPTY => self.shape.go_struct(),
            _ => false,
        }
    }

    /// What upstream writes for a field that is [`always_written`](Field::always_written) and was not given;
    /// objects get their own fields later.
    pub fn zero(&self) -> Value {
        if self.pointer() {
            Value::Null
        } else {
            self.shape.zero()
        }
    }
}

impl Shape {
    /// Whether Go's type is a struct, which `omitempty` never drops.
    fn go_struct(&self) -> bool {
        use Shape::*;
        matches!(
            self,
            Quantity
                | IntOrString
                | Time
                | MicroTime
                | RawExtension
                | Json
                | FieldsV1
                | SchemaOrArray
                | SchemaOrBool
                | SchemaOrStrings
                | Object(_)
        )
    }

    /// The zero value as Go writes it.
    pub fn zero(&self) -> Value {
        match self {
            Shape::Bool => Value::Bool(false),
            Shape::Int32 | Shape::Int64 | Shape::Double | Shape::IntOrString => Value::from(0),
            Shape::String => Value::String(String::new()),
            Shape::Quantity => Value::String("0".to_owned()),
            Shape::Object(_) => Value::Object(Default::default()),
            _ => Value::Null,
        }
    }
}

/// Which API objects a type is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupVersionKind {
    /// API group; empty for the core group.
    pub group: Name,
    /// Version in the group.
    pub version: Name,
    /// Kind.
    pub kind: Name,
}

impl GroupVersionKind {
    pub(super) fn is(&self, group: &str, version: &str, kind: &str) -> bool {
        self.kind == kind && self.group == group && self.version == version
    }
}

/// An object type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Type {
    /// OpenAPI name, such as `io.k8s.api.core.v1.PodSpec`.
    pub name: Name,
    /// Fields, sorted by name.
    pub fields: Vec<Field>,
    /// Whether server-side apply replaces the object as a whole.
    pub atomic: bool,
    /// API objects of this type.
    pub kinds: Vec<GroupVersionKind>,
    /// Whether the type is an object of every group (`DeleteOptions`, `WatchEvent`).
    pub every_group: bool,
    /// `x-kubernetes-unions`, as published.
    pub unions: Option<Name>,
    /// Indexes of `fields` in the order of their places, without those that have none.
    pub(crate) by_place: Vec<u16>,
    /// Indexes of the fields that are always written.
    pub(crate) always: Vec<u16>,
    /// Indexes of the fields whose default makes a difference.
    pub(crate) defaulted: Vec<u16>,
    /// First eight bytes of each field's name, so that looking one up seldom compares texts.
    pub(super) prefixes: Vec<u64>,
}

/// First eight bytes of a name; sorts as the name does.
fn prefix(name: &str) -> u64 {
    let mut bytes = [0; 8];
    let length = name.len().min(8);
    bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
    u64::from_be_bytes(bytes)
}

impl Type {
    pub(super) const fn empty() -> Type {
        Type {
            name: Cow::Borrowed(""),
            fields: Vec::new(),
            atomic: false,
            kinds: Vec::new(),
            every_group: false,
            unions: None,
            by_place: Vec::new(),
            always: Vec::new(),
            defaulted: Vec::new(),
            prefixes: Vec::new(),
        }
    }

    /// A custom resource's type, to [`register`](super::register).
    pub fn new(name: impl Into<Name>, fields: Vec<Field>) -> Type {
        Type {
            name: name.into(),
            fields,
            ..Type::empty()
        }
    }

    /// Sorts the fields and fills what is looked up by index. Belongs to the making of a type.
    pub(super) fn index(&mut self) {
        self.fields.shrink_to_fit();
        self.fields.sort_by(|a, b| a.name.cmp(&b.name));
        let where_field = |wanted: fn(&Field) -> bool| -> Vec<u16> {
            (0..self.fields.len() as u16)
                .filter(|at| wanted(&self.fields[*at as usize]))
                .collect()
        };
        let mut by_place = where_field(|field| field.place[0] != 0);
        by_place.sort_by_key(|at| self.fields[*at as usize].place);
        self.always = where_field(Field::always_written);
        self.defaulted = where_field(|field| field.default_value().is_some());
        self.by_place = by_place;
        self.prefixes = self.fields.iter().map(|field| prefix(&field.name)).collect();
    }

    /// Place in `fields` of the field of this name; case matters.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        let wanted = prefix(name);
        let start = self.prefixes.partition_point(|prefix| *prefix < wanted);
        let same = self.prefixes[start..]
            .iter()
            .take_while(|prefix| **prefix == wanted)
            .count();
        (start..start + same).find(|at| self.fields[*at].name == name)
    }

    /// The field of this name; case matters.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.position(name).map(|at| &self.fields[at])
    }

    /// Name of the Go struct, such as `PodSpec`.
    pub fn go_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or_default()
    }

    /// Name of the Go type with its package, such as `v1.PodSpec`, as type errors give it.
    pub fn go_type(&self) -> &str {
        match self.name.rmatch_indices('.').nth(1) {
            Some((at, _)) => &self.name[at + 1..],
            None => &self.name,
        }
    }
}
