//! Reads the `T`, `U` and field rows of the committed table. `generate/types_table.py` describes the columns.

use std::borrow::Cow;

use super::shape::{GroupVersionKind, OMIT_EMPTY, OMIT_ZERO, POINTER, REQUIRED};
use super::{Extra, Field, ListType, Name, Place, Shape, Strategy, Type, TypeId};

pub(super) fn types(table: &'static str) -> Vec<Type> {
    let mut types: Vec<Type> = Vec::with_capacity(640);
    for line in table.lines() {
        if let Some(row) = line.strip_prefix("T ") {
            types.push(type_row(row));
        } else if let Some(last) = types.last_mut() {
            if let Some(row) = line.strip_prefix(' ') {
                last.fields.push(field_row(row));
            } else if let Some(unions) = line.strip_prefix("U ") {
                last.unions = Some(Cow::Borrowed(unions));
            }
        }
    }
    types.iter_mut().for_each(Type::index);
    types
}

fn type_row(row: &'static str) -> Type {
    let mut columns = row.split(' ');
    let mut next = || columns.next().unwrap_or("-");
    let (name, flags, kinds) = (next(), next(), next());
    Type {
        name: Cow::Borrowed(name),
        atomic: flags.contains('a'),
        every_group: kinds == "*",
        kinds: kinds.split(',').filter_map(kind).collect(),
        ..Type::empty()
    }
}

fn kind(column: &'static str) -> Option<GroupVersionKind> {
    let mut parts = column.split('/').map(Cow::Borrowed);
    Some(GroupVersionKind {
        group: parts.next()?,
        version: parts.next()?,
        kind: parts.next()?,
    })
}

fn field_row(row: &'static str) -> Field {
    // Enum values are the last column; they may have spaces: "client auth".
    let (row, values) = row
        .split_once(" e=")
        .map_or((row, None), |(row, values)| (row, Some(values)));
    let mut columns = row.split(' ');
    let mut next = || columns.next().unwrap_or("-");
    let (name, shape, place, flags) = (next(), next(), next(), next());
    let mut extra = Extra {
        atomic: flags.contains('a'),
        granular: flags.contains('g'),
        ..Extra::default()
    };
    for column in columns {
        if let Some((key, value)) = column.split_once('=') {
            extra_column(&mut extra, key, value);
        }
    }
    if let Some(values) = values {
        extra.enum_values = names(values);
    }
    Field {
        name: Cow::Borrowed(name),
        shape: shape_of(shape),
        place: place_of(place),
        flags: flags.chars().map(flag).sum(),
        extra: (extra != Extra::default()).then(|| Box::new(extra)),
    }
}

fn flag(letter: char) -> u8 {
    match letter {
        'r' => REQUIRED,
        'p' => POINTER,
        'o' => OMIT_EMPTY,
        'z' => OMIT_ZERO,
        _ => 0,
    }
}

fn names(list: &'static str) -> Vec<Name> {
    list.split(',').map(Cow::Borrowed).collect()
}

fn extra_column(extra: &mut Extra, key: &str, value: &'static str) {
    match key {
        "m" => extra.merge_key = Some(Cow::Borrowed(value)),
        "s" => {
            for part in value.split(',') {
                match part {
                    "merge" => extra.strategy = Strategy::Merge,
                    "replace" => extra.strategy = Strategy::Replace,
                    _ => extra.retain_keys = true,
                }
            }
        }
        "l" => {
            extra.list_type = match value.split_once(':') {
                Some((_, keys)) => Some(ListType::Map(names(keys))),
                None if value == "set" => Some(ListType::Set),
                None => Some(ListType::Atomic),
            }
        }
        "d" => extra.default = serde_json::from_str(value).ok(),
        _ => {}
    }
}

fn place_of(column: &str) -> Place {
    let mut place = Place::default();
    for (at, number) in column.split('.').take(place.len()).enumerate() {
        place[at] = number.parse().unwrap_or(0);
    }
    place
}

fn shape_of(column: &str) -> Shape {
    if let Some(element) = column.strip_prefix('[') {
        return Shape::List(Box::new(shape_of(element)));
    }
    if let Some(value) = column.strip_prefix('{') {
        return Shape::Map(Box::new(shape_of(value)));
    }
    match column {
        "b" => Shape::Bool,
        "i" => Shape::Int32,
        "l" => Shape::Int64,
        "d" => Shape::Double,
        "s" => Shape::String,
        "y" => Shape::Bytes,
        "q" => Shape::Quantity,
        "x" => Shape::IntOrString,
        "t" => Shape::Time,
        "m" => Shape::MicroTime,
        "r" => Shape::RawExtension,
        "f" => Shape::FieldsV1,
        "A" => Shape::SchemaOrArray,
        "B" => Shape::SchemaOrBool,
        "C" => Shape::SchemaOrStrings,
        "E" => Shape::Strings,
        number => number
            .parse()
            .map_or(Shape::Json, |index| Shape::Object(TypeId::new(0, index))),
    }
}
