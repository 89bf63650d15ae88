//! A running `melv serve` for tests.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![allow(dead_code, reason = "each test file uses a part of this")]

use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use melv_nbd::negotiation::ReplyMode;
use melv_nbd::wire::{Take, option, reply};
use melv_testing::nbd::{Client, SOON, go_data};
use serde_json::Value;

use crate::common::{Bed, MELV, bed, disk, later_disk, send_signal};

/// The default socket of servers in tests.
pub const SOCKET: &str = "nbd.sock";

pub struct Served {
    child: Child,
    pub uri: String,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A bed with two images in its store, the second a later version of the first.
pub fn two_images() -> Bed {
    let bed = bed();
    bed.write("disk.raw", &disk());
    bed.write("new.raw", &later_disk());
    bed.melv(&["import", "disk.raw", "--name", "web:1"]).exits(0);
    bed.melv(&["import", "new.raw", "--name", "web:2", "--parent", "web:1"]).exits(0);
    bed
}

/// Starts a server at [`SOCKET`] and waits until it listens.
pub fn serve(bed: &Bed, arguments: &[&str]) -> Served {
    start(bed.command(MELV).arg("serve").args(arguments).args(["--socket", SOCKET]))
}

/// Starts a server and waits until it listens.
pub fn start(command: &mut Command) -> Served {
    let mut served = start_silent(command);
    served.stdout.read_line(&mut served.uri).unwrap();
    if served.uri.is_empty() {
        let mut said = String::new();
        served.stderr.read_to_string(&mut said).unwrap();
        panic!("the server ended: {said}");
    }
    served.uri.truncate(served.uri.trim_end().len());
    served
}

/// Starts a server that prints no URI, because its socket was passed to it.
pub fn start_silent(command: &mut Command) -> Served {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let stderr = BufReader::new(child.stderr.take().unwrap());
    Served { child, uri: String::new(), stdout, stderr }
}

impl Served {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: &str) {
        send_signal(self.pid(), signal);
    }

    /// Returns the next line on standard error that contains `what`.
    #[track_caller]
    pub fn line(&mut self, what: &str) -> String {
        let mut line = String::new();
        while self.stderr.read_line(&mut line).unwrap() > 0 {
            if line.contains(what) {
                return line;
            }
            line.clear();
        }
        panic!("no line with {what:?}");
    }

    /// Returns the statistics that SIGUSR1 makes a server with `--json` print.
    #[track_caller]
    pub fn stats(&mut self) -> Value {
        self.signal("-USR1");
        serde_json::from_str(&self.line("{\"requests\"")).unwrap()
    }

    /// Waits for the end. Returns the exit code, standard output and standard error.
    #[track_caller]
    pub fn ended(&mut self) -> (Option<i32>, String, String) {
        let begun = Instant::now();
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if begun.elapsed() > SOON => panic!("it is still running"),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        let (mut out, mut err) = (String::new(), String::new());
        self.stdout.read_to_string(&mut out).unwrap();
        self.stderr.read_to_string(&mut err).unwrap();
        assert!(!err.contains("panicked"), "{err}");
        (status.code(), out, err)
    }

    /// Ends the server as a service manager does, and returns its standard error.
    #[track_caller]
    pub fn terminate(&mut self) -> String {
        self.signal("-TERM");
        let (code, _, err) = self.ended();
        assert_eq!(code, Some(0), "{err}");
        err
    }
}

/// Returns a client after the greeting.
pub fn client(path: &Path) -> Client {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut client = Client::over(stream);
    client.greet();
    client
}

/// Returns a client that can read an export.
pub fn reading(bed: &Bed, export: &str) -> Client {
    let mut client = client(&bed.path(SOCKET));
    client.agree(ReplyMode::Structured);
    client.go(export);
    client
}

/// Returns the export names that a server lists.
pub fn names(bed: &Bed) -> Vec<String> {
    let replies = client(&bed.path(SOCKET)).option(option::LIST, &[]);
    let name = |body: &[u8]| Take(body).text().unwrap().unwrap().to_owned();
    replies.iter().filter(|found| found.kind == reply::SERVER).map(|found| name(&found.body)).collect()
}

/// Returns the type of the reply to `NBD_OPT_GO` for an export.
pub fn kind_of_go(bed: &Bed, export: &str) -> u32 {
    let replies = client(&bed.path(SOCKET)).option(option::GO, &go_data(export.as_bytes(), &[]));
    replies.last().unwrap().kind
}

/// Returns all bytes of an export, read by requests of at most 1 MiB.
pub fn contents(client: &mut Client, len: usize) -> Vec<u8> {
    let end = len as u64;
    (0..end).step_by(1 << 20).flat_map(|at| client.read(at, (end - at).min(1 << 20)).bytes()).collect()
}

/// Whether a tool is installed; if not, prints that the test is skipped.
pub fn has(tool: &str) -> bool {
    let is_there = Command::new(tool).arg("--version").output().is_ok_and(|ran| ran.status.success());
    if !is_there {
        println!("skipped: {tool} is not installed");
    }
    is_there
}
