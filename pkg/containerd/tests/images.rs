//! Images: imported, exported, removed, and pulled from a real docker-registry.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "support/breaker.rs"]
mod breaker;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/registry.rs"]
mod registry;
mod support;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use breaker::Breaker;
use kobune_containerd::Proxies;
use kobune_runtime::*;
use proxy::Proxy;
use registry::Registry;
use support::{Fixture, run, tar};

fn quiet() -> ProgressSink {
    Arc::new(|_| {})
}

fn request(reference: &str) -> PullRequest {
    PullRequest {
        reference: reference.into(),
        ..Default::default()
    }
}

impl Fixture {
    fn registries(&self, text: &str) {
        std::fs::write(self.config.registries.as_ref().unwrap(), text).unwrap();
    }

    /// `localhost:port` over plain HTTP.
    fn plain(&self, name: &str, port: u16) {
        self.registries(&format!(
            "mirrors:\n  \"{name}\":\n    endpoint: [\"http://127.0.0.1:{port}\"]\n"
        ));
    }
}

#[test]
fn an_imported_image_has_names_an_id_a_size_and_is_unpacked_once() {
    run(|fixture| async move {
        let names = fixture.import("busybox").await;
        assert!(
            names.contains(&"docker.io/library/busybox:latest".to_owned()),
            "{names:?}"
        );
        let image = fixture.runtime.image("busybox").await.unwrap().unwrap();
        assert!(
            image.id.starts_with("sha256:") && image.size > 100_000,
            "{image:?}"
        );
        assert_eq!(image.tags.len(), names.len());
        assert!(image.digests[0].starts_with("docker.io/library/busybox@sha256:"));
        for other in [&image.id, &image.digests[0], "docker.io/library/busybox:1.36"] {
            assert_eq!(
                fixture.runtime.image(other).await.unwrap().unwrap().id,
                image.id,
                "{other}"
            );
        }
        assert_eq!(fixture.import("busybox").await, names);
        assert_eq!(fixture.runtime.images().await.unwrap().len(), 1);
        assert_eq!(fixture.runtime.image("nothing").await.unwrap(), None);
        let usage = fixture.runtime.image_usage().await.unwrap();
        assert!(
            usage.used > image.size && usage.capacity > usage.available,
            "{usage:?}"
        );
        let pulled = fixture
            .runtime
            .pull_image(&request("busybox"), quiet())
            .await
            .unwrap();
        assert_eq!(pulled.id, image.id);
    });
}

#[test]
fn the_bytes_of_an_image_go_with_its_last_name() {
    run(|fixture| async move {
        let names = fixture.import("busybox").await;
        let before = fixture.runtime.image_usage().await.unwrap().used;
        let (last, others) = names.split_last().unwrap();
        for name in others {
            fixture.runtime.remove_image(name).await.unwrap();
        }
        assert!(fixture.runtime.image(last).await.unwrap().is_some());
        assert_eq!(fixture.runtime.image_usage().await.unwrap().used, before);
        fixture.runtime.remove_image(last).await.unwrap();
        assert_eq!(fixture.runtime.images().await.unwrap(), []);
        assert_eq!(fixture.runtime.image_usage().await.unwrap().used, 0);
        fixture.runtime.remove_image(last).await.unwrap();
        fixture.import("busybox").await;
        let id = fixture.runtime.image("busybox").await.unwrap().unwrap().id;
        fixture.runtime.remove_image(&id).await.unwrap();
        assert_eq!(fixture.runtime.image_usage().await.unwrap().used, 0);
    });
}

