//! What kobune costs: start times, idle memory, CPU and disk writes, API and pod throughput.
//!
//! Started by `tests/run bench`. Results are printed as tables and written as JSON into the cache's
//! folder `bench`. The load on the API comes from apibench (`../shared/bench/apibench` beside a
//! checkout, or the program that `KOBUNE_APIBENCH` names); without it those rows are left out, and
//! the output says so.

mod idle;
mod load;
mod process;
mod start;

use std::time::SystemTime;

use serde_json::{Value, json};

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let runs = |name: &str| wanted.is_empty() || wanted.iter().any(|own| own == name);
    let mut results = serde_json::Map::new();
    let mut keep = |name: &str, value: Value| {
        println!("{}", table(name, &value));
        results.insert(name.to_owned(), value);
    };
    keep(
        "binary",
        json!({"mebibytes": mebibytes(&kobune_test_support::kobune())}),
    );
    if runs("start") {
        keep("start", start::measure());
    }
    if runs("idle") {
        keep("idle", idle::measure());
    }
    if runs("load") {
        match load::measure() {
            Some(value) => keep("load", value),
            None => println!("load: left out, there is no apibench (name one with KOBUNE_APIBENCH)"),
        }
    }
    let seconds = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let folder = kobune_test_support::cache().join("bench");
    std::fs::create_dir_all(&folder).expect("the cache is writable");
    let file = folder.join(format!("{seconds}.json"));
    std::fs::write(&file, format!("{:#}\n", Value::Object(results))).expect("the cache is writable");
    println!("written to {}", file.display());
}

fn mebibytes(path: &std::path::Path) -> f64 {
    std::fs::metadata(path).map_or(0.0, |file| round(file.len() as f64 / f64::from(1 << 20)))
}

/// Two decimals.
fn round(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// Nested numbers as lines of `path  value`.
fn table(name: &str, value: &Value) -> String {
    let mut lines = Vec::new();
    flatten(name, value, &mut lines);
    lines.join("\n")
}

fn flatten(path: &str, value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                flatten(&format!("{path}.{key}"), value, lines);
            }
        }
        other => lines.push(format!("{path:60} {other}")),
    }
}
