//! A place in an object: the value there, if any, and its path, so that checks say each path once.

use super::Errors;
use crate::fields::{FieldError, Path};
use crate::quantity::Quantity;
use serde_json::{Map, Value};

/// A value in the object (`'v`) and the path that leads there (`'p`). Null is nothing.
#[derive(Clone, Copy)]
pub(super) struct At<'v, 'p> {
    pub(super) value: Option<&'v Value>,
    pub(super) path: Path<'p>,
    at_root: bool,
}

impl<'v, 'p> At<'v, 'p> {
    /// The whole object.
    pub(super) fn root(value: &'v Value) -> Self {
        At {
            value: Some(value),
            path: Path::new(""),
            at_root: true,
        }
    }

    /// The same path with another value.
    pub(super) fn with(self, value: Option<&'v Value>) -> Self {
        At {
            value: value.filter(|v| !v.is_null()),
            ..self
        }
    }

    /// The field `name`, which may be absent.
    pub(super) fn child<'q>(&'q self, name: &'q str) -> At<'v, 'q> {
        let path = if self.at_root {
            Path::new(name)
        } else {
            self.path.child(name)
        };
        let value = self.value.and_then(|v| v.get(name)).filter(|v| !v.is_null());
        At {
            value,
            path,
            at_root: false,
        }
    }

    /// The field `name`, if it is there.
    pub(super) fn get<'q>(&'q self, name: &'q str) -> Option<At<'v, 'q>> {
        let child = self.child(name);
        child.value.is_some().then_some(child)
    }

    /// The same value under another path (where upstream's path is not the field's).
    pub(super) fn at<'q>(&self, path: Path<'q>) -> At<'v, 'q> {
        At {
            value: self.value,
            path,
            at_root: false,
        }
    }

    /// The path of a field under another name (where upstream's path differs).
    pub(super) fn named<'q>(&'q self, name: &'q str) -> Path<'q> {
        if self.at_root {
            Path::new(name)
        } else {
            self.path.child(name)
        }
    }

    /// Whether there is a value.
    pub(super) fn is_set(&self) -> bool {
        self.value.is_some()
    }

    /// The text; empty if there is none.
    pub(super) fn text(&self) -> &'v str {
        self.value.and_then(Value::as_str).unwrap_or_default()
    }

    /// The whole number.
    pub(super) fn number(&self) -> Option<i64> {
        self.value.and_then(Value::as_i64)
    }

    /// Whether the value is `true`.
    pub(super) fn is_true(&self) -> bool {
        self.value == Some(&Value::Bool(true))
    }

    /// The quantity; none if it is absent or malformed.
    pub(super) fn quantity(&self) -> Option<Quantity> {
        Quantity::from_json(self.value?).ok()
    }

    /// The elements of the list.
    pub(super) fn items<'q>(
        &'q self,
    ) -> impl DoubleEndedIterator<Item = At<'v, 'q>> + ExactSizeIterator + use<'v, 'q, 'p> {
        let list = self
            .value
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        list.iter().enumerate().map(|(i, value)| At {
            value: Some(value).filter(|v| !v.is_null()),
            path: self.path.index(i),
            at_root: false,
        })
    }

    /// The entries of the map, each with its key in its path.
    pub(super) fn entries<'q>(&'q self) -> impl Iterator<Item = (&'v str, At<'v, 'q>)> + use<'v, 'q, 'p>
    where
        'v: 'q,
    {
        self.map().into_iter().flatten().map(|(key, value)| {
            let at = At {
                value: Some(value).filter(|v| !v.is_null()),
                path: self.path.key(key),
                at_root: false,
            };
            (key.as_str(), at)
        })
    }

    /// The map.
    pub(super) fn map(&self) -> Option<&'v Map<String, Value>> {
        self.value.and_then(Value::as_object)
    }

    /// How many entries the list or map has.
    pub(super) fn len(&self) -> usize {
        match self.value {
            Some(Value::Array(list)) => list.len(),
            Some(Value::Object(map)) => map.len(),
            _ => 0,
        }
    }

    /// The value as errors show it: an absent text is empty.
    pub(super) fn shown(&self) -> Value {
        self.value.cloned().unwrap_or_else(|| "".into())
    }

    /// An error about this value.
    pub(super) fn invalid(&self, errors: &mut Errors, detail: impl Into<String>) {
        errors.push(FieldError::invalid(self.path, self.shown(), detail));
    }

    /// An error that this field may not be set.
    pub(super) fn forbid(&self, errors: &mut Errors, detail: impl Into<String>) {
        errors.push(FieldError::forbidden(self.path, detail));
    }

    /// Forbids the field if it is set.
    pub(super) fn forbid_if_set(&self, errors: &mut Errors, detail: &str) {
        if self.is_set() {
            self.forbid(errors, detail);
        }
    }

    /// Forbids `true` where the controller decides.
    pub(super) fn forbid_if_true(&self, errors: &mut Errors) {
        if self.is_true() {
            errors.push(FieldError::not_supported(self.path, true, &["nil", "false"]));
        }
    }

    /// One error about this value for each message.
    pub(super) fn invalid_each(&self, errors: &mut Errors, messages: Vec<String>) {
        for message in messages {
            self.invalid(errors, message);
        }
    }

    /// Requires a value that is not empty; says whether there is one.
    pub(super) fn require(&self, errors: &mut Errors, detail: &str) -> bool {
        let empty = match self.value {
            None => true,
            Some(Value::String(text)) => text.is_empty(),
            Some(Value::Array(list)) => list.is_empty(),
            Some(_) => false,
        };
        if empty {
            errors.push(FieldError::required(self.path, detail));
        }
        !empty
    }

    /// Requires a text and checks it.
    pub(super) fn require_valid(&self, errors: &mut Errors, check: fn(&str) -> Vec<String>) {
        if self.require(errors, "") {
            self.invalid_each(errors, check(self.text()));
        }
    }

    /// Checks the text, if there is one that is not empty.
    pub(super) fn valid_if_set(&self, errors: &mut Errors, check: fn(&str) -> Vec<String>) {
        if !self.text().is_empty() {
            self.invalid_each(errors, check(self.text()));
        }
    }

    /// Requires one of `supported`.
    pub(super) fn require_one_of(&self, errors: &mut Errors, supported: &[&str]) {
        if self.require(errors, "") {
            self.one_of(errors, supported);
        }
    }

    /// One of `supported`, if there is a value.
    pub(super) fn one_of_if_set(&self, errors: &mut Errors, supported: &[&str]) {
        if self.is_set() {
            self.one_of(errors, supported);
        }
    }

    /// One of `supported`; nothing is not.
    pub(super) fn one_of(&self, errors: &mut Errors, supported: &[&str]) {
        if !supported.contains(&self.text()) {
            errors.push(FieldError::not_supported(self.path, self.shown(), supported));
        }
    }

    /// The number is not negative; absent counts as zero.
    pub(super) fn non_negative(&self, errors: &mut Errors) {
        if self.number().is_some_and(|n| n < 0) {
            self.invalid(errors, "must be greater than or equal to 0");
        }
    }

    /// The number is positive, if there is one.
    pub(super) fn positive(&self, errors: &mut Errors) {
        if self.number().is_none_or(|n| n <= 0) {
            self.invalid_number(errors, "must be greater than zero");
        }
    }

    /// An error about this number; an absent one is zero.
    pub(super) fn invalid_number(&self, errors: &mut Errors, detail: &str) {
        errors.push(FieldError::invalid(
            self.path,
            self.value.cloned().unwrap_or_else(|| 0.into()),
            detail,
        ));
    }

    /// The number is in this range, if there is one.
    pub(super) fn in_range(&self, errors: &mut Errors, lo: i64, hi: i64) {
        if let Some(number) = self.number() {
            self.invalid_each(errors, crate::names::in_range(number, lo, hi));
        }
    }

    /// The value may not differ from the old one.
    pub(super) fn immutable(&self, errors: &mut Errors, old: &At<'_, '_>) {
        if !same(self.value, old.value) {
            errors.push(FieldError::invalid(
                self.path,
                self.value.cloned().unwrap_or(Value::Null),
                FIELD_IMMUTABLE,
            ));
        }
    }
}

/// Upstream's words for a field that may not change.
pub(super) const FIELD_IMMUTABLE: &str = "field is immutable";

/// Semantic equality: absent, null and empty are the same, quantities and all else as they are.
pub(super) fn same(a: Option<&Value>, b: Option<&Value>) -> bool {
    let empty = |v: Option<&Value>| match v {
        None | Some(Value::Null) => true,
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::String(text)) => text.is_empty(),
        _ => false,
    };
    match (a, b) {
        (a, b) if empty(a) || empty(b) => empty(a) && empty(b),
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            a.iter().all(|(k, v)| same(Some(v), b.get(k)))
                && b.iter().all(|(k, v)| a.contains_key(k) || same(None, Some(v)))
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(Some(a), Some(b)))
        }
        (a, b) => a == b,
    }
}
