//! Which unused images go when the disk is full. The choice is pure.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use kobune_runtime::{FilesystemUsage, Image, Runtime};

/// Thresholds of image garbage collection.
#[derive(Debug, Clone, Copy)]
pub struct Thresholds {
    /// Percent of the disk above which images are removed.
    pub high: u8,
    /// Percent down to which they are.
    pub low: u8,
    /// Images younger than this stay.
    pub minimum_age: Duration,
}

/// Bytes to free, if any.
pub fn excess(usage: &FilesystemUsage, thresholds: Thresholds) -> u64 {
    if usage.capacity == 0 {
        return 0;
    }
    let used = usage.capacity.saturating_sub(usage.available);
    let percent = |p: u8| usage.capacity / 100 * u64::from(p);
    if used < percent(thresholds.high) {
        0
    } else {
        used.saturating_sub(percent(thresholds.low))
    }
}

/// Ids of the images to remove, least recently used first, until `bytes` are freed.
pub fn choose(
    images: &[Image],
    in_use: &HashSet<String>,
    bytes: u64,
    minimum_age: Duration,
    now: Timestamp,
) -> Vec<String> {
    let old_enough = |i: &&Image| {
        i.last_used.is_none_or(|t| {
            // Used in the future: the clock was set back since.
            now.duration_since(t) >= jiff::SignedDuration::try_from(minimum_age).unwrap_or_default()
                || t > now
        })
    };
    let used =
        |i: &Image| in_use.contains(&i.id) || i.tags.iter().chain(&i.digests).any(|n| in_use.contains(n));
    let mut unused: Vec<&Image> = images
        .iter()
        .filter(|i| !i.pinned && !used(i))
        .filter(old_enough)
        .collect();
    unused.sort_by_key(|i| i.last_used);
    let (mut freed, mut chosen) = (0, Vec::new());
    for image in unused {
        if freed >= bytes {
            break;
        }
        freed += image.size;
        chosen.push(image.id.clone());
    }
    chosen
}

/// Looks at the disk and removes unused images if it is too full. Answers the bytes freed.
pub async fn collect(runtime: &dyn Runtime, thresholds: Thresholds) -> kobune_runtime::Result<u64> {
    let bytes = excess(&runtime.image_usage().await?, thresholds);
    if bytes == 0 {
        return Ok(0);
    }
    let images = runtime.images().await?;
    let containers = runtime.containers().await?;
    let in_use: HashSet<String> = containers
        .into_iter()
        .flat_map(|c| [c.image_id, c.image])
        .collect();
    let mut freed = 0;
    for id in choose(&images, &in_use, bytes, thresholds.minimum_age, Timestamp::now()) {
        runtime.remove_image(&id).await?;
        freed += images.iter().find(|i| i.id == id).map_or(0, |i| i.size);
        tracing::info!(image = %id, "removed an unused image because the disk is full");
    }
    Ok(freed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds {
        high: 85,
        low: 80,
        minimum_age: Duration::from_secs(120),
    };

    fn usage(percent: u64) -> FilesystemUsage {
        FilesystemUsage {
            path: "/".into(),
            used: 0,
            capacity: 1000,
            available: 1000 - percent * 10,
        }
    }

    #[test]
    fn nothing_goes_below_the_threshold() {
        assert_eq!(excess(&usage(84), THRESHOLDS), 0);
        assert_eq!(excess(&usage(90), THRESHOLDS), 100);
    }

    #[test]
    fn the_least_recently_used_go_first_and_used_ones_stay() {
        let at = |s: i64| Some(Timestamp::from_second(s).unwrap());
        let image = |id: &str, used: i64| Image {
            id: id.into(),
            size: 60,
            last_used: at(used),
            ..Default::default()
        };
        let images = [
            image("new", 990),
            image("b", 200),
            image("a", 100),
            image("used", 1),
            image("c", 300),
        ];
        let in_use = HashSet::from(["used".to_owned()]);
        let chosen = choose(
            &images,
            &in_use,
            100,
            THRESHOLDS.minimum_age,
            Timestamp::from_second(1000).unwrap(),
        );
        assert_eq!(chosen, ["a", "b"]);
    }
}
