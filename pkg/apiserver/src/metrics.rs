//! `/metrics` in Prometheus' text form, under upstream's names.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use kobune_store::Store;

const VERBS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OTHER", ""];
const CODES: [u16; 20] = [
    101, 200, 201, 202, 304, 400, 401, 403, 404, 405, 406, 409, 410, 413, 415, 422, 429, 500, 503, 504,
];
/// Upper bounds of the durations' buckets, in seconds.
const BUCKETS: [f64; 10] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// The counters. All of them are single atomics, written without a lock.
#[derive(Default)]
pub struct Metrics {
    requests: [[AtomicU64; CODES.len() + 1]; VERBS.len()],
    durations: [[AtomicU64; BUCKETS.len() + 1]; VERBS.len()],
    microseconds: [AtomicU64; VERBS.len()],
    watches: Arc<AtomicI64>,
}

/// Counts one watch for as long as it lives.
pub struct Counted(Arc<AtomicI64>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// Counts an answer.
    pub fn answered(&self, verb: &str, code: u16, took: Duration) {
        let verb = VERBS
            .iter()
            .position(|known| *known == verb)
            .unwrap_or(VERBS.len() - 1);
        let code = CODES
            .iter()
            .position(|known| *known == code)
            .unwrap_or(CODES.len());
        self.requests[verb][code].fetch_add(1, Ordering::Relaxed);
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS
            .iter()
            .position(|bound| seconds <= *bound)
            .unwrap_or(BUCKETS.len());
        self.durations[verb][bucket].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.microseconds[verb].fetch_add(micros, Ordering::Relaxed);
    }

    /// Counts a watch until the value is dropped.
    pub fn watch_began(&self) -> Counted {
        self.watches.fetch_add(1, Ordering::Relaxed);
        Counted(self.watches.clone())
    }

    /// The page.
    pub fn text(&self, store: &Store) -> String {
        let mut out = String::with_capacity(8 * 1024);
        out.push_str("# HELP apiserver_request_total Requests by verb and code.\n# TYPE apiserver_request_total counter\n");
        for (verb, codes) in VERBS.iter().zip(&self.requests) {
            for (at, count) in codes.iter().enumerate() {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    let code = CODES.get(at).map_or_else(|| "other".to_owned(), u16::to_string);
                    let _ = writeln!(
                        out,
                        "apiserver_request_total{{verb=\"{verb}\",code=\"{code}\"}} {count}"
                    );
                }
            }
        }
        self.histogram(&mut out);
        let watches = self.watches.load(Ordering::Relaxed);
        let _ = write!(
            out,
            "# HELP apiserver_longrunning_requests Requests that last.\n# TYPE apiserver_longrunning_requests gauge\n\
             apiserver_longrunning_requests{{verb=\"WATCH\"}} {watches}\n\
             # HELP apiserver_storage_objects Stored objects.\n# TYPE apiserver_storage_objects gauge\n\
             apiserver_storage_objects {}\n\
             # HELP apiserver_storage_revision The newest revision.\n# TYPE apiserver_storage_revision counter\n\
             apiserver_storage_revision {}\n",
            store.snapshot().len(),
            store.revision()
        );
        out
    }

    fn histogram(&self, out: &mut String) {
        let name = "apiserver_request_duration_seconds";
        let _ = write!(
            out,
            "# HELP {name} Time until the answer's head.\n# TYPE {name} histogram\n"
        );
        for (at, verb) in VERBS.iter().enumerate() {
            let mut sum = 0;
            let counts: Vec<u64> = self.durations[at]
                .iter()
                .map(|count| count.load(Ordering::Relaxed))
                .collect();
            if counts.iter().all(|count| *count == 0) {
                continue;
            }
            for (bucket, count) in counts.iter().enumerate() {
                sum += count;
                let bound = BUCKETS
                    .get(bucket)
                    .map_or_else(|| "+Inf".to_owned(), f64::to_string);
                let _ = writeln!(out, "{name}_bucket{{verb=\"{verb}\",le=\"{bound}\"}} {sum}");
            }
            let seconds = self.microseconds[at].load(Ordering::Relaxed) as f64 / 1e6;
            let _ = writeln!(
                out,
                "{name}_sum{{verb=\"{verb}\"}} {seconds}\n{name}_count{{verb=\"{verb}\"}} {sum}"
            );
        }
    }
}
