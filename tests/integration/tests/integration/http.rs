//! Plain HTTPS requests with curl, for what kubectl hides: headers, codes, broken bodies.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use kobune_test_support::{Cluster, run};
use serde_json::Value;

use crate::shared::cluster;

/// An answer of the server.
#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    /// As they came, lower case names.
    pub headers: String,
    pub body: String,
}

impl Answer {
    /// The body of a success.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert!((200..300).contains(&self.code), "{self:?}");
        self.json()
    }

    /// The Status of a failure of this kind.
    #[track_caller]
    pub fn fails(&self, code: u16, reason: &str) -> Value {
        let status = self.json();
        assert_eq!(
            (self.code, status["reason"].as_str().unwrap_or("")),
            (code, reason),
            "{self:?}"
        );
        assert_eq!(
            (&status["kind"], &status["status"], &status["code"]),
            (&"Status".into(), &"Failure".into(), &code.into())
        );
        status
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A stream of JSON objects, one a line.
    pub fn lines(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.body.lines().map(parse).collect()
    }

    #[track_caller]
    pub fn has_header(&self, line: &str) {
        assert!(self.headers.contains(line), "no {line:?} in {}", self.headers);
    }
}

/// The administrator's key and certificate as files, as curl wants them.
fn credentials(cluster: &Cluster) -> PathBuf {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let pem = cluster.folder().join("admin.pem");
        let script = format!(
            "for f in certificate key; do kubectl config view --raw -o jsonpath={{.users[0].user.client-$f-data}} | base64 -d; done >{}",
            pem.display()
        );
        let mut command = Command::new("sh");
        run(command.arg("-c").arg(script).env("KUBECONFIG", cluster.kubeconfig()), None).ok();
        pem
    })
    .clone()
}

fn send(with_credentials: bool, method: &str, path: &str, arguments: &[&str], body: Option<&str>) -> Answer {
    let cluster = cluster();
    let mut command = Command::new("curl");
    // The server's certificate is checked by kubectl in every other test.
    command.args([
        "--silent",
        "--show-error",
        "--insecure",
        "--include",
        "--max-time",
        "30",
    ]);
    command.args(["--globoff", "--request", method, "--header", "Expect:"]);
    if with_credentials {
        command.arg("--cert").arg(credentials(cluster));
    }
    if body.is_some() {
        command.args(["--data-binary", "@-"]);
    }
    command.args(arguments);
    command.arg(format!("https://127.0.0.1:{}{path}", cluster.port()));
    let text = run(&mut command, body).ok();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Answer {
        code: code.unwrap_or_else(|| panic!("no HTTP: {head}")),
        headers: head.to_lowercase(),
        body: body.to_owned(),
    }
}

/// A request of the administrator, with further arguments of curl.
pub fn request(method: &str, path: &str, arguments: &[&str], body: Option<&str>) -> Answer {
    send(true, method, path, arguments, body)
}

/// A request of nobody known.
pub fn anonymous(path: &str, arguments: &[&str]) -> Answer {
    send(false, "GET", path, arguments, None)
}

pub fn get(path: &str) -> Answer {
    request("GET", path, &[], None)
}

pub fn post(path: &str, body: &str) -> Answer {
    request(
        "POST",
        path,
        &["-H", "Content-Type: application/json"],
        Some(body),
    )
}

pub fn delete(path: &str, options: &str) -> Answer {
    request(
        "DELETE",
        path,
        &["-H", "Content-Type: application/json"],
        Some(options),
    )
}
