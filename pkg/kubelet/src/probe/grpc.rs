//! gRPC probes: `grpc.health.v1.Health/Check` over plain HTTP/2, spoken directly: the message is
//! one string, the answer one number.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// Asks a server for a service's health; the error is a probe's message.
pub async fn check(host: &str, port: u16, service: &str, timeout: Duration) -> Result<(), String> {
    match tokio::time::timeout(timeout, ask(host, port, service)).await {
        Ok(Ok(1)) => Ok(()),
        Ok(Ok(status)) => {
            let name = match status {
                0 => "UNKNOWN",
                2 => "NOT_SERVING",
                3 => "SERVICE_UNKNOWN",
                _ => "an unknown status",
            };
            Err(format!("service unhealthy (responded with {name:?})"))
        }
        Ok(Err(message)) => Err(message),
        Err(_) => {
            let after = crate::pod::backoff::go_duration(timeout);
            Err(format!(
                "timeout: failed to connect service \"{host}:{port}\" within {after}: context deadline exceeded"
            ))
        }
    }
}

async fn ask(host: &str, port: u16, service: &str) -> Result<u64, String> {
    let stream = TcpStream::connect((host, port))
        .await
        .map_err(|e| format!("dial tcp {host}:{port}: connect: {}", super::http::reason(&e)))?;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(|e| e.to_string())?;
    let driver = tokio::spawn(connection);
    let answer = exchange(&mut sender, host, port, service).await;
    driver.abort();
    answer
}

async fn exchange(
    sender: &mut hyper::client::conn::http2::SendRequest<Full<Bytes>>,
    host: &str,
    port: u16,
    service: &str,
) -> Result<u64, String> {
    let request = http::Request::post(format!("http://{host}:{port}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "kube-probe/1.36")
        .body(Full::new(Bytes::from(request(service))))
        .map_err(|e| e.to_string())?;
    let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
    let mut failed = status(response.headers());
    let body = response.into_body().collect().await.map_err(|e| e.to_string())?;
    failed = failed.or_else(|| body.trailers().and_then(status));
    match failed {
        Some(message) => Err(message),
        None => Ok(serving_status(&body.to_bytes())),
    }
}

/// gRPC's frame (uncompressed, length) around a message with field 1, the service's name.
fn request(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        varint(service.len() as u64, &mut message);
        message.extend_from_slice(service.as_bytes());
    }
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend_from_slice(&message);
    frame
}

fn varint(mut value: u64, into: &mut Vec<u8>) {
    while value >= 0x80 {
        into.push((value as u8) | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

/// Field 1 of the answer; 0 when it is absent.
fn serving_status(body: &[u8]) -> u64 {
    match body.get(5..) {
        Some([0x08, value, ..]) => u64::from(*value),
        _ => 0,
    }
}

fn status(headers: &http::HeaderMap) -> Option<String> {
    let code = headers.get("grpc-status")?.to_str().ok()?;
    if code == "0" {
        return None;
    }
    let message = headers
        .get("grpc-message")
        .and_then(|m| m.to_str().ok())
        .unwrap_or_default();
    match code {
        "12" => {
            Some("this server does not implement the grpc health protocol (grpc.health.v1.Health)".into())
        }
        _ => Some(format!("error: health rpc failed with code {code}: {message}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_framed_as_grpc_wants_them() {
        assert_eq!(request(""), [0, 0, 0, 0, 0]);
        assert_eq!(request("ab"), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(serving_status(&[0, 0, 0, 0, 2, 8, 1]), 1);
        assert_eq!(serving_status(&[0, 0, 0, 0, 0]), 0);
    }
}
