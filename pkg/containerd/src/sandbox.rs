//! Sandboxes: the namespaces, the shared memory and the record of a pod.
//!
//! ```text
//! {run_dir}/ns/<uid>/{net,ipc,uts,pid}     pinned namespaces (a private mount; gone after a reboot)
//! {run_dir}/shm/<uid>                      the tmpfs at /dev/shm of all containers of the pod
//! {data_dir}/sandboxes/<uid>.json          the record; survives a reboot, so that leftovers are found
//! ```
//!
//! There is no process for a sandbox, except with `shareProcessNamespace`.

use std::fs;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kobune_runtime::{Error, Result, Sandbox, SandboxSpec};
use serde::{Deserialize, Serialize};

use crate::cgroup::Hierarchy;
use crate::namespaces::{self, Wanted};
use crate::spec::plan::PodNamespaces;

/// Size of a pod's /dev/shm, as containerd and Docker have it.
const SHM_BYTES: u64 = 64 << 20;

/// All sandboxes of this kobune.
pub(crate) struct Sandboxes {
    pins: PathBuf,
    shm: PathBuf,
    records: PathBuf,
    init_program: PathBuf,
    boot_id: String,
    cgroups: Hierarchy,
}

/// What is written down of a sandbox.
#[derive(Serialize, Deserialize)]
struct Record {
    spec: SandboxSpec,
    boot_id: String,
    init: Option<Init>,
    #[serde(default)]
    attempt: u32,
}

/// A process that is not mistaken for another one with its number.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq)]
struct Init {
    pid: i32,
    /// `starttime` in clock ticks since the boot.
    started: u64,
}

impl Sandboxes {
    /// Prepares the folders.
    pub(crate) fn open(
        run_dir: &Path,
        data_dir: &Path,
        init_program: PathBuf,
        cgroups: Hierarchy,
    ) -> Result<Self> {
        let sandboxes = Self {
            pins: run_dir.join("ns"),
            shm: run_dir.join("shm"),
            records: data_dir.join("sandboxes"),
            init_program,
            boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id")
                .unwrap_or_default()
                .trim()
                .to_owned(),
            cgroups,
        };
        namespaces::prepare_folder(&sandboxes.pins)?;
        namespaces::prepare_folder(&sandboxes.shm)?;
        fs::create_dir_all(&sandboxes.records)
            .map_err(|error| Error::other(format!("making {}", sandboxes.records.display()), error))?;
        Ok(sandboxes)
    }

    /// Makes what is missing of the sandbox. Blocking: system calls only.
    pub(crate) fn create(&self, spec: &SandboxSpec) -> Result<Sandbox> {
        valid_id(&spec.pod_uid)?;
        let mut attempt = 0;
        if let Some(existing) = self.get(&spec.pod_uid)? {
            if existing.ready {
                return Ok(existing);
            }
            attempt = existing.attempt + 1;
            self.remove(&spec.pod_uid)?;
        }
        self.make(spec, attempt).inspect_err(|_| {
            // Half a sandbox would be taken for a whole one later.
            let _ = self.remove(&spec.pod_uid);
        })
    }

    /// The record comes first, so that what is there when we are killed is found again; the pins come
    /// last, as they are what says that all is there.
    fn make(&self, spec: &SandboxSpec, attempt: u32) -> Result<Sandbox> {
        let mut record = Record {
            spec: spec.clone(),
            boot_id: self.boot_id.clone(),
            init: None,
            attempt,
        };
        self.write(&record)?;
        if !spec.host.ipc {
            namespaces::mount_shm(&self.shm.join(&spec.pod_uid), SHM_BYTES)?;
        }
        let folder = self.pins.join(&spec.pod_uid);
        fs::create_dir_all(&folder)
            .map_err(|error| Error::other(format!("making {}", folder.display()), error))?;
        let made = namespaces::make(Wanted {
            folder: &folder,
            network: !spec.host.network,
            ipc: !spec.host.ipc,
            // The host's network comes with the host's name.
            hostname: (!spec.host.network).then_some(&spec.hostname),
            sysctls: sysctls(spec),
            init: spec.share_process_namespace.then(|| self.init_program.clone()),
        })?;
        if let Some(pid) = made.init {
            self.cgroups.enter(&init_group(spec), pid);
            record.init = Init::of(pid);
            self.write(&record)?;
        }
        Ok(self.sandbox(record, true))
    }

