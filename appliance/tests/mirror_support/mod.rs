//! A server of HTTP that plays mirror and snapshot archive, and the locks to go with it.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use melv_appliance::lock::{Architecture, Archive, Lock, Package, Request};
use melv_appliance::sha256::Sha256;

/// The server's behaviour at one path.
#[derive(Clone)]
pub enum Reply {
    Bytes(Vec<u8>),
    Status(u16),
    /// Tells the length, sends some of the bytes, closes.
    Truncated(Vec<u8>, usize),
    /// Tells no length.
    Endless(Vec<u8>),
    /// Sends a byte at a time, with a pause.
    Slow(Vec<u8>, Duration),
    /// Sends nothing.
    Silent(Duration),
    /// Sends a part at once, then nothing.
    Stalls(Vec<u8>, usize, Duration),
    Redirect(String),
    /// Fails at the first time.
    Second(Vec<u8>),
}

#[derive(Clone)]
pub struct Server {
    address: String,
    replies: Arc<Mutex<BTreeMap<String, Reply>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = Self { address, replies: Arc::default(), asked: Arc::default() };
        let other = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = other.clone();
                thread::spawn(move || server.answer(stream));
            }
        });
        server
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn on(&self, path: &str, reply: Reply) {
        self.replies.lock().unwrap().insert(path.to_owned(), reply);
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn answer(&self, mut stream: TcpStream) {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let Some(Ok(first)) = lines.next() else { return };
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let before = self.asked.lock().unwrap().iter().filter(|asked| **asked == path).count();
        self.asked.lock().unwrap().push(path.clone());
        let reply = self.replies.lock().unwrap().get(&path).cloned().unwrap_or(Reply::Status(404));
        // A client that goes away is what some tests are about.
        let _ = send(&mut stream, reply, before);
    }
}

fn send(stream: &mut TcpStream, reply: Reply, before: usize) -> std::io::Result<()> {
    let head = |stream: &mut TcpStream, length: usize| {
        write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n")
    };
    match reply {
        Reply::Bytes(bytes) => {
            head(stream, bytes.len())?;
            stream.write_all(&bytes)
        }
        Reply::Second(bytes) if before > 0 => send(stream, Reply::Bytes(bytes), before),
        Reply::Second(_) => send(stream, Reply::Status(503), before),
        Reply::Status(status) => {
            write!(stream, "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx")
        }
        Reply::Truncated(bytes, count) => {
            head(stream, bytes.len())?;
            stream.write_all(&bytes[..count])
        }
        Reply::Endless(bytes) => {
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            stream.write_all(&bytes)
        }
        Reply::Slow(bytes, pause) => {
            head(stream, bytes.len())?;
            bytes.iter().try_for_each(|byte| {
                thread::sleep(pause);
                stream.write_all(&[*byte])
            })
        }
        Reply::Silent(time) => {
            thread::sleep(time);
            Ok(())
        }
        Reply::Stalls(bytes, count, time) => {
            head(stream, bytes.len())?;
            stream.write_all(&bytes[..count])?;
            thread::sleep(time);
            Ok(())
        }
        Reply::Redirect(to) => {
            write!(
                stream,
                "HTTP/1.1 302 Found\r\nLocation: {to}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            )
        }
    }
}

/// The path of a file at the mirror, and in the snapshot archive a day later and at the lock's date.
pub const AT_MIRROR: &str = "/debian/pool/main/t/tool/tool_1.0%2b1_amd64.deb";
pub const DAY_LATER: &str = "/archive/debian/20250518T091221Z/pool/main/t/tool/tool_1.0%2b1_amd64.deb";
pub const AT_DATE: &str = "/archive/debian/20250517T091221Z/pool/main/t/tool/tool_1.0%2b1_amd64.deb";

pub fn package(name: &str, bytes: &[u8]) -> Package {
    Package {
        name: name.parse().unwrap(),
        architecture: Architecture::Amd64,
        version: "1.0+1".parse().unwrap(),
        source: "tool".parse().unwrap(),
        source_version: "1.0".parse().unwrap(),
        archive: "debian".parse().unwrap(),
        path: format!("pool/main/t/tool/{name}_1.0+1_amd64.deb").parse().unwrap(),
        size: bytes.len() as u64,
        sha256: Sha256::of(bytes),
    }
}

pub fn lock(address: &str, packages: Vec<Package>) -> Lock {
    Lock {
        recipe: "1".parse().unwrap(),
        suite: "bookworm".parse().unwrap(),
        date: "2025-05-17T09:12:21Z".parse().unwrap(),
        epoch: "2025-05-16T00:00:00Z".parse().unwrap(),
        request: Request { packages: vec!["tool".parse().unwrap()], updates: true, repositories: Vec::new() },
        archives: vec![Archive {
            name: "debian".parse().unwrap(),
            uri: format!("{address}/debian").parse().unwrap(),
            snapshot: Some("debian".parse().unwrap()),
        }],
        packages,
        boot: Vec::new(),
        kernel: None,
        files: Vec::new(),
        images: Vec::new(),
    }
}

/// Bytes by a seed (xorshift64).
pub fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..count).map(|_| (next() >> 32) as u8).collect()
}