#[test]
fn an_exported_image_can_be_imported_again_compressed_too() {
    run(|fixture| async move {
        fixture.import("nginx").await;
        let image = fixture.runtime.image("nginx").await.unwrap().unwrap();
        let path = fixture.folder.path().join("out.tar");
        let mut file = tokio::fs::File::create(&path).await.unwrap();
        let names = ["nginx:latest".to_owned(), "nginx:1.22".to_owned()];
        fixture.runtime.export_images(&names, &mut file).await.unwrap();
        drop(file);
        fixture.runtime.remove_image(&image.id).await.unwrap();
        let gzip = std::process::Command::new("gzip")
            .arg("-1")
            .arg(&path)
            .status()
            .unwrap();
        assert!(gzip.success());
        let mut file = tokio::fs::File::open(path.with_extension("tar.gz"))
            .await
            .unwrap();
        let mut imported = fixture.runtime.import_images(&mut file).await.unwrap();
        imported.sort();
        assert_eq!(
            imported,
            ["docker.io/library/nginx:1.22", "docker.io/library/nginx:latest"]
        );
        assert_eq!(fixture.runtime.image("nginx").await.unwrap().unwrap(), image);
    });
}

#[test]
fn garbage_is_refused_and_leaves_nothing() {
    run(|fixture| async move {
        for garbage in [
            &b"this is no archive at all"[..],
            b"",
            &[0; 10240],
            &[0x1f, 0x8b, 8, 0, 1, 2, 3],
        ] {
            let mut input = garbage;
            assert!(fixture.runtime.import_images(&mut input).await.is_err());
        }
        let whole = std::fs::read(tar("busybox")).unwrap();
        let mut cut = &whole[..whole.len() / 2];
        assert!(fixture.runtime.import_images(&mut cut).await.is_err());
        assert_eq!(fixture.runtime.images().await.unwrap(), []);
        fixture.import("busybox").await;
    });
}

#[test]
fn an_image_is_pulled_with_progress_and_several_pulls_are_one() {
    run(|fixture| async move {
        let Some(registry) = Registry::start("", "") else {
            return;
        };
        registry.push(&tar("redis"), "team/redis", &[]);
        let name = format!("localhost:{}/team/redis:7", registry.port);
        fixture.plain(&format!("localhost:{}", registry.port), registry.port);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        let progress: ProgressSink = Arc::new(move |progress| sink.lock().unwrap().push(progress));
        let wanted = request(&name);
        let pulls = (0..5).map(|_| fixture.runtime.pull_image(&wanted, Arc::clone(&progress)));
        let images = futures_util::future::try_join_all(pulls).await.unwrap();
        assert!(
            images
                .iter()
                .all(|image| image.id == images[0].id && image.tags == [name.clone()])
        );
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        let resolved = seen
            .iter()
            .filter(|progress| matches!(progress, Progress::Resolved { missing, .. } if !missing.is_empty()));
        assert_eq!(resolved.count(), 5, "each asker is told once");
        assert!(
            seen.iter().any(
                |progress| matches!(progress, Progress::Downloaded { bytes, total, .. } if bytes == total)
            )
        );
        assert!(
            seen.iter()
                .any(|progress| matches!(progress, Progress::Unpacked { done: true, .. }))
        );
        let by_digest = images[0].digests[0].clone();
        assert!(fixture.runtime.image(&by_digest).await.unwrap().is_some());
        fixture.runtime.remove_image(&name).await.unwrap();
        assert_eq!(fixture.runtime.image_usage().await.unwrap().used, 0);
        fixture
            .runtime
            .pull_image(&request(&by_digest), quiet())
            .await
            .unwrap();
        let missing = request(&format!("localhost:{}/team/nothing", registry.port));
        let error = fixture.runtime.pull_image(&missing, quiet()).await.unwrap_err();
        assert!(
            matches!(&error, Error::Pull { message, .. } if message.contains("not found")),
            "{error}"
        );
        let error = fixture
            .runtime
            .pull_image(&request("Wrong Name"), quiet())
            .await
            .unwrap_err();
        assert!(matches!(error, Error::InvalidImageName { .. }));
    });
}

