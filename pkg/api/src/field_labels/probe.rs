//! One scalar out of an object, without a tree of the rest.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

/// A scalar as text; empty if absent or no scalar.
pub(super) type Probe<'a> = Cow<'a, str>;

/// The scalar at `path` in `object`.
pub(super) fn in_tree<'a>(object: &'a Value, path: &[Cow<'static, str>]) -> Probe<'a> {
    let mut value = object;
    for segment in path {
        match value.get(&**segment) {
            Some(child) => value = child,
            None => return Cow::Borrowed(""),
        }
    }
    match value {
        Value::String(text) => Cow::Borrowed(text),
        Value::Bool(flag) => Cow::Borrowed(if *flag { "true" } else { "false" }),
        Value::Number(number) => Cow::Owned(number.to_string()),
        _ => Cow::Borrowed(""),
    }
}

/// The scalar at `path` in the JSON object `bytes`; empty too where the bytes are not JSON.
pub(super) fn in_bytes<'a>(bytes: &'a [u8], path: &[Cow<'static, str>]) -> Probe<'a> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    Seed { path }.deserialize(&mut deserializer).unwrap_or_default()
}

struct Seed<'p> {
    path: &'p [Cow<'static, str>],
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Probe<'de>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Probe<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Probe<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a scalar")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Probe<'de>, A::Error> {
        let mut found = Cow::Borrowed("");
        while let Some(here) = map.next_key_seed(KeyIs(self.path.first().map(|s| &**s)))? {
            if here {
                found = map.next_value_seed(Seed {
                    path: &self.path[1..],
                })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Probe<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Cow::Borrowed(""))
    }

    fn visit_borrowed_str<E: Error>(self, v: &'de str) -> Result<Probe<'de>, E> {
        Ok(Cow::Borrowed(if self.path.is_empty() { v } else { "" }))
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<Probe<'de>, E> {
        Ok(if self.path.is_empty() {
            Cow::Owned(v.to_owned())
        } else {
            Cow::Borrowed("")
        })
    }

    fn visit_bool<E: Error>(self, v: bool) -> Result<Probe<'de>, E> {
        Ok(Cow::Borrowed(if v { "true" } else { "false" }))
    }

    fn visit_i64<E: Error>(self, v: i64) -> Result<Probe<'de>, E> {
        Ok(Cow::Owned(v.to_string()))
    }

    fn visit_u64<E: Error>(self, v: u64) -> Result<Probe<'de>, E> {
        Ok(Cow::Owned(v.to_string()))
    }

    fn visit_f64<E: Error>(self, v: f64) -> Result<Probe<'de>, E> {
        Ok(Cow::Owned(v.to_string()))
    }

    fn visit_unit<E: Error>(self) -> Result<Probe<'de>, E> {
        Ok(Cow::Borrowed(""))
    }
}

/// Whether a map's key is the one looked for.
struct KeyIs<'p>(Option<&'p str>);

impl<'de> DeserializeSeed<'de> for KeyIs<'_> {
    type Value = bool;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyIs<'_> {
    type Value = bool;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E: Error>(self, v: &str) -> Result<bool, E> {
        Ok(self.0 == Some(v))
    }
}
