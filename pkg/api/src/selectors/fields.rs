//! Field selectors: `metadata.name=x,status.phase!=Running`.

use super::SelectorError;
use std::fmt;

/// One term of a field selector.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldRequirement {
    /// The field's label, such as `spec.nodeName`.
    pub field: String,
    /// The value.
    pub value: String,
    /// Whether the field must have the value (`=`, `==`) or must not (`!=`).
    pub equals: bool,
}

/// A field selector: terms that must all hold. The default one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FieldSelector {
    terms: Vec<FieldRequirement>,
}

impl FieldSelector {
    /// Reads the string form. In values `\`, `,` and `=` are escaped by a `\`.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut parts = split_terms(text);
        parts.sort_unstable();
        let mut terms = Vec::with_capacity(parts.len());
        for part in parts.into_iter().filter(|p| !p.is_empty()) {
            let Some((field, equals, value)) = split_term(part) else {
                let message = format!("invalid selector: '{text}'; can't understand '{part}'");
                return Err(SelectorError(message));
            };
            terms.push(FieldRequirement {
                field: field.to_owned(),
                value: unescape(value)?,
                equals,
            });
        }
        Ok(FieldSelector { terms })
    }

    /// The selector of one field that must have one value.
    pub fn equals(field: &str, value: &str) -> Self {
        let term = FieldRequirement {
            field: field.to_owned(),
            value: value.to_owned(),
            equals: true,
        };
        FieldSelector { terms: vec![term] }
    }

    /// The terms.
    pub fn terms(&self) -> &[FieldRequirement] {
        &self.terms
    }

    /// The terms, to be renamed (old field labels).
    pub fn terms_mut(&mut self) -> &mut [FieldRequirement] {
        &mut self.terms
    }

    /// Whether everything is selected.
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether every term holds for the values that `value_of` gives of the fields.
    pub fn matches<'a, V: AsRef<str>>(&'a self, mut value_of: impl FnMut(&'a str) -> V) -> bool {
        self.terms
            .iter()
            .all(|t| (value_of(&t.field).as_ref() == t.value) == t.equals)
    }

    /// The value `field` must have, if the selector says so.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.terms
            .iter()
            .find(|t| t.equals && t.field == field)
            .map(|t| t.value.as_str())
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, term) in self.terms.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let operator = if term.equals { "=" } else { "!=" };
            write!(
                f,
                "{comma}{}{operator}{}",
                term.field,
                escape_field_value(&term.value)
            )?;
        }
        Ok(())
    }
}

/// `value` as it is written in a field selector.
pub fn escape_field_value(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '\\' | ',' | '=') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

/// (field, whether it must be equal, value) of one term.
fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    for (i, _) in term.char_indices() {
        let rest = &term[i..];
        for (operator, equals) in [("!=", false), ("==", true), ("=", true)] {
            if let Some(value) = rest.strip_prefix(operator) {
                return Some((&term[..i], equals, value));
            }
        }
    }
    None
}

fn unescape(value: &str) -> Result<String, SelectorError> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                other => {
                    let sequence: String = std::iter::once('\\').chain(other).collect();
                    let message = format!("invalid field selector: invalid escape sequence: {sequence}");
                    return Err(SelectorError(message));
                }
            },
            ',' | '=' => {
                let message = format!(
                    "invalid field selector: unescaped character in value: {}",
                    u32::from(c)
                );
                return Err(SelectorError(message));
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_hold_together() {
        let selector = FieldSelector::parse("metadata.name=a,status.phase!=Running").unwrap();
        let pod = |phase: &'static str| move |field: &str| if field == "metadata.name" { "a" } else { phase };
        assert!(selector.matches(pod("Pending")));
        assert!(!selector.matches(pod("Running")));
        assert_eq!(selector.exact("metadata.name"), Some("a"));
        assert_eq!(selector.exact("status.phase"), None);
        assert!(FieldSelector::parse("").unwrap().is_everything());
    }

    #[test]
    fn mistakes_are_told_in_upstreams_words() {
        for (text, message) in [
            ("a", "invalid selector: 'a'; can't understand 'a'"),
            ("a=b\\x", "invalid field selector: invalid escape sequence: \\x"),
            ("a=b\\", "invalid field selector: invalid escape sequence: \\"),
            (
                "a=b=c",
                "invalid field selector: unescaped character in value: 61",
            ),
        ] {
            assert_eq!(FieldSelector::parse(text).unwrap_err().0, message);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_value_survives_printing_and_parsing(value in ".{0,12}") {
            let selector = FieldSelector::equals("a.b", &value);
            proptest::prop_assert_eq!(FieldSelector::parse(&selector.to_string()).unwrap(), selector);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,20}") {
            let _ = FieldSelector::parse(&text);
        }
    }
}
