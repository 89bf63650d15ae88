//! Hostile and broken clients: other clients are served, memory is bounded, and stalled clients are
//! disconnected.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use melv_nbd::negotiation::ReplyMode;
use melv_nbd::wire::{command, option, reply};
use melv_nbd::{Listener, Server, ServerOptions};
use melv_testing::nbd::*;

const SHORT: Duration = Duration::from_millis(300);

/// A lock that makes tests run one at a time, since some measure this process's memory.
static MEMORY: Mutex<()> = Mutex::new(());

fn write_exclusive() -> std::sync::MutexGuard<'static, ()> {
    MEMORY.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn impatient() -> Server {
    let base = ServerOptions { helpers_max: 4, ..ServerOptions::default() };
    server_with(Shelf::usual(), ServerOptions { handshake_idle: SHORT, stall_max: SHORT, ..base })
}

/// Starts `server` at a socket in a temporary folder.
fn listening(server: &Server) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nbd.sock");
    let listener = Listener::Unix(UnixListener::bind(&path).unwrap());
    let server = server.clone();
    std::thread::spawn(move || server.listen(&listener));
    (folder, path)
}

fn client_at(path: &std::path::Path) -> Client {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    Client::over(stream)
}

/// Asserts that a server serves this client.
#[track_caller]
fn is_well(client: &mut Client) {
    client.greet();
    client.agree(ReplyMode::Structured);
    client.go("plain");
    assert!(client.read(4096, MIB).bytes() == data(4096..4096 + MIB));
}

/// Waits for a condition that must become true soon.
#[track_caller]
fn soon(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < SOON, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends requests as long as the server accepts them; returns their number.
fn send_without_end(client: &mut Client, command: u16, len: u64) -> u64 {
    client.stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let one: Vec<u8> = (0..1000).flat_map(|at| client.request(command, 0, at * 4096, len)).collect();
    let mut sent = 0;
    while let Ok(len) = client.stream.write(&one) {
        sent += len as u64 / 28;
        assert!(sent < 1 << 20, "the server takes requests without end");
    }
    sent
}

#[test]
fn client_that_never_reads_is_let_go_and_others_go_on() {
    let _alone = write_exclusive();
    for (export, mode, len) in [
        ("plain", ReplyMode::Simple, 128 * KIB),
        ("plain", ReplyMode::Structured, 32 * MIB),
        ("held", ReplyMode::Structured, 64 * KIB),
        ("plain", ReplyMode::Simple, MIB),
    ] {
        let server = impatient();
        let mut good = reading(&server, "plain", ReplyMode::Structured);
        let mut bad = reading(&server, export, mode);
        let before = resident_bytes();
        send_without_end(&mut bad, command::READ, len);
        assert!(good.read(0, MIB).bytes() == data(0..MIB));
        let grown = resident_bytes().saturating_sub(before);
        println!("a client that reads nothing, {export} {mode:?} {len}: {} KiB", grown >> 10);
        assert!(grown < 16 * MIB, "{} MiB for one client", grown >> 20);
        bad.ends();
        assert!(good.read(MIB, MIB).bytes() == data(MIB..2 * MIB));
    }
}

#[test]
fn requests_without_end_and_without_reading_are_bounded() {
    let _alone = write_exclusive();
    for number in [command::FLUSH, command::CACHE, command::TRIM, 99] {
        let server = impatient();
        let mut bad = reading(&server, "held", ReplyMode::Structured);
        let before = resident_bytes();
        send_without_end(&mut bad, number, if number == command::FLUSH { 0 } else { 4096 });
        assert!(resident_bytes().saturating_sub(before) < 16 * MIB);
        bad.ends();
        is_well(&mut connect(&server));
    }
}

#[test]
fn requests_without_end_behind_one_that_is_slow_are_bounded() {
    let _alone = write_exclusive();
    let gate = Gate::default();
    let disk = TestDisk::new().and(Part::Slow(gate.clone()), 64 * MIB);
    let options = ServerOptions { stall_max: SHORT, helpers_max: 2, ..ServerOptions::default() };
    let server = server_with(Shelf::only("disk", disk), options);
    let mut bad = reading(&server, "disk", ReplyMode::Structured);
    let before = resident_bytes();
    let sent = send_without_end(&mut bad, command::READ, 4096);
    assert!(sent < 20_000, "{sent} requests were taken");
    assert!(gate.came() <= 3, "{} reads at once", gate.came());
    assert!(resident_bytes().saturating_sub(before) < 16 * MIB);
    gate.open();
    bad.ends();
}

fn crew_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    // A thread may end in between.
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|name| name == "nbd-worker\n").count()
}

