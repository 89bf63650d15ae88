//! The start of a process.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, PipeReader},
    path::Path,
    process::{Command, Stdio},
};

use super::group::Group;
use crate::{
    config::Process,
    output::terminal,
    sys::{self, Identity},
};

/// Folders in which programs are looked for, and the `PATH` of processes that are given none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Streams of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    /// Output through a pipe to the console and the log.
    Logged,
    /// The terminal.
    Terminal,
    /// None.
    Silent,
}

/// A process that was started.
#[derive(Debug)]
pub struct Started {
    /// Its id.
    pub pid: i32,
    /// Its output, if it is logged.
    pub output: Option<PipeReader>,
}

/// Starts `words` with the rights of `process`.
pub fn launch(process: &Process, words: &[String], streams: Streams, group: &Group) -> io::Result<Started> {
    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", PATH);
    command.envs(process.environment.iter().map(|(name, value)| (name, value)));
    command.current_dir(process.directory.as_deref().unwrap_or("/"));
    let mut output = None;
    match streams {
        Streams::Logged => {
            let (reader, writer) = io::pipe()?;
            command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
            output = Some(reader);
        }
        Streams::Terminal => {
            let terminal = open_terminal(process.uid)?;
            command.stdin(terminal.try_clone()?).stdout(terminal.try_clone()?).stderr(terminal);
        }
        Streams::Silent => {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        }
    }
    let identity = Identity {
        uid: process.uid,
        gid: process.gid,
        groups: process.groups.clone(),
        capabilities: process.capabilities,
        limits: process.limits.iter().map(|limit| (limit.resource, limit.soft, limit.hard)).collect(),
        no_new_privileges: !process.new_privileges,
        terminal: streams == Streams::Terminal,
        group: group.door(),
    };
    let pid = sys::spawn(&mut command, identity)?;
    Ok(Started { pid, output })
}

/// Opens the terminal for a program of user `uid`, which owns it from then on.
fn open_terminal(uid: u32) -> io::Result<File> {
    let active = fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
    // The type 0 is a port of the table without a chip.
    let has_chip = |name: &str| {
        let kind = fs::read_to_string(Path::new("/sys/class/tty").join(name).join("type"));
        kind.is_ok_and(|kind| kind.trim() != "0")
    };
    let terminal = terminal(&active, has_chip);
    let file = OpenOptions::new().read(true).write(true).open(&terminal.path)?;
    std::os::unix::fs::chown(&terminal.path, Some(uid), None)?;
    if terminal.serial {
        sys::window_size(&file, 24, 80)?;
    }
    // Lines of the kernel would be written over the program's screen.
    let _ = fs::write("/proc/sys/kernel/printk", "1");
    Ok(file)
}
