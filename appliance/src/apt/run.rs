//! Runs the programs of apt, each with a time limit.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::error::AptError;

/// Most bytes of an output that are kept: the addresses of 50,000 packages.
const MAX_OUTPUT_BYTES: u64 = 32 << 20;

/// Time between two looks at the program.
const STEP: Duration = Duration::from_millis(4);

/// Time that outputs may take to end after their program.
const DRAIN: Duration = Duration::from_secs(2);

/// Variables of the environment that programs get: the way to them, and to the network.
const KEPT: [&str; 10] = [
    "PATH",
    "TMPDIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
];

/// A program that ended.
#[derive(Debug)]
pub(super) struct Output {
    /// Exit code or signal.
    pub status: ExitStatus,
    /// Standard output.
    pub text: String,
    /// Standard error.
    pub errors: String,
}

/// Runs `program`. `config` is apt's configuration. `lock` becomes its standard input: an empty file, whose lock is
/// then held until the program ends, even where this process is killed.
pub(super) fn run(
    program: &Path,
    arguments: &[OsString],
    config: Option<&Path>,
    lock: Option<&File>,
    limit: Duration,
) -> Result<Output, AptError> {
    let mut command = Command::new(program);
    let environment = std::env::vars_os().filter(|(name, _)| KEPT.iter().any(|kept| name == kept));
    command.args(arguments).env_clear().envs(environment).env("LC_ALL", "C").process_group(0);
    if let Some(config) = config {
        command.env("APT_CONFIG", config);
    }
    let input = lock.map_or(Ok(Stdio::null()), |lock| lock.try_clone().map(Stdio::from));
    command.stdin(input.map_err(AptError::io(program))?).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => AptError::NoApt { program: program.into() },
        _ => AptError::Io { path: program.into(), source },
    })?;
    let (text, errors) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let status = wait(&mut child, program, limit)?;
    let receive = |output: &Receiver<Vec<u8>>| output.recv_timeout(DRAIN).unwrap_or_default();
    let string = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Output { status, text: string(receive(&text)), errors: string(receive(&errors)) })
}

/// Reads an output to its end, so that the program is never held up, and keeps the first bytes.
fn drain(output: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut kept = Vec::new();
        if let Some(mut output) = output {
            // An output that breaks is as short as it came.
            let _ = Read::take(&mut output, MAX_OUTPUT_BYTES).read_to_end(&mut kept);
            let _ = io::copy(&mut output, &mut io::sink());
        }
        let _ = sender.send(kept);
    });
    receiver
}

fn wait(child: &mut Child, program: &Path, limit: Duration) -> Result<ExitStatus, AptError> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(AptError::io(program))? {
            return Ok(status);
        }
        if start.elapsed() >= limit {
            kill(child);
            return Err(AptError::TimeLimit { program: program.into(), limit });
        }
        thread::sleep(STEP);
    }
}

/// Kills the program with its children, which are in a process group of their own.
fn kill(child: &mut Child) {
    // The program is not waited for yet, so that its number is not another's.
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
}
