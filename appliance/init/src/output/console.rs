//! The console of the machine.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::OpenOptionsExt,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use super::{clean, ring::Ring};
use crate::{
    report::Report,
    sys::{self, Interest, Poll},
};

/// `O_NOCTTY | O_NONBLOCK`: the init controls no terminal, and waits for none.
const FLAGS: i32 = 0o400 | 0o4000;
/// Bytes that wait for a slow console. A serial line of 115200 baud takes six seconds for them.
const QUEUE: usize = 64 * 1024;
/// Bytes above `QUEUE` for the init's own lines, which are few.
const RESERVE: usize = 16 * 1024;

/// The console: lines wait here until it takes them.
#[derive(Debug)]
pub struct Console {
    file: Option<File>,
    queue: VecDeque<u8>,
    dropped: u64,
    quiet: bool,
    log: Option<Ring>,
}

impl Console {
    /// Opens `/dev/console`. A machine without one runs as well.
    pub fn open() -> Self {
        let file = OpenOptions::new().write(true).custom_flags(FLAGS).open("/dev/console").ok();
        Self { file, queue: VecDeque::new(), dropped: 0, quiet: false, log: None }
    }

    /// Keeps the init's own lines in a log too.
    pub fn keep(&mut self, log: Ring) {
        self.log = Some(log);
    }

    /// Leaves the console to a program, or takes it back.
    pub fn set_quiet(&mut self, quiet: bool) {
        self.quiet = quiet;
    }

    /// Writes a line of the init.
    pub fn tell(&mut self, report: &Report) {
        let line = report.to_string();
        // A secret is told once, and kept nowhere but in its file.
        if let Some(log) = &mut self.log
            && !matches!(report, Report::Secret(..))
        {
            let _ = log.append(format!("{line}\n").as_bytes());
        }
        let last =
            matches!(report, Report::Stop(_) | Report::Failed(_) | Report::Exit(_) | Report::Secret(..));
        if (!self.quiet || last) && self.queue.len() < QUEUE + RESERVE {
            self.push(line.as_bytes());
        }
        self.write();
    }

    /// Writes a line of a service.
    pub fn line(&mut self, name: &str, line: &[u8]) {
        if self.quiet {
            return;
        }
        if self.queue.len() + name.len() + line.len() > QUEUE {
            self.dropped += 1;
            return;
        }
        if self.dropped > 0 {
            let note = Report::Note(format!("{} lines of services were left out here", self.dropped));
            self.dropped = 0;
            self.push(note.to_string().as_bytes());
        }
        let line = [name.as_bytes(), b": ", &clean(line)].concat();
        self.push(&line);
    }

    fn push(&mut self, line: &[u8]) {
        self.queue.extend(line);
        self.queue.push_back(b'\n');
    }

    /// Returns the console if lines wait for it.
    pub fn waits(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().filter(|_| !self.queue.is_empty()).map(AsFd::as_fd)
    }

    /// Writes as much as the console takes.
    pub fn write(&mut self) {
        let Some(file) = &mut self.file else {
            self.queue.clear();
            return;
        };
        while !self.queue.is_empty() {
            match file.write(self.queue.as_slices().0) {
                Ok(count) if count > 0 => drop(self.queue.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A console that fails for good would make the lines wait forever.
                _ => self.queue.clear(),
            }
        }
    }

    /// Writes all lines, for at most `patience`.
    pub fn finish(&mut self, patience: Duration) {
        let end = sys::since_boot() + patience;
        self.write();
        while let Some(file) = self.waits() {
            let left = end.saturating_sub(sys::since_boot());
            if left.is_zero() {
                return;
            }
            let mut poll = Poll::new();
            poll.add(file, Interest::Write, ());
            poll.wait(Some(left));
            self.write();
        }
    }
}

/// The terminal that a service with `console` has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminal {
    /// Device.
    pub path: PathBuf,
    /// Whether it is a serial line, which knows no size of its own.
    pub serial: bool,
}

/// Chooses the terminal: the last console that the kernel names, unless that is a serial line without a chip; else
/// the screen.
///
/// `active` is the content of `/sys/class/tty/console/active`; `has_chip` says whether a line of that name has one.
pub fn terminal(active: &str, has_chip: impl Fn(&str) -> bool) -> Terminal {
    let last = active.split_ascii_whitespace().rfind(|name| {
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        plain && (!name.starts_with("ttyS") || has_chip(name))
    });
    let serial = |name: &str| !name.starts_with("tty") || name.starts_with("ttyS");
    match last {
        // `tty0` is whatever screen is shown; a terminal to own has a number.
        None | Some("tty0") => Terminal { path: "/dev/tty1".into(), serial: false },
        Some(name) => Terminal { path: Path::new("/dev").join(name), serial: serial(name) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_gets_the_last_console_that_is_there() {
        let path = |active, chip| terminal(active, |_| chip).path;
        assert_eq!(path("tty0 ttyS0\n", true), Path::new("/dev/ttyS0"));
        assert_eq!(path("tty0 ttyS0\n", false), Path::new("/dev/tty1"));
        assert_eq!(path("ttyS0 tty0\n", true), Path::new("/dev/tty1"));
        assert_eq!(path("hvc0\n", false), Path::new("/dev/hvc0"));
        assert_eq!(path("", true), Path::new("/dev/tty1"));
        assert_eq!(path("../sda\n", true), Path::new("/dev/tty1"));
        assert!(terminal("hvc0", |_| true).serial && !terminal("tty0", |_| true).serial);
    }

    #[test]
    fn a_console_that_takes_nothing_bounds_the_queue_and_counts_the_rest() {
        let mut console = Console { file: None, queue: VecDeque::new(), dropped: 0, quiet: false, log: None };
        for _ in 0..10_000 {
            console.line("web", &[b'x'; 100]);
        }
        assert!(console.queue.len() <= QUEUE);
        assert!(console.dropped > 9000);
        console.queue.clear();
        let dropped = console.dropped;
        console.line("web", b"later");
        let text = String::from_utf8(console.queue.iter().copied().collect()).unwrap();
        assert_eq!(text, format!("melv: note {dropped} lines of services were left out here\nweb: later\n"));
    }
}
