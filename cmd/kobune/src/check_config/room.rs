//! Room on the disk.

use std::path::Path;

use super::{Finding, Grade, finding};

/// The kubelet takes no new pods when less than this is left.
const PRESSURE_PERCENT: u64 = 5;

/// Whether images and volumes have room where `data` is or will be.
pub(super) fn disk(data: &Path) -> Option<Finding> {
    let present = data.ancestors().find(|folder| folder.exists())?;
    let stat = nix::sys::statvfs::statvfs(present).ok()?;
    let free = stat.blocks_available() * stat.fragment_size() / (1 << 20);
    let bytes = percent(stat.blocks_available(), stat.blocks());
    let files = percent(stat.files_available(), stat.files());
    Some(finding(
        free >= 1024 && bytes > 2 * PRESSURE_PERCENT && files > 2 * PRESSURE_PERCENT,
        Grade::Warning,
        &format!(
            "{free} MiB ({bytes} %) and {files} % of the files are free below {}",
            present.display()
        ),
        &format!(
            "free some space (1 GiB at least; below {PRESSURE_PERCENT} % the node has DiskPressure and takes no \
             pods) or choose another folder with --data-dir"
        ),
    ))
}

/// File systems that make inodes as they are needed have none to count.
fn percent(free: u64, all: u64) -> u64 {
    (free * 100).checked_div(all).unwrap_or(100)
}
