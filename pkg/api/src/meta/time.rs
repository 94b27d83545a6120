//! Kubernetes' two forms of time: `Time` in whole seconds, `MicroTime` in microseconds.

use jiff::Timestamp;

/// `metav1.Time`: RFC 3339 in UTC, in whole seconds (`2026-01-02T03:04:05Z`).
pub fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `metav1.MicroTime`: RFC 3339 in UTC with six digits of fraction.
pub fn micro_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// Reads either form, in any offset.
pub fn parse_time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_seconds_and_micro_times_in_microseconds() {
        let at: Timestamp = "2026-01-02T03:04:05.0678912Z".parse().unwrap();
        assert_eq!(time(at), "2026-01-02T03:04:05Z");
        assert_eq!(micro_time(at), "2026-01-02T03:04:05.067891Z");
        assert_eq!(
            parse_time(&time(at)).map(Timestamp::as_second),
            Some(at.as_second())
        );
        assert_eq!(
            parse_time("2026-01-02T04:04:05+01:00"),
            parse_time("2026-01-02T03:04:05Z")
        );
        assert_eq!(parse_time("yesterday"), None);
    }
}
