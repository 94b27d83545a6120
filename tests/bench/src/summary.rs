//! The figures that are aimed at, beside those that were measured.

use serde_json::Value;

/// A figure, where it is in the results, its unit, and what is wanted of it.
struct Row(&'static str, &'static str, &'static str, Wanted);

enum Wanted {
    AtMost(f64),
    AtLeast(f64),
}

use Wanted::{AtLeast, AtMost};

const ROWS: &[Row] = &[
    Row("binary", "/binary/mebibytes", "MiB", AtMost(25.0)),
    Row("idle memory (RSS)", "/idle/kobune/rss_mib", "MiB", AtMost(30.0)),
    Row("idle CPU", "/idle/kobune/cpu_percent", "%", AtMost(0.3)),
    Row(
        "written by an idle cluster in 60 s",
        "/idle/bytes_written",
        "bytes",
        AtMost(0.0),
    ),
    Row(
        "exec to /readyz, first start",
        "/start/first/readyz_ms",
        "ms",
        AtMost(500.0),
    ),
    Row(
        "exec to /readyz, restart",
        "/start/restart/readyz_ms",
        "ms",
        AtMost(150.0),
    ),
    Row(
        "exec to the first Running pod",
        "/start/first/first_pod_running_ms",
        "ms",
        AtMost(1500.0),
    ),
    Row(
        "one pod, create to Running, p50",
        "/load/pods/single/create_to_running/p50_ms",
        "ms",
        AtMost(150.0),
    ),
    // The process ends at once when it is told to.
    Row(
        "delete to gone, p50",
        "/load/pods/single/delete_to_gone/p50_ms",
        "ms",
        AtMost(300.0),
    ),
    Row(
        "100 pods until all are Running",
        "/load/pods/deployment/running/max_ms",
        "ms",
        AtMost(6000.0),
    ),
    Row(
        "create, 1 connection",
        "/load/crud/conns_1/create/ops_per_s",
        "1/s",
        AtLeast(1500.0),
    ),
    Row(
        "get, 1 connection",
        "/load/crud/conns_1/get/ops_per_s",
        "1/s",
        AtLeast(4000.0),
    ),
    Row(
        "update, 1 connection",
        "/load/crud/conns_1/update/ops_per_s",
        "1/s",
        AtLeast(1500.0),
    ),
    Row(
        "patch, 1 connection",
        "/load/crud/conns_1/patch/ops_per_s",
        "1/s",
        AtLeast(1300.0),
    ),
    Row(
        "create, 32 connections",
        "/load/crud/conns_32/create/ops_per_s",
        "1/s",
        AtLeast(7000.0),
    ),
    Row(
        "get, 32 connections",
        "/load/crud/conns_32/get/ops_per_s",
        "1/s",
        AtLeast(18_000.0),
    ),
    Row(
        "update, 32 connections",
        "/load/crud/conns_32/update/ops_per_s",
        "1/s",
        AtLeast(6000.0),
    ),
    Row(
        "patch, 32 connections",
        "/load/crud/conns_32/patch/ops_per_s",
        "1/s",
        AtLeast(5000.0),
    ),
    Row(
        "LIST of 10,000, p50",
        "/load/list/consistent/latency/p50_ms",
        "ms",
        AtMost(25.0),
    ),
    Row(
        "200 watchers",
        "/load/watch/full_speed/events_per_s",
        "1/s",
        AtLeast(150_000.0),
    ),
    Row(
        "200 watchers, latency p99",
        "/load/watch/full_speed/event_latency/p99_ms",
        "ms",
        AtMost(6.0),
    ),
    Row(
        "memory with 10,000 objects",
        "/load/list/memory_filled/kobune/rss_mib",
        "MiB",
        AtMost(60.0),
    ),
    Row(
        "the same after 20 LISTs",
        "/load/list/memory_after_lists/kobune/rss_mib",
        "MiB",
        AtMost(60.0),
    ),
];

/// A table of the figures that were measured.
pub fn table(results: &Value) -> String {
    let header = format!("{:36} {:>12} {:>12}", "", "wanted", "measured");
    let lines = ROWS.iter().filter_map(|row| line(row, results));
    std::iter::once(header)
        .chain(lines)
        .collect::<Vec<_>>()
        .join("\n")
}

fn line(Row(name, pointer, unit, wanted): &Row, results: &Value) -> Option<String> {
    let measured = results.pointer(pointer)?.as_f64()?;
    let (sign, bound, reached) = match wanted {
        AtMost(most) => ('≤', most, measured <= *most),
        AtLeast(least) => ('≥', least, measured >= *least),
    };
    let bound = format!("{sign} {bound}");
    let missed = if reached { "" } else { "  missed" };
    Some(format!("{name:36} {bound:>12} {measured:>12} {unit}{missed}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_figure_that_was_measured_is_held_against_what_is_wanted() {
        let results = json!({
            "binary": {"mebibytes": 26.0},
            "load": {"crud": {"conns_1": {"get": {"ops_per_s": 4001.0}}}},
        });
        let table = table(&results);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 3, "{table}");
        assert!(
            lines[1].starts_with("binary") && lines[1].ends_with("missed"),
            "{table}"
        );
        assert!(
            lines[2].starts_with("get, 1") && lines[2].ends_with("4001 1/s"),
            "{table}"
        );
    }
}
