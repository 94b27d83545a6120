//! The packed descriptions (`build.rs` tells their form).

use std::collections::HashMap;
use std::io::Read;
use std::ops::Range;

use flate2::read::DeflateDecoder;

pub(super) const PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptions.deflate"));

/// Unpacked descriptions: about a megabyte, held while a document is written.
pub(super) struct Descriptions {
    text: String,
    /// Where each type's lines are.
    types: HashMap<String, Range<usize>>,
}

impl Descriptions {
    pub(super) fn unpack() -> Descriptions {
        let mut text = String::new();
        // The packed bytes are ours; were they broken, documents would lack prose and nothing else.
        let _ = DeflateDecoder::new(PACKED).read_to_string(&mut text);
        Descriptions {
            types: index(&text),
            text,
        }
    }

    fn lines(&self, ty: &str) -> impl Iterator<Item = &str> {
        let range = self.types.get(ty).cloned().unwrap_or(0..0);
        self.text[range].lines()
    }

    /// Description of a type.
    pub(super) fn of_type(&self, ty: &str) -> Option<String> {
        self.lines(ty)
            .find_map(|line| line.strip_prefix("D "))
            .map(unescape)
    }

    /// Description of a type's field.
    pub(super) fn of_field(&self, ty: &str, field: &str) -> Option<String> {
        let line = |line: &str| {
            let (name, text) = line.strip_prefix(' ')?.split_once(' ')?;
            (name == field).then(|| unescape(text))
        };
        self.lines(ty)
            .find_map(line)
            .or_else(|| self.of_list_field(ty, field))
    }
}

impl Descriptions {
    /// k8s-openapi has no schemas of lists; their fields are the same everywhere.
    fn of_list_field(&self, ty: &str, field: &str) -> Option<String> {
        match field {
            _ if !ty.ends_with("List") => None,
            "apiVersion" | "kind" => self.of_field("io.k8s.api.core.v1.Pod", field),
            "metadata" => Some("Standard list metadata.".to_owned()),
            "items" => Some("The objects of the list.".to_owned()),
            _ => None,
        }
    }
}

fn index(text: &str) -> HashMap<String, Range<usize>> {
    let mut types = HashMap::new();
    let mut at = 0;
    while let Some(rest) = text[at..].strip_prefix("T ") {
        let name = rest.lines().next().unwrap_or_default();
        let start = at + "T ".len() + name.len() + 1;
        let end = text[start.min(text.len())..]
            .find("\nT ")
            .map_or(text.len(), |found| start + found + 1);
        types.insert(name.to_owned(), start.min(end)..end);
        at = end;
    }
    types
}

fn unescape(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(if chars.next() == Some('n') { '\n' } else { '\\' }),
            _ => out.push(c),
        }
    }
    out
}
