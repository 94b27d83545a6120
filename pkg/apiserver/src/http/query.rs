//! Query strings: percent decoding and upstream's rules for the types in them.

use std::borrow::Cow;

/// The parameters of one request, in their order; a name may come more than once.
#[derive(Debug, Default)]
pub struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// Splits `a=b&c=d`. What cannot be decoded is kept as it is written, as Go's parser drops only
    /// that pair and goes on.
    pub fn parse(raw: Option<&'a str>) -> Self {
        let pairs = raw.unwrap_or("").split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name, true), decode(value, true))
                })
                .collect(),
        )
    }

    /// The first value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        let named = self.0.iter().find(|(key, _)| key == name);
        named.map(|(_, value)| value.as_ref())
    }

    /// Every value of a parameter, in order.
    pub fn all<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        let named = self.0.iter().filter(move |(key, _)| key == name);
        named.map(|(_, value)| value.as_ref())
    }

    /// A parameter that is there and not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Kubernetes' reading of a boolean parameter: absent, `0` and `false` (in any case) are false,
    /// everything else, also the empty string, is true.
    pub fn flag(&self, name: &str) -> bool {
        match self.get(name) {
            None => false,
            Some(value) => value != "0" && !value.eq_ignore_ascii_case("false"),
        }
    }

    /// A boolean parameter that may be absent.
    pub fn optional_flag(&self, name: &str) -> Option<bool> {
        self.get(name).map(|_| self.flag(name))
    }

    /// A decimal number that may be absent; an error has the words of Go's `strconv`.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, String> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        value.parse::<i64>().map(Some).map_err(|error| {
            let why = match error.kind() {
                std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => {
                    "value out of range"
                }
                _ => "invalid syntax",
            };
            format!("strconv.ParseInt: parsing {}: {why}", quoted(value))
        })
    }
}

/// A Go-quoted string, as `%q` writes it.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                out.push_str(&format!("\\x{:02x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Percent decoding; `plus` also turns `+` into a space, as in a query. Bad escapes and bytes that
/// are not UTF-8 leave the text as it was.
pub fn decode(text: &str, plus: bool) -> Cow<'_, str> {
    if !text.bytes().any(|byte| byte == b'%' || (plus && byte == b'+')) {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                let hex = bytes.get(at + 1..at + 3);
                let value = hex
                    .and_then(|hex| std::str::from_utf8(hex).ok())
                    .and_then(|hex| u8::from_str_radix(hex, 16).ok());
                let Some(value) = value else {
                    return Cow::Borrowed(text);
                };
                out.push(value);
                at += 3;
                continue;
            }
            b'+' if plus => out.push(b' '),
            byte => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8(out).map_or(Cow::Borrowed(text), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_may_repeat() {
        let query = Query::parse(Some(
            "a=1&command=ls&command=-l%20%2F&labelSelector=a+in+(b)&flag",
        ));
        assert_eq!(query.all("command").collect::<Vec<_>>(), ["ls", "-l /"]);
        assert_eq!(query.get("labelSelector"), Some("a in (b)"));
        assert!(query.flag("flag") && !query.flag("none"));
        assert_eq!(query.integer("a"), Ok(Some(1)));
    }

    #[test]
    fn a_bad_number_is_told_in_gos_words() {
        let query = Query::parse(Some("limit=ten"));
        let error = query.integer("limit").unwrap_err();
        assert_eq!(error, "strconv.ParseInt: parsing \"ten\": invalid syntax");
    }
}
