//! `/livez`, `/readyz`, `/healthz`, with `?verbose`, `?exclude=` and single checks.

use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Response, StatusCode};

use crate::http::body::Body;
use crate::http::query::Query;
use crate::http::respond::text;
use crate::server::{Inner, no_such_path};

/// Says what is missing, or nothing.
pub type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What must hold for the server to be ready.
#[derive(Default)]
pub struct Health {
    ready: RwLock<Vec<(String, Check)>>,
    going: AtomicBool,
}

impl Health {
    /// Adds a check to `/readyz`.
    pub fn add(&self, name: &str, check: Check) {
        let mut checks = self
            .ready
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        checks.push((name.to_owned(), check));
    }

    /// From now on the server is not ready.
    pub fn shut_down(&self) {
        self.going.store(true, Ordering::Relaxed);
    }
}

/// Answers a health path.
pub fn answer(server: &Inner, path: &str, query: &Query<'_>) -> Response<Body> {
    let (root, single) = match path[1..].split_once('/') {
        Some((root, single)) => (root, Some(single)),
        None => (&path[1..], None),
    };
    let mut results = vec![
        ("ping".to_owned(), Ok(())),
        (
            "etcd".to_owned(),
            if server.is_serving() {
                Ok(())
            } else {
                Err("the store does not answer".to_owned())
            },
        ),
    ];
    match root {
        "livez" | "healthz" => {}
        "readyz" => {
            let checks = server
                .health
                .ready
                .read()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            results.extend(checks.iter().map(|(name, check)| (name.clone(), check())));
            let going = server.health.going.load(Ordering::Relaxed);
            let shutdown = if going {
                Err("the server is shutting down".to_owned())
            } else {
                Ok(())
            };
            results.push(("shutdown".to_owned(), shutdown));
        }
        _ => return no_such_path(),
    }
    match single {
        None => all(root, &results, query),
        Some(name) => match results.iter().find(|(known, _)| known == name) {
            None => no_such_path(),
            Some((_, Ok(()))) => text(StatusCode::OK, "ok"),
            Some((_, Err(why))) => text(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("internal server error: {why}\n"),
            ),
        },
    }
}

fn all(root: &str, results: &[(String, Result<(), String>)], query: &Query<'_>) -> Response<Body> {
    let excluded: Vec<&str> = query.all("exclude").collect();
    let mut report = String::new();
    let mut failed = false;
    for (name, result) in results {
        let line = match result {
            _ if excluded.contains(&name.as_str()) => format!("[+]{name} excluded: ok\n"),
            Ok(()) => format!("[+]{name} ok\n"),
            Err(why) => {
                tracing::debug!(check = name, why, "not healthy");
                failed = true;
                format!("[-]{name} failed: {why}\n")
            }
        };
        report.push_str(&line);
    }
    for name in excluded
        .iter()
        .filter(|name| !results.iter().any(|(known, _)| known == *name))
    {
        report.push_str(&format!(
            "warn: some health checks cannot be excluded: no matches for \"{name}\"\n"
        ));
    }
    if failed {
        report.push_str(&format!("{root} check failed\n"));
        return text(StatusCode::INTERNAL_SERVER_ERROR, report);
    }
    if query.get("verbose").is_some() {
        report.push_str(&format!("{root} check passed\n"));
        return text(StatusCode::OK, report);
    }
    text(StatusCode::OK, "ok")
}
