//! The chain: what happens to a request between its transport and its verb.
//!
//! ```text
//! path ─ authentication ─ authorization ─┬─ paths: health, version, discovery, OpenAPI, metrics
//!                                        └─ resources: row ─ verb ─ warnings ─ compression
//! ```

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use jiff::Timestamp;
use kobune_api::status::{Reason, Status};
use kobune_pki::Identity;
use kobune_store::{Record, Store};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::authn::{Peer, Tokens, authenticate, is_public};
use crate::authz::{Attributes, Chain};
use crate::config::Config;
use crate::expiry::Expiry;
use crate::health::Health;
use crate::http::body::{Body, BoxError, RequestBody};
use crate::http::info::{RequestInfo, Verb};
use crate::http::negotiate::{self, Answer, Encoding, NotAcceptable};
use crate::http::query::{Query, decode};
use crate::http::read::{self, ReadError};
use crate::http::respond;
use crate::metrics::Metrics;
use crate::registry::call::Call;
use crate::registry::index::Selection;
use crate::registry::output;
use crate::registry::row::{Row, Rows};
use crate::registry::watch::Forms;
use crate::reviews::token::ServiceAccountTokens;
use crate::strategy::services::held;
use crate::strategy::services::supply::Supply;
use crate::{discovery, health, impersonate, routes};

/// The API server. Cloning it is cheap: all clones are the same server.
#[derive(Clone)]
pub struct ApiServer(pub(crate) Arc<Inner>);

/// The server's state.
pub struct Inner {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) rows: Rows,
    pub(crate) chain: Chain,
    pub(crate) tokens: Vec<Box<dyn Tokens>>,
    pub(crate) health: Health,
    pub(crate) metrics: Metrics,
    pub(crate) discovery: discovery::Documents,
    pub(crate) supply: Arc<Supply>,
    pub(crate) expiry: Expiry,
    pub(crate) turns: crate::quota::Turns,
    pub(crate) forms: Forms,
    /// Cancelled when the server goes down, as watches end, so that clients go elsewhere.
    pub(crate) draining: CancellationToken,
}

/// Marks a request that came from the same process.
#[derive(Clone, Copy)]
struct Near;

/// Why the server did not start or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The objects every cluster begins with were not written.
    #[error("writing the first objects of the cluster: {0}")]
    Bootstrap(#[source] Status),
}

impl ApiServer {
    /// A server over a store. Nothing is written and nothing is listened to yet.
    pub fn new(config: Config, store: Store) -> Self {
        let rows = Rows::builtin();
        let supply = supply(&config, &store);
        let tokens = ServiceAccountTokens {
            authorities: config.authorities.clone(),
            store: store.clone(),
            issuer: config.issuer.clone(),
        };
        Self(Arc::new(Inner {
            chain: Chain::new(store.clone()),
            discovery: discovery::Documents::new(),
            rows,
            config,
            store,
            tokens: vec![Box::new(tokens)],
            supply,
            expiry: Expiry::default(),
            turns: crate::quota::Turns::default(),
            forms: Forms::default(),
            health: Health::default(),
            metrics: Metrics::default(),
            draining: CancellationToken::new(),
        }))
    }

    /// The door for callers in the same process: the same chain, with the identity already known.
    pub async fn handle<B>(&self, identity: Identity, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        request.extensions_mut().insert(Near);
        self.answer(&identity, request).await
    }

    /// The door for a connection.
    pub(crate) async fn answer_peer(&self, peer: &Peer, request: Request<RequestBody>) -> Response<Body> {
        match authenticate(peer, request.headers(), &self.0.tokens) {
            Ok(caller) => match impersonate::wanted(caller.identity(), request.headers(), &self.0.chain) {
                Ok(None) => self.answer(caller.identity(), request).await,
                Ok(Some(other)) => self.answer(&other, request).await,
                Err(status) => output::failure(&status, failure_encoding(&request)),
            },
            Err(status) => {
                self.0
                    .metrics
                    .answered("", status.code, std::time::Duration::ZERO);
                output::failure(&status, failure_encoding(&request))
            }
        }
    }

