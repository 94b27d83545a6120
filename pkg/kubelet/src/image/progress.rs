//! How far a pull is, for who waits for it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use kobune_runtime::Progress;

/// Sums up what one pull tells.
#[derive(Default)]
pub struct Tally {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Bytes that have arrived and bytes in all, by blob.
    blobs: BTreeMap<String, (u64, u64)>,
    told: String,
    /// The registry was asked, and accepted this of the credentials.
    accepted: Option<Option<usize>>,
}

impl Tally {
    /// Takes in what the runtime tells.
    pub fn take(&self, progress: Progress) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match progress {
            Progress::Resolved {
                missing, credential, ..
            } => {
                state.accepted = Some(credential);
                let blobs = missing.into_iter().map(|(digest, size)| (digest, (0, size)));
                state.blobs.extend(blobs);
            }
            Progress::Downloaded { digest, bytes, total } => drop(state.blobs.insert(digest, (bytes, total))),
            Progress::Unpacked { .. } => {}
        }
    }

    /// Which of the credentials the registry accepted; `None` if it was not asked.
    pub fn accepted(&self) -> Option<Option<usize>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.accepted
    }

    /// `12.5 of 50.0 MiB downloaded`; `None` while there is nothing new to say.
    pub fn news(&self) -> Option<String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = |of: fn(&(u64, u64)) -> u64| state.blobs.values().map(of).sum::<u64>();
        let (arrived, all) = (sum(|blob| blob.0), sum(|blob| blob.1));
        let text = match (all, arrived) {
            (0, _) => return None,
            _ if arrived >= all => format!("{:.1} MiB downloaded, unpacking", mebibytes(all)),
            _ => format!(
                "{:.1} of {:.1} MiB downloaded",
                mebibytes(arrived),
                mebibytes(all)
            ),
        };
        (state.told != text).then(|| {
            state.told.clone_from(&text);
            text
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people to read, with one decimal")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_arrived_is_told_once() {
        let tally = Tally::default();
        assert_eq!(tally.news(), None);
        tally.take(Progress::Resolved {
            digest: "m".into(),
            missing: vec![("a".into(), 40 << 20), ("b".into(), 10 << 20)],
            credential: None,
        });
        let downloaded = |digest: &str, bytes: u64, total: u64| {
            tally.take(Progress::Downloaded {
                digest: digest.into(),
                bytes: bytes << 20,
                total: total << 20,
            });
        };
        downloaded("a", 12, 40);
        downloaded("b", 1, 10);
        assert_eq!(tally.news().as_deref(), Some("13.0 of 50.0 MiB downloaded"));
        assert_eq!(tally.news(), None);
        downloaded("a", 40, 40);
        downloaded("b", 10, 10);
        assert_eq!(tally.news().as_deref(), Some("50.0 MiB downloaded, unpacking"));
    }
}
