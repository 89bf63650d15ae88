//! A test bed: a folder with its own store to run the command in.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![allow(dead_code, reason = "every test file is a crate of its own and uses a part of this")]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

pub const MELV: &str = env!("CARGO_BIN_EXE_melv");

/// Sends a signal, named as for `kill`, to a running process.
#[track_caller]
pub fn send_signal(process: u32, name: &str) {
    use rustix::process::{Pid, Signal, kill_process};
    let signal = match name.trim_start_matches('-') {
        "TERM" => Signal::TERM,
        "INT" => Signal::INT,
        "HUP" => Signal::HUP,
        "KILL" => Signal::KILL,
        "USR1" => Signal::USR1,
        "STOP" => Signal::STOP,
        "CONT" => Signal::CONT,
        other => panic!("{other} is not among the signals that tests send"),
    };
    let process = Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    kill_process(process, signal).unwrap();
}

pub struct Bed {
    folder: tempfile::TempDir,
}

pub fn bed() -> Bed {
    Bed { folder: tempfile::tempdir().unwrap() }
}

impl Bed {
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Returns a command that runs in the folder with only this environment.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        let bin = Path::new(MELV).parent().unwrap().display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command.env_clear().env("PATH", format!("{bin}:{path}")).env("MELV_STORE", self.store());
        command
    }

    pub fn melv(&self, arguments: &[&str]) -> Ran {
        let output = self.command(MELV).args(arguments).output().unwrap();
        Ran { what: arguments.join(" "), output }
    }

    /// Runs a shell command line, in which `melv` is the command under test.
    pub fn sh(&self, line: &str) -> Ran {
        Ran { what: line.into(), output: self.command("sh").args(["-c", line]).output().unwrap() }
    }

    /// Returns the output of a shell command line on a terminal of this width, including standard error.
    pub fn on_terminal(&self, columns: usize, line: &str) -> String {
        let line = format!("stty cols {columns} -echo; {line}");
        let mut script = self.command("script");
        let output = script.args(["-qec", &line, "/dev/null"]).env("SHELL", "/bin/sh").output().unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).replace('\r', "")
    }

    /// Whether images can be mounted here; if not, prints the reason.
    pub fn can_mount(&self) -> bool {
        std::fs::create_dir(self.path("tried")).unwrap();
        let ran = self.melv(&["mount", "tried"]);
        if ["/dev/fuse", "fusermount3"].iter().any(|lacking| ran.stderr().contains(lacking)) {
            println!("skipped, since nothing can be mounted here: {}", ran.stderr());
            return false;
        }
        ran.exits(0);
        self.melv(&["umount", "tried"]).exits(0);
        true
    }

    /// Runs a shell command line without root's capability to bypass file modes.
    pub fn without_override(&self, line: &str) -> Ran {
        let as_root = rustix::process::geteuid().is_root();
        let caps = "-dac_override,-dac_read_search";
        let drop = format!("setpriv --bounding-set {caps} --inh-caps {caps} --");
        self.sh(&if as_root { format!("{drop} {line}") } else { line.into() })
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.melv(&[&["--json"], arguments].concat());
        ran.exits(0).json()
    }
}

pub struct Ran {
    what: String,
    pub output: Output,
}

impl Ran {
    pub fn new(what: String, output: Output) -> Self {
        Self { what, output }
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        let found = self.output.status;
        assert_eq!(found.code(), Some(code), "{}: {found}\n{}{}", self.what, self.stdout(), self.stderr());
        assert!(!self.stderr().contains("panicked"), "{}: {}", self.what, self.stderr());
        self
    }

    #[track_caller]
    pub fn says(self, wanted: &str) -> Self {
        assert!(self.stderr().contains(wanted), "{}: no {wanted:?} in\n{}", self.what, self.stderr());
        self
    }

    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        let found = serde_json::from_str(&self.stdout());
        found.unwrap_or_else(|error| panic!("{}: {error}: {}", self.what, self.stdout()))
    }
}

/// Imports `empty`, an image without bytes: the library allows one, the command does not.
pub fn import_empty(bed: &Bed) {
    let store = melv::Store::create_folder(bed.store(), melv::StoreOptions::default()).unwrap();
    let options = melv::ImportOptions::named("empty".parse().unwrap());
    store.import(melv::Source::stream(std::io::empty(), "nothing"), &options).unwrap();
}

/// Returns incompressible bytes, the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    melv_testing::Rng::new(seed).bytes(len)
}

/// A disk with data, zeros, and data again, whose last block is short.
pub fn disk() -> Vec<u8> {
    [noise(1, 300_000), vec![0; 3 << 20], noise(2, 200_000), vec![7; 50_000], vec![0; 512 - 550_000 % 512]]
        .concat()
}

/// A later version of [`disk`], with other data in a part in its middle.
pub fn later_disk() -> Vec<u8> {
    let mut disk = disk();
    disk[8192..16384].copy_from_slice(&noise(3, 8192));
    disk
}

/// Returns the total size of the files under a folder, except those under its folder `without`.
pub fn file_bytes(folder: &Path, without: &str) -> u64 {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name() != Some(OsStr::new(without)))
        .map(|path| if path.is_dir() { file_bytes(&path, without) } else { path.metadata().unwrap().len() })
        .sum()
}
