//! Making namespaces on a thread of their own and pinning them to files, so that they outlive us.
//!
//! The folder of the pins is a private mount: what is bound there does not spread into other mount
//! namespaces and can always be unbound.

use std::ffi::CString;
use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use kobune_runtime::{Error, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

/// `f_type` of a file that is a namespace.
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// What a new set of namespaces is made from.
pub(crate) struct Wanted<'a> {
    /// The folder for the pins; exists.
    pub(crate) folder: &'a Path,
    pub(crate) network: bool,
    pub(crate) ipc: bool,
    /// The hostname of a new UTS namespace.
    pub(crate) hostname: Option<&'a str>,
    /// Written to /proc/sys inside, names with dots.
    pub(crate) sysctls: Vec<(String, String)>,
    /// Make a PID namespace too, with this program as its first process.
    pub(crate) init: Option<PathBuf>,
}

/// What came of it.
pub(crate) struct Made {
    /// The first process of the new PID namespace.
    pub(crate) init: Option<i32>,
}

/// Makes the namespaces and pins them as `net`, `ipc`, `uts` and `pid` in the folder.
pub(crate) fn make(wanted: Wanted<'_>) -> Result<Made> {
    // unshare changes the calling thread for good: it gets one that ends afterwards.
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("namespaces".into())
            .spawn_scoped(scope, || on_thread(&wanted));
        let thread = thread.map_err(|error| Error::other("starting a thread for the namespaces", error))?;
        thread.join().unwrap_or_else(|_| {
            Err(Error::Config {
                message: "making the namespaces panicked".into(),
            })
        })
    })
}

fn on_thread(wanted: &Wanted<'_>) -> Result<Made> {
    let mut flags = CloneFlags::empty();
    flags.set(CloneFlags::CLONE_NEWNET, wanted.network);
    flags.set(CloneFlags::CLONE_NEWIPC, wanted.ipc);
    flags.set(CloneFlags::CLONE_NEWUTS, wanted.hostname.is_some());
    unshare(flags).map_err(|error| Error::other("making the pod's namespaces", error))?;
    if let Some(hostname) = wanted.hostname {
        nix::unistd::sethostname(hostname)
            .map_err(|error| Error::other(format!("setting the hostname {hostname:?}"), error))?;
    }
    for (name, value) in &wanted.sysctls {
        let path = sysctl_path(name);
        fs::write(&path, value).map_err(|error| Error::Config {
            message: format!("setting sysctl {name}={value}: {error}"),
        })?;
    }
    // /proc/thread-self is the thread that made them, not the process.
    for (name, made) in [
        ("net", wanted.network),
        ("ipc", wanted.ipc),
        ("uts", wanted.hostname.is_some()),
    ] {
        if made {
            pin(
                &PathBuf::from("/proc/thread-self/ns").join(name),
                &wanted.folder.join(name),
            )?;
        }
    }
    let init = match &wanted.init {
        Some(program) => Some(start_init(program, wanted.folder)?),
        None => None,
    };
    Ok(Made { init })
}

/// `net.ipv4.ip_forward` or `net/ipv4/ip_forward`: with the first separator being a slash, dots are kept.
fn sysctl_path(name: &str) -> PathBuf {
    let first_is_slash = name
        .find(['.', '/'])
        .is_some_and(|place| name.as_bytes()[place] == b'/');
    let relative: String = if first_is_slash {
        name.to_owned()
    } else {
        name.chars()
            .map(|c| {
                if c == '.' {
                    '/'
                } else if c == '/' {
                    '.'
                } else {
                    c
                }
            })
            .collect()
    };
    Path::new("/proc/sys").join(relative)
}

/// Starts `program pod-init <sandbox>` as process 1 of a new PID namespace and pins that.
fn start_init(program: &Path, folder: &Path) -> Result<i32> {
    use std::os::unix::process::CommandExt;
    unshare(CloneFlags::CLONE_NEWPID)
        .map_err(|error| Error::other("making the pod's PID namespace", error))?;
    let mut command = std::process::Command::new(program);
    command.arg("pod-init").args(folder.file_name());
    command.env_clear().current_dir("/");
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    // SAFETY: setsid is async-signal-safe and touches no memory of the parent.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            Ok(())
        });
    }
    let child = command
        .spawn()
        .map_err(|error| Error::other("starting the pod's init process", error))?;
    let pid = child.id() as i32;
    pin(&PathBuf::from(format!("/proc/{pid}/ns/pid")), &folder.join("pid"))?;
    Ok(pid)
}

