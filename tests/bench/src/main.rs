//! What kobune costs: start times, idle memory, CPU and disk writes, API and pod throughput.
//!
//! Started by `tests/run bench`, with the names of those wanted (`start idle crud list watch pods`), or
//! all. Every number is printed, then a table of those that have an aim; both are written as JSON
//! into the cache's folder `bench`. The load on the API comes from apibench (`../shared/bench/apibench`
//! beside a checkout, or the program that `KOBUNE_APIBENCH` names); without it those rows are left
//! out, and the output says so.

mod idle;
mod load;
mod process;
mod start;
mod summary;

use std::path::Path;
use std::time::SystemTime;

use serde_json::{Value, json};

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let runs = |name: &str| wanted.is_empty() || wanted.iter().any(|own| own == name);
    let mut results = serde_json::Map::new();
    let mut keep = |name: &str, value: Value| {
        println!("{}", flat(name, &value));
        results.insert(name.to_owned(), value);
    };
    let size = std::fs::metadata(kobune_test_support::kobune()).map_or(0, |file| file.len());
    keep("binary", json!({"mebibytes": mebibytes(size)}));
    if runs("start") {
        keep("start", start::measure());
    }
    if runs("idle") {
        keep("idle", idle::measure());
    }
    let suites: Vec<_> = load::SUITES.into_iter().filter(|suite| runs(suite)).collect();
    if !suites.is_empty() {
        match load::measure(&suites) {
            Some(value) => keep("load", value),
            None => println!("load: left out, there is no apibench (name one with KOBUNE_APIBENCH)"),
        }
    }
    let results = Value::Object(results);
    println!("\n{}\n", summary::table(&results));
    let folder = kobune_test_support::cache().join("bench");
    println!("written to {}", write(&folder, &results).display());
}

/// Writes the results under the time of day.
fn write(folder: &Path, results: &Value) -> std::path::PathBuf {
    let seconds = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let file = folder.join(format!("{seconds}.json"));
    std::fs::create_dir_all(folder).expect("the cache is writable");
    std::fs::write(&file, format!("{results:#}\n")).expect("the cache is writable");
    file
}

fn mebibytes(bytes: u64) -> f64 {
    round(bytes as f64 / f64::from(1 << 20))
}

/// Two decimals.
fn round(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// Nested numbers as lines of `path  value`.
fn flat(name: &str, value: &Value) -> String {
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