    fn write(&self, record: &Record) -> Result<()> {
        let path = self.record_path(&record.spec.pod_uid);
        let part = path.with_extension("part");
        let doing = || format!("writing {}", path.display());
        let text = serde_json::to_vec(record).map_err(|error| Error::other(doing(), error))?;
        fs::write(&part, text)
            .and_then(|()| fs::rename(&part, &path))
            .map_err(|error| Error::other(doing(), error))
    }

    fn record_path(&self, id: &str) -> PathBuf {
        self.records.join(format!("{id}.json"))
    }

    fn sandbox(&self, record: Record, ready: bool) -> Sandbox {
        let spec = record.spec;
        let network_namespace = (!spec.host.network).then(|| self.pins.join(&spec.pod_uid).join("net"));
        Sandbox {
            id: spec.pod_uid.clone(),
            spec,
            network_namespace,
            ready,
            attempt: record.attempt,
        }
    }

    fn read(&self, path: &Path) -> Option<Record> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    /// The sandbox of a pod, if there is one.
    pub(crate) fn get(&self, id: &str) -> Result<Option<Sandbox>> {
        valid_id(id)?;
        Ok(self.read(&self.record_path(id)).map(|record| {
            let ready = self.is_ready(&record);
            self.sandbox(record, ready)
        }))
    }

    /// All of them. One that was made before a reboot is not ready.
    pub(crate) fn list(&self) -> Result<Vec<Sandbox>> {
        let doing = || format!("reading {}", self.records.display());
        let entries = fs::read_dir(&self.records).map_err(|error| Error::other(doing(), error))?;
        let paths = entries.flatten().map(|entry| entry.path());
        let records = paths.filter(|path| path.extension().is_some_and(|end| end == "json"));
        Ok(records
            .filter_map(|path| self.read(&path))
            .map(|record| {
                let ready = self.is_ready(&record);
                self.sandbox(record, ready)
            })
            .collect())
    }

    fn is_ready(&self, record: &Record) -> bool {
        let spec = &record.spec;
        let folder = self.pins.join(&spec.pod_uid);
        let pinned = |name: &str, wanted: bool| !wanted || namespaces::is_namespace(&folder.join(name));
        record.boot_id == self.boot_id
            && pinned("net", !spec.host.network)
            && pinned("ipc", !spec.host.ipc)
            && pinned("uts", !spec.host.network)
            && (!spec.share_process_namespace || record.init.is_some_and(Init::is_alive))
    }

    /// The namespaces a container of this sandbox joins.
    pub(crate) fn namespaces_of(&self, sandbox: &Sandbox) -> PodNamespaces {
        let spec = &sandbox.spec;
        let pin = |name: &str, wanted: bool| wanted.then(|| self.pins.join(&sandbox.id).join(name));
        PodNamespaces {
            network: pin("net", !spec.host.network),
            ipc: pin("ipc", !spec.host.ipc),
            uts: pin("uts", !spec.host.network),
            pid: pin("pid", spec.share_process_namespace),
            host_pid: spec.host.pid,
            shm: if spec.host.ipc {
                PathBuf::from("/dev/shm")
            } else {
                self.shm.join(&sandbox.id)
            },
        }
    }

    /// Ends the init process, unpins, unmounts and forgets. Its containers must be gone.
    pub(crate) fn remove(&self, id: &str) -> Result<()> {
        valid_id(id)?;
        let record = self.read(&self.record_path(id));
        if let Some(record) = &record
            && record.spec.share_process_namespace
            && record.boot_id == self.boot_id
        {
            // Killed before its number was written down, we know it by its command line.
            if let Some(init) = record.init.or_else(|| Init::find(id)) {
                init.end();
            }
            self.cgroups.remove(&init_group(&record.spec));
        }
        let folder = self.pins.join(id);
        for name in ["net", "ipc", "uts", "pid"] {
            namespaces::unpin(&folder.join(name));
        }
        let _ = fs::remove_dir(&folder);
        let shm = self.shm.join(id);
        namespaces::unmount(&shm);
        let _ = fs::remove_dir(&shm);
        match fs::remove_file(self.record_path(id)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::other(
                format!("removing {}", self.record_path(id).display()),
                error,
            )),
            _ => Ok(()),
        }
    }

    /// Unmounts the folders themselves, when nothing is in them: for `uninstall` and tests.
    pub(crate) fn close(&self) {
        for folder in [&self.pins, &self.shm] {
            if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none()) {
                namespaces::unmount(folder);
            }
        }
    }
}

