//! A way to a registry that breaks.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Passes connections on and cuts those that have brought `limit` bytes, `cuts` times.
pub struct Breaker {
    pub port: u16,
    pub cut: Arc<AtomicUsize>,
}

impl Breaker {
    pub fn start(to: u16, limit: usize, cuts: usize) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&cut);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let count = Arc::clone(&count);
                std::thread::spawn(move || pass(client, to, limit, cuts, &count));
            }
        });
        Self { port, cut }
    }
}

fn pass(mut client: TcpStream, to: u16, limit: usize, cuts: usize, count: &AtomicUsize) {
    let mut server = TcpStream::connect(("127.0.0.1", to)).unwrap();
    let (mut upstream, mut requests) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut requests, &mut upstream);
    });
    let mut buffer = [0; 16 << 10];
    let mut passed = 0;
    while let Ok(read) = server.read(&mut buffer) {
        if read == 0 || client.write_all(&buffer[..read]).is_err() {
            break;
        }
        passed += read;
        if passed > limit
            && count
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| {
                    (n < cuts).then_some(n + 1)
                })
                .is_ok()
        {
            break;
        }
    }
    let _ = client.shutdown(std::net::Shutdown::Both);
    let _ = server.shutdown(std::net::Shutdown::Both);
}