    /// Listens until `shutdown` is cancelled and what was under way has ended.
    pub async fn serve(&self, listener: TcpListener, shutdown: CancellationToken) -> Result<(), Error> {
        let drain = self.0.clone();
        let stop = shutdown.clone();
        let ended = CancellationToken::new();
        let over = ended.clone();
        let watcher = tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => drain.begin_draining(),
                () = over.cancelled() => {}
            }
        });
        let tls = self.0.config.tls.clone();
        crate::http::listen::run(self.clone(), listener, tls, shutdown).await;
        ended.cancel();
        // The task only sets flags; that it ended is all there is to know.
        let _ = watcher.await;
        Ok(())
    }

    /// Writes what every cluster begins with: its first namespaces, priority classes and the
    /// `kubernetes` Service; and repairs what is derived from the stored objects. Call it once,
    /// before anything else uses the server.
    pub async fn bootstrap(&self) -> Result<(), Error> {
        let (inner, stop) = (self.0.clone(), self.0.draining.clone());
        tokio::spawn(async move { inner.expiry.run(inner.store.clone(), stop).await });
        crate::bootstrap::run(self).await.map_err(Error::Bootstrap)
    }

    /// Adds a condition of `/readyz`: while `check` says what is missing, the server is not ready.
    pub fn add_ready_check(
        &self,
        name: &str,
        check: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) {
        self.0.health.add(name, Box::new(check));
    }

    async fn answer(&self, who: &Identity, request: Request<RequestBody>) -> Response<Body> {
        let inner = &self.0;
        let began = std::time::Instant::now();
        let (parts, body) = request.into_parts();
        let gzip = respond::accepts_gzip(&parts.headers);
        let verb = metric_verb(&parts);
        let outcome = AssertUnwindSafe(Box::pin(inner.chain(who, &parts, body)))
            .catch_unwind()
            .await;
        let response = match outcome {
            Ok(Ok(response)) => respond::compress(gzip, response),
            Ok(Err(status)) => output::failure(&status, encoding_of(&parts)),
            Err(_) => {
                tracing::error!(path = parts.uri.path(), "a request panicked");
                output::failure(&Status::internal("the request panicked"), encoding_of(&parts))
            }
        };
        inner
            .metrics
            .answered(verb, response.status().as_u16(), began.elapsed());
        response
    }
}

/// What the stored Services hold, counted anew at every start.
fn supply(config: &Config, store: &Store) -> Arc<Supply> {
    let snapshot = store.snapshot();
    let services = snapshot.range("/registry/core/services/", None);
    let read = services.filter_map(|record| serde_json::from_slice::<Value>(&record.value).ok());
    Supply::new(config.node_port_range.clone(), read.map(|service| held(&service)))
}

fn metric_verb(parts: &Parts) -> &'static str {
    match parts.method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "OTHER",
    }
}

fn failure_encoding(request: &Request<RequestBody>) -> Encoding {
    negotiate::answer(request.headers(), false).map_or(Encoding::Json, |answer| answer.encoding)
}

fn encoding_of(parts: &Parts) -> Encoding {
    negotiate::answer(&parts.headers, true).map_or(Encoding::Json, |answer| answer.encoding)
}

/// A 406 as a Status.
pub(crate) fn not_acceptable(error: &NotAcceptable) -> Status {
    Status::new(406, Reason::NotAcceptable, error.0.clone())
}

/// A body that could not be read as a Status.
fn unreadable(error: ReadError) -> Status {
    match error {
        ReadError::TooLarge { limit } => Status::too_large(limit),
        ReadError::TimedOut => Status::timeout(error, 0),
        ReadError::Broken(_) => Status::bad_request(crate::describe(&error)),
    }
}

impl Inner {
    pub(crate) fn begin_draining(&self) {
        self.health.shut_down();
        self.draining.cancel();
        self.store.end_watches();
    }

    /// A random number; good enough for names and for spreading load.
    pub(crate) fn random(&self) -> u64 {
        uuid::Uuid::new_v4().as_u64_pair().1
    }

    /// A new object's uid.
    pub(crate) fn new_uid(&self) -> String {
        uuid::Uuid::new_v4().to_string()
    }

    /// Called after every write of an object.
    pub(crate) fn wrote(&self, row: &Row, record: &Record) {
        if &*row.prefix == "/registry/core/events/" {
            self.expiry.note(record);
        }
    }

