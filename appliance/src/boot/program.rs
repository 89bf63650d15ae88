//! Runs a program to its end, within a limit of time.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::error::BootError;

/// Bytes of a program's output that an error repeats at most.
const SAID_BYTES: u64 = 2048;

/// Time between two looks at a program.
const PAUSE: Duration = Duration::from_millis(2);

/// Runs `command` until it and its children have ended, at most for `limit`. Returns the last of its output.
///
/// Its output goes to the file `log`, so that a program that writes much neither waits nor takes memory. The children
/// form a group of their own, which ends with it.
///
/// # Errors
///
/// Fails when the program cannot be started, fails, or is not done in time.
pub(super) fn run(mut command: Command, log: &Path, limit: Duration) -> Result<String, BootError> {
    let temporary = |source| BootError::Temporary { path: log.to_owned(), source };
    let program = PathBuf::from(command.get_program());
    let file = File::options().read(true).append(true).create(true).open(log).map_err(temporary)?;
    let [output, errors] = [file.try_clone().map_err(temporary)?, file.try_clone().map_err(temporary)?];
    command.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
    let child = command.spawn();
    let mut child = child.map_err(|source| BootError::Start { program: program.clone(), source })?;
    let ended = wait(&mut child, limit);
    let said = last_of(&file).map_err(temporary)?;
    match ended.map_err(|source| BootError::Start { program: program.clone(), source })? {
        Some(status) if status.success() => Ok(said),
        Some(status) => Err(BootError::Failed { program, code: status.code(), said }),
        None => Err(BootError::TimedOut { program, limit, said }),
    }
}

/// Waits for a child; none where it was not done in time, and has been ended.
fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    // Until it is waited for, the number stays its own, and so does the group's.
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let start = Instant::now();
    let mut is_done = false;
    while !is_done && start.elapsed() < limit {
        is_done = waitid(WaitId::Pid(pid), look)?.is_some();
        if !is_done {
            std::thread::sleep(PAUSE);
        }
    }
    kill_process_group(pid, Signal::KILL)?;
    let status = child.wait()?;
    Ok(is_done.then_some(status))
}

/// Returns the end of a file, as text.
fn last_of(file: &File) -> io::Result<String> {
    let length = file.metadata()?.len();
    let count = length.min(SAID_BYTES);
    let mut bytes = vec![0; count as usize];
    file.read_exact_at(&mut bytes, length - count)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Result<String, BootError> {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).current_dir(folder.path());
        run(command, &folder.path().join("log"), limit)
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn output_and_code_of_a_failure_are_told() {
        assert_eq!(shell("echo fine; echo so >&2", LONG).unwrap(), "fine\nso");
        let fault = shell("echo bad >&2; exit 3", LONG).unwrap_err();
        assert!(matches!(&fault, BootError::Failed { code: Some(3), said, .. } if said == "bad"), "{fault}");
        let fault = shell("kill -9 $$", LONG).unwrap_err();
        assert!(matches!(fault, BootError::Failed { code: None, .. }));
    }

    #[test]
    fn of_a_flood_the_last_is_told() {
        let said = shell("i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done", LONG).unwrap();
        assert!(said.ends_with("line 4999") && said.len() as u64 <= SAID_BYTES);
    }

    #[test]
    fn a_program_that_hangs_is_ended_with_its_children() {
        let start = Instant::now();
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let script = format!("echo waiting; (sleep 2; touch {}) & sleep 100", mark.display());
        let fault = shell(&script, Duration::from_millis(300)).unwrap_err();
        assert!(matches!(&fault, BootError::TimedOut { said, .. } if said == "waiting"), "{fault}");
        assert!(start.elapsed() < Duration::from_secs(2));
        std::thread::sleep(Duration::from_millis(2500));
        assert!(!mark.exists(), "the child lives on");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let fault = run(Command::new("/nowhere/syslinux"), &folder.path().join("log"), LONG).unwrap_err();
        assert!(
            matches!(&fault, BootError::Start { program, .. } if program == Path::new("/nowhere/syslinux"))
        );
    }
}
