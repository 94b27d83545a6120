//! Durations as people like to read them.

use jiff::SignedDuration;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// Two or three significant figures: `45s`, `5m10s`, `3h12m`, `47h`, `5d2h`, `2y11d`. Up to a second in
/// the future counts as now (clocks differ), more is `<invalid>`.
pub fn human(duration: SignedDuration) -> String {
    let s = duration.as_secs();
    match s {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        _ if s < 2 * MINUTE => format!("{s}s"),
        _ if s < 10 * MINUTE => two(s / MINUTE, 'm', s % MINUTE, 's'),
        _ if s < 3 * HOUR => format!("{}m", s / MINUTE),
        _ if s < 8 * HOUR => two(s / HOUR, 'h', s % HOUR / MINUTE, 'm'),
        _ if s < 2 * DAY => format!("{}h", s / HOUR),
        _ if s < 8 * DAY => two(s / DAY, 'd', s % DAY / HOUR, 'h'),
        _ if s < 2 * YEAR => format!("{}d", s / DAY),
        _ if s < 8 * YEAR => two(s / YEAR, 'y', s % YEAR / DAY, 'd'),
        _ => format!("{}y", s / YEAR),
    }
}

fn two(big: i64, unit: char, small: i64, small_unit: char) -> String {
    if small == 0 {
        format!("{big}{unit}")
    } else {
        format!("{big}{unit}{small}{small_unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_or_three_figures() {
        for (seconds, text) in [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (310, "5m10s"),
            (600, "10m"),
            (3 * HOUR - 1, "179m"),
            (3 * HOUR, "3h"),
            (3 * HOUR + 12 * MINUTE, "3h12m"),
            (47 * HOUR, "47h"),
            (5 * DAY + 2 * HOUR, "5d2h"),
            (8 * DAY, "8d"),
            (2 * YEAR + 11 * DAY, "2y11d"),
            (9 * YEAR, "9y"),
        ] {
            assert_eq!(human(SignedDuration::from_secs(seconds)), text);
        }
    }
}
