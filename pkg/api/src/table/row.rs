//! Reading an object's fields for its cells.

use super::duration::human;
use crate::meta::parse_time;
use crate::quantity::Quantity;
use crate::selectors::LabelSelector;
use jiff::Timestamp;
use serde_json::{Map, Value};

/// An object, and when it is looked at.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    object: &'a Value,
    now: Timestamp,
}

impl<'a> Row<'a> {
    pub(super) const fn new(object: &'a Value, now: Timestamp) -> Self {
        Row { object, now }
    }

    /// A part of the object, looked at at the same time.
    pub(super) const fn part(&self, object: &'a Value) -> Row<'a> {
        Row {
            object,
            now: self.now,
        }
    }

    /// The value at `path`: field names with dots. Null is nothing.
    pub(super) fn get(&self, path: &str) -> Option<&'a Value> {
        let mut value = self.object;
        for field in path.split('.') {
            value = value.get(field)?;
        }
        Some(value).filter(|v| !v.is_null())
    }

    /// The text at `path`; empty if absent.
    pub(super) fn text(&self, path: &str) -> &'a str {
        self.get(path).and_then(Value::as_str).unwrap_or_default()
    }

    /// The text at `path`, or `absent` if there is none or an empty one.
    pub(super) fn text_or(&self, path: &str, absent: &'a str) -> &'a str {
        match self.text(path) {
            "" => absent,
            text => text,
        }
    }

    /// The number at `path`; 0 if absent.
    pub(super) fn number(&self, path: &str) -> i64 {
        self.get(path).and_then(Value::as_i64).unwrap_or_default()
    }

    /// Whether `true` is at `path`.
    pub(super) fn is_true(&self, path: &str) -> bool {
        self.get(path) == Some(&Value::Bool(true))
    }

    /// The elements of the list at `path`.
    pub(super) fn list(
        &self,
        path: &str,
    ) -> impl DoubleEndedIterator<Item = Row<'a>> + ExactSizeIterator + use<'a> {
        let now = self.now;
        let list = self
            .get(path)
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        list.iter().map(move |object| Row { object, now })
    }

    /// The texts of the list at `path`.
    pub(super) fn texts(&self, path: &str) -> Vec<&'a str> {
        self.list(path).filter_map(|row| row.object.as_str()).collect()
    }

    /// The map at `path`.
    pub(super) fn map(&self, path: &str) -> Option<&'a Map<String, Value>> {
        self.get(path)?.as_object()
    }

    /// How many entries the list or map at `path` has.
    pub(super) fn size(&self, path: &str) -> usize {
        match self.get(path) {
            Some(Value::Array(list)) => list.len(),
            Some(Value::Object(map)) => map.len(),
            _ => 0,
        }
    }

    /// The time at `path`.
    pub(super) fn time(&self, path: &str) -> Option<Timestamp> {
        parse_time(self.text(path))
    }

    /// How long ago the time at `path` was; `<unknown>` if absent.
    pub(super) fn since(&self, path: &str) -> String {
        self.time(path)
            .map_or_else(|| "<unknown>".to_owned(), |then| self.ago(then))
    }

    /// How long ago `then` was.
    pub(super) fn ago(&self, then: Timestamp) -> String {
        human(self.now.duration_since(then))
    }

    /// The canonical form of the quantity at `path`; `0` if absent.
    pub(super) fn quantity(&self, path: &str) -> String {
        let quantity = self.get(path).map(Quantity::from_json);
        quantity
            .and_then(Result::ok)
            .unwrap_or(Quantity::ZERO)
            .to_string()
    }

    /// The condition of this type in the list at `path`.
    pub(super) fn condition(&self, path: &str, kind: &str) -> Option<Row<'a>> {
        self.list(path).find(|c| c.text("type") == kind)
    }

    /// Whether the condition of this type is true.
    pub(super) fn holds(&self, path: &str, kind: &str) -> bool {
        self.condition(path, kind)
            .is_some_and(|c| c.text("status") == "True")
    }

    /// Whether the object is being deleted.
    pub(super) fn is_deleting(&self) -> bool {
        !self.text("metadata.deletionTimestamp").is_empty()
    }

    /// Whether the annotation `key` says `true`.
    pub(super) fn is_annotated(&self, key: &str) -> bool {
        crate::meta::annotation(self.object, key) == Some("true")
    }

    /// The map at `path` as `a=b,c=d`; `<none>` if empty.
    pub(super) fn labels(&self, path: &str) -> String {
        let pairs = self.map(path).into_iter().flatten();
        let pairs: Vec<String> = pairs
            .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
            .collect();
        if pairs.is_empty() {
            "<none>".to_owned()
        } else {
            pairs.join(",")
        }
    }

    /// The `LabelSelector` at `path` as text; `<none>` if it is absent or selects everything.
    pub(super) fn selector(&self, path: &str) -> String {
        match LabelSelector::from_object(self.get(path)) {
            Err(_) => "<error>".to_owned(),
            Ok(selector) => match selector.to_string() {
                text if text.is_empty() => "<none>".to_owned(),
                text => text,
            },
        }
    }

    /// One text of each element of the list at `path`, with commas.
    pub(super) fn joined(&self, path: &str, field: &str) -> String {
        self.list(path)
            .map(|element| element.text(field))
            .collect::<Vec<_>>()
            .join(",")
    }
}

/// The first three of `items`, and how many more there are; `<unset>` if none.
pub(super) fn first_three(items: &[String]) -> String {
    match items.len() {
        0 => "<unset>".to_owned(),
        n @ 4.. => format!("{} + {} more...", items[..3].join(","), n - 3),
        _ => items.join(","),
    }
}
