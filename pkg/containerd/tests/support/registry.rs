//! Debian's docker-registry on a port of its own, filled through its own HTTP API.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub struct Registry {
    child: Child,
    pub port: u16,
    _folder: tempfile::TempDir,
}

/// A port that nobody listens on, of the range these tests may use.
pub fn free_port() -> u16 {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    loop {
        let port = 15000 + (NEXT.fetch_add(1, Ordering::Relaxed) % 100) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Registry {
    /// Starts it; `more` is appended to its configuration's `http` and top level.
    pub fn start(http: &str, more: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let root = folder.path().join("data");
        let text = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n{http}{more}",
            root.display()
        );
        std::fs::write(folder.path().join("config.yml"), text).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(folder.path().join("config.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = child else {
            eprintln!("skipped: docker-registry is not installed");
            return None;
        };
        let registry = Self {
            child,
            port,
            _folder: folder,
        };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "docker-registry does not start"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(registry)
    }

    /// Pushes an OCI layout's images to this repository, each under its tag.
    pub fn push(&self, tar: &Path, repository: &str, curl: &[&str]) {
        let scheme = if curl.contains(&"--cacert") {
            "https"
        } else {
            "http"
        };
        let script = format!(
            r#"set -e; d=$(mktemp -d); trap 'rm -rf $d' EXIT; tar -xf {tar} -C $d
            for f in $d/blobs/sha256/*; do
              h=sha256:$(basename $f)
              loc=$(curl -sS "$@" -X POST -D - -o /dev/null {scheme}://127.0.0.1:{port}/v2/{repository}/blobs/uploads/ | tr -d '\r' | awk 'tolower($1)=="location:"{{print $2}}')
              case $loc in *\?*) s='&';; *) s='?';; esac
              curl -sS -f "$@" -X PUT -H 'Content-Type: application/octet-stream' --data-binary @$f -o /dev/null "$loc${{s}}digest=$h"
            done
            python3 - $d <<'PY' > $d/list
import json,sys
for m in json.load(open(sys.argv[1]+'/index.json'))['manifests']:
    print(m['annotations']['org.opencontainers.image.ref.name'], m['digest'].split(':')[1], m['mediaType'])
PY
            while read tag hex type; do
              curl -sS -f "$@" -X PUT -H "Content-Type: $type" --data-binary @$d/blobs/sha256/$hex -o /dev/null {scheme}://127.0.0.1:{port}/v2/{repository}/manifests/$tag
            done < $d/list"#,
            tar = tar.display(),
            port = self.port,
        );
        let status = Command::new("bash")
            .arg("-c")
            .arg(script)
            .arg("push")
            .args(curl)
            .status()
            .unwrap();
        assert!(status.success(), "pushing {}", tar.display());
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
