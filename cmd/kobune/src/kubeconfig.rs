//! Kubeconfig files: the administrator's, written at a start, and others on demand.

use std::path::Path;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kobune_pki::{Authority, CertifiedKey, Leaf};

use crate::cli::KubeconfigArgs;
use crate::notes;
use crate::paths::Paths;

/// The leaf of the cluster's administrator.
pub fn administrator() -> Leaf {
    Leaf::client("kubernetes-admin", &["system:masters"])
}

/// A kubeconfig for one cluster, one user and one context, all called `name`.
pub fn render(server: &str, authority_pem: &str, user: &CertifiedKey, name: &str) -> String {
    let authority = STANDARD.encode(authority_pem);
    let certificate = STANDARD.encode(&user.certificate_pem);
    let key = STANDARD.encode(&user.key_pem);
    format!(
        "apiVersion: v1
kind: Config
clusters:
- cluster:
    certificate-authority-data: {authority}
    server: {server}
  name: {name}
contexts:
- context:
    cluster: {name}
    user: {name}
  name: {name}
current-context: {name}
users:
- name: {name}
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
"
    )
}

/// Writes the administrator's kubeconfig to `path` unless it says the same already.
pub fn write(path: &Path, mode: u32, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let same = std::fs::read_to_string(path).is_ok_and(|present| present == text)
        && std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o777 == mode);
    if same {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("making the folder of --write-kubeconfig, {}", folder.display()))?;
    }
    kobune_pki::write_private(path, text.as_bytes(), mode).context("writing the file of --write-kubeconfig")
}

/// `kobune kubeconfig`.
pub fn run(arguments: &KubeconfigArgs) -> Result<()> {
    let paths = Paths::of(&arguments.server.data_dir);
    let folder = paths.tls();
    if !folder.join("client-ca.key").exists() {
        bail!(
            "there is no cluster in {} yet: start `kobune server` first, or name its folder with --data-dir",
            paths.data.display()
        );
    }
    let server = Authority::load_or_create(&folder, "server-ca", "kobune-server-ca")?;
    let clients = Authority::load_or_create(&folder, "client-ca", "kobune-client-ca")?;
    let user = match &arguments.user {
        None => clients.load_or_issue("client-admin", &administrator())?,
        Some(user) => {
            let groups: Vec<&str> = arguments.group.iter().map(String::as_str).collect();
            clients.issue(&Leaf::client(user, &groups))?
        }
    };
    let noted = || notes::URL.read(&paths);
    let url = arguments.url.clone().or_else(noted);
    let url =
        url.context("reading where the API is: start the server once more, or name it with --server")?;
    let authority = server.certificate_pem();
    print!("{}", render(&url, authority, &user, &arguments.context));
    Ok(())
}
