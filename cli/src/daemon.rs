//! A process that goes on when the command has ended.
//!
//! The command runs itself once more, and the second process does the work. It tells of what fails
//! on the command's own standard error; when all is ready it lets go of that, says so through a pipe,
//! and the command ends. The second process keeps nothing that was inherited: whoever waits for the end of
//! a pipe that the command was given does not wait for the daemon.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use melv::Error;

use crate::exit::{Exit, Failure};
use crate::log;

/// Set for the second process.
const VARIABLE: &str = "MELV_DAEMON";
/// What it says through the pipe.
const READY: &[u8] = b"ready\n";
/// Where the system's log listens.
const LOG: &str = "/dev/log";

/// Whether this is the second process.
pub fn is_daemon() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// Begins the second process and gives its number when it is ready. Where it fails, that was told, and
/// this process ends with its exit code.
pub fn begin() -> Result<u32, Failure> {
    let refused = |source| Error::io("begin", "the process that serves", source);
    let program = std::env::current_exe().map_err(refused)?;
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).env(VARIABLE, "1");
    let mut daemon = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(refused)?;
    let mut said = Vec::new();
    if let Some(mut pipe) = daemon.stdout.take() {
        pipe.read_to_end(&mut said).map_err(refused)?;
    }
    if said == READY {
        return Ok(daemon.id());
    }
    let status = daemon.wait().map_err(refused)?;
    match status.code() {
        Some(code) if code != Exit::Done as i32 => std::process::exit(code),
        _ => Err(Failure::Daemon(status)),
    }
}

/// The first that the second process does: it leaves the terminal and whatever the command was given
/// open beside the three standard streams.
pub fn detach() -> Result<(), Failure> {
    // Fails for the leader of a group only, as where somebody has set the variable by hand.
    let _ = rustix::process::setsid();
    let listed = std::fs::read_dir("/proc/self/fd");
    let listed = listed.map_err(|source| Error::io("list", "/proc/self/fd", source))?;
    let number = |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    let inherited: Vec<i32> = listed.filter_map(number).filter(|number| *number > 2).collect();
    for descriptor in inherited {
        // The one that the list was read from is closed already.
        let _ = nix::unistd::close(descriptor);
    }
    Ok(())
}

/// The last before it serves: it lets go of the standard streams and of the working folder, and the
/// command ends. What it logs from now on goes to the system's log, if there is one.
pub fn ready() -> Result<(), Failure> {
    let refused = |source| Error::io("leave", "the standard streams", source);
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").map_err(refused)?;
    let socket = UnixDatagram::unbound().and_then(|socket| socket.connect(LOG).map(|()| socket));
    let stderr = match &socket {
        Ok(socket) => rustix::stdio::dup2_stderr(socket),
        Err(_) => rustix::stdio::dup2_stderr(&null),
    };
    stderr.map_err(|errno| refused(errno.into()))?;
    log::is_syslog_now();
    std::env::set_current_dir("/").map_err(refused)?;
    let mut out = std::io::stdout();
    out.write_all(READY).and_then(|()| out.flush()).map_err(refused)?;
    rustix::stdio::dup2_stdout(&null).map_err(|errno| refused(errno.into()))?;
    Ok(())
}
