//! Images: `kobune image`, pulls from a registry.

use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kobune_test_support::{eventually, image_tar};

use crate::shared::{Space, cluster, pod};

#[test]
fn images_are_listed_exported_removed_and_imported() {
    let cluster = cluster();
    let listed = cluster.kobune(&["image", "list"]).ok();
    assert!(
        listed.contains("docker.io/library/nginx") && listed.contains("1.22"),
        "{listed}"
    );
    let tar = cluster.folder().join("redis.tar").display().to_string();
    cluster.kobune(&["image", "export", "-o", &tar, "redis:7"]).ok();
    assert!(std::fs::metadata(&tar).expect("it was written").len() > 1 << 20);
    let postgres = image_tar("postgres").display().to_string();
    let imported = cluster.kobune(&["image", "import", &postgres]).ok();
    assert!(imported.contains("postgres"), "{imported}");
    cluster
        .kobune(&["image", "rm", "docker.io/library/postgres:latest"])
        .ok();
    let gone = cluster
        .kobune(&["image", "rm", "docker.io/library/none:1"])
        .fails();
    assert!(gone.contains("none"), "{gone}");
    cluster.kobune(&["image", "import", &tar]).ok();
}

/// A docker-registry on the loopback, ended with the test.
struct Registry(Child, u16);

impl Registry {
    /// `more` is appended to its configuration.
    fn start(folder: &std::path::Path, more: &str) -> Registry {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound socket").port();
        drop(listener);
        let config = folder.join(format!("registry-{port}.yml"));
        let storage = folder.join(format!("registry-{port}"));
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: 127.0.0.1:{port}}}\n{more}",
            storage.display()
        );
        std::fs::write(&config, text).expect("the folder is writable");
        let child = Command::new("docker-registry")
            .args(["serve", &config.display().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is installed");
        eventually("the registry listens", 20, || {
            std::net::TcpStream::connect(("127.0.0.1", port))
                .map(drop)
                .map_err(|error| error.to_string())
        });
        Registry(child, port)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // The child is ours; it may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_pod_is_pulled_from_a_registry_that_the_configuration_allows() {
    let space = Space::new("images-pull");
    let registry = Registry::start(space.cluster.folder(), "");
    let host = format!("127.0.0.1:{}", registry.1);
    push(&[
        &host,
        &image_tar("busybox").display().to_string(),
        "team/box",
        "1",
    ]);
    let manifest =
        pod("pulled", "sleep 1000", "").replace("image: busybox", &format!("image: {host}/team/box:1"));
    let _alone = allow(&space, &host);
    space.apply(&manifest);
    space.wait_ready("pod/pulled");
    let message = space.wait_event("pulled", "Pulled");
    assert!(
        message.contains("Successfully pulled image") && message.contains("Image size"),
        "{message}"
    );
    let id = space.field("pod/pulled", ".status.containerStatuses[0].imageID");
    assert!(id.contains("@sha256:"), "{id}");
}

/// Says in the server's configuration that the registry is one without TLS. One test at a time: the
/// server reads the file at each pull.
fn allow(space: &Space, host: &str) -> MutexGuard<'static, ()> {
    static CONFIGURATION: Mutex<()> = Mutex::new(());
    let guard = CONFIGURATION.lock().unwrap_or_else(PoisonError::into_inner);
    let text = format!("mirrors:\n  \"{host}\":\n    endpoint: [\"http://{host}\"]\n");
    std::fs::write(space.cluster.folder().join("registries.yaml"), text).expect("the folder is writable");
    guard
}

#[test]
fn a_private_registry_opens_for_a_pull_secret() {
    let space = Space::new("images-secret");
    let folder = space.cluster.folder();
    // As `htpasswd -B` writes it, which is not everywhere.
    let hash =
        "import crypt; print('me:' + crypt.crypt('secret', crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)))";
    let mut python = Command::new("python3");
    let line = kobune_test_support::run(python.args(["-W", "ignore", "-c", hash]), None).ok();
    let passwords = folder.join("htpasswd");
    std::fs::write(&passwords, line).expect("the folder is writable");
    let auth = format!(
        "auth: {{htpasswd: {{realm: test, path: {}}}}}\n",
        passwords.display()
    );
    let registry = Registry::start(folder, &auth);
    let host = format!("127.0.0.1:{}", registry.1);
    let tar = image_tar("busybox").display().to_string();
    push(&[&host, &tar, "private/box", "1", "bWU6c2VjcmV0"]);
    let _alone = allow(&space, &host);
    let image = format!("image: {host}/private/box:1");
    let private = |name: &str, secret: &str| {
        let spec = format!("  imagePullSecrets: [{{name: {secret}}}]\n");
        pod(name, "sleep 1000", &spec).replace("image: busybox", &image)
    };
    for (name, password) in [("wrong", "guessed"), ("right", "secret")] {
        let password = format!("--docker-password={password}");
        let server = format!("--docker-server={host}");
        let secret = [
            "create",
            "secret",
            "docker-registry",
            name,
            &server,
            "--docker-username=me",
            &password,
        ];
        space.kubectl(&secret).ok();
    }
    space.apply(&private("missing", "absent"));
    let told = space.wait_event("missing", "FailedToRetrieveImagePullSecret");
    assert!(
        told.contains("Unable to retrieve some image pull secrets (absent)"),
        "{told}"
    );
    space.apply(&private("locked", "wrong"));
    for name in ["missing", "locked"] {
        let failed = space.wait_event(name, "Failed");
        assert!(
            failed.contains("Failed to pull image") && failed.contains("may require authorization"),
            "{failed}"
        );
    }
    space.apply(&private("open", "right"));
    space.wait_ready("pod/open");
    // Now it is here, and still not for everybody.
    space.apply(&private("late", "wrong"));
    assert!(
        space
            .wait_event("late", "Failed")
            .contains("may require authorization")
    );
    space.apply(&private("never", "wrong").replace("IfNotPresent", "Never"));
    assert!(
        space
            .wait_event("never", "ErrImageNeverPull")
            .contains("is not present")
    );
    space.apply(&private("again", "right").replace("IfNotPresent", "Never"));
    space.wait_ready("pod/again");
    assert!(
        space
            .wait_event("again", "Pulled")
            .contains("can be accessed by the pod")
    );
}

/// Pushes the first image of an OCI or docker-archive tar with the registry's HTTP API, by a short
/// Python program: the registry is real, the pushing client is not what is tested.
///
/// The arguments: host, tar, name, tag, and `user:password` in base64 if there is need.
fn push(arguments: &[&str]) {
    let program = include_str!("push.py");
    let mut python = Command::new("python3");
    python.args(["-c", program]).args(arguments);
    kobune_test_support::run(&mut python, None).ok();
}