#[test]
fn reads_that_wait_for_the_medium_do_so_together_and_the_threads_for_them_end() {
    let _alone = write_exclusive();
    let gate = Gate::default();
    let disk = TestDisk::new().and(Part::Far, MIB).and(Part::Slow(gate.clone()), MIB);
    let options = ServerOptions { helpers_max: 2, helpers_waiting_max: 12, ..ServerOptions::default() };
    let server = server_with(Shelf::only("disk", disk), options);
    let mut client = reading(&server, "disk", ReplyMode::Structured);
    let mut ask = |offset: u64, count: u64, between: &dyn Fn()| {
        let read = |at: u64| client.request(command::READ, 0, offset + at * 4096, 4096);
        let all: Vec<u8> = (0..count).flat_map(read).collect();
        client.send(&all);
        between();
        (0..count).for_each(|_| assert_eq!(client.answer().bytes().len(), 4096));
    };
    // The medium's latency is still unknown.
    ask(0, 200, &|| ());
    ask(MIB, 100, &|| {
        soon("as many reads as may wait", || gate.came() == 12);
        std::thread::sleep(SHORT / 10);
        assert_eq!(gate.came(), 12);
        gate.open();
    });
    // The reading thread and two helpers always remain.
    soon("threads that are not needed end", || crew_threads() <= 3);
    ask(MIB, 100, &|| ());
}

/// Opens a thousand connections that stay in the handshake.
fn thousand_half_open(path: &std::path::Path) -> Vec<UnixStream> {
    let half = |number: usize| {
        let mut stream = UnixStream::connect(path).unwrap();
        // Some send nothing, some a little, some stop within an option.
        let said: &[u8] = match number % 4 {
            0 => &[],
            1 => &[0, 0],
            2 => &[0, 0, 0, 3],
            _ => b"\0\0\0\x03IHAVEOPT\0\0\0\x07\0\0\xff\0\x01",
        };
        // The server may have closed it already.
        let _ = stream.write_all(said);
        stream
    };
    (0..1000).map(half).collect()
}

#[test]
fn thousand_half_open_connections_cost_little_and_others_are_served() {
    let _alone = write_exclusive();
    let server = server(Shelf::usual());
    let (_folder, path) = listening(&server);
    let before = resident_bytes();
    let open = thousand_half_open(&path);
    soon("all of them are there", || server.connections() >= 1000);
    is_well(&mut client_at(&path));
    let grown = resident_bytes().saturating_sub(before);
    println!("1,000 half-open connections: {} KiB", grown >> 10);
    assert!(grown < 64 * MIB, "{} MiB", grown >> 20);
    drop(open);
    soon("they are gone", || server.connections() == 0);
}

#[test]
fn thousand_half_open_connections_are_let_go() {
    let _alone = write_exclusive();
    let server = impatient();
    let (_folder, path) = listening(&server);
    let open = thousand_half_open(&path);
    soon("all of them are let go", || server.connections() == 0);
    is_well(&mut client_at(&path));
    drop(open);
}

#[test]
fn connections_over_the_limit_are_closed_and_later_ones_served() {
    let _alone = write_exclusive();
    let server =
        server_with(Shelf::usual(), ServerOptions { connections_max: 3, ..ServerOptions::default() });
    let (_folder, path) = listening(&server);
    let mut open: Vec<_> = (0..3).map(|_| client_at(&path)).collect();
    for client in &mut open {
        client.greeting();
    }
    client_at(&path).is_closed();
    open.clear();
    soon("they are gone", || server.connections() == 0);
    is_well(&mut client_at(&path));
}

#[test]
fn slow_drip_of_a_handshake_ends_in_time() {
    let _alone = write_exclusive();
    let options = ServerOptions { handshake_max: Duration::from_millis(200), ..ServerOptions::default() };
    let server = server_with(Shelf::usual(), options);
    let mut client = greeted(&server);
    let begun = Instant::now();
    let drip = option_head(option::GO, 60_000).into_iter().chain(std::iter::repeat(0));
    for byte in drip {
        if client.stream.write_all(&[byte]).is_err() {
            break;
        }
        assert!(begun.elapsed() < SOON, "the handshake goes on");
        std::thread::sleep(Duration::from_millis(1));
    }
    client.ends();
}

#[test]
fn silent_client_in_the_handshake_is_let_go() {
    let _alone = write_exclusive();
    let mut client = greeted(&impatient());
    client.is_closed();
    client.ends();
}