    async fn chain(
        &self,
        who: &Identity,
        parts: &Parts,
        body: RequestBody,
    ) -> Result<Response<Body>, Status> {
        let path = decode(parts.uri.path(), false);
        let query = Query::parse(parts.uri.query());
        let info = RequestInfo::parse(&parts.method, &path, &query);
        if who.user == "system:anonymous" && !(is_public(&path) && parts.method == Method::GET) {
            return Err(Status::unauthorized(""));
        }
        let row = if info.is_resource { self.row(&info) } else { None };
        let Some(row) = row else {
            let mut wanted = Attributes::of(who, &info, &path);
            let method = parts.method.as_str().to_ascii_lowercase();
            if !info.is_resource {
                wanted.verb = &method;
            }
            self.chain.check(&wanted)?;
            return routes::path(self, parts, &path, &query, body).await;
        };
        self.resource(who, parts, &info, &query, &row, body).await
    }

    fn row(&self, info: &RequestInfo<'_>) -> Option<Arc<Row>> {
        let row = self.rows.find(info.group, info.version, info.resource)?;
        // A path that puts a cluster's object into a namespace, or the other way round, is no path.
        let itself = row.is("", "namespaces");
        let placed = !info.namespace.is_empty() && !itself;
        let fits = match row.kind.namespaced {
            true => placed || info.name.is_empty(),
            false => !placed,
        };
        fits.then_some(row)
    }

    async fn resource(
        &self,
        who: &Identity,
        parts: &Parts,
        info: &RequestInfo<'_>,
        query: &Query<'_>,
        row: &Arc<Row>,
        body: RequestBody,
    ) -> Result<Response<Body>, Status> {
        let wanted = Attributes::of(who, info, "");
        if !self.chain.allows(&wanted) {
            // A list of one name may be allowed where a list of all is not.
            let collects = matches!(info.verb, Verb::List | Verb::Watch);
            let selection = if collects {
                Selection::parse(row, query).ok()
            } else {
                None
            };
            let narrowed = selection
                .as_ref()
                .map_or(wanted, |selection| wanted.selecting(selection));
            self.chain.check(&narrowed)?;
        }
        let streams = routes::is_stream(info.subresource);
        let answer = if streams {
            Answer::JSON
        } else {
            let plain = matches!(info.subresource, "" | "status" | "scale");
            let shapes = plain && !crate::reviews::is_review(&row.kind);
            negotiate::answer(&parts.headers, shapes).map_err(|error| not_acceptable(&error))?
        };
        let call = Call {
            server: self,
            row,
            info,
            query,
            headers: &parts.headers,
            who,
            answer,
            near: parts.extensions.get::<Near>().is_some(),
            now: Timestamp::now(),
            warnings: Mutex::new(Vec::new()),
        };
        if let Some(warning) = row.facts.deprecated {
            call.warn(warning);
        }
        if streams {
            return routes::connect(&call, parts, body).await;
        }
        let body = match info.verb {
            Verb::Get | Verb::List | Verb::Watch => bytes::Bytes::new(),
            _ => read::read(body).await.map_err(unreadable)?,
        };
        let outcome = routes::verb(&call, row, body).await;
        let warnings = call
            .warnings
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut response = match outcome {
            Ok(response) => response,
            Err(status) if warnings.is_empty() => return Err(status),
            Err(status) => output::failure(&status, answer.encoding),
        };
        for warning in &warnings {
            add_warning(&mut response, warning);
        }
        Ok(response)
    }

    /// Whether the server can answer at all: `/livez`'s own question.
    pub(crate) fn is_serving(&self) -> bool {
        self.store.revision() > 0 || self.store.snapshot().is_empty()
    }

    /// The answer to a health path.
    pub(crate) fn health(&self, path: &str, query: &Query<'_>) -> Response<Body> {
        health::answer(self, path, query)
    }
}

/// `Warning: 299 - "text"`, as RFC 7234 writes it.
fn add_warning(response: &mut Response<Body>, warning: &str) {
    let mut quoted = String::with_capacity(warning.len() + 10);
    quoted.push_str("299 - \"");
    for c in warning.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    if let Ok(value) = HeaderValue::from_bytes(quoted.as_bytes()) {
        response
            .headers_mut()
            .append(HeaderName::from_static("warning"), value);
    }
}

/// 404 in plain text, for paths that nobody serves.
pub(crate) fn no_such_path() -> Response<Body> {
    respond::text(StatusCode::NOT_FOUND, "404 page not found\n")
}
