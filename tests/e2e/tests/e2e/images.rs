//! Images: `kobune image`, pulls from a registry.

use std::process::{Child, Command, Stdio};

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
    fn start(folder: &std::path::Path) -> Registry {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound socket").port();
        drop(listener);
        let config = folder.join("registry.yml");
        let storage = folder.join("registry");
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: 127.0.0.1:{port}}}\n",
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
    let registry = Registry::start(space.cluster.folder());
    let host = format!("127.0.0.1:{}", registry.1);
    push(&host, &image_tar("busybox"), "team/box", "1");
    let manifest =
        pod("pulled", "sleep 1000", "").replace("image: busybox", &format!("image: {host}/team/box:1"));
    let text = format!("mirrors:\n  \"{host}\":\n    endpoint: [\"http://{host}\"]\n");
    std::fs::write(space.cluster.folder().join("registries.yaml"), text).expect("the folder is writable");
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

/// Pushes the first image of an OCI or docker-archive tar with the registry's HTTP API, by a short
/// Python program: the registry is real, the pushing client is not what is tested.
fn push(host: &str, tar: &std::path::Path, name: &str, tag: &str) {
    let program = include_str!("push.py");
    let mut python = Command::new("python3");
    python.args(["-c", program, host, &tar.display().to_string(), name, tag]);
    kobune_test_support::run(&mut python, None).ok();
}
