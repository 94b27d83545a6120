//! A forward proxy as companies have them: it knows names that nobody else knows, wants a password,
//! forwards plain requests and passes tunnels on.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

pub struct Proxy {
    pub port: u16,
    /// The first line of each request that was let through.
    pub seen: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Every name leads to this port of the machine. `account` is `user:password` in base64.
    pub fn start(to: u16, account: &'static str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&seen);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let lines = Arc::clone(&lines);
                std::thread::spawn(move || serve(client, to, account, &lines));
            }
        });
        Self { port, seen }
    }
}

fn serve(mut client: TcpStream, to: u16, account: &str, seen: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).unwrap_or(0) > 0 {
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let allowed = format!("proxy-authorization: Basic {account}\r\n").to_lowercase();
    if !head.to_lowercase().contains(&allowed) {
        let _ = client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
        return;
    }
    let line = head.lines().next().unwrap().to_owned();
    seen.lock().unwrap().push(line.clone());
    let mut server = TcpStream::connect(("127.0.0.1", to)).unwrap();
    if line.starts_with("CONNECT ") {
        client
            .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            .unwrap();
    } else {
        // http://host/path -> /path; the password is not for the registry.
        let url = line.split(' ').nth(1).unwrap();
        let path = url.strip_prefix("http://").unwrap().split_once('/').unwrap().1;
        let rest = head.split_once("\r\n").unwrap().1;
        let rest: Vec<&str> = rest
            .split("\r\n")
            .filter(|header| !header.to_lowercase().starts_with("proxy-"))
            .collect();
        write!(server, "GET /{path} HTTP/1.1\r\n{}", rest.join("\r\n")).unwrap();
    }
    let (mut up, mut down) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut down, &mut up);
        let _ = up.shutdown(Shutdown::Write);
    });
    let _ = std::io::copy(&mut server, &mut client);
    let _ = client.shutdown(Shutdown::Both);
}
