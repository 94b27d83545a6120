//! Measures a private containerd: create to running, exec, delete. Needs root.
//!
//! `cargo run --release -p kobune-containerd --example measure -- tests/.cache/images/busybox.tar`
//!
//! It is its own `pod-init`, as kobune is.

use std::time::{Duration, Instant};

use kobune_containerd::{Config, Containerd};
use kobune_runtime::{ContainerSpec, ExecSpec, Runtime, SandboxSpec};
use tokio::io::AsyncReadExt;

fn main() {
    let argument = std::env::args().nth(1);
    match argument.as_deref() {
        Some("pod-init") => kobune_containerd::pod_init(),
        Some(tar) => {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            if let Err(error) = runtime.block_on(measure(tar)) {
                eprintln!("{error}");
                std::process::exit(1);
            }
        }
        None => eprintln!("usage: measure <tar of a busybox image>"),
    }
}

async fn measure(tar: &str) -> kobune_runtime::Result<()> {
    let folder = std::env::temp_dir().join(format!("kobune-measure-{}", std::process::id()));
    let mut config = Config::new(folder.join("data"), folder.join("run"));
    config.private = true;
    let begun = Instant::now();
    let runtime = Containerd::connect_or_start(config.clone()).await?;
    println!("start a private containerd   {:>8.1?}", begun.elapsed());
    let begun = Instant::now();
    let again = Containerd::connect_or_start(config).await?;
    println!("connect to it again          {:>8.1?}", begun.elapsed());
    again.disconnect();
    let begun = Instant::now();
    let mut file = tokio::fs::File::open(tar)
        .await
        .map_err(|error| kobune_runtime::Error::other("opening the tar", error))?;
    let names = runtime.import_images(&mut file).await?;
    println!(
        "import                       {:>8.1?}  {names:?}",
        begun.elapsed()
    );
    let (mut create, mut exec, mut delete) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..20 {
        let (id, took) = pod(&runtime, &folder, round, &names[0]).await?;
        create.push(took);
        let begun = Instant::now();
        let spec = ExecSpec {
            command: vec!["true".into()],
            ..Default::default()
        };
        let mut session = runtime.exec(&id, &spec).await?;
        let mut out = Vec::new();
        if let Some(stdout) = &mut session.stdout {
            let _ = stdout.read_to_end(&mut out).await;
        }
        if let Some(stderr) = &mut session.stderr {
            let _ = stderr.read_to_end(&mut out).await;
        }
        let _ = session.exit.await;
        exec.push(begun.elapsed());
        let begun = Instant::now();
        runtime.stop_container(&id, Duration::ZERO).await?;
        runtime.remove_sandbox(&format!("pod-{round}")).await?;
        delete.push(begun.elapsed());
    }
    for (name, mut times) in [
        ("pod: create to running", create),
        ("exec", exec),
        ("pod: kill and delete", delete),
    ] {
        times.sort();
        println!(
            "{name:<28} {:>8.1?}  p50 of 20 (max {:.1?})",
            times[10], times[19]
        );
    }
    let begun = Instant::now();
    let pods = (100..110).map(|round| pod(&runtime, &folder, round, &names[0]));
    for made in futures_util::future::join_all(pods).await {
        made?;
    }
    println!("ten pods at once             {:>8.1?}", begun.elapsed());
    for round in 100..110 {
        runtime.remove_sandbox(&format!("pod-{round}")).await?;
    }
    runtime.uninstall().await;
    let _ = std::fs::remove_dir_all(&folder);
    Ok(())
}

async fn pod(
    runtime: &Containerd,
    folder: &std::path::Path,
    round: usize,
    image: &str,
) -> kobune_runtime::Result<(String, Duration)> {
    let begun = Instant::now();
    let cgroup_parent = format!("/kobune-measure/pod-{round}");
    let sandbox = runtime
        .create_sandbox(&SandboxSpec {
            pod_uid: format!("pod-{round}"),
            hostname: "pod".into(),
            cgroup_parent: cgroup_parent.clone(),
            ..Default::default()
        })
        .await?;
    let spec = ContainerSpec {
        name: "main".into(),
        image: image.into(),
        command: vec!["sleep".into(), "1000".into()],
        cgroup_parent,
        log_path: folder.join(format!("logs/{round}.log")),
        ..Default::default()
    };
    let id = runtime.create_container(&sandbox, &spec).await?;
    runtime.start_container(&id).await?;
    Ok((id, begun.elapsed()))
}
