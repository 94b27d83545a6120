//! `kobune image`: the images of this node.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use kobune_runtime::{Image, Progress, PullRequest, RegistryAuth, Runtime};

use crate::cli::{ImageArgs, ImageCommand};
use crate::notes;
use crate::paths::Paths;

/// Does what the command line says.
pub fn run(arguments: ImageArgs) -> Result<()> {
    kobune_pki::install_crypto();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting tokio")?
        .block_on(async {
            let paths = Paths::of(&arguments.server.data_dir);
            let noted = || notes::CONTAINERD.read(&paths);
            let endpoint = arguments.container_runtime_endpoint.or_else(noted);
            let config =
                crate::node::containerd_config(&paths, endpoint.as_deref(), &arguments.private_registry);
            let runtime = kobune_containerd::Containerd::connect(config)
                .await
                .context("reaching containerd (does `kobune server` run, with this --data-dir?)")?;
            execute(runtime.as_ref(), arguments.command).await
        })
}

async fn execute(runtime: &dyn Runtime, command: ImageCommand) -> Result<()> {
    match command {
        ImageCommand::Pull { reference, creds } => pull(runtime, reference, creds).await,
        ImageCommand::Import { files } => {
            for file in files {
                import(runtime, &file).await?;
            }
            Ok(())
        }
        ImageCommand::List { quiet } => list(runtime, quiet).await,
        ImageCommand::Rm { references } => {
            for reference in references {
                // The runtime takes an absent image as removed; a person has mistyped a name.
                if runtime.image(&reference).await?.is_none() {
                    bail!("no image {reference} is on this node (`kobune image list` names them)");
                }
                runtime
                    .remove_image(&reference)
                    .await
                    .with_context(|| format!("removing {reference}"))?;
                println!("removed {reference}");
            }
            Ok(())
        }
        ImageCommand::Export { output, references } => export(runtime, &output, &references).await,
    }
}

async fn pull(runtime: &dyn Runtime, reference: String, creds: Option<String>) -> Result<()> {
    let auth = match creds.as_deref().map(|creds| creds.split_once(':')) {
        None => Vec::new(),
        Some(Some((username, password))) => vec![RegistryAuth {
            username: username.to_owned(),
            password: password.to_owned(),
            ..RegistryAuth::default()
        }],
        Some(None) => bail!("--creds is USER:PASSWORD, with a colon between them"),
    };
    let bars = Arc::new(Bars::default());
    let sink = bars.clone();
    let request = PullRequest {
        reference,
        auth,
        force: true,
    };
    let image = runtime
        .pull_image(&request, Arc::new(move |progress| sink.show(progress)))
        .await?;
    bars.clear();
    println!("{}  {}", request.reference, image.id);
    Ok(())
}

/// A bar for each blob that is being fetched.
#[derive(Default)]
struct Bars {
    all: MultiProgress,
    blobs: Mutex<HashMap<String, ProgressBar>>,
}

impl Bars {
    fn show(&self, progress: Progress) {
        let mut blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        match progress {
            Progress::Resolved { missing, .. } => {
                for (digest, size) in missing {
                    blobs
                        .entry(digest.clone())
                        .or_insert_with(|| self.bar(&digest, size));
                }
            }
            Progress::Downloaded { digest, bytes, total } => {
                blobs
                    .entry(digest.clone())
                    .or_insert_with(|| self.bar(&digest, total))
                    .set_position(bytes);
            }
            Progress::Unpacked { digest, done } => {
                if let Some(bar) = blobs.get(&digest) {
                    bar.set_message(if done { "unpacked" } else { "unpacking" });
                    if done {
                        bar.finish();
                    }
                }
            }
        }
    }

    fn bar(&self, digest: &str, size: u64) -> ProgressBar {
        let short: String = digest.trim_start_matches("sha256:").chars().take(12).collect();
        let bar = self.all.add(ProgressBar::new(size).with_prefix(short));
        // The template is a constant and valid; without it the bar has indicatif's own look.
        if let Ok(style) =
            ProgressStyle::with_template("{prefix} [{bar:30}] {bytes:>10}/{total_bytes:<10} {msg}")
        {
            bar.set_style(style.progress_chars("=> "));
        }
        bar
    }

    fn clear(&self) {
        // Only a terminal that went away can fail here, and then nobody looks.
        let _ = self.all.clear();
    }
}

async fn import(runtime: &dyn Runtime, file: &Path) -> Result<()> {
    let names = if file == Path::new("-") {
        runtime.import_images(&mut tokio::io::stdin()).await
    } else {
        let mut tar = tokio::fs::File::open(file)
            .await
            .with_context(|| format!("opening {}", file.display()))?;
        runtime.import_images(&mut tar).await
    };
    for name in names.with_context(|| format!("importing {}", file.display()))? {
        println!("imported {name}");
    }
    Ok(())
}

async fn list(runtime: &dyn Runtime, quiet: bool) -> Result<()> {
    let mut images = runtime.images().await?;
    images.sort_by(|a, b| a.tags.cmp(&b.tags));
    if quiet {
        images.iter().for_each(|image| println!("{}", image.id));
        return Ok(());
    }
    let rows: Vec<[String; 4]> = images.iter().flat_map(rows).collect();
    let heads = ["IMAGE", "TAG", "IMAGE ID", "SIZE"].map(str::to_owned);
    let width = |column: usize| {
        rows.iter()
            .chain(std::iter::once(&heads))
            .map(|row| row[column].len())
            .max()
            .unwrap_or_default()
    };
    let widths = [width(0), width(1), width(2)];
    for row in std::iter::once(&heads).chain(&rows) {
        println!(
            "{:a$}   {:b$}   {:c$}   {}",
            row[0],
            row[1],
            row[2],
            row[3],
            a = widths[0],
            b = widths[1],
            c = widths[2]
        );
    }
    Ok(())
}

fn rows(image: &Image) -> Vec<[String; 4]> {
    let id: String = image.id.trim_start_matches("sha256:").chars().take(13).collect();
    let size = indicatif::DecimalBytes(image.size).to_string();
    let named = |reference: &String| {
        let (name, tag) = reference.rsplit_once(':').unwrap_or((reference, "<none>"));
        [name.to_owned(), tag.to_owned(), id.clone(), size.clone()]
    };
    if image.tags.is_empty() {
        let name = image
            .digests
            .first()
            .and_then(|digest| digest.split('@').next())
            .unwrap_or("<none>");
        return vec![[name.to_owned(), "<none>".to_owned(), id, size]];
    }
    image.tags.iter().map(named).collect()
}

async fn export(runtime: &dyn Runtime, output: &Path, references: &[String]) -> Result<()> {
    if output == Path::new("-") {
        use std::io::IsTerminal;
        if std::io::stdout().is_terminal() {
            bail!("standard output is a terminal: name a file with --output");
        }
        return runtime
            .export_images(references, &mut tokio::io::stdout())
            .await
            .context("writing the tar");
    }
    let mut tar = tokio::fs::File::create(output)
        .await
        .with_context(|| format!("creating {}", output.display()))?;
    let written = runtime.export_images(references, &mut tar).await;
    if written.is_err() {
        // Half a tar is of no use to anybody.
        let _ = tokio::fs::remove_file(output).await;
    }
    written.with_context(|| format!("writing {}", output.display()))
}
