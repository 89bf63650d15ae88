//! `melv serve`: its sockets, its output, its exports, its end.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod common;
mod serving;

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Bed, MELV, bed, disk, later_disk};
use melv_nbd::negotiation::ReplyMode;
use melv_nbd::wire::{command, reply};
use melv_testing::nbd::{Client, SOON};
use serde_json::Value;
use serving::*;

fn mode_of(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn socket_is_for_its_owner_alone_unless_told_otherwise() {
    let bed = two_images();
    let _served = serve(&bed, &[]);
    assert_eq!(mode_of(&bed.path(SOCKET)), 0o600);
    let _other = start(bed.command(MELV).args(["serve", "--socket", "open.sock", "--socket-mode", "0666"]));
    assert_eq!(mode_of(&bed.path("open.sock")), 0o666);
}

#[test]
fn socket_group_is_who_may_use_it() {
    let bed = two_images();
    let arguments = ["serve", "--socket", SOCKET, "--socket-mode", "0660", "--socket-group"];
    bed.melv(&[&arguments[..], &["no-such-group"]].concat()).exits(2).says("no such group");
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: only root gives files to other groups");
    }
    for (group, gid) in [("daemon", 1), ("2", 2)] {
        let _served = start(bed.command(MELV).args(arguments).arg(group));
        assert_eq!(bed.path(SOCKET).metadata().unwrap().gid(), gid);
        assert_eq!(mode_of(&bed.path(SOCKET)), 0o660);
    }
}

#[test]
fn exit_2_tcp_without_tls_or_insecure() {
    let bed = two_images();
    bed.melv(&["serve", "--listen", "127.0.0.1:0"]).exits(2).says("--insecure");
    bed.melv(&["serve"]).exits(2).says("--socket");
    bed.melv(&["serve", "--socket", SOCKET, "--socket-mode", "99"]).exits(2);
    bed.melv(&["serve", "--socket", SOCKET, "--tls", "require"]).exits(2);
    bed.melv(&["serve", "--listen", "127.0.0.1:0", "--tls-certificates", "."])
        .exits(2)
        .says("server-cert.pem");
}

#[test]
fn insecure_tcp_is_served() {
    let bed = two_images();
    let served = start(bed.command(MELV).args(["serve", "web:1", "--listen", "127.0.0.1:0", "--insecure"]));
    let address = served.uri.strip_prefix("nbd://").unwrap().trim_end_matches('/');
    let stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut client = Client::over(stream);
    client.greet();
    client.go("");
    assert!(client.read(4096, 100_000).bytes() == disk()[4096..104_096]);
}

#[test]
fn uris_are_printed_and_percent_encoded() {
    let bed = two_images();
    let folder = bed.path("").canonicalize().unwrap();
    let uri = |name: &str| format!("nbd+unix:///?socket={}/{name}", folder.display());
    let served = serve(&bed, &[]);
    assert_eq!(served.uri, uri(SOCKET));
    let served = start(bed.command(MELV).args(["serve", "--socket", "a b&c%d=ü.sock"]));
    assert_eq!(served.uri, uri("a%20b%26c%25d%3D%C3%BC.sock"));
    let socket = ["--socket", "json.sock", "--listen", "127.0.0.1:0", "--insecure"];
    let served = start(bed.command(MELV).args(["--json", "serve"]).args(socket));
    let said: Value = serde_json::from_str(&served.uri).unwrap();
    let uris: Vec<_> = said["uris"].as_array().unwrap().iter().map(|uri| uri.as_str().unwrap()).collect();
    assert_eq!(uris.len(), 2);
    assert!(
        uris.contains(&uri("json.sock").as_str()) && uris.iter().any(|uri| uri.starts_with("nbd://127."))
    );
}

/// The standard input and output of a process as a single stream.
struct Pipes(std::process::ChildStdin, std::process::ChildStdout);

impl Read for Pipes {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.1.read(buf)
    }
}

