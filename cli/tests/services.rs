//! `serve` and `mount` as services: the form and severity of their log, and the errors for missing
//! permissions.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod common;
mod serving;

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use common::{Bed, MELV, bed, disk};
use serving::{serve, start, two_images};

/// Changes bytes in the middle of every pack, so that reads fail.
fn hurt(bed: &Bed) {
    for entry in std::fs::read_dir(bed.path("store/packs")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle - 2000..middle + 2000].fill(0x5a);
        std::fs::write(&path, bytes).unwrap();
    }
}

/// Reads all of an image by NBD; some reads fail.
fn read_all(bed: &Bed) {
    let uri = format!("nbd+unix:///web:1?socket={}", bed.path(serving::SOCKET).display());
    bed.sh(&format!("nbdcopy '{uri}' null: 2>/dev/null"));
}

#[test]
fn a_service_manager_is_told_how_urgent_each_line_is() {
    let bed = two_images();
    hurt(&bed);
    let mut plain = serve(&bed, &[]);
    read_all(&bed);
    let line = plain.line("read failed");
    assert!(line.trim_start().starts_with("ERROR"), "{line}");
    plain.terminate();
    let mut managed =
        start(bed.command(MELV).env("INVOCATION_ID", "1").args(["serve", "--socket", serving::SOCKET]));
    read_all(&bed);
    let line = managed.line("read failed");
    assert!(line.starts_with("<3>") && !line.contains("ERROR") && !line.contains('\x1b'), "{line}");
    common::send_signal(managed.pid(), "USR1");
    let line = managed.line("requests");
    assert!(line.starts_with("<6>melv: "), "{line}");
    managed.terminate();
}

#[test]
fn a_failure_under_a_service_manager_is_an_error_and_its_hint_is_not() {
    let bed = two_images();
    let run = |arguments: &[&str], id: &str| {
        let output = bed.command(MELV).env("INVOCATION_ID", id).args(arguments).output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let said = run(&["serve", "none", "--socket", "x.sock"], "1");
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("<3>melv: "), "{said}");
    assert!(lines.len() > 1 && lines[1..].iter().all(|line| line.starts_with("<6>")), "{said}");
    // An empty id does not count. Standard error of other commands, like JSON, is for their caller.
    for (arguments, id) in [
        (&["serve", "none", "--socket", "x.sock"][..], ""),
        (&["inspect", "none"], "1"),
        (&["--json", "serve", "none", "--socket", "x.sock"], "1"),
    ] {
        let said = run(arguments, id);
        assert!(!said.is_empty() && !said.contains('<'), "{said}");
    }
}

#[test]
fn a_stream_of_the_journal_is_known_by_its_number() {
    let bed = two_images();
    let line = "JOURNAL_STREAM=$(stat -L -c %d:%i said) exec melv serve none --socket x.sock 2>said";
    bed.write("said", b"");
    bed.sh(line);
    assert!(bed.read("said").starts_with(b"<3>melv: "), "{:?}", bed.read("said"));
    bed.sh("JOURNAL_STREAM=1:1 exec melv serve none --socket x.sock 2>said");
    assert!(bed.read("said").starts_with(b"melv: "), "{:?}", bed.read("said"));
}

/// Runs a script as root, with the folder `dev` mounted as `/dev` after `prepare` has filled it; `None` if
/// that is not permitted.
fn with_dev(bed: &Bed, prepare: &str, script: &str) -> Option<String> {
    std::fs::create_dir_all(bed.path("dev")).unwrap();
    let script = format!(
        "set -e\n{prepare}\ntouch dev/null\nmount --bind /dev/null dev/null\nmount --rbind dev /dev\n\
         echo begun\nset +e\n{script}"
    );
    let mut command = bed.command("unshare");
    let output = command.args(["--mount", "sh", "-c", &script]).output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr).into_owned());
    if !out.starts_with("begun\n") {
        println!("skipped, since this needs root, mount namespaces and /dev/fuse: {err}");
        return None;
    }
    Some(format!("{out}{err}"))
}

/// Receives datagrams until none has arrived for a while.
fn datagrams(socket: &UnixDatagram) -> Vec<String> {
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut buffer = vec![0; 64 << 10];
    let mut all = Vec::new();
    while let Ok(len) = socket.recv(&mut buffer) {
        all.push(String::from_utf8(buffer[..len].to_vec()).unwrap());
    }
    all
}

