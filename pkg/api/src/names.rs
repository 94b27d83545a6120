//! Which names Kubernetes accepts: DNS labels and subdomains, qualified names, label values, port
//! names, environment variables, configuration keys. Each check returns upstream's messages; none
//! means valid.

mod generate;
mod messages;

pub use generate::{MAX_GENERATED_LENGTH, generate};
use messages::{characters, dns1035, dns1123_label, dns1123_subdomain, qualified, regex};

/// The most bytes a DNS label may have.
pub const LABEL_MAX: usize = 63;
/// The most bytes a DNS subdomain may have.
pub const SUBDOMAIN_MAX: usize = 253;

type Messages = Vec<String>;

fn is_lower_alnum(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

/// `[a-z0-9]([-a-z0-9]*[a-z0-9])?`
fn matches_label(text: &[u8]) -> bool {
    match text {
        [] => false,
        [first, .., last] => {
            is_lower_alnum(*first)
                && is_lower_alnum(*last)
                && text.iter().all(|&b| is_lower_alnum(b) || b == b'-')
        }
        [only] => is_lower_alnum(*only),
    }
}

fn matches_subdomain(text: &str) -> bool {
    text.split('.').all(|part| matches_label(part.as_bytes()))
}

/// `([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]`
fn matches_qualified(text: &[u8]) -> bool {
    match (text.first(), text.last()) {
        (Some(first), Some(last)) => {
            first.is_ascii_alphanumeric()
                && last.is_ascii_alphanumeric()
                && text
                    .iter()
                    .all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        }
        _ => false,
    }
}

/// A DNS label after RFC 1123 (`my-name`), as namespaces and containers are named.
pub fn dns1123_label_errors(value: &str) -> Messages {
    let mut errors = Vec::new();
    if value.len() > LABEL_MAX {
        errors.push(characters(LABEL_MAX));
    }
    if !matches_label(value.as_bytes()) {
        errors.push(if matches_subdomain(value) {
            "must not contain dots".to_owned()
        } else {
            dns1123_label()
        });
    }
    errors
}

/// A DNS subdomain after RFC 1123 (`example.com`), as most objects are named.
pub fn dns1123_subdomain_errors(value: &str) -> Messages {
    let mut errors = Vec::new();
    if value.len() > SUBDOMAIN_MAX {
        errors.push(characters(SUBDOMAIN_MAX));
    }
    if !matches_subdomain(value) {
        errors.push(dns1123_subdomain());
    }
    errors
}

/// A DNS label after RFC 1035 (starts with a letter), as Services were named.
pub fn dns1035_label_errors(value: &str) -> Messages {
    let mut errors = Vec::new();
    if value.len() > LABEL_MAX {
        errors.push(characters(LABEL_MAX));
    }
    let starts_well = value.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    if !starts_well || !matches_label(value.as_bytes()) {
        errors.push(dns1035());
    }
    errors
}

/// A wildcard DNS subdomain (`*.example.com`).
pub fn wildcard_subdomain_errors(value: &str) -> Messages {
    let mut errors = Vec::new();
    if value.len() > SUBDOMAIN_MAX {
        errors.push(characters(SUBDOMAIN_MAX));
    }
    if !value.strip_prefix("*.").is_some_and(matches_subdomain) {
        errors.push(messages::wildcard());
    }
    errors
}

/// A label's or annotation's key: `name` or `prefix/name`.
pub fn qualified_name_errors(value: &str) -> Messages {
    let mut errors = Vec::new();
    let mut parts = value.split('/');
    let (first, second, third) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    if third.is_some() {
        let text = qualified();
        return vec![format!(
            "a valid label key {text} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        )];
    }
    let name = match second {
        None => first,
        Some(name) => {
            prefix_errors(first, &mut errors);
            name
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_MAX {
        errors.push(format!("name part {}", messages::bytes(LABEL_MAX)));
    }
    if !matches_qualified(name.as_bytes()) {
        errors.push(format!("name part {}", qualified()));
    }
    errors
}

fn prefix_errors(prefix: &str, errors: &mut Messages) {
    if prefix.is_empty() {
        errors.push("prefix part must be non-empty".to_owned());
        return;
    }
    if prefix.len() > SUBDOMAIN_MAX {
        errors.push(format!("prefix part {}", messages::bytes(SUBDOMAIN_MAX)));
    }
    if !matches_subdomain(prefix) {
        errors.push(format!("prefix part {}", dns1123_subdomain()));
    }
}

/// A label's value.
pub fn label_value_errors(value: &str) -> Messages {
    let mut errors = Vec::new();
    if value.len() > LABEL_MAX {
        errors.push(messages::bytes(LABEL_MAX));
    }
    if !value.is_empty() && !matches_qualified(value.as_bytes()) {
        errors.push(messages::label_value());
    }
    errors
}

/// A port's name (`http`): at most 15 of a-z, 0-9 and single hyphens, with a letter.
pub fn port_name_errors(value: &str) -> Messages {
    let mut errors = Vec::new();
    let mut say = |text: &str| errors.push(text.to_owned());
    if value.len() > 15 {
        say(&characters(15));
    }
    if value.is_empty() || !value.bytes().all(|b| is_lower_alnum(b) || b == b'-') {
        say("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    }
    if !value.bytes().any(|b| b.is_ascii_lowercase()) {
        say("must contain at least one letter (a-z)");
    }
    if value.contains("--") {
        say("must not contain consecutive hyphens");
    }
    if value.starts_with('-') || value.ends_with('-') {
        say("must not begin or end with a hyphen");
    }
    errors
}

/// A port's number.
pub fn port_number_errors(port: i64) -> Messages {
    in_range(port, 1, 65535)
}

/// `lo <= value <= hi`.
pub fn in_range(value: i64, lo: i64, hi: i64) -> Messages {
    if (lo..=hi).contains(&value) {
        Vec::new()
    } else {
        vec![format!("must be between {lo} and {hi}, inclusive")]
    }
}

/// An environment variable's name: printable ASCII without `=`.
pub fn env_var_name_errors(value: &str) -> Messages {
    let mut errors = Vec::new();
    if value.is_empty() {
        errors.push("environment variable name must be non-empty".to_owned());
    }
    if !value.chars().all(|c| (' '..='~').contains(&c) && c != '=') {
        errors.push(
            "a valid environment variable name must consist only of printable ASCII characters other than '='"
                .to_owned(),
        );
    }
    errors
}

/// A key of a ConfigMap or Secret.
pub fn config_key_errors(value: &str) -> Messages {
    let mut errors = Vec::new();
    if value.len() > SUBDOMAIN_MAX {
        errors.push(characters(SUBDOMAIN_MAX));
    }
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if value.is_empty() || !value.bytes().all(fits) {
        errors.push(regex(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    match value {
        "." => errors.push("must not be '.'".to_owned()),
        ".." => errors.push("must not be '..'".to_owned()),
        v if v.starts_with("..") => errors.push("must not start with '..'".to_owned()),
        _ => {}
    }
    errors
}

/// A C identifier.
pub fn c_identifier_errors(value: &str) -> Messages {
    let starts = value
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if starts && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Vec::new();
    }
    vec![regex(
        "a valid C identifier must start with alphabetic character or '_', followed by a string of \
         alphanumeric characters or '_'",
        "[A-Za-z_][A-Za-z0-9_]*",
        &["my_name", "MY_NAME", "MyName"],
    )]
}

/// An HTTP header's name.
pub fn http_header_name_errors(value: &str) -> Messages {
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Vec::new();
    }
    vec![regex(
        "a valid HTTP header must consist of alphanumeric characters or '-'",
        "[-A-Za-z0-9]+",
        &["X-Header-Name"],
    )]
}

/// A percentage such as `25%`.
pub fn percent_errors(value: &str) -> Messages {
    match value.strip_suffix('%') {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => Vec::new(),
        _ => vec![regex(
            "a valid percent string must be a numeric string followed by an ending '%'",
            "[0-9]+%",
            &["1%", "93%"],
        )],
    }
}

/// A name that goes into a URL path: no `/`, no `%`, not `.` or `..` (what RBAC kinds accept).
pub fn path_segment_errors(value: &str) -> Messages {
    let mut errors = match value {
        "." | ".." => vec![format!("may not be '{value}'")],
        _ => Vec::new(),
    };
    for c in ["/", "%"] {
        if value.contains(c) {
            errors.push(format!("may not contain '{c}'"));
        }
    }
    errors
}

/// What a `generateName` is checked as: a trailing dash stands for what will follow it.
pub fn without_trailing_dash(prefix: &str) -> String {
    match prefix.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => {
            // Upstream puts one letter in place of the last two characters.
            let mut text = rest.to_owned();
            text.pop();
            text.push('a');
            text
        }
        _ => prefix.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_subdomains_follow_rfc_1123() {
        for good in ["a", "0", "a-1", &"a".repeat(63)] {
            assert!(dns1123_label_errors(good).is_empty(), "{good}");
        }
        for bad in ["", "A", "-a", "a-", "a_b", &"a".repeat(64)] {
            assert!(!dns1123_label_errors(bad).is_empty(), "{bad}");
        }
        assert_eq!(dns1123_label_errors("a.b"), ["must not contain dots"]);
        assert!(dns1123_subdomain_errors("a.b-c.0").is_empty());
        for bad in ["", "a..b", ".a", "a.", "A.b", "a_b", &"a".repeat(254)] {
            assert!(!dns1123_subdomain_errors(bad).is_empty(), "{bad}");
        }
        assert_eq!(
            dns1123_subdomain_errors("X"),
            [
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
              and must start and end with an alphanumeric character (e.g. 'example.com', regex used for \
              validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ]
        );
        assert!(!dns1035_label_errors("1a").is_empty());
        assert!(dns1035_label_errors("a1").is_empty());
        assert!(wildcard_subdomain_errors("*.a.b").is_empty());
        assert!(!wildcard_subdomain_errors("*.*.b").is_empty());
    }

    #[test]
    fn label_keys_and_values_are_checked_by_part() {
        for good in ["a", "A_b.c-D", "example.com/x", &"a".repeat(63)] {
            assert!(qualified_name_errors(good).is_empty(), "{good}");
        }
        for bad in ["", "/a", "a/", "a/b/c", "X.com/a", "-a", "a b", &"a".repeat(64)] {
            assert!(!qualified_name_errors(bad).is_empty(), "{bad}");
        }
        assert!(label_value_errors("").is_empty());
        assert!(label_value_errors("A.b_c-1").is_empty());
        assert_eq!(
            label_value_errors(&"a".repeat(64)),
            ["must be no more than 63 bytes"]
        );
        assert!(!label_value_errors("a/b").is_empty());
    }

    #[test]
    fn other_names_have_their_own_rules() {
        assert!(port_name_errors("http-1").is_empty());
        for bad in ["", "80", "a--b", "-a", "A", "a-name-with-many"] {
            assert!(!port_name_errors(bad).is_empty(), "{bad}");
        }
        assert!(env_var_name_errors("A b").is_empty());
        assert!(!env_var_name_errors("A=b").is_empty());
        assert!(config_key_errors("a.B_c-1").is_empty());
        for bad in ["", ".", "..", "..a", "a/b"] {
            assert!(!config_key_errors(bad).is_empty(), "{bad}");
        }
        assert!(percent_errors("25%").is_empty());
        assert!(!percent_errors("%").is_empty());
        assert!(!c_identifier_errors("1a").is_empty());
        assert_eq!(path_segment_errors(".."), ["may not be '..'"]);
    }

    #[test]
    fn a_generate_name_may_end_in_a_dash() {
        assert!(dns1123_label_errors(&without_trailing_dash("web-")).is_empty());
        assert!(!dns1123_label_errors(&without_trailing_dash("-")).is_empty());
    }
}
