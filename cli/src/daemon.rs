//! A daemon: a process that continues after the command has ended.
//!
//! The command starts itself again, and this second process does the work. At first it reports errors on the
//! command's standard error. Once ready, it lets go of that and reports through a pipe, and the command ends.
//! The daemon keeps no inherited descriptors: a reader of the command's pipes sees their end when the command
//! ends.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use melv::Error;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::log;

/// The environment variable that marks the daemon process.
const VARIABLE: &str = "MELV_DAEMON";
/// The message that the daemon sends when it is ready.
const READY: &[u8] = b"ready\n";
/// The socket of the system's log.
const LOG: &str = "/dev/log";

/// Whether this is the daemon process.
pub fn is_daemon() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// Starts the daemon and returns its process id once it is ready. If the daemon fails, it has reported the
/// error, and this process exits with its exit code.
pub fn begin() -> Result<u32, Failure> {
    let refused = |source| Error::io("start", "the process that serves the images", source);
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

/// Detaches the daemon from the terminal and closes all inherited descriptors except the standard streams.
/// The daemon calls this first.
pub fn detach() -> Result<(), Failure> {
    // Fails only for a group leader, for example when a user has set the variable by hand.
    let _ = rustix::process::setsid();
    let listed = std::fs::read_dir("/proc/self/fd");
    let listed = listed.map_err(|source| Error::io("list", "/proc/self/fd", source))?;
    let number = |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    let inherited: Vec<i32> = listed.filter_map(number).filter(|number| *number > 2).collect();
    for descriptor in inherited {
        // The descriptor of the directory listing is closed already.
        let _ = nix::unistd::close(descriptor);
    }
    Ok(())
}

/// Lets go of the standard streams and the working folder, which ends the command. The daemon calls this
/// last, before it serves. From now on it logs to the system's log, if there is one.
pub fn ready() -> Result<(), Failure> {
    let refused = |source| Error::io("close", "the standard streams", source);
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