/// An id becomes part of paths: it must not lead anywhere else.
fn valid_id(id: &str) -> Result<()> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if id.is_empty() || id.starts_with('.') || id.len() > 200 || !id.chars().all(fine) {
        return Err(Error::Config {
            message: format!("{id:?} cannot be a sandbox's id"),
        });
    }
    Ok(())
}

/// Beside the pod's own: ports below 1024 and ping need no privilege inside, as containerd 2 has it.
fn sysctls(spec: &SandboxSpec) -> Vec<(String, String)> {
    let mut all = Vec::new();
    if !spec.host.network {
        for (name, value) in [
            ("net.ipv4.ip_unprivileged_port_start", "0"),
            ("net.ipv4.ping_group_range", "0 2147483647"),
        ] {
            if !spec.sysctls.contains_key(name) {
                all.push((name.to_owned(), value.to_owned()));
            }
        }
    }
    all.extend(
        spec.sysctls
            .iter()
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    all
}

/// A group beside the containers' own: with v2 the pod's own group takes no process.
fn init_group(spec: &SandboxSpec) -> String {
    format!("{}/init", spec.cgroup_parent.trim_end_matches('/'))
}

/// Field 22 of /proc/<pid>/stat; `None` when there is no such process, or only its remains.
fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

impl Init {
    fn of(pid: i32) -> Option<Self> {
        let started = start_time(pid)?;
        Some(Self { pid, started })
    }

    /// The process that was started for this sandbox.
    fn find(id: &str) -> Option<Self> {
        let is_ours = |pid: &i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = line.split(|byte| *byte == 0).skip(1);
            words.next() == Some(b"pod-init") && words.next() == Some(id.as_bytes())
        };
        let entries = fs::read_dir("/proc").ok()?.flatten();
        let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.find(is_ours).and_then(Self::of)
    }

    fn is_alive(self) -> bool {
        start_time(self.pid) == Some(self.started)
    }

    fn end(self) {
        // SAFETY: plain system calls; the descriptor returned is new and ours.
        unsafe {
            let fd = libc::syscall(libc::SYS_pidfd_open, self.pid, 0) as i32;
            if fd >= 0 {
                let fd = OwnedFd::from_raw_fd(fd);
                if self.is_alive() {
                    libc::kill(self.pid, libc::SIGKILL);
                    let mut poll =
                        nix::poll::PollFd::new(std::os::fd::AsFd::as_fd(&fd), nix::poll::PollFlags::POLLIN);
                    let limit = nix::poll::PollTimeout::try_from(Duration::from_secs(5));
                    let _ = nix::poll::poll(
                        std::slice::from_mut(&mut poll),
                        limit.unwrap_or(nix::poll::PollTimeout::ZERO),
                    );
                }
            }
            // Ours to reap unless an earlier kobune started it.
            libc::waitpid(self.pid, std::ptr::null_mut(), libc::WNOHANG);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_cannot_leave_its_folder() {
        for id in ["", "..", "a/b", "../x"] {
            assert!(valid_id(id).is_err(), "{id:?}");
        }
        assert!(valid_id("0f2c9d1e-8f4e-4a7e-9f57-0d3ad2f4a111").is_ok());
    }

    #[test]
    fn the_pods_own_sysctl_wins() {
        let mut spec = SandboxSpec::default();
        spec.sysctls
            .insert("net.ipv4.ip_unprivileged_port_start".into(), "1024".into());
        let all = sysctls(&spec);
        assert_eq!(
            all.iter().filter(|(name, _)| name.contains("port_start")).count(),
            1
        );
        assert!(all.contains(&("net.ipv4.ip_unprivileged_port_start".into(), "1024".into())));
    }
}