#[test]
fn the_daemon_of_mount_writes_syslog_messages() {
    let bed = bed();
    bed.write("disk.raw", &disk());
    bed.melv(&["import", "disk.raw", "--name", "web"]).exits(0);
    hurt(&bed);
    for folder in ["dev", "mnt"] {
        std::fs::create_dir_all(bed.path(folder)).unwrap();
    }
    let log = UnixDatagram::bind(bed.path("dev/log")).unwrap();
    let prepare = "[ -c /dev/fuse ]\ntouch dev/fuse\nmount --bind /dev/fuse dev/fuse";
    let script = "melv mount mnt -v --color always || exit\ncat mnt/web/latest.raw >/dev/null\n\
              melv umount mnt";
    let Some(said) = with_dev(&bed, prepare, script) else { return };
    let messages = datagrams(&log);
    let failed: Vec<&String> = messages.iter().filter(|message| message.contains("read failed")).collect();
    assert!(!failed.is_empty(), "{messages:?}\n{said}");
    for message in &messages {
        let (head, text) = message.split_once("]: ").unwrap();
        let (priority, process) = head.split_once(">melv[").unwrap();
        assert!(["<27", "<28", "<30", "<31"].contains(&priority), "{message}");
        assert!(process.parse::<u32>().is_ok(), "{message}");
        assert!(!text.is_empty() && !text.contains(['\n', '\x1b']), "{message:?}");
    }
    assert!(failed.iter().all(|message| message.starts_with("<27>melv[")), "{failed:?}");
}

#[test]
fn a_fuse_device_that_may_not_be_opened_is_no_missing_one() {
    let bed = bed();
    bed.write("disk.raw", &disk());
    bed.melv(&["import", "disk.raw", "--name", "web"]).exits(0);
    std::fs::create_dir_all(bed.path("mnt")).unwrap();
    let script = "melv mount mnt; echo code $?";
    let refused = "mkdir -p dev\nmount -t tmpfs -o nodev tmpfs dev\nmknod dev/fuse c 10 229";
    if let Some(said) = with_dev(&bed, refused, script) {
        assert!(said.contains("code 1\n") && said.contains("shows its owner and mode"), "{said}");
        assert!(!said.contains("modprobe"), "{said}");
    }
    if let Some(said) = with_dev(&bed, "mkdir -p dev\nmount -t tmpfs tmpfs dev", script) {
        assert!(said.contains("code 14\n") && said.contains("modprobe fuse"), "{said}");
    }
}

#[test]
fn a_port_that_is_not_permitted_is_told_as_that() {
    let bed = two_images();
    // Root may listen at any port; the user nobody may not.
    let line = "chmod -R a+rX . && setpriv --reuid=65534 --regid=65534 --clear-groups \
                melv serve web:1 --listen 127.0.0.1:1 --insecure";
    let ran = bed.sh(line);
    let said = ran.stderr();
    if !said.contains("127.0.0.1:1") {
        println!("skipped, since nobody else can be here: {said}");
        return;
    }
    assert!(said.contains("below 1024") && !said.contains("its owner"), "{said}");
}

#[test]
fn tls_off_needs_no_certificates_and_the_others_say_that_they_do() {
    let bed = two_images();
    let mut served = serve(&bed, &["--tls", "off"]);
    assert!(served.uri.starts_with("nbd+unix://"), "{}", served.uri);
    served.terminate();
    for choice in ["on", "require"] {
        let ran = bed.melv(&["serve", "--socket", "x.sock", "--tls", choice]);
        let ran = ran.exits(2);
        assert!(ran.stderr().contains("--tls-certificates DIR"), "{}", ran.stderr());
    }
    bed.melv(&["serve", "--listen", "127.0.0.1:0", "--tls", "off"]).exits(2);
}

#[test]
fn the_hint_of_mount_can_be_pasted() {
    let bed = bed();
    bed.write("disk.raw", &disk());
    bed.melv(&["import", "disk.raw", "--name", "web"]).exits(0);
    let dir = "my 'dir' Ü";
    std::fs::create_dir(bed.path(dir)).unwrap();
    let ran = bed.melv(&["mount", dir]);
    if !ran.output.status.success() {
        println!("skipped, since nothing can be mounted here: {}", ran.stderr());
        return;
    }
    let said = format!("{}{}", ran.stdout(), ran.stderr());
    let line = said.split('`').nth(1).unwrap_or_default().to_owned();
    assert!(line.starts_with("melv umount '"), "{said}");
    bed.sh(&line).exits(0);
    let left = std::fs::read_to_string("/proc/mounts").unwrap();
    assert!(!left.contains(&bed.path("my").display().to_string()), "{left}");
}
