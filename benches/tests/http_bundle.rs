//! A bundle on a web server: read in place through range requests, with their cost counted.
//!
//! The server and its client are minimal stand-ins: the library knows nothing of HTTP, only its user's
//! reader.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use melv::storage::ReadAt;
use melv::{
    BlockDevice, BlockError, Bundle, BundleOptions, ImageRef, Images, ImportOptions, LoadOptions,
    MemoryStorage, ResultExt, SaveOptions, Source, Store, StoreError, StoreOptions, VerifyOptions,
};
use melv_benches::{BLOCK_LEN, made_up_disk};

/// The limit of every wait, so that a fault fails the test instead of hanging it.
const PATIENCE: Duration = Duration::from_secs(10);
/// The maximum bytes in the head of a request or response.
const HEAD_LEN_MAX: u64 = 4096;

/// A server of one object at `/bundle.melv` on the loopback until it is dropped. One request at a time.
struct Server {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    /// The length at which the body of each response to a GET is cut off.
    cut: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(object: Vec<u8>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut server = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            bytes: Arc::default(),
            stop: Arc::default(),
            cut: Arc::new(AtomicU64::new(u64::MAX)),
            thread: None,
        };
        let (requests, bytes) = (server.requests.clone(), server.bytes.clone());
        let (stop, cut) = (server.stop.clone(), server.cut.clone());
        server.thread = Some(std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                // A client that disconnects affects no other.
                let _ = stream.and_then(|stream| {
                    let sent = answer(stream, &object, cut.load(Ordering::SeqCst))?;
                    requests.fetch_add(1, Ordering::SeqCst);
                    bytes.fetch_add(sent, Ordering::SeqCst);
                    Ok(())
                });
            }
        }));
        server
    }

    /// Returns the requests answered and the bytes sent since the last call.
    fn take(&self) -> (u64, u64) {
        (self.requests.swap(0, Ordering::SeqCst), self.bytes.swap(0, Ordering::SeqCst))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // The thread sees the flag at the next connection.
        let _ = TcpStream::connect_timeout(&self.address, PATIENCE);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Reads the lines of a head, without the empty line at its end.
fn head_lines(reader: impl Read) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    for line in BufReader::with_capacity(1, reader.take(HEAD_LEN_MAX)).lines() {
        match line? {
            line if line.is_empty() => return Ok(lines),
            line => lines.push(line),
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

fn field<'a>(lines: &'a [String], name: &str) -> Option<&'a str> {
    lines.iter().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// Answers one request as web servers do; returns the bytes of the body.
fn answer(mut stream: TcpStream, object: &[u8], cut: u64) -> io::Result<u64> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let lines = head_lines(&stream)?;
    let (status, body) = match lines.first().map(String::as_str) {
        Some("HEAD /bundle.melv HTTP/1.1") => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", object.len());
            stream.write_all(head.as_bytes())?;
            return Ok(0);
        }
        Some("GET /bundle.melv HTTP/1.1") => match field(&lines, "range").and_then(range) {
            Some(range) if range.end <= object.len() => {
                let total = object.len();
                let told = format!("Content-Range: bytes {}-{}/{total}\r\n", range.start, range.end - 1);
                (format!("206 Partial Content\r\n{told}"), &object[range])
            }
            _ => ("416 Range Not Satisfiable\r\n".into(), &object[..0]),
        },
        _ => ("404 Not Found\r\n".into(), &object[..0]),
    };
    let head = format!("HTTP/1.1 {status}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    let body = &body[..body.len().min(usize::try_from(cut).unwrap_or(usize::MAX))];
    stream.write_all(body)?;
    Ok(body.len() as u64)
}

fn range(text: &str) -> Option<Range<usize>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then(|| first..last.saturating_add(1))
}

/// An object behind a web server: a user of the library writes this with any HTTP client.
#[derive(Debug, Clone)]
struct Remote {
    address: SocketAddr,
    len: u64,
}

impl Remote {
    /// Requests the length.
    fn open(address: SocketAddr) -> io::Result<Self> {
        let (_, lines) = Self::ask(address, "HEAD", "")?;
        let len = field(&lines, "content-length").and_then(|len| len.parse().ok());
        Ok(Self { address, len: len.ok_or_else(|| io::Error::other("no length"))? })
    }

    fn ask(address: SocketAddr, method: &str, range: &str) -> io::Result<(TcpStream, Vec<String>)> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let head = format!("{method} /bundle.melv HTTP/1.1\r\nHost: {address}\r\n{range}\r\n");
        stream.write_all(head.as_bytes())?;
        let lines = head_lines(&stream)?;
        Ok((stream, lines))
    }
}

impl ReadAt for Remote {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let Some(last) = (buf.len() as u64).checked_sub(1) else { return Ok(()) };
        let range = format!("Range: bytes={offset}-{}\r\n", offset + last);
        let (mut stream, lines) = Self::ask(self.address, "GET", &range)?;
        match lines.first().map(String::as_str) {
            Some(status) if status.starts_with("HTTP/1.1 206 ") => stream.read_exact(buf),
            Some(status) if status.starts_with("HTTP/1.1 416 ") => Err(io::ErrorKind::UnexpectedEof.into()),
            status => Err(io::Error::other(format!("answered {status:?}"))),
        }
    }
}

