//! Ports and address ranges that nobody else on this machine uses.

use std::net::{Ipv4Addr, TcpListener};

/// A free TCP port; the kernel does not give the same out again soon.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the loopback has a free port");
    listener
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}

/// A number that differs between clusters alive on this machine, from 0 to 49: held by a lock file for
/// as long as the answer lives.
pub struct Slot {
    /// The number.
    pub number: u8,
    _lock: std::fs::File,
}

impl Slot {
    /// The lowest free number.
    pub fn take() -> Slot {
        for number in 0..50 {
            let path = format!("/tmp/kobune-test-slot-{number}.lock");
            let file = std::fs::OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path);
            let file = file.unwrap_or_else(|error| panic!("opening {path}: {error}"));
            if file.try_lock().is_ok() {
                return Slot { number, _lock: file };
            }
        }
        panic!("fifty test clusters are alive on this machine");
    }
}
