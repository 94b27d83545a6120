//! An object's metadata: a thin view borrowed from its bytes (no tree is built, what is not metadata
//! is skipped), and reading and editing of `metadata` in a tree.

mod edit;
mod time;

pub use edit::*;
pub use time::{micro_time, parse_time, time};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Why an object's metadata could not be read.
#[derive(Debug, thiserror::Error)]
#[error("reading an object's metadata: {source}")]
pub struct MetaError {
    #[from]
    source: serde_json::Error,
}

/// Text borrowed from the object's bytes, or owned where JSON had to unescape it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<'a>(pub Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(v)))
            }
            fn visit_str<E>(self, v: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(v.to_owned())))
            }
            fn visit_unit<E>(self) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }
        }
        deserializer.deserialize_any(TextVisitor)
    }
}

/// A map of strings in the order of the bytes (stored objects: sorted by key).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextMap<'a>(pub Vec<(Text<'a>, Text<'a>)>);

impl TextMap<'_> {
    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| &**k == key).map(|(_, v)| &**v)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for TextMap<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MapVisitor;
        impl<'de> Visitor<'de> for MapVisitor {
            type Value = TextMap<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TextMap<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(TextMap(pairs))
            }
            fn visit_unit<E>(self) -> Result<TextMap<'de>, E> {
                Ok(TextMap::default())
            }
        }
        deserializer.deserialize_any(MapVisitor)
    }
}

/// One owner of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerReference<'a> {
    /// The owner's group and version.
    #[serde(borrow)]
    pub api_version: Text<'a>,
    /// The owner's kind.
    #[serde(borrow)]
    pub kind: Text<'a>,
    /// The owner's name, in the same namespace or cluster-scoped.
    #[serde(borrow)]
    pub name: Text<'a>,
    /// The owner's uid, which decides.
    #[serde(borrow)]
    pub uid: Text<'a>,
    /// Whether this owner is the managing controller.
    pub controller: Option<bool>,
    /// Whether the owner waits for this object in foreground deletion.
    pub block_owner_deletion: Option<bool>,
}

/// `metadata` of an object, borrowed from its bytes. What is absent is empty.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)] // Kubernetes' own names.
pub struct ObjectMeta<'a> {
    #[serde(borrow)]
    pub name: Text<'a>,
    #[serde(borrow)]
    pub generate_name: Text<'a>,
    #[serde(borrow)]
    pub namespace: Text<'a>,
    #[serde(borrow)]
    pub uid: Text<'a>,
    #[serde(borrow)]
    pub resource_version: Text<'a>,
    pub generation: Option<i64>,
    #[serde(borrow)]
    pub creation_timestamp: Text<'a>,
    /// Empty unless the object is being deleted.
    #[serde(borrow)]
    pub deletion_timestamp: Text<'a>,
    pub deletion_grace_period_seconds: Option<i64>,
    #[serde(borrow)]
    pub labels: TextMap<'a>,
    /// The annotations' JSON, unread.
    #[serde(borrow)]
    pub annotations: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "list_or_null")]
    pub finalizers: Vec<Text<'a>>,
    #[serde(borrow, deserialize_with = "list_or_null")]
    pub owner_references: Vec<OwnerReference<'a>>,
}

fn list_or_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(d)?.unwrap_or_default())
}

/// An object seen thinly: its type and its metadata, borrowed from its bytes.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta<'a> {
    /// Group and version.
    #[serde(borrow)]
    pub api_version: Text<'a>,
    /// The kind.
    #[serde(borrow)]
    pub kind: Text<'a>,
    /// The metadata.
    #[serde(borrow)]
    pub metadata: ObjectMeta<'a>,
}

impl<'a> Meta<'a> {
    /// Reads the thin view of the object encoded in `bytes` (JSON).
    pub fn parse(bytes: &'a [u8]) -> Result<Self, MetaError> {
        // serde would take an array for a struct, field by field.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(MetaError {
                source: serde::de::Error::custom("not a JSON object"),
            });
        }
        Ok(serde_json::from_slice(bytes)?)
    }
}

impl ObjectMeta<'_> {
    /// Whether the object is being deleted.
    pub fn is_deleting(&self) -> bool {
        !self.deletion_timestamp.is_empty()
    }

    /// The owner that manages this object, if any.
    pub fn controller(&self) -> Option<&OwnerReference<'_>> {
        self.owner_references.iter().find(|o| o.controller == Some(true))
    }
}

/// What selectors and listing need of an object's metadata, owned and small: to be kept beside the
/// object's bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The name.
    pub name: Box<str>,
    /// The namespace; empty for cluster scope.
    pub namespace: Box<str>,
    /// The uid.
    pub uid: Box<str>,
    /// The labels, sorted by key.
    pub labels: Box<[(Box<str>, Box<str>)]>,
    /// Whether the object is being deleted.
    pub deleting: bool,
}

impl Summary {
    /// Reads the summary of the object encoded in `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetaError> {
        Ok(Self::from(&Meta::parse(bytes)?.metadata))
    }
}

impl From<&ObjectMeta<'_>> for Summary {
    fn from(meta: &ObjectMeta<'_>) -> Self {
        let mut labels: Box<[(Box<str>, Box<str>)]> = meta
            .labels
            .0
            .iter()
            .map(|(k, v)| (Box::from(&**k), Box::from(&**v)))
            .collect();
        labels.sort();
        Summary {
            name: Box::from(&*meta.name),
            namespace: Box::from(&*meta.namespace),
            uid: Box::from(&*meta.uid),
            labels,
            deleting: meta.is_deleting(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","namespace":"ns","uid":"u",
        "resourceVersion":"7","generation":2,"creationTimestamp":"2026-01-02T03:04:05Z","deletionTimestamp":null,
        "labels":{"b":"2","a":"1\u0041"},"annotations":{"x":"y"},"finalizers":["f"],
        "ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"r","uid":"ru","controller":true}]},
        "spec":{"containers":[{"name":"c","image":"i"}]},"status":{}}"#;

    #[test]
    fn the_thin_view_has_all_metadata_and_borrows_it() {
        let meta = Meta::parse(POD.as_bytes()).unwrap();
        assert_eq!((&*meta.api_version, &*meta.kind), ("v1", "Pod"));
        let m = meta.metadata;
        assert!(matches!(m.name.0, Cow::Borrowed("a")));
        assert_eq!((&*m.namespace, &*m.uid, &*m.resource_version), ("ns", "u", "7"));
        assert_eq!(m.generation, Some(2));
        assert!(!m.is_deleting());
        assert_eq!(m.labels.get("a"), Some("1A"));
        assert_eq!(m.annotations.map(RawValue::get), Some(r#"{"x":"y"}"#));
        assert_eq!(m.controller().map(|o| &*o.uid), Some("ru"));
        assert_eq!(&*Summary::from(&m).labels[0].0, "a");
    }

    #[test]
    fn an_object_without_metadata_is_read_as_empty() {
        let meta =
            Meta::parse(b"{\"kind\":\"X\",\"metadata\":{\"labels\":null,\"finalizers\":null}}").unwrap();
        assert_eq!(&*meta.metadata.name, "");
        assert!(meta.metadata.labels.0.is_empty());
    }

    #[test]
    fn garbage_is_an_error_not_a_panic() {
        for bad in [
            &b"[]"[..],
            b"{",
            b"",
            b"{\"metadata\":3}",
            b"{\"metadata\":{\"name\":{}}}",
        ] {
            assert!(Meta::parse(bad).is_err());
        }
    }
}