impl Write for Pipes {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn stdio_serves_one_client_and_ends_with_it() {
    let bed = two_images();
    for says_goodbye in [true, false] {
        let mut melv = bed.command(MELV);
        let mut child = melv
            .args(["serve", "web:2", "--stdio"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut client = Client::over(Pipes(child.stdin.take().unwrap(), child.stdout.take().unwrap()));
        client.greet();
        client.agree(ReplyMode::Structured);
        client.go("");
        assert!(client.read(0, 500_000).bytes() == later_disk()[..500_000]);
        if says_goodbye {
            client.ask(command::DISC, 0, 0, 0);
        }
        drop(client);
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn listen_fds_of_a_service_manager_are_taken() {
    let bed = two_images();
    let helper = "import os, socket, sys\n\
                  s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(5)\n\
                  os.dup2(s.fileno(), 3); os.set_inheritable(3, True)\n\
                  os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n\
                  os.execv(sys.argv[2], sys.argv[2:])";
    if !has("/usr/bin/python3") {
        return;
    }
    let path = bed.path(SOCKET);
    let mut python = bed.command("/usr/bin/python3");
    let mut served = start_silent(python.args(["-c", helper]).arg(&path).args([MELV, "serve", "web:1"]));
    while UnixStream::connect(&path).is_err() {
        std::thread::yield_now();
    }
    assert!(contents(&mut reading(&bed, ""), disk().len()) == disk());
    served.terminate();
    // The socket belongs to the manager, which continues to listen.
    assert!(path.exists());
}

#[test]
fn notify_socket_is_told_when_clients_may_come() {
    let bed = two_images();
    let manager = UnixDatagram::bind(bed.path("notify")).unwrap();
    manager.set_read_timeout(Some(SOON)).unwrap();
    let mut melv = bed.command(MELV);
    melv.env("NOTIFY_SOCKET", bed.path("notify"));
    let _served = start(melv.args(["serve", "--socket", SOCKET]));
    let mut said = [0; 256];
    let len = manager.recv(&mut said).unwrap();
    assert!(said[..len].starts_with(b"READY=1"));
    reading(&bed, "web:1");
}

#[test]
fn statistics_come_on_sigusr1_and_at_the_end() {
    let bed = two_images();
    let mut served = start(bed.command(MELV).args(["--json", "serve", "--stats", "--socket", SOCKET]));
    let mut client = reading(&bed, "web:1");
    client.read(0, 100_000);
    client.read(0, 4096);
    let found = served.stats();
    for field in [
        "requests",
        "bytes",
        "hits",
        "errors",
        "verification_failures",
        "decodes",
        "decoded_bytes",
        "cache_bytes",
        "cache_bytes_max",
    ] {
        assert!(found[field].is_u64(), "no {field} in {found}");
    }
    assert_eq!((&found["requests"], &found["bytes"]), (&2.into(), &104_096.into()));
    assert_eq!((&found["hits"], &found["errors"]), (&1.into(), &0.into()));
    assert!(found["decodes"].as_u64() > Some(0) && found["cache_bytes_max"] == 256 << 20);
    // The server continues to serve, and prints statistics as text, too.
    client.read(0, 4096);
    let err = served.terminate();
    assert_eq!(serde_json::from_str::<Value>(err.trim()).unwrap()["requests"], 3);
    let mut served = serve(&bed, &["--stats", "--cache", "1MiB"]);
    reading(&bed, "web:1").read(0, 512);
    served.signal("-USR1");
    assert!(served.line("melv: ").contains("1 requests"));
    assert!(served.terminate().contains("cache"));
}

#[test]
fn run_gives_the_uri_and_ends_with_the_command() {
    let bed = two_images();
    let ran = bed.melv(&["serve", "web:1", "--run", "echo \"$uri\"; test -S \"${uri#*socket=}\"; exit 7"]);
    let ran = ran.exits(7);
    let said = ran.stdout();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 1, "what the command writes is all that is written: {said}");
    let path = Path::new(lines[0].split_once("socket=").unwrap().1);
    assert!(!path.exists() && !path.parent().unwrap().exists());
    bed.melv(&["serve", "web:1", "--run", "test -S \"${uri#*socket=}\""]).exits(0);
    // A socket given by the caller is removed, too.
    bed.melv(&["serve", "--socket", SOCKET, "--run", "test -S nbd.sock && exit 3"]).exits(3);
    assert!(!bed.path(SOCKET).exists());
}

#[test]
fn run_ends_with_the_server() {
    let bed = two_images();
    let mut served = serve(&bed, &["--run", "echo \"$uri\"; exec sleep 1000"]);
    served.signal("-TERM");
    let (code, _, err) = served.ended();
    assert_ne!(code, Some(0), "{err}");
    assert!(!bed.path(SOCKET).exists());
}

#[test]
fn exports_are_names_with_tags_and_latest_goes_without() {
    let bed = two_images();
    bed.melv(&["tag", "web:2", "web:latest"]).exits(0);
    let _served = serve(&bed, &[]);
    assert_eq!(names(&bed), ["web:1", "web:2", "web:latest"]);
    for (export, disk) in [("web:1", disk()), ("web:2", later_disk()), ("web", later_disk())] {
        assert!(contents(&mut reading(&bed, export), disk.len()) == disk, "{export}");
    }
    for export in ["", "web:3", "we", "../web", "web:1\u{ff}"] {
        assert_eq!(kind_of_go(&bed, export), reply::ERR_UNKNOWN, "{export}");
    }
}

#[test]
fn chosen_images_alone_are_served() {
    let bed = two_images();
    let _served = serve(&bed, &["web:2"]);
    assert_eq!(names(&bed), ["web:2"]);
    assert!(contents(&mut reading(&bed, ""), disk().len()) == later_disk());
    assert_eq!(kind_of_go(&bed, "web:1"), reply::ERR_UNKNOWN);
}

#[test]
fn new_image_is_visible_within_2_seconds() {
    let bed = two_images();
    let _served = serve(&bed, &[]);
    assert_eq!(kind_of_go(&bed, "new"), reply::ERR_UNKNOWN);
    bed.write("third.raw", &later_disk()[..8192]);
    bed.melv(&["import", "third.raw", "--name", "new"]).exits(0);
    let begun = Instant::now();
    while kind_of_go(&bed, "new") != reply::ACK {
        assert!(begun.elapsed() < Duration::from_secs(2), "it does not appear");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(names(&bed), ["new:latest", "web:1", "web:2"]);
    assert!(reading(&bed, "new").read(0, 8192).bytes() == later_disk()[..8192]);
}

fn bundled() -> Bed {
    let bed = two_images();
    bed.melv(&["save", "web:1", "web:2", "both.melv"]).exits(0);
    std::fs::remove_dir_all(bed.store()).unwrap();
    bed
}

#[test]
fn bundle_is_all_that_it_holds_and_one_of_it_by_name() {
    let bed = bundled();
    let mut served = serve(&bed, &["both.melv"]);
    assert_eq!(names(&bed), ["web:1", "web:2"]);
    for (export, disk) in [("web:1", disk()), ("web:2", later_disk())] {
        assert!(contents(&mut reading(&bed, export), disk.len()) == disk, "{export}");
    }
    served.terminate();
    let _served = serve(&bed, &["both.melv#web:2"]);
    assert_eq!(names(&bed), ["web:2"]);
    assert!(contents(&mut reading(&bed, ""), disk().len()) == later_disk());
}

#[test]
fn exit_13_unknown_reference() {
    let bed = two_images();
    bed.melv(&["serve", "web:3", "--socket", SOCKET]).exits(13);
    bed.melv(&["save", "web:1", "one.melv"]).exits(0);
    bed.melv(&["serve", "one.melv#web:2", "--socket", SOCKET]).exits(13);
    assert!(!bed.path(SOCKET).exists());
}

#[test]
fn exit_10_no_store() {
    bed().melv(&["serve", "--socket", SOCKET]).exits(10);
}

#[test]
fn socket_left_behind_is_replaced_and_one_in_use_is_not() {
    let bed = two_images();
    drop(UnixListener::bind(bed.path(SOCKET)).unwrap());
    let mut served = serve(&bed, &[]);
    reading(&bed, "web:1");
    bed.melv(&["serve", "--socket", SOCKET]).exits(1).says("another server is there");
    reading(&bed, "web:1");
    served.terminate();
    bed.write(SOCKET, b"something of value");
    bed.melv(&["serve", "--socket", SOCKET]).exits(1).says("not a socket");
    assert_eq!(bed.read(SOCKET), b"something of value");
}

#[test]
fn sigterm_ends_it_well_and_removes_the_socket() {
    for signal in ["-TERM", "-INT", "-HUP"] {
        let bed = two_images();
        let mut served = serve(&bed, &[]);
        let _client = reading(&bed, "web:1");
        served.signal(signal);
        assert_eq!(served.ended().0, Some(0), "{signal}");
        assert!(!bed.path(SOCKET).exists());
    }
}

#[test]
fn tools_of_others_read_it() {
    let bed = two_images();
    let served = serve(&bed, &[]);
    let uri = served.uri.replace(":///", ":///web:2");
    if has("nbdinfo") {
        let said = bed.sh(&format!("nbdinfo --json '{uri}'")).exits(0).json();
        let export = &said["exports"][0];
        assert_eq!(export["export-size"], disk().len());
        assert_eq!((&export["is_read_only"], &export["can_multi_conn"]), (&true.into(), &true.into()));
        let listed = bed.sh(&format!("nbdinfo --list --json '{}'", served.uri)).exits(0).json();
        assert_eq!(listed["exports"].as_array().unwrap().len(), 2);
        let map = bed.sh(&format!("nbdinfo --map --json '{uri}'")).exits(0).json();
        let total: u64 = map.as_array().unwrap().iter().map(|run| run["length"].as_u64().unwrap()).sum();
        assert_eq!(total, disk().len() as u64);
    }
    if has("nbdcopy") {
        bed.sh(&format!("nbdcopy '{uri}' copy.raw")).exits(0);
        assert!(bed.read("copy.raw") == later_disk());
    }
    if has("qemu-img") && has("qemu-io") {
        bed.sh(&format!("qemu-img compare -s -f raw -F raw '{uri}' new.raw || true")).exits(0);
        bed.sh(&format!("qemu-img compare -f raw -F raw '{uri}' new.raw")).exits(0);
        let ran = bed.sh(&format!("qemu-io -r -f raw -c 'read 0 64k' -c 'read -P 0 1M 1M' '{uri}'")).exits(0);
        assert!(!ran.stdout().contains("failed"), "{}", ran.stdout());
    }
}