#[test]
fn silent_client_with_a_disk_stays() {
    let _alone = write_exclusive();
    let mut client = reading(&impatient(), "plain", ReplyMode::Structured);
    std::thread::sleep(2 * SHORT);
    assert_eq!(client.read(0, 512).bytes(), data(0..512));
}

#[test]
fn client_gone_in_mid_request_ends_its_connection_alone() {
    let _alone = write_exclusive();
    let server = server(Shelf::usual());
    let mut good = reading(&server, "plain", ReplyMode::Structured);
    for mode in [ReplyMode::Simple, ReplyMode::Structured, ReplyMode::Extended] {
        for cut in [1, 4, 20, 27] {
            let mut client = reading(&server, "plain", mode);
            let request = client.request(command::READ, 0, 0, 4096);
            client.send(&request[..cut]);
            client.stream.shutdown(Shutdown::Both).unwrap();
            client.ends();
        }
    }
    assert_eq!(good.read(0, 512).bytes(), data(0..512));
}

#[test]
fn client_gone_in_mid_payload_ends_its_connection_alone() {
    let _alone = write_exclusive();
    let server = server(Shelf::usual());
    let mut good = reading(&server, "plain", ReplyMode::Structured);
    for len in [100, 100_000, 40 * MIB] {
        let mut client = reading(&server, "plain", ReplyMode::Structured);
        let mut request = client.request(command::WRITE, 0, 0, len);
        request.resize(request.len() + len as usize / 2, 1);
        client.send(&request);
        client.stream.shutdown(Shutdown::Both).unwrap();
        client.ends();
    }
    assert_eq!(good.read(0, 512).bytes(), data(0..512));
}

#[test]
fn client_gone_before_its_replies_ends_its_connection_alone() {
    let _alone = write_exclusive();
    let server = server(Shelf::usual());
    let mut good = reading(&server, "plain", ReplyMode::Structured);
    for (mode, len) in
        [(ReplyMode::Simple, 32 * MIB), (ReplyMode::Structured, 32 * MIB), (ReplyMode::Extended, 4096)]
    {
        let mut client = reading(&server, "plain", mode);
        let all: Vec<u8> = (0..500).flat_map(|at| client.request(command::READ, 0, at * 512, len)).collect();
        client.send(&all);
        client.take(16);
        client.stream.shutdown(Shutdown::Both).unwrap();
        client.ends();
    }
    assert_eq!(good.read(0, 512).bytes(), data(0..512));
}

#[test]
fn client_gone_in_the_handshake_ends_its_connection_alone() {
    let _alone = write_exclusive();
    let server = server(Shelf::usual());
    for said in [&[][..], &[0, 0], &[0, 0, 0, 3], b"\0\0\0\x03IHAVEOPT\0\0"] {
        let mut client = connect(&server);
        client.send(said);
        client.stream.shutdown(Shutdown::Both).unwrap();
        client.ends();
    }
    is_well(&mut connect(&server));
}

#[test]
fn client_that_shuts_down_its_side_gets_its_replies() {
    let _alone = write_exclusive();
    let mut client = usual("plain", ReplyMode::Structured);
    let all: Vec<u8> = (0..20).flat_map(|at| client.request(command::READ, 0, at * 4096, 4096)).collect();
    client.send(&all);
    client.stream.shutdown(Shutdown::Write).unwrap();
    (0..20).for_each(|_| assert_eq!(client.answer().bytes().len(), 4096));
    client.is_closed();
}

#[test]
fn options_without_end_and_without_reading_are_let_go() {
    let _alone = write_exclusive();
    let server = impatient();
    let mut client = greeted(&server);
    client.stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let before = resident_bytes();
    let many = option_head(option::LIST, 0).repeat(1000);
    let mut sent = 0;
    while let Ok(len) = client.stream.write(&many) {
        sent += len;
        assert!(sent < 64 << 20, "the server takes options without end");
    }
    assert!(resident_bytes().saturating_sub(before) < 16 * MIB);
    client.ends();
}

#[test]
fn options_without_end_are_too_many() {
    let _alone = write_exclusive();
    let server = server(Shelf::usual());
    let mut client = greeted(&server);
    let mut reader = client.stream.try_clone().unwrap();
    let read = std::thread::spawn(move || {
        let mut all = Vec::new();
        let _ = reader.read_to_end(&mut all);
        all.len()
    });
    let many = option_head(77, 0).repeat(1 << 10);
    let sent = (0..1 << 10).take_while(|_| client.stream.write_all(&many).is_ok()).count();
    assert!(sent < 100, "{sent} Ki options");
    assert!(read.join().unwrap() > 0);
    client.ends();
    assert_eq!(greeted(&server).answer_to(option::ABORT, &[]), reply::ACK);
}