#[test]
fn a_broken_download_goes_on_where_it_stopped() {
    run(|fixture| async move {
        let Some(registry) = Registry::start("", "") else {
            return;
        };
        registry.push(&tar("redis"), "redis", &[]);
        let breaker = Breaker::start(registry.port, 3 << 20, 3);
        fixture.plain("registry.test", breaker.port);
        let highest = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&highest);
        let backwards = Arc::new(AtomicUsize::new(0));
        let back = Arc::clone(&backwards);
        let progress: ProgressSink = Arc::new(move |progress| {
            if let Progress::Downloaded { bytes, total, .. } = progress
                && total > 1 << 20
                && seen.fetch_max(bytes as usize, Ordering::SeqCst) > bytes as usize
            {
                back.fetch_add(1, Ordering::SeqCst);
            }
        });
        fixture
            .runtime
            .pull_image(&request("registry.test/redis"), progress)
            .await
            .unwrap();
        assert_eq!(breaker.cut.load(Ordering::SeqCst), 3);
        assert_eq!(
            backwards.load(Ordering::SeqCst),
            0,
            "nothing was downloaded twice"
        );
    });
}

/// `cert.pem` and `key.pem` for 127.0.0.1.
fn certificate(folder: &Path) {
    let made = std::process::Command::new("openssl")
        .current_dir(folder)
        .args("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1".split(' '))
        .args("-addext subjectAltName=IP:127.0.0.1,DNS:registry.test".split(' '))
        .args("-addext basicConstraints=critical,CA:FALSE".split(' '))
        .args("-keyout key.pem -out cert.pem".split(' '))
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(made.success());
}

/// The part of docker-registry's `http` that names them.
fn over_tls(folder: &Path) -> String {
    let folder = folder.display();
    format!("  tls:\n    certificate: {folder}/cert.pem\n    key: {folder}/key.pem\n")
}

#[test]
fn a_registry_over_tls_needs_its_ca_and_the_right_password() {
    run(|fixture| async move {
        let keys = tempfile::tempdir().unwrap();
        let path = |name: &str| keys.path().join(name).display().to_string();
        certificate(keys.path());
        // As `htpasswd -B` writes it, which is not everywhere.
        let hash = "import crypt; print('user:' + crypt.crypt('secret', crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)))";
        let hashed = std::process::Command::new("python3")
            .args(["-W", "ignore", "-c", hash])
            .output()
            .unwrap();
        assert!(hashed.status.success());
        std::fs::write(path("htpasswd"), hashed.stdout).unwrap();
        let http = over_tls(keys.path());
        let auth = format!(
            "auth:\n  htpasswd:\n    realm: test\n    path: {}\n",
            path("htpasswd")
        );
        let Some(registry) = Registry::start(&http, &auth) else {
            return;
        };
        let host = format!("127.0.0.1:{}", registry.port);
        registry.push(
            &tar("busybox"),
            "busybox",
            &["--cacert", &path("cert.pem"), "-u", "user:secret"],
        );
        let wanted = |username: &str, password: &str| PullRequest {
            auth: vec![RegistryAuth {
                username: username.into(),
                password: password.into(),
                ..Default::default()
            }],
            ..request(&format!("{host}/busybox"))
        };
        let error = fixture
            .runtime
            .pull_image(&wanted("user", "secret"), quiet())
            .await
            .unwrap_err();
        assert!(error.to_string().contains("certificate"), "{error}");
        fixture.registries(&format!(
            "configs:\n  \"{host}\":\n    tls:\n      ca_file: {}\n",
            path("cert.pem")
        ));
        for wrong in [wanted("user", "wrong"), request(&format!("{host}/busybox"))] {
            let error = fixture.runtime.pull_image(&wrong, quiet()).await.unwrap_err();
            assert!(error.to_string().contains("authorization"), "{error}");
        }
        let mut both = wanted("user", "wrong");
        both.auth.extend(wanted("user", "secret").auth);
        fixture.runtime.pull_image(&both, quiet()).await.unwrap();
        fixture.registries(&format!(
            "configs:\n  \"{host}\":\n    auth:\n      username: user\n      password: secret\n    tls:\n      insecure_skip_verify: true\n"
        ));
        let again = PullRequest {
            force: true,
            ..request(&format!("{host}/busybox:1.36"))
        };
        fixture.runtime.pull_image(&again, quiet()).await.unwrap();
    });
}

