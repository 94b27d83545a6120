//! The HTTP side: which protocol a client offers, and the answer that switches to it.

use http::header::{
    CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Names the protocol of the streams in a SPDY upgrade.
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// Why a request is not upgraded: an answer for the client.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The request asks for no upgrade to WebSocket or SPDY/3.1.
    #[error("unable to upgrade: missing upgrade headers in request")]
    NoUpgrade,
    /// None of the protocols that the client offers is spoken here.
    #[error("unable to negotiate protocol: client supports {offered:?}, server supports {supported:?}")]
    NoProtocol {
        /// What the client offers.
        offered: Vec<String>,
        /// What is spoken here.
        supported: &'static [&'static str],
    },
}

impl Refused {
    /// The answer's code.
    pub fn status(&self) -> StatusCode {
        match self {
            Refused::NoUpgrade => StatusCode::BAD_REQUEST,
            Refused::NoProtocol { .. } => StatusCode::FORBIDDEN,
        }
    }
}

/// How the bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    WebSocket,
    Spdy,
}

/// An upgrade that was agreed on, before the answer is sent.
pub(super) struct Agreed {
    pub transport: Transport,
    /// What the streams mean.
    pub protocol: &'static str,
    upgrade: OnUpgrade,
}

impl Agreed {
    /// The raw connection, once the answer has reached the client.
    pub async fn connection(self) -> hyper::Result<TokioIo<Upgraded>> {
        self.upgrade.await.map(TokioIo::new)
    }
}

/// Agrees with a client on a protocol: the first of its own that is among ours.
pub(super) fn agree<B>(
    request: &mut Request<B>,
    websocket: &'static [&'static str],
    spdy: &'static [&'static str],
) -> Result<(Agreed, Response<()>), Refused> {
    let wanted = text(request.headers(), &UPGRADE).join(",").to_lowercase();
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, http::HeaderValue::from_static("Upgrade"));
    let (transport, protocol) = if wanted.contains("websocket") {
        let key = request
            .headers()
            .get(SEC_WEBSOCKET_KEY)
            .ok_or(Refused::NoUpgrade)?;
        // The accept key is base64: always a valid header value.
        if let Ok(accept) = http::HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        headers.insert(UPGRADE, http::HeaderValue::from_static("websocket"));
        let protocol = choose(&text(request.headers(), &SEC_WEBSOCKET_PROTOCOL), websocket)?;
        headers.insert(SEC_WEBSOCKET_PROTOCOL, http::HeaderValue::from_static(protocol));
        (Transport::WebSocket, protocol)
    } else if wanted.contains("spdy/3.1") {
        headers.insert(UPGRADE, http::HeaderValue::from_static("SPDY/3.1"));
        let protocol = choose(&text(request.headers(), &STREAM_PROTOCOL), spdy)?;
        headers.insert(STREAM_PROTOCOL, http::HeaderValue::from_static(protocol));
        (Transport::Spdy, protocol)
    } else {
        return Err(Refused::NoUpgrade);
    };
    Ok((
        Agreed {
            transport,
            protocol,
            upgrade: hyper::upgrade::on(request),
        },
        response,
    ))
}

/// All values of a header, also those separated by commas in one line.
fn text(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|value| value.trim().to_owned())
        .filter(|value| !value.is_empty())
        .collect()
}

fn choose(offered: &[String], supported: &'static [&'static str]) -> Result<&'static str, Refused> {
    offered
        .iter()
        .find_map(|own| supported.iter().find(|ours| *ours == own))
        .copied()
        .ok_or_else(|| Refused::NoProtocol {
            offered: offered.to_vec(),
            supported,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_first_choice_that_we_speak_is_taken() {
        let offered = ["v9.channel.k8s.io", "v5.channel.k8s.io", "v4.channel.k8s.io"].map(str::to_owned);
        assert_eq!(
            choose(&offered, &["v4.channel.k8s.io", "v5.channel.k8s.io"]).unwrap(),
            "v5.channel.k8s.io"
        );
        assert!(choose(&offered[..1], &["v4.channel.k8s.io"]).is_err());
    }

    #[test]
    fn a_websocket_upgrade_is_answered_as_rfc_6455_says() {
        let mut request = Request::builder()
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("Sec-WebSocket-Protocol", "v5.channel.k8s.io, v4.channel.k8s.io")
            .body(())
            .unwrap();
        let (agreed, response) = agree(&mut request, &["v5.channel.k8s.io"], &[]).unwrap();
        assert_eq!(agreed.transport, Transport::WebSocket);
        assert_eq!(response.status(), 101);
        assert_eq!(
            response.headers()["Sec-WebSocket-Accept"],
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn a_plain_request_is_refused() {
        assert!(matches!(
            agree(&mut Request::new(()), &[], &[]),
            Err(Refused::NoUpgrade)
        ));
    }
}
