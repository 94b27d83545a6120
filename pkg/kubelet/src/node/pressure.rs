//! Pressures: they begin at once and end only when they were not seen for a while, so that a node at a
//! threshold does not change its mind with every look.

use std::time::Duration;

use tokio::time::Instant;

use super::machine::Disk;

/// Upstream's `--eviction-pressure-transition-period`.
const REST: Duration = Duration::from_secs(5 * 60);
/// Least free room: below it the node is under pressure.
const MEMORY_LEAST: u64 = 100 << 20;
const DISK_LEAST_PERCENT: u64 = 5;

/// One pressure: when it was last seen.
#[derive(Debug, Default)]
pub struct Pressure(Option<Instant>);

impl Pressure {
    /// Whether the node is under this pressure, `low` being what is seen now.
    pub fn see(&mut self, low: bool, now: Instant) -> bool {
        if low {
            self.0 = Some(now);
        }
        self.0 = self.0.filter(|seen| now.duration_since(*seen) < REST);
        self.0.is_some()
    }
}

/// Whether so few bytes of memory are too few.
pub fn memory_is_low(available: u64) -> bool {
    available < MEMORY_LEAST
}

/// Whether bytes or inodes of the disk are running out.
pub fn disk_is_low(disk: &Disk) -> bool {
    let low = |free: u64, all: u64| all > 0 && free < all / 100 * DISK_LEAST_PERCENT;
    low(disk.available, disk.capacity) || low(disk.inodes_free, disk.inodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pressure_ends_when_it_was_not_seen_for_five_minutes() {
        let (mut pressure, start) = (Pressure::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!pressure.see(false, at(0)));
        assert!(pressure.see(true, at(10)));
        assert!(pressure.see(false, at(20)));
        assert!(pressure.see(true, at(200)));
        assert!(pressure.see(false, at(499)));
        assert!(!pressure.see(false, at(500)));
        assert!(pressure.see(true, at(510)));
    }

    #[test]
    fn inodes_run_out_too() {
        let disk = |available, inodes_free| Disk {
            capacity: 1000,
            available,
            inodes: 1000,
            inodes_free,
        };
        assert!(!disk_is_low(&disk(50, 50)));
        assert!(disk_is_low(&disk(49, 50)));
        assert!(disk_is_low(&disk(50, 49)));
    }
}
