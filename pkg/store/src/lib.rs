//! Revisioned, watchable, snapshotable bytes.