fn refs(names: &[&str]) -> Vec<ImageRef> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn import(store: &Store, name: &str, disk: &[u8]) {
    store.import(Source::stream(disk, name), &ImportOptions::named(name.parse().unwrap())).unwrap();
}

fn save(store: &Store, names: &[&str], without: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let options = SaveOptions { without: refs(without), ..SaveOptions::default() };
    store.save(&refs(names), &mut bytes, &options).unwrap();
    bytes
}

/// Makes a store with a disk of 16 MiB, its data far from its start, and one with half of its blocks in
/// another order.
fn two_disks() -> (Store, Vec<u8>, Vec<u8>) {
    let store = Store::create(MemoryStorage::new(), StoreOptions::default()).unwrap();
    let mut base = vec![0; 1 << 20];
    base.extend(made_up_disk(4096, 5));
    let mut other: Vec<u8> =
        base.rchunks(2 * BLOCK_LEN).flat_map(|pair| pair[..BLOCK_LEN].to_vec()).collect();
    other.extend(made_up_disk(300, 6));
    import(&store, "base", &base);
    import(&store, "other", &other);
    (store, base, other)
}

fn open(server: &Server, base: Option<Store>) -> melv::Result<Bundle> {
    let remote = Remote::open(server.address).unwrap();
    Bundle::open_reader(
        remote,
        "http://bundle.melv",
        BundleOptions { base: base.map(Images::from), ..Default::default() },
    )
}

fn bytes_of(store: &Images, name: &str) -> Vec<u8> {
    let image = store.image(&name.parse().unwrap()).unwrap();
    let mut bytes = vec![0; image.size() as usize];
    image.read_at(0, &mut bytes).unwrap();
    bytes
}

#[test]
fn a_remote_bundle_is_read_in_place_with_few_requests() {
    let (store, base, _) = two_disks();
    let bundle = save(&store, &["base", "other"], &[]);
    let len = bundle.len() as u64;
    assert!(len > 5 << 20, "smaller than what is read when it is opened");
    let server = Server::start(bundle);
    let remote = open(&server, None).unwrap();
    let image = remote.image(&"base".parse().unwrap()).unwrap();
    // One of the requests asks for the length.
    let (requests, bytes) = server.take();
    assert!(requests <= 3, "{requests} requests to open");
    assert!(bytes <= 1 << 20, "{bytes} bytes to open");
    let mut block = vec![0; BLOCK_LEN];
    let at = 1 << 20;
    image.read_at(at as u64, &mut block).unwrap();
    assert_eq!(block, base[at..at + BLOCK_LEN]);
    let (requests, bytes) = server.take();
    assert!(requests <= 3, "{requests} requests for the first block");
    assert!(bytes <= 256 << 10, "{bytes} bytes for the first block");
    // Zeros cost nothing.
    image.read_at(0, &mut block).unwrap();
    assert_eq!((block, server.take().0), (vec![0; BLOCK_LEN], 0));
}

#[test]
fn a_remote_bundle_is_verified_loaded_and_exported_whole() {
    let (store, base, other) = two_disks();
    let server = Server::start(save(&store, &["base", "other"], &[]));
    let remote = open(&server, None).unwrap();
    assert_eq!((bytes_of(&remote, "base"), bytes_of(&remote, "other")), (base.clone(), other));
    let report = remote.verify(&[], &VerifyOptions { full: true, ..VerifyOptions::default() }).unwrap();
    assert!(report.damaged.is_empty(), "{:?}", report.damaged);
    let near = Store::create(MemoryStorage::new(), StoreOptions::default()).unwrap();
    near.load(&remote, &LoadOptions { images: refs(&["base"]), ..LoadOptions::default() }).unwrap();
    assert_eq!(bytes_of(&near, "base"), base);
}

#[test]
fn a_remote_bundle_without_its_base_names_it() {
    let (store, base, other) = two_disks();
    let server = Server::start(save(&store, &["other"], &["base"]));
    let missing = open(&server, None).unwrap_err();
    let id = store.image(&"base".parse().unwrap()).unwrap().id();
    assert!(
        matches!(missing.detail(), Some(StoreError::BaseMissing { base, .. }) if *base == id),
        "{missing}"
    );
    assert!(missing.to_string().contains(&id.to_string()), "{missing}");
    let remote = open(&server, Some(store.clone())).unwrap();
    assert_eq!((bytes_of(&remote, "other"), bytes_of(&store, "base")), (other, base));
}

#[test]
fn a_server_that_breaks_off_or_is_gone_is_an_error_and_never_zeros() {
    let (store, base, _) = two_disks();
    let server = Server::start(save(&store, &["base"], &[]));
    let remote = open(&server, None).unwrap();
    let image = remote.image(&"base".parse().unwrap()).unwrap();
    let mut block = vec![0xa5; BLOCK_LEN];
    server.cut.store(1000, Ordering::SeqCst);
    assert!(matches!(image.read_at(2 << 20, &mut block).detail(), Some(BlockError::Io { .. })));
    // A failed read is retried.
    server.cut.store(u64::MAX, Ordering::SeqCst);
    image.read_at(2 << 20, &mut block).unwrap();
    assert_eq!(block, base[2 << 20..(2 << 20) + BLOCK_LEN]);
    drop(server);
    let far = base.len() - BLOCK_LEN;
    assert!(matches!(image.read_at(far as u64, &mut block).detail(), Some(BlockError::Io { .. })));
}
