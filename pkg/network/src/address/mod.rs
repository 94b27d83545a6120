//! The addresses of this node's pods: which pod has which, kept in one small file per pod.
//!
//! ```text
//! {state_dir}/pods/{uid}.json   {"pod":"…","address":"10.42.0.7","host_ports":[…]}
//! {state_dir}/last              10.42.0.7      where the search for the next address goes on
//! ```
//!
//! A record is in place (written beside, renamed) before its address is used, so a crash of the process
//! can leak a record, which [`Pool::keep_only`] frees, but never hands an address out twice. Files are
//! not synced: what a power cut tears belongs to network namespaces that died with it.

pub(crate) mod plan;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::host_port::HostPort;
use crate::{Cidr, NetworkError};

/// What is known of a pod's network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub pod: String,
    pub address: Ipv4Addr,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_ports: Vec<HostPort>,
}

/// The records, in memory and on disk.
#[derive(Debug)]
pub(crate) struct Pool {
    directory: PathBuf,
    range: Cidr,
    last: Option<Ipv4Addr>,
    by_pod: BTreeMap<String, Record>,
    taken: HashSet<Ipv4Addr>,
}

impl Pool {
    /// Reads the records. Those that are unreadable, outside the range or in conflict with an earlier
    /// one are removed and returned by their file's name, so that their links can be removed too.
    pub(crate) fn open(directory: &Path, range: Cidr) -> Result<(Self, Vec<String>), NetworkError> {
        let pods = directory.join("pods");
        fs::create_dir_all(&pods).map_err(NetworkError::records(&pods))?;
        let last = fs::read_to_string(directory.join("last"))
            .ok()
            .and_then(|last| last.trim().parse().ok());
        let mut pool = Self {
            directory: directory.to_owned(),
            range,
            last,
            by_pod: BTreeMap::new(),
            taken: HashSet::new(),
        };
        let mut dropped = Vec::new();
        for entry in fs::read_dir(&pods).map_err(NetworkError::records(&pods))? {
            let path = entry.map_err(NetworkError::records(&pods))?.path();
            if !pool.load(&path) {
                tracing::warn!(path = %path.display(), "address record dropped: unreadable, foreign or in conflict");
                dropped.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
                remove(&path)?;
            }
        }
        Ok((pool, dropped))
    }

    fn load(&mut self, path: &Path) -> bool {
        let Ok(bytes) = fs::read(path) else { return false };
        let Ok(record) = serde_json::from_slice::<Record>(&bytes) else {
            return false;
        };
        let known = path == self.path(&record.pod)
            && plan::usable(&self.range, record.address)
            && self.taken.insert(record.address);
        if known {
            self.by_pod.insert(record.pod.clone(), record);
        }
        known
    }

    /// The pod's address; the one it has, or the next free one.
    pub(crate) fn allocate(&mut self, pod: &str) -> Result<Ipv4Addr, NetworkError> {
        if let Some(record) = self.by_pod.get(pod) {
            return Ok(record.address);
        }
        let address = plan::next(&self.range, self.last, |address| self.taken.contains(&address))
            .ok_or_else(|| NetworkError::NoAddress {
                range: self.range,
                pod_uid: pod.to_owned(),
            })?;
        self.save(Record {
            pod: pod.to_owned(),
            address,
            host_ports: Vec::new(),
        })?;
        self.last = Some(address);
        replace(&self.directory.join("last"), address.to_string().as_bytes())?;
        Ok(address)
    }

    /// The pod's address, if it has one.
    pub(crate) fn address(&self, pod: &str) -> Option<Ipv4Addr> {
        self.by_pod.get(pod).map(|record| record.address)
    }

    /// Notes the ports of the node that lead to this pod. Without a record there is nothing to note.
    pub(crate) fn set_host_ports(&mut self, pod: &str, ports: Vec<HostPort>) -> Result<(), NetworkError> {
        match self.by_pod.get(pod) {
            Some(record) if record.host_ports != ports => {
                let record = Record {
                    host_ports: ports,
                    ..record.clone()
                };
                self.save(record)
            }
            _ => Ok(()),
        }
    }

    fn save(&mut self, record: Record) -> Result<(), NetworkError> {
        let path = self.path(&record.pod);
        let bytes = serde_json::to_vec(&record).map_err(|error| NetworkError::Records {
            path: path.clone(),
            source: error.into(),
        })?;
        replace(&path, &bytes)?;
        self.taken.insert(record.address);
        self.by_pod.insert(record.pod.clone(), record);
        Ok(())
    }

    /// Frees the pod's address.
    pub(crate) fn release(&mut self, pod: &str) -> Result<(), NetworkError> {
        let Some(record) = self.by_pod.get(pod) else {
            return Ok(());
        };
        remove(&self.path(pod))?;
        self.taken.remove(&record.address);
        self.by_pod.remove(pod);
        Ok(())
    }

    /// All records, by pod.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.by_pod.values()
    }

    /// Removes all records from disk and memory.
    pub(crate) fn clear(&mut self) -> Result<(), NetworkError> {
        self.by_pod.clear();
        self.taken.clear();
        match fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(NetworkError::records(&self.directory)(error))
            }
            _ => Ok(()),
        }
    }

    fn path(&self, pod: &str) -> PathBuf {
        self.directory
            .join("pods")
            .join(format!("{}.json", pod.replace(['/', '\0'], "_")))
    }
}

/// Puts a whole file in place, or leaves the old one.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), NetworkError> {
    let beside = path.with_extension("new");
    fs::write(&beside, bytes)
        .and_then(|()| fs::rename(&beside, path))
        .map_err(NetworkError::records(path))
}

fn remove(path: &Path) -> Result<(), NetworkError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(NetworkError::records(path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range() -> Cidr {
        "10.42.0.0/29".parse().unwrap()
    }

    fn open(directory: &Path) -> Pool {
        Pool::open(directory, range()).unwrap().0
    }

    #[test]
    fn a_pod_keeps_its_address_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path()).allocate("a").unwrap();
        let mut again = open(dir.path());
        assert_eq!(again.allocate("a").unwrap(), first);
        assert_ne!(again.allocate("b").unwrap(), first);
    }

    #[test]
    fn a_freed_address_is_used_again_last_even_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut pool = open(dir.path());
        let first = pool.allocate("a").unwrap();
        pool.release("a").unwrap();
        let mut pool = open(dir.path());
        let others: Vec<_> = ["b", "c", "d", "e"].map(|pod| pool.allocate(pod).unwrap()).into();
        assert!(!others.contains(&first));
        assert_eq!(pool.allocate("f").unwrap(), first);
        assert!(matches!(pool.allocate("g"), Err(NetworkError::NoAddress { .. })));
    }

    #[test]
    fn torn_foreign_and_double_records_are_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let mut pool = open(dir.path());
        let address = pool.allocate("a").unwrap();
        let pods = dir.path().join("pods");
        fs::write(pods.join("torn.json"), b"{\"pod\":").unwrap();
        fs::write(pods.join("b.json"), br#"{"pod":"b","address":"10.99.0.1"}"#).unwrap();
        fs::write(pods.join("c.new"), b"half").unwrap();
        let (again, mut dropped) = Pool::open(dir.path(), range()).unwrap();
        dropped.sort();
        assert_eq!(dropped, ["b", "c", "torn"]);
        assert_eq!(
            again.records().map(|record| record.address).collect::<Vec<_>>(),
            [address]
        );
        assert_eq!(fs::read_dir(&pods).unwrap().count(), 1);
    }
}