#[test]
fn a_mirror_is_asked_first_and_its_paths_are_rewritten() {
    run(|fixture| async move {
        let Some(registry) = Registry::start("", "") else {
            return;
        };
        registry.push(&tar("busybox"), "hub/busybox", &[]);
        fixture.registries(&format!(
            "mirrors:\n  docker.io:\n    endpoint: [\"http://127.0.0.1:{}\"]\n    rewrite:\n      \"^library/(.*)\": \"hub/$1\"\n",
            registry.port
        ));
        let image = fixture
            .runtime
            .pull_image(&request("busybox:1.36"), quiet())
            .await
            .unwrap();
        assert_eq!(image.tags, ["docker.io/library/busybox:1.36"]);
    });
}

#[test]
fn a_proxy_forwards_plain_requests() {
    run(|mut fixture| async move {
        let Some(registry) = Registry::start("", "") else {
            return;
        };
        registry.push(&tar("busybox"), "busybox", &[]);
        let proxy = Proxy::start(registry.port, "bWU6c2VjcmV0");
        fixture.registries("mirrors:\n  \"registry.test\":\n    endpoint: [\"http://registry.test\"]\n");
        fixture.config.proxies = Proxies::new(&format!("http://127.0.0.1:{}", proxy.port), "", "");
        fixture.restart().await;
        let wanted = request("registry.test/busybox");
        let error = fixture.runtime.pull_image(&wanted, quiet()).await.unwrap_err();
        assert!(error.to_string().contains("407"), "{error}");
        fixture.config.proxies = Proxies::new(&format!("me:secret@127.0.0.1:{}", proxy.port), "", "");
        fixture.restart().await;
        fixture.runtime.pull_image(&wanted, quiet()).await.unwrap();
        let seen = proxy.seen.lock().unwrap().clone();
        assert_eq!(
            seen[0],
            "GET http://registry.test/v2/busybox/manifests/latest HTTP/1.1"
        );
        // What is excepted is asked directly: there is no such name.
        fixture.config.proxies = Proxies::new(&format!("me:secret@127.0.0.1:{}", proxy.port), "", ".test");
        fixture.restart().await;
        let again = PullRequest {
            force: true,
            ..wanted
        };
        fixture.runtime.pull_image(&again, quiet()).await.unwrap_err();
        assert_eq!(proxy.seen.lock().unwrap().len(), seen.len());
    });
}

#[test]
fn a_proxy_passes_tls_on_and_the_registrys_certificate_is_still_checked() {
    run(|mut fixture| async move {
        let keys = tempfile::tempdir().unwrap();
        certificate(keys.path());
        let authority = keys.path().join("cert.pem").display().to_string();
        let Some(registry) = Registry::start(&over_tls(keys.path()), "") else {
            return;
        };
        registry.push(&tar("busybox"), "busybox", &["--cacert", &authority]);
        let proxy = Proxy::start(registry.port, "bWU6c2VjcmV0");
        fixture.config.proxies = Proxies::new("", &format!("http://me:secret@127.0.0.1:{}", proxy.port), "");
        fixture.restart().await;
        let wanted = request("registry.test/busybox");
        let error = fixture.runtime.pull_image(&wanted, quiet()).await.unwrap_err();
        assert!(error.to_string().contains("certificate"), "{error}");
        fixture.registries(&format!(
            "configs:\n  registry.test:\n    tls:\n      ca_file: {authority}\n"
        ));
        fixture.runtime.pull_image(&wanted, quiet()).await.unwrap();
        let seen = proxy.seen.lock().unwrap().clone();
        assert!(
            seen.iter()
                .all(|line| line == "CONNECT registry.test:443 HTTP/1.1"),
            "{seen:?}"
        );
    });
}
