//! Who gives tokens for a registry: a realm that wants a password, as big registries have it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

/// The folder has `cert.pem` and `key.pem`, which sign.
pub struct Tokens {
    folder: PathBuf,
    pub port: u16,
    /// The first line of each request, and whether it had the password.
    pub seen: Arc<Mutex<Vec<(String, bool)>>>,
}

impl Tokens {
    /// Gives tokens to `account` (`user:password` in base64) for the scopes it asks for, to others
    /// tokens that allow nothing.
    pub fn start(folder: &Path, account: &'static str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (lines, keys) = (Arc::clone(&seen), folder.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                serve(client, &keys, account, &lines);
            }
        });
        let folder = folder.to_owned();
        Self { folder, port, seen }
    }

    /// The part of docker-registry's configuration that trusts them.
    pub fn trusted(&self) -> String {
        format!(
            "auth:\n  token:\n    realm: http://127.0.0.1:{}/token\n    service: test\n    issuer: test\n    rootcertbundle: {}/cert.pem\n",
            self.port,
            self.folder.display()
        )
    }

    /// A token for this repository.
    pub fn make(&self, repository: &str, actions: &[&str]) -> String {
        make(&self.folder, repository, actions)
    }
}

fn serve(mut client: TcpStream, folder: &Path, account: &str, seen: &Mutex<Vec<(String, bool)>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).unwrap_or(0) > 0 {
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let line = head.lines().next().unwrap_or_default().to_owned();
    let authorized = format!("authorization: basic {account}\r\n").to_lowercase();
    let known = head.to_lowercase().contains(&authorized);
    // scope=repository%3Aname%3Apull
    let scope = line.split("scope=").nth(1).unwrap_or_default();
    let scope = scope
        .split([' ', '&'])
        .next()
        .unwrap_or_default()
        .replace("%3A", ":")
        .replace("%2F", "/");
    let repository = scope.split(':').nth(1).unwrap_or_default();
    let token = make(folder, repository, if known { &["pull"] } else { &[] });
    seen.lock().unwrap().push((line, known));
    let body = json!({"token": token, "expires_in": 300}).to_string();
    let _ = write!(
        client,
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
}

fn make(folder: &Path, repository: &str, actions: &[&str]) -> String {
    let pem = std::fs::read_to_string(folder.join("cert.pem")).unwrap();
    let certificate: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let encode = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let now = jiff::Timestamp::now().as_second();
    let header = encode(json!({"typ": "JWT", "alg": "RS256", "x5c": [certificate]}));
    let claims = encode(json!({
        "iss": "test", "sub": "user", "aud": "test", "jti": "1",
        "iat": now, "nbf": now - 60, "exp": now + 300,
        "access": [{"type": "repository", "name": repository, "actions": actions}],
    }));
    let signed = format!("{header}.{claims}");
    let signature = sign(&folder.join("key.pem"), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn sign(key: &Path, bytes: &[u8]) -> Vec<u8> {
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha256", "-sign"])
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(bytes).unwrap();
    openssl.wait_with_output().unwrap().stdout
}
