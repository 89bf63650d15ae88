//! Runs `make`, and ends it with all its children.
//!
//! The children form a process group. A watchman in the same group, a shell, waits on a pipe that this process alone
//! holds open. When this process ends, in whatever way, the pipe closes, and the watchman kills the group. A signal on
//! the parent's death would need `unsafe`, and would reach `make` alone, not the compilers below it. A child that
//! leaves the group escapes; programs of Linux's build do not.

use std::{
    collections::VecDeque,
    io::{self, BufRead as _, BufReader, Read},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::error::TailoredError;

/// Pause between two looks at a program.
const PAUSE: Duration = Duration::from_millis(20);
/// Time that outputs may take to end after their program.
const DRAIN: Duration = Duration::from_secs(2);
/// Bytes of both outputs that are kept.
const LOG_BYTES: usize = 256 << 10;
/// Bytes and lines of the standard error that an error tells.
const SAID_BYTES: usize = 16 << 10;
const SAID_LINES: usize = 40;

/// The end of an output.
#[derive(Debug, Default)]
struct Tail(VecDeque<u8>);

impl Tail {
    fn add(&mut self, bytes: &[u8], limit: usize) {
        self.0.extend(&bytes[bytes.len().saturating_sub(limit)..]);
        self.0.drain(..self.0.len().saturating_sub(limit));
    }

    fn text(&self) -> String {
        let (start, end) = self.0.as_slices();
        String::from_utf8_lossy(&[start, end].concat()).into_owned()
    }
}

/// Outputs of a program, as two threads read them.
#[derive(Debug, Default)]
struct Outputs {
    lines: AtomicU64,
    log: Mutex<Tail>,
    said: Mutex<Tail>,
}

impl Outputs {
    /// Reads an output to its end. Lines of any length take no more memory than a buffer.
    fn read(&self, output: impl Read, is_error: bool) {
        let mut output = BufReader::new(output);
        loop {
            let bytes = match output.fill_buf() {
                Ok([]) => return,
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // An output that breaks is as short as it came.
                Err(_) => return,
            };
            lock(&self.log).add(bytes, LOG_BYTES);
            if is_error {
                lock(&self.said).add(bytes, SAID_BYTES);
            } else {
                let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
                self.lines.fetch_add(lines as u64, Relaxed);
            }
            let count = bytes.len();
            output.consume(count);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A group of processes, which ends with this value.
struct Group {
    watchman: Child,
    pid: Pid,
    _pipe: Option<ChildStdin>,
}

impl Group {
    fn new() -> io::Result<Self> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "read -r end; kill -9 0"]).env_clear().process_group(0).stdin(Stdio::piped());
        let mut watchman = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let pipe = watchman.stdin.take();
        let pid =
            i32::try_from(watchman.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { watchman, pid, _pipe: pipe })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The watchman is not waited for yet, so that its number is no other's.
        let _ = kill_process_group(self.pid, Signal::KILL);
        let _ = self.watchman.wait();
    }
}

/// Runs a command to its end. `watch` gets the number of lines of its standard output, and returns whether to go on.
///
/// # Errors
///
/// A command that cannot be started, fails, is not done in time, or that `watch` ended. Nothing of it lives on.
pub(super) fn run(
    mut command: Command,
    limit: Duration,
    watch: &mut dyn FnMut(u64) -> bool,
) -> Result<(), TailoredError> {
    let program = PathBuf::from(command.get_program());
    let fault = |source| TailoredError::Run { program: program.clone(), source };
    let shown = shown(&command);
    let group = Group::new().map_err(fault)?;
    command.process_group(group.pid.as_raw_nonzero().get());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(fault)?;
    let outputs = Arc::new(Outputs::default());
    let readers = [read(&outputs, child.stdout.take(), false), read(&outputs, child.stderr.take(), true)];
    let start = Instant::now();
    let ended = loop {
        if !watch(outputs.lines.load(Relaxed)) {
            break Err(TailoredError::Interrupted);
        }
        match has_ended(&child) {
            Ok(true) => break Ok(()),
            Ok(false) if start.elapsed() >= limit => {
                break Err(TailoredError::TimedOut { command: shown.clone(), limit });
            }
            Ok(false) => thread::sleep(PAUSE),
            Err(source) => break Err(fault(source)),
        }
    };
    // Children that outlive their parent would hold the outputs open.
    drop(group);
    let status = child.wait().map_err(fault)?;
    finish(readers);
    ended?;
    watch(outputs.lines.load(Relaxed));
    check(status, shown, &outputs)
}

fn has_ended(child: &Child) -> io::Result<bool> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    // It stays to be waited for, since its end and that of the group are one step.
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(waitid(WaitId::Pid(pid), look)?.is_some())
}