/// Binds the namespace `from` to the file `to`, made if it does not exist.
fn pin(from: &Path, to: &Path) -> Result<()> {
    if is_namespace(to) {
        unpin(to);
    }
    fs::write(to, b"").map_err(|error| Error::other(format!("making {}", to.display()), error))?;
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(|error| Error::other(format!("binding {} to {}", from.display(), to.display()), error))
}

/// Unbinds and removes a pin; fine if there is none.
pub(crate) fn unpin(path: &Path) {
    let _ = umount2(path, MntFlags::MNT_DETACH);
    let _ = fs::remove_file(path);
}

/// True when the file is a bound namespace: after a reboot it is an empty file, or gone.
pub(crate) fn is_namespace(path: &Path) -> bool {
    nix::sys::statfs::statfs(path).is_ok_and(|stat| stat.filesystem_type().0 == NSFS_MAGIC)
}

/// Makes the folder of all pins a private mount of itself, once.
pub(crate) fn prepare_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)
        .map_err(|error| Error::other(format!("making {}", folder.display()), error))?;
    if is_mount_point(folder) {
        return Ok(());
    }
    let doing = || format!("making {} a private mount", folder.display());
    mount(Some(folder), folder, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(|error| Error::other(doing(), error))?;
    mount(
        None::<&str>,
        folder,
        None::<&str>,
        MsFlags::MS_PRIVATE,
        None::<&str>,
    )
    .map_err(|error| Error::other(doing(), error))
}

/// True when something is mounted exactly there.
pub(crate) fn is_mount_point(path: &Path) -> bool {
    // statx tells without reading the table of mounts.
    let Ok(name) = CString::new(path.as_os_str().as_encoded_bytes()) else {
        return false;
    };
    let Ok(root) = fs::File::open("/") else {
        return false;
    };
    // SAFETY: statx is a plain structure; all zeroes is a valid value.
    let mut info: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: `name` ends in NUL and `info` is written only during the call.
    let answer = unsafe {
        libc::statx(
            root.as_raw_fd(),
            name.as_ptr(),
            libc::AT_SYMLINK_NOFOLLOW,
            0,
            &mut info,
        )
    };
    answer == 0
        && info.stx_attributes_mask & libc::STATX_ATTR_MOUNT_ROOT as u64 != 0
        && info.stx_attributes & libc::STATX_ATTR_MOUNT_ROOT as u64 != 0
}

/// Mounts a tmpfs for /dev/shm; its size in bytes.
pub(crate) fn mount_shm(path: &Path, bytes: u64) -> Result<()> {
    fs::create_dir_all(path).map_err(|error| Error::other(format!("making {}", path.display()), error))?;
    if is_mount_point(path) {
        return Ok(());
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let options = format!("mode=1777,size={bytes}");
    mount(Some("shm"), path, Some("tmpfs"), flags, Some(options.as_str()))
        .map_err(|error| Error::other(format!("mounting {}", path.display()), error))
}

/// Unmounts; fine if nothing is mounted.
pub(crate) fn unmount(path: &Path) {
    let _ = umount2(path, MntFlags::MNT_DETACH);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_in_an_interface_name_are_kept_after_a_slash() {
        assert_eq!(
            sysctl_path("net.ipv4.ip_forward"),
            Path::new("/proc/sys/net/ipv4/ip_forward")
        );
        assert_eq!(
            sysctl_path("net/ipv4/conf/eth0.1/forwarding"),
            Path::new("/proc/sys/net/ipv4/conf/eth0.1/forwarding")
        );
        assert_eq!(
            sysctl_path("net.ipv4.conf.eth0/1.forwarding"),
            Path::new("/proc/sys/net/ipv4/conf/eth0.1/forwarding")
        );
    }
}
