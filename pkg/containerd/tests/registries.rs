//! What real registries do beyond serving an image: tokens, and images for several machines.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "support/registry.rs"]
mod registry;
mod support;
#[path = "support/token.rs"]
mod token;

use std::process::Command;
use std::sync::Arc;

use kobune_runtime::*;
use registry::Registry;
use support::{run, run_on_disk, tar};
use token::Tokens;

fn request(reference: &str) -> PullRequest {
    PullRequest {
        reference: reference.into(),
        ..Default::default()
    }
}

#[test]
fn a_registry_that_wants_tokens_gets_them_from_its_realm() {
    run(|fixture| async move {
        let keys = tempfile::tempdir().unwrap();
        let made = Command::new("openssl")
            .current_dir(keys.path())
            .args(
                "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=tokens -keyout key.pem -out cert.pem"
                    .split(' '),
            )
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(made.success());
        let tokens = Tokens::start(keys.path(), "bWU6c2VjcmV0");
        let Some(registry) = Registry::start("", &tokens.trusted()) else {
            return;
        };
        let header = format!(
            "Authorization: Bearer {}",
            tokens.make("team/busybox", &["pull", "push"])
        );
        registry.push(&tar("busybox"), "team/busybox", &["-H", &header]);
        let host = format!("127.0.0.1:{}", registry.port);
        let mirror = format!("mirrors:\n  \"{host}\":\n    endpoint: [\"http://{host}\"]\n");
        std::fs::write(fixture.config.registries.as_ref().unwrap(), mirror).unwrap();
        let wanted = request(&format!("{host}/team/busybox"));
        let error = fixture
            .runtime
            .pull_image(&wanted, Arc::new(|_| {}))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("authorization"), "{error}");
        let with = |username: &str, password: &str| PullRequest {
            auth: vec![RegistryAuth {
                username: username.into(),
                password: password.into(),
                ..Default::default()
            }],
            ..wanted.clone()
        };
        let wrong = fixture
            .runtime
            .pull_image(&with("me", "wrong"), Arc::new(|_| {}))
            .await;
        assert!(wrong.unwrap_err().to_string().contains("authorization"));
        tokens.seen.lock().unwrap().clear();
        fixture
            .runtime
            .pull_image(&with("me", "secret"), Arc::new(|_| {}))
            .await
            .unwrap();
        let seen = tokens.seen.lock().unwrap().clone();
        assert_eq!(
            seen.len(),
            1,
            "one token is enough for manifest and blobs: {seen:?}"
        );
        assert!(
            seen[0].1
                && seen[0].0.contains("service=test")
                && seen[0].0.contains("scope=repository%3Ateam%2Fbusybox%3Apull"),
            "{seen:?}"
        );
    });
}

#[test]
fn of_a_list_of_manifests_the_one_for_this_machine_is_taken() {
    run(|fixture| async move {
        let Some(registry) = Registry::start("", "") else {
            return;
        };
        registry.push(&tar("busybox"), "both", &[]);
        registry.push(&tar("redis"), "both", &[]);
        let ours = match std::env::consts::ARCH {
            "aarch64" => "arm64",
            _ => "amd64",
        };
        let script = format!(
            r#"set -e; u=http://127.0.0.1:{port}/v2/both/manifests
            t=application/vnd.oci.image.manifest.v1+json; a="Accept: $t"
            entry() {{ d=$(curl -sSf -H "$a" -D - -o $d.body $u/$1 | tr -d '\r' | awk 'tolower($1)=="docker-content-digest:"{{print $2}}'); s=$(curl -sSf -H "$a" $u/$1 | wc -c)
              echo "{{\"mediaType\":\"$t\",\"digest\":\"$d\",\"size\":$s,\"platform\":{{\"os\":\"$2\",\"architecture\":\"$3\"}}}}"; }}
            cd $(mktemp -d)
            list="{{\"schemaVersion\":2,\"mediaType\":\"$0\",\"manifests\":[$(entry 7 linux riscv64),$(entry 7 windows {ours}),$(entry 1.36 linux {ours})]}}"
            curl -sSf -X PUT -H "Content-Type: $0" -d "$list" $u/$1; rm -rf $PWD"#,
            port = registry.port,
        );
        for (kind, tag) in [
            ("application/vnd.oci.image.index.v1+json", "oci"),
            (
                "application/vnd.docker.distribution.manifest.list.v2+json",
                "docker",
            ),
        ] {
            let made = Command::new("bash")
                .args(["-c", &script, kind, tag])
                .status()
                .unwrap();
            assert!(made.success());
            let host = format!("localhost:{}", registry.port);
            let mirror = format!("mirrors:\n  \"{host}\":\n    endpoint: [\"http://{host}\"]\n");
            std::fs::write(fixture.config.registries.as_ref().unwrap(), mirror).unwrap();
            let quiet: ProgressSink = Arc::new(|_| {});
            let wanted = request(&format!("{host}/both:{tag}"));
            let image = fixture.runtime.pull_image(&wanted, quiet.clone()).await.unwrap();
            let alone = request(&format!("{host}/both:1.36"));
            let alone = fixture.runtime.pull_image(&alone, quiet).await.unwrap();
            assert_eq!(image.id, alone.id, "{tag}");
        }
    });
}

#[test]
fn a_full_disk_refuses_an_image_whole_and_takes_it_when_there_is_room() {
    run_on_disk(40, |fixture| async move {
        let quiet: ProgressSink = Arc::new(|_| {});
        fixture.import("busybox").await;
        let before = fixture.runtime.image_usage().await.unwrap().used;
        let mut file = tokio::fs::File::open(tar("postgres")).await.unwrap();
        let error = fixture.runtime.import_images(&mut file).await.unwrap_err();
        assert!(error.to_string().contains("no space left on device"), "{error}");
        let registry = Registry::start("", "");
        if let Some(registry) = &registry {
            registry.push(&tar("postgres"), "postgres", &[]);
            let mirror = format!(
                "mirrors:\n  docker.io:\n    endpoint: [\"http://127.0.0.1:{}\"]\n    rewrite: {{\"^library/\": \"\"}}\n",
                registry.port
            );
            std::fs::write(fixture.config.registries.as_ref().unwrap(), mirror).unwrap();
            let error = fixture
                .runtime
                .pull_image(&request("postgres:15"), quiet.clone())
                .await
                .unwrap_err();
            assert!(error.to_string().contains("no space left on device"), "{error}");
        }
        let images = fixture.runtime.images().await.unwrap();
        assert_eq!(images.len(), 1, "{images:?}");
        // What arrived of the rest is gone: there is room for another image.
        assert_eq!(fixture.runtime.image_usage().await.unwrap().used, before);
        fixture.import("pause").await;
        fixture.resize(400);
        if registry.is_some() {
            fixture
                .runtime
                .pull_image(&request("postgres:15"), quiet)
                .await
                .unwrap();
        }
        fixture.import("postgres").await;
    });
}
