//! `kobune check-config`: what this machine lacks, and how to mend it.

mod kernel;
mod network;
mod room;

use anyhow::{Result, bail};

use crate::cli::CheckConfigArgs;
use crate::paths::Paths;

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grade {
    Good,
    /// Something works less well.
    Warning,
    /// kobune cannot run pods.
    Failure,
}

struct Finding {
    grade: Grade,
    what: String,
    fix: String,
}

fn finding(good: bool, otherwise: Grade, what: &str, fix: &str) -> Finding {
    Finding {
        grade: if good { Grade::Good } else { otherwise },
        what: what.to_owned(),
        fix: fix.to_owned(),
    }
}

/// Prints all findings; fails if one of them keeps kobune from running.
pub fn run(arguments: &CheckConfigArgs) -> Result<()> {
    let paths = Paths::of(&arguments.server.data_dir);
    let mut findings = vec![root()];
    findings.extend(kernel::features());
    findings.extend(kernel::cgroups());
    if crate::claim::is_taken(&paths) {
        let what = format!("a server with {} runs, and has its ports", paths.data.display());
        findings.push(finding(true, Grade::Good, &what, ""));
    } else {
        findings.extend(network::ports(arguments.https_listen_port));
    }
    if !arguments
        .disable
        .iter()
        .any(|part| part == "dns" || part == "coredns")
    {
        findings.push(network::dns_port());
    }
    findings.extend(network::forwarding(&paths));
    findings.extend(programs(arguments.container_runtime_endpoint.as_deref()));
    findings.extend(room::disk(&paths.data));
    let mut failures = 0;
    for finding in &findings {
        let mark = match finding.grade {
            Grade::Good => "ok  ",
            Grade::Warning => "warn",
            Grade::Failure => "FAIL",
        };
        println!("{mark}  {}", finding.what);
        if finding.grade != Grade::Good {
            println!("      fix: {}", finding.fix);
        }
        failures += usize::from(finding.grade == Grade::Failure);
    }
    if failures > 0 {
        bail!(
            "{failures} of {} checks failed; each says above how to mend it",
            findings.len()
        );
    }
    println!("This machine can run kobune.");
    Ok(())
}

fn root() -> Finding {
    finding(
        nix::unistd::geteuid().is_root(),
        Grade::Failure,
        "running as root",
        "run it with sudo",
    )
}

fn programs(endpoint: Option<&str>) -> Vec<Finding> {
    if let Some(endpoint) = endpoint {
        let socket = endpoint.trim_start_matches("unix://");
        return vec![finding(
            std::os::unix::net::UnixStream::connect(socket).is_ok(),
            Grade::Failure,
            &format!("a containerd listens on {socket}"),
            "start it, or do without --container-runtime-endpoint",
        )];
    }
    let found = |name: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(Into::into))
            .any(|folder| folder.join(name).is_file())
    };
    ["containerd", "containerd-shim-runc-v2", "runc"]
        .map(|name| {
            finding(
                found(name),
                Grade::Failure,
                &format!("{name} is installed"),
                "install it with `apt-get install containerd runc`",
            )
        })
        .into()
}