fn read(
    outputs: &Arc<Outputs>,
    output: Option<impl Read + Send + 'static>,
    is_error: bool,
) -> JoinHandle<()> {
    let outputs = Arc::clone(outputs);
    thread::spawn(move || {
        if let Some(output) = output {
            outputs.read(output, is_error);
        }
    })
}

/// Waits for the ends of the outputs. A process that left the group may hold them open for ever.
fn finish(readers: [JoinHandle<()>; 2]) {
    let start = Instant::now();
    while readers.iter().any(|reader| !reader.is_finished()) && start.elapsed() < DRAIN {
        thread::sleep(PAUSE);
    }
}

fn check(status: ExitStatus, command: String, outputs: &Outputs) -> Result<(), TailoredError> {
    if status.success() {
        return Ok(());
    }
    let said = lock(&outputs.said).text();
    let lines: Vec<&str> = said.lines().collect();
    let said = lines[lines.len().saturating_sub(SAID_LINES)..].join("\n");
    Err(TailoredError::Failed { command, code: status.code(), said, log: lock(&outputs.log).text() })
}

/// Returns a command as people write it: the name of the program and its arguments.
fn shown(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn lines_of_the_output_are_counted() {
        let mut seen = 0;
        let script = "echo a; echo b; echo c >&2; printf d";
        run(shell(script), LONG, &mut |lines| (seen = lines, true).1).unwrap();
        assert_eq!(seen, 2);
    }

    #[test]
    fn the_last_lines_of_the_standard_error_are_told() {
        let script = "echo fine; i=0; while [ $i -lt 9000 ]; do echo line $i >&2; i=$((i+1)); done; exit 3";
        let fault = run(shell(script), LONG, &mut |_| true).unwrap_err();
        let TailoredError::Failed { code: Some(3), said, log, command } = fault else { panic!("{fault}") };
        assert_eq!(said.lines().count(), SAID_LINES);
        assert!(
            said.ends_with("line 8999") && log.contains("fine\n") && command.starts_with("sh -c"),
            "{command}"
        );
    }

    #[test]
    fn a_flood_without_an_end_of_line_takes_no_memory() {
        let script = "head -c 3000000 /dev/zero >&2; exit 1";
        let fault = run(shell(script), LONG, &mut |_| true).unwrap_err();
        let TailoredError::Failed { said, log, .. } = fault else { panic!("{fault}") };
        assert_eq!((said.len(), log.len()), (SAID_BYTES, LOG_BYTES));
    }

    #[test]
    fn a_signal_is_told() {
        let fault = run(shell("kill -9 $$"), LONG, &mut |_| true).unwrap_err();
        assert!(matches!(fault, TailoredError::Failed { code: None, .. }), "{fault}");
        assert_eq!(fault.to_string(), "sh -c kill -9 $$ was ended by a signal");
    }

    #[test]
    fn a_program_that_hangs_is_ended_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let script = format!("(sleep 1; touch {}) & sleep 100", mark.display());
        let fault = run(shell(&script), Duration::from_millis(200), &mut |_| true).unwrap_err();
        assert!(matches!(fault, TailoredError::TimedOut { .. }), "{fault}");
        let fault = run(shell(&script), LONG, &mut |_| false).unwrap_err();
        assert!(matches!(fault, TailoredError::Interrupted), "{fault}");
        thread::sleep(Duration::from_millis(1500));
        assert!(!mark.exists(), "a child lives on");
    }

    #[test]
    fn children_that_outlive_a_good_end_are_ended() {
        let start = Instant::now();
        run(shell("sleep 60 & exit 0"), LONG, &mut |_| true).unwrap();
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let fault = run(Command::new("/nowhere/make"), LONG, &mut |_| true).unwrap_err();
        assert_eq!(fault.to_string(), "/nowhere/make cannot be run");
    }

    #[test]
    fn the_death_of_this_process_ends_the_group() {
        let folder = tempfile::tempdir().unwrap();
        let (ready, mark) = (folder.path().join("ready"), folder.path().join("mark"));
        // A copy of this test's program is the process that dies.
        if let Some(script) = std::env::var_os("MELV_TEST_GROUP") {
            let _ = run(shell(&script.to_string_lossy()), LONG, &mut |_| true);
            return;
        }
        let script = format!("touch {}; sleep 2; touch {}", ready.display(), mark.display());
        let mut copy = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kernel::tailored::process::tests::the_death_of_this_process_ends_the_group"])
            .env("MELV_TEST_GROUP", script)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        while !ready.exists() {
            assert!(copy.try_wait().unwrap().is_none(), "the copy ended early");
            thread::sleep(PAUSE);
        }
        copy.kill().unwrap();
        copy.wait().unwrap();
        thread::sleep(Duration::from_millis(3000));
        assert!(!mark.exists(), "the child lives on");
    }
}
