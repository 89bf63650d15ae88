//! Probes: single tries whether a service does its job.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use super::{
    group::Group,
    launch::{Streams, launch},
};
use crate::{
    config::{Ready, Service},
    sys::{self, Interest, Status},
};

/// Time that one try has.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read for its first line.
const ANSWER: usize = 512;

/// The state of a try.
#[derive(Debug)]
enum Try {
    /// Waits for a connection; afterwards sends a request for this path, if there is one.
    Connecting(File, Option<String>),
    /// Waits for the first line of an answer.
    Reading(File, Vec<u8>),
    /// Waits for the end of this process.
    Running(i32),
}

/// A try that runs.
#[derive(Debug)]
pub struct Probe {
    /// Index of the service.
    pub service: usize,
    state: Try,
    end: Duration,
}

impl Probe {
    /// Begins a try.
    ///
    /// # Errors
    ///
    /// The try has failed at once.
    pub fn start(index: usize, service: &Service, now: Duration) -> io::Result<Self> {
        let state = match &service.ready {
            Ready::Started => return Err(io::ErrorKind::InvalidInput.into()),
            Ready::Tcp(port) => Try::Connecting(sys::connect_loopback(*port)?.into(), None),
            Ready::Http(port, path) => {
                Try::Connecting(sys::connect_loopback(*port)?.into(), Some(path.clone()))
            }
            Ready::Exec(command) => {
                let group = Group::new(&format!("{}.ready", service.name));
                Try::Running(launch(&service.process, command, Streams::Silent, &group)?.pid)
            }
        };
        Ok(Self { service: index, state, end: now + PATIENCE })
    }

    /// Returns the time at which the try has failed.
    pub fn deadline(&self) -> Duration {
        self.end
    }

    /// Returns the file to wait for.
    pub fn file(&self) -> Option<(BorrowedFd<'_>, Interest)> {
        match &self.state {
            Try::Connecting(socket, _) => Some((socket.as_fd(), Interest::Write)),
            Try::Reading(socket, _) => Some((socket.as_fd(), Interest::Read)),
            Try::Running(_) => None,
        }
    }

    /// Goes on with a file that is ready. Returns the result once there is one.
    pub fn proceed(&mut self) -> Option<bool> {
        match &mut self.state {
            Try::Running(_) => None,
            Try::Connecting(socket, path) => {
                if sys::connected(&*socket).is_err() {
                    return Some(false);
                }
                let Some(path) = path else { return Some(true) };
                // A request is shorter than any socket's buffer, so that one write takes all of it.
                socket.write_all(&request(path)).ok()?;
                let socket = socket.try_clone().ok()?;
                self.state = Try::Reading(socket, Vec::new());
                None
            }
            Try::Reading(socket, answer) => {
                let mut piece = [0; ANSWER];
                match socket.read(&mut piece) {
                    Ok(count) if count > 0 => answer.extend(&piece[..count]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                    _ => return Some(false),
                }
                verdict(answer)
            }
        }
    }

    /// Returns the result if `pid` is the process of the try.
    pub fn ended(&self, pid: i32, status: Status) -> Option<bool> {
        matches!(self.state, Try::Running(own) if own == pid).then_some(status == Status::Code(0))
    }

    /// Ends a try that took too long.
    pub fn cancel(&self, service: &Service) {
        if let Try::Running(pid) = self.state {
            Group::new(&format!("{}.ready", service.name)).kill(Some(pid));
        }
    }
}

fn request(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: melv-init\r\nConnection: close\r\n\r\n")
        .into_bytes()
}

/// Judges the first bytes of an answer: `HTTP/1.x`, a space, a status from 200 to 399.
fn verdict(answer: &[u8]) -> Option<bool> {
    let Some(start) = answer.first_chunk::<12>() else {
        return (!b"HTTP/1.".starts_with(&answer[..answer.len().min(7)])).then_some(false);
    };
    let digits = start[9..].iter().all(u8::is_ascii_digit);
    Some(start.starts_with(b"HTTP/1.") && start[8] == b' ' && digits && matches!(start[9], b'2' | b'3'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_from_200_to_399_are_good() {
        for (answer, good) in [
            (&b"HTTP/1.1 200 OK\r\n"[..], Some(true)),
            (b"HTTP/1.0 301", Some(true)),
            (b"HTTP/1.1 503 Busy", Some(false)),
            (b"HTTP/1.1 20", None),
            (b"HTTP", None),
            (b"", None),
            (b"SSH-2", Some(false)),
            (b"HTTP/1.1 2OO OK", Some(false)),
            (b"220 mail.example.org", Some(false)),
        ] {
            assert_eq!(verdict(answer), good, "{}", String::from_utf8_lossy(answer));
        }
    }
}
