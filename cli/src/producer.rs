//! A command that produces a disk; the disk is stored only if the command succeeds.
//!
//! The command runs in its own process group, so that its children can be terminated with it.

use melv::{BlockError, ErrorKind};
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use melv::Error;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, waitid};

use crate::failure::Failure;
use crate::stdin::Pipe;

/// The interval between checks for the end of the command.
const NAP: Duration = Duration::from_millis(10);
/// The time between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// The process group to kill if this process exits at once; 0 if there is none.
static GROUP: AtomicI32 = AtomicI32::new(0);

/// The end of a command, or the reason that it will never end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The command exited with this status.
    #[error("the command ended with exit status {0}; nothing was stored")]
    Status(i32),
    /// The command was terminated by this signal.
    #[error("the command was ended by signal {0}; nothing was stored")]
    Signal(i32),
    /// The command was stopped, as a background process is when it reads from the terminal.
    #[error("the command was stopped by signal {0} (it cannot read from the terminal); nothing was stored")]
    Stopped(i32),
}

/// A command that produces a disk.
#[derive(Debug)]
pub struct Producer<'a> {
    name: String,
    process: Process,
    child: Mutex<Child>,
    cancel: &'a AtomicBool,
    has_ended: Arc<AtomicBool>,
    /// Whether the command succeeded and its disk was stored.
    is_done: AtomicBool,
}

impl<'a> Producer<'a> {
    /// Runs a command without a shell and returns a pipe from its standard output. The command shares the
    /// standard input of this process, unless that is a terminal.
    pub fn start(command: &[OsString], cancel: &'a AtomicBool) -> Result<(Self, Pipe<'a>), Failure> {
        let Some((program, arguments)) = command.split_first() else {
            return Err(Failure::Usage("--from-command needs a command after --".into()));
        };
        let name = program.display().to_string();
        let stdin = if io::stdin().is_terminal() { Stdio::null() } else { Stdio::inherit() };
        let mut prepared = Command::new(program);
        prepared.args(arguments).stdin(stdin).stdout(Stdio::piped()).process_group(0);
        let mut child = prepared.spawn().map_err(|source| Failure::Run { program: name.clone(), source })?;
        let output = child.stdout.take();
        let process = Process(Pid::from_child(&child));
        GROUP.store(process.0.as_raw_nonzero().get(), Ordering::Relaxed);
        let (child, is_done) = (Mutex::new(child), AtomicBool::new(false));
        let mut producer = Self {
            name: format!("the output of {name}"),
            process,
            child,
            cancel,
            has_ended: Arc::default(),
            is_done,
        };
        let Some(output) = output else {
            return Err(Error::io("read", &producer.name, io::ErrorKind::BrokenPipe.into()).into());
        };
        let pipe = Pipe::new(output.into(), cancel, Some(Box::new(move || process.check_not_stopped())));
        producer.has_ended = pipe.has_ended();
        Ok((producer, pipe))
    }

    /// Returns the name of the disk for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits for the command to end successfully.
    ///
    /// # Errors
    /// [`BlockError::Io`] with an [`Ended`] inside; [`BlockError::Interrupted`].
    pub fn finish(&self) -> melv::Result<()> {
        self.wait(None)
    }

    fn wait(&self, patience: Option<Duration>) -> melv::Result<()> {
        let begun = Instant::now();
        let failed = |error| Error::io("import", &self.name, error);
        loop {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(BlockError::Interrupted.into());
            }
            match self.process.status() {
                Ok(Some(status)) => return self.process.ended(&status).map_err(failed),
                Ok(None) => self.process.check_not_stopped().map_err(failed)?,
                Err(error) => return Err(failed(error.into())),
            }
            if patience.is_some_and(|patience| begun.elapsed() > patience) {
                return Ok(());
            }
            std::thread::sleep(NAP);
        }
    }

    /// Marks the disk as stored. Child processes that the command left running are not terminated then.
    pub fn done(&self) {
        self.is_done.store(true, Ordering::Relaxed);
    }

    /// Returns the reason that the disk was not stored. A failure of the command comes first, since it
    /// explains faults in its output.
    pub fn blame(&self, failure: Failure) -> Failure {
        if !self.has_ended.load(Ordering::Relaxed) {
            return failure;
        }
        match self.wait(Some(GRACE)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => error.into(),
            _ => failure,
        }
    }
}

/// Terminates the command and its children, unless its disk was stored, and waits for the command.
impl Drop for Producer<'_> {
    fn drop(&mut self) {
        if !self.is_done.load(Ordering::Relaxed) {
            // The process was not reaped yet, so no other group can have its number.
            self.process.signal(Signal::TERM);
            let begun = Instant::now();
            while matches!(self.process.status(), Ok(None)) && begun.elapsed() < GRACE {
                std::thread::sleep(NAP);
            }
            self.process.signal(Signal::KILL);
        }
        GROUP.store(0, Ordering::Relaxed);
        let _ = self.child.get_mut().unwrap_or_else(PoisonError::into_inner).wait();
    }
}

/// Kills the running command, if there is one, because this process exits at once.
pub fn kill_all() {
    if let Some(group) = Pid::from_raw(GROUP.load(Ordering::Relaxed)) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// A child process that leads its group and was not reaped yet.
#[derive(Debug, Clone, Copy)]
struct Process(Pid);

impl Process {
    /// Returns the exit status if the process has ended, without reaping it.
    fn status(self) -> rustix::io::Result<Option<WaitIdStatus>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(self.0), options)
    }

    fn ended(self, status: &WaitIdStatus) -> io::Result<()> {
        let ended = match (status.exit_status(), status.terminating_signal()) {
            (Some(0), _) => return Ok(()),
            (Some(code), _) => Ended::Status(code),
            (None, signal) => Ended::Signal(signal.unwrap_or(0)),
        };
        Err(io::Error::other(ended))
    }

    /// Fails if the process was stopped for using the terminal: it would never continue.
    fn check_not_stopped(self) -> io::Result<()> {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let stopped = waitid(WaitId::Pid(self.0), options).ok().flatten();
        let signal = stopped.and_then(|status| status.stopping_signal());
        let by_terminal = [Signal::TTIN, Signal::TTOU].map(Signal::as_raw);
        match signal.filter(|signal| by_terminal.contains(signal)) {
            Some(signal) => Err(io::Error::other(Ended::Stopped(signal))),
            None => Ok(()),
        }
    }

    fn signal(self, signal: Signal) {
        let _ = kill_process_group(self.0, signal);
        // A stopped process receives the signal only once it continues.
        let _ = kill_process_group(self.0, Signal::CONT);
    }
}
