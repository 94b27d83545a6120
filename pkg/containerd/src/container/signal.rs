//! Names of signals, as images and `lifecycle.stopSignal` have them. Pure.

/// `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`; `None` for what is no signal.
pub(crate) fn number(name: &str) -> Option<u32> {
    let name = name.trim().to_ascii_uppercase();
    if let Ok(number) = name.parse::<u32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let bare = name.strip_prefix("SIG").unwrap_or(&name);
    if let Some(offset) = bare.strip_prefix("RTMIN") {
        let offset: u32 = if offset.is_empty() {
            0
        } else {
            offset.strip_prefix('+')?.parse().ok()?
        };
        return (offset <= 30).then_some(34 + offset);
    }
    if let Some(offset) = bare.strip_prefix("RTMAX") {
        let offset: u32 = if offset.is_empty() {
            0
        } else {
            offset.strip_prefix('-')?.parse().ok()?
        };
        return (offset <= 30).then_some(64 - offset);
    }
    format!("SIG{bare}")
        .parse::<nix::sys::signal::Signal>()
        .ok()
        .map(|signal| signal as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_a_name_with_or_without_sig_or_a_number() {
        for name in ["SIGTERM", "term", "15"] {
            assert_eq!(number(name), Some(15), "{name}");
        }
        assert_eq!(number("SIGRTMIN+3"), Some(37));
        assert_eq!(number("SIGQUIT"), Some(3));
        for name in ["", "0", "65", "SIGNOTHING"] {
            assert_eq!(number(name), None, "{name}");
        }
    }
}
