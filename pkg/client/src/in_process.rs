//! A client whose transport is a function call: no socket and no TLS, but every rule.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use kube::client::Body;

/// A client that hands its requests to `handle`, the API server of the same process.
///
/// Must be called inside a tokio runtime: the client's request buffer is a task.
pub fn in_process<H, F, B>(handle: H) -> kube::Client
where
    H: Fn(Request<Body>) -> F + Send + Clone + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<tower::BoxError>,
{
    let service = tower::service_fn(move |request: Request<Body>| {
        let response = handle(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    kube::Client::new(service, "default")
}
