//! Output that is written while no kobune runs.
//!
//! A FIFO's content is gone when nobody has it open, and the shim closes its ends when a container
//! ends. So a kobune that stops hands the FIFOs to a process that does nothing but keep them open,
//! and the next one ends it when it has opened them itself. Only a kobune that is killed leaves
//! none: then the last output of a container that ends before the next start is lost.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Starts `program pod-init`, which waits for SIGTERM, with these files open.
pub(crate) fn start(program: &Path, run_dir: &Path, files: &[File]) {
    if files.is_empty() {
        return;
    }
    let descriptors: Vec<i32> = files.iter().map(AsRawFd::as_raw_fd).collect();
    let mut command = Command::new(program);
    command.arg("pod-init").env_clear().current_dir("/");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // SAFETY: setsid and fcntl are async-signal-safe; the descriptors are open until spawn returns.
    unsafe {
        command.pre_exec(move || {
            libc::setsid();
            for descriptor in &descriptors {
                libc::fcntl(*descriptor, libc::F_SETFD, 0);
            }
            Ok(())
        });
    }
    let started = command
        .spawn()
        .and_then(|child| std::fs::write(pid_file(run_dir), child.id().to_string()));
    if let Err(error) = started {
        tracing::warn!(%error, "output that containers write from now until the next start may be lost");
    }
}

/// Ends the keeper of an earlier kobune, if there is one.
pub(crate) fn end(run_dir: &Path) {
    let path = pid_file(run_dir);
    let Some(pid) = std::fs::read_to_string(&path)
        .ok()
        .and_then(|text| text.trim().parse::<i32>().ok())
    else {
        return;
    };
    let _ = std::fs::remove_file(path);
    // Its number may be another's by now.
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    if line.split(|byte| *byte == 0).nth(1) == Some(b"pod-init") {
        let pid = nix::unistd::Pid::from_raw(pid);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        // A child of ours only if this process itself was connected before.
        let _ = nix::sys::wait::waitpid(pid, Some(nix::sys::wait::WaitPidFlag::WNOHANG));
    }
}

fn pid_file(run_dir: &Path) -> PathBuf {
    run_dir.join("output-keeper.pid")
}
