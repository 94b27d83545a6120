//! The runtime trait over containerd's native API.
