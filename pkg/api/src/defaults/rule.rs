//! A default as data: where, when, what.
//!
//! A path is field names with dots. `[]` after a name goes into each element of a list, `?` goes on
//! only if the field is there; other objects on the way are made.

use crate::quantity;
use serde_json::{Map, Value};

/// One default.
#[derive(Debug)]
pub(super) struct Rule {
    path: &'static str,
    when: When,
    value: Fill,
}

#[derive(Clone, Copy, Debug)]
enum When {
    /// The field is absent or null.
    Nil,
    /// The same, or it is empty, zero.
    Zero,
}

#[derive(Clone, Copy, Debug)]
enum Fill {
    Text(&'static str),
    Number(i64),
    Flag(bool),
    Object,
    /// No default: brings a map of quantities into canonical form.
    Quantities,
    /// The same for one quantity.
    Quantity,
}

impl Rule {
    /// A text where there is nothing.
    pub(super) const fn nil(path: &'static str, text: &'static str) -> Rule {
        Rule {
            path,
            when: When::Nil,
            value: Fill::Text(text),
        }
    }

    /// A text where there is none, or an empty one.
    pub(super) const fn zero(path: &'static str, text: &'static str) -> Rule {
        Rule {
            path,
            when: When::Zero,
            value: Fill::Text(text),
        }
    }

    /// A number where there is nothing.
    pub(super) const fn nil_number(path: &'static str, number: i64) -> Rule {
        Rule {
            path,
            when: When::Nil,
            value: Fill::Number(number),
        }
    }

    /// A number where there is none, or zero.
    pub(super) const fn zero_number(path: &'static str, number: i64) -> Rule {
        Rule {
            path,
            when: When::Zero,
            value: Fill::Number(number),
        }
    }

    /// A flag where there is none.
    pub(super) const fn nil_flag(path: &'static str, flag: bool) -> Rule {
        Rule {
            path,
            when: When::Nil,
            value: Fill::Flag(flag),
        }
    }

    /// An empty object where there is none.
    pub(super) const fn object(path: &'static str) -> Rule {
        Rule {
            path,
            when: When::Nil,
            value: Fill::Object,
        }
    }

    /// The quantities of a resource list in canonical form, rounded up to thousandths.
    pub(super) const fn quantities(path: &'static str) -> Rule {
        Rule {
            path,
            when: When::Nil,
            value: Fill::Quantities,
        }
    }

    /// One quantity in canonical form.
    pub(super) const fn quantity(path: &'static str) -> Rule {
        Rule {
            path,
            when: When::Nil,
            value: Fill::Quantity,
        }
    }
}

/// Applies `rules` to `object`, in order.
pub(super) fn fill(object: &mut Map<String, Value>, rules: &[Rule]) {
    for rule in rules {
        walk(object, rule.path, rule);
    }
}

fn walk(object: &mut Map<String, Value>, path: &str, rule: &Rule) {
    let Some((segment, rest)) = path.split_once('.') else {
        return set(object, path, rule);
    };
    if let Some(list) = segment.strip_suffix("[]") {
        let elements = object.get_mut(list).and_then(Value::as_array_mut);
        for element in elements.into_iter().flatten().filter_map(Value::as_object_mut) {
            walk(element, rest, rule);
        }
        return;
    }
    let looks_only = matches!(rule.value, Fill::Quantities | Fill::Quantity);
    let below = match segment.strip_suffix('?') {
        Some(key) => object.get_mut(key).and_then(Value::as_object_mut),
        None if looks_only => object.get_mut(segment).and_then(Value::as_object_mut),
        None => super::child(object, segment),
    };
    if let Some(below) = below {
        walk(below, rest, rule);
    }
}

fn set(object: &mut Map<String, Value>, key: &str, rule: &Rule) {
    let current = object.get_mut(key);
    let value = match rule.value {
        // What is no quantity is left for validation to tell.
        Fill::Quantities => {
            for quantity in current
                .and_then(Value::as_object_mut)
                .into_iter()
                .flat_map(Map::values_mut)
            {
                let _ = quantity::canonicalize(quantity, true);
            }
            return;
        }
        Fill::Quantity => {
            if let Some(value) = current.filter(|v| !v.is_null()) {
                let _ = quantity::canonicalize(value, false);
            }
            return;
        }
        Fill::Text(text) => Value::from(text),
        Fill::Number(number) => Value::from(number),
        Fill::Flag(flag) => Value::from(flag),
        Fill::Object => Value::Object(Map::new()),
    };
    let silent = match (current, rule.when) {
        (None | Some(Value::Null), _) => true,
        (Some(Value::String(text)), When::Zero) => text.is_empty(),
        (Some(Value::Number(number)), When::Zero) => number.as_f64() == Some(0.0),
        (Some(_), _) => false,
    };
    if silent {
        object.insert(key.to_owned(), value);
    }
}
