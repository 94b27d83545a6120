//! Content negotiation: which encoding and which shape an answer has.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};

/// How objects are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `application/json`
    Json,
    /// `application/yaml`
    Yaml,
    /// `application/vnd.kubernetes.protobuf`
    Protobuf,
}

impl Encoding {
    /// The media type of one object in this encoding.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }
}

/// What is made of an object before it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The object itself.
    Object,
    /// `meta.k8s.io/v1 Table`
    Table,
    /// `meta.k8s.io/v1 PartialObjectMetadata`, or its list for a collection.
    Partial,
}

/// One way of answering, as an `Accept` header asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// How it is written.
    pub encoding: Encoding,
    /// What is written.
    pub shape: Shape,
}

impl Answer {
    /// The plain answer: objects as JSON.
    pub const JSON: Self = Self {
        encoding: Encoding::Json,
        shape: Shape::Object,
    };
}

/// Nothing the client accepts can be made; the text is upstream's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAcceptable(pub String);

/// One element of an `Accept` header.
#[derive(Debug, Clone, Copy)]
pub struct MediaRange<'h> {
    /// `application/json`, `*/*`
    pub media_type: &'h str,
    parameters: &'h str,
    quality: f32,
}

impl<'h> MediaRange<'h> {
    /// A parameter after the media type, for example `as` or `v`.
    pub fn parameter(&self, name: &str) -> Option<&'h str> {
        self.parameters
            .split(';')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| key.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().trim_matches('"'))
    }
}

/// The elements of a request's `Accept` headers, the most wanted first.
pub fn accepted(headers: &HeaderMap) -> Vec<MediaRange<'_>> {
    let values = headers.get_all(ACCEPT).into_iter();
    let mut ranges: Vec<_> = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|element| {
            let (media_type, parameters) = element.split_once(';').unwrap_or((element, ""));
            let mut range = MediaRange {
                media_type: media_type.trim(),
                parameters,
                quality: 1.0,
            };
            range.quality = range.parameter("q").map_or(1.0, |q| q.parse().unwrap_or(1.0));
            (!range.media_type.is_empty() && range.quality > 0.0).then_some(range)
        })
        .collect();
    ranges.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    ranges
}

/// Chooses the answer for an object, a list, or a stream of them.
///
/// `shapes` tells whether `as=Table` and `as=PartialObjectMetadata` are possible here; where they
/// are not, an element that asks for them does not match.
pub fn answer(headers: &HeaderMap, shapes: bool) -> Result<Answer, NotAcceptable> {
    if headers
        .get(ACCEPT)
        .is_none_or(|value| value == "application/json" || value == "*/*")
    {
        return Ok(Answer::JSON);
    }
    let ranges = accepted(headers);
    if ranges.is_empty() {
        return Ok(Answer::JSON);
    }
    for range in &ranges {
        let Some(encoding) = encoding_of(range.media_type) else {
            continue;
        };
        let Some(shape) = shape_of(range, encoding, shapes) else {
            continue;
        };
        return Ok(Answer { encoding, shape });
    }
    Err(NotAcceptable(
        "only the following media types are accepted: application/json, application/yaml, \
         application/vnd.kubernetes.protobuf"
            .to_owned(),
    ))
}

fn encoding_of(media_type: &str) -> Option<Encoding> {
    match media_type {
        "application/json" | "*/*" | "application/*" => Some(Encoding::Json),
        "application/yaml" => Some(Encoding::Yaml),
        "application/vnd.kubernetes.protobuf" => Some(Encoding::Protobuf),
        _ => None,
    }
}

fn shape_of(range: &MediaRange<'_>, encoding: Encoding, shapes: bool) -> Option<Shape> {
    let Some(wanted) = range.parameter("as") else {
        return Some(Shape::Object);
    };
    let known =
        range.parameter("g") == Some("meta.k8s.io") && matches!(range.parameter("v"), Some("v1" | "v1beta1"));
    if !shapes || !known {
        return None;
    }
    match wanted {
        // Upstream has no protobuf form of a table.
        "Table" if encoding != Encoding::Protobuf => Some(Shape::Table),
        "PartialObjectMetadata" | "PartialObjectMetadataList" => Some(Shape::Partial),
        _ => None,
    }
}

/// The media type of a request's body, without its parameters; empty when the header is missing.
pub fn content_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.unwrap_or("").split(';').next().unwrap_or("").trim()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn ask(accept: &'static str) -> Result<Answer, NotAcceptable> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        answer(&headers, true)
    }

    #[test]
    fn kubectl_gets_a_table() {
        let got = ask(
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
        );
        assert_eq!(got.map(|answer| answer.shape), Ok(Shape::Table));
    }

    #[test]
    fn the_first_possible_element_wins() {
        let got = ask("text/html, application/vnd.kubernetes.protobuf;q=0.5, application/yaml;q=0.9");
        assert_eq!(got.map(|answer| answer.encoding), Ok(Encoding::Yaml));
        assert_eq!(
            ask("application/json;as=Nothing;v=v1;g=meta.k8s.io,*/*"),
            Ok(Answer::JSON)
        );
    }

    #[test]
    fn what_cannot_be_made_is_not_acceptable() {
        assert!(ask("text/html").is_err());
        assert!(ask("application/json;as=Table;v=v9;g=meta.k8s.io").is_err());
    }
}
