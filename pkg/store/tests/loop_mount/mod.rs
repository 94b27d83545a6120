//! A small disk of our own: an ext4 filesystem in a file, whose power can be cut.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount, umount2};

// EXT4_IOC_SHUTDOWN, as in the kernel's ext4.h.
nix::ioctl_read!(ext4_shutdown, b'X', 125, u32);
/// Stop at once; neither data nor journal are written.
const NO_LOG_FLUSH: u32 = 2;

/// A mounted filesystem that is unmounted, and its file removed, when it goes.
pub struct LoopMount {
    folder: tempfile::TempDir,
}

impl LoopMount {
    /// Makes and mounts a filesystem of `bytes`. Fails, saying what is missing, where that cannot be done.
    pub fn new(bytes: u64) -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "this test mounts a filesystem and needs root"
        );
        let disk = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let image = disk.image();
        File::create(&image).and_then(|file| file.set_len(bytes)).unwrap();
        run(
            "mkfs.ext4 (package e2fsprogs)",
            Command::new("mkfs.ext4")
                .args(["-q", "-F", "-m", "0"])
                .arg(&image),
        );
        std::fs::create_dir(disk.path()).unwrap();
        disk.mount();
        disk
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("mount")
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn mount(&self) {
        let mut command = Command::new("mount");
        run(
            "a loop device",
            command
                .args(["-t", "ext4", "-o", "loop"])
                .arg(self.image())
                .arg(self.path()),
        );
    }

    /// From now on nothing reaches the disk, and what was not synced is gone.
    pub fn cut_power(&self) {
        let root = File::open(self.path()).unwrap();
        let mut how = NO_LOG_FLUSH;
        // SAFETY: the descriptor is open and the kernel reads one u32 from the pointer.
        unsafe { ext4_shutdown(root.as_raw_fd(), &raw mut how) }.expect("the kernel can shut down ext4");
    }

    /// Mounts it again, as after the power came back.
    pub fn restart(&self) {
        self.unmount().expect("nobody uses the disk any more");
        self.wait_until_released();
        self.mount();
    }

    /// Whoever makes a mount namespace just now (any container that starts) holds the disk for a moment more;
    /// mounted again meanwhile, it would still be the one without power.
    fn wait_until_released(&self) {
        let until = Instant::now() + Duration::from_secs(10);
        while self.is_attached() {
            assert!(Instant::now() < until, "{} is still held", self.image().display());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn is_attached(&self) -> bool {
        let devices = std::fs::read_dir("/sys/block").unwrap();
        let image = self.image();
        devices.flatten().any(|device| {
            let file = std::fs::read_to_string(device.path().join("loop/backing_file"));
            file.is_ok_and(|file| Path::new(file.trim_end()) == image)
        })
    }

    fn unmount(&self) -> nix::Result<()> {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            match umount(&self.path()) {
                // A killed process takes a moment to let go.
                Err(Errno::EBUSY) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
                result => return result,
            }
        }
    }
}

impl Drop for LoopMount {
    fn drop(&mut self) {
        if !std::thread::panicking() && self.unmount().is_ok() {
            return;
        }
        // Somebody still uses it: it goes when they do.
        if let Err(error) = umount2(&self.path(), MntFlags::MNT_DETACH)
            && error != Errno::EINVAL
        {
            println!("{} stays mounted: {error}", self.path().display());
        }
    }
}

fn run(needed: &str, command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("this test needs {needed}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "this test needs {needed}; {command:?}: {errors}"
    );
}

/// Fills the filesystem with a file until `left` bytes are free.
pub fn fill(path: &Path, left: u64) {
    let mut file = File::create(path).unwrap();
    let folder = path.parent().unwrap();
    let zeros = vec![0; 64 << 10];
    loop {
        let found = nix::sys::statvfs::statvfs(folder).unwrap();
        let free = found.blocks_available() as u64 * found.fragment_size() as u64;
        let size = free.saturating_sub(left).min(zeros.len() as u64) as usize;
        if size == 0 || file.write_all(&zeros[..size]).is_err() {
            break;
        }
    }
    // Where delayed allocation meets the end is of no interest: full is what we want.
    let _ = file.sync_all();
}
