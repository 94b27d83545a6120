//! The texts that tell why a name is not accepted.

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";

pub(super) fn characters(max: usize) -> String {
    format!("must be no more than {max} characters")
}

pub(super) fn bytes(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

/// The rule, examples and the regular expression.
pub(super) fn regex(message: &str, expression: &str, examples: &[&str]) -> String {
    let mut text = format!("{message} (e.g. ");
    for (i, example) in examples.iter().enumerate() {
        if i > 0 {
            text.push_str(" or ");
        }
        text.push_str(&format!("'{example}', "));
    }
    text.push_str(&format!("regex used for validation is '{expression}')"));
    text
}

pub(super) fn dns1123_label() -> String {
    regex(
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
         start and end with an alphanumeric character",
        LABEL,
        &["my-name", "123-abc"],
    )
}

pub(super) fn dns1123_subdomain() -> String {
    regex(
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
         and must start and end with an alphanumeric character",
        SUBDOMAIN,
        &["example.com"],
    )
}

pub(super) fn dns1035() -> String {
    regex(
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
         alphabetic character, and end with an alphanumeric character",
        "[a-z]([-a-z0-9]*[a-z0-9])?",
        &["my-name", "abc-123"],
    )
}

pub(super) fn wildcard() -> String {
    regex(
        "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must \
         consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
        &format!("\\*\\.{SUBDOMAIN}"),
        &["*.example.com"],
    )
}

pub(super) fn qualified() -> String {
    regex(
        "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
         alphanumeric character",
        "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]",
        &["MyName", "my.name", "123-abc"],
    )
}

pub(super) fn label_value() -> String {
    regex(
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
         must start and end with an alphanumeric character",
        "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
        &["MyValue", "my_value", "12345"],
    )
}
