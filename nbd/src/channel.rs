//! A connection as bytes both ways: one thread reads while others write.

use std::fmt::Debug;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::ServerConnection;

use crate::outbox::Outbox;
use crate::output::Output;
use crate::polling::Polling;

/// A socket, or standard input and output as one.
#[derive(Debug)]
pub enum Socket {
    /// Of this machine.
    Unix(UnixStream),
    /// Of a network.
    Tcp(TcpStream),
    /// Standard input and output.
    Stdio,
}

impl Socket {
    /// Makes reads and writes that wait longer fail; for ever with `None`.
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_patience(&self, read: Option<Duration>, write: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Unix(socket) => {
                socket.set_read_timeout(read).and_then(|()| socket.set_write_timeout(write))
            }
            Self::Tcp(socket) => socket.set_read_timeout(read).and_then(|()| socket.set_write_timeout(write)),
            Self::Stdio => Ok(()),
        }
    }

    /// Ends both ways; whoever waits for it wakes.
    pub fn shutdown(&self) {
        // It may be gone already.
        let _ = match self {
            Self::Unix(socket) => socket.shutdown(Shutdown::Both),
            Self::Tcp(socket) => socket.shutdown(Shutdown::Both),
            Self::Stdio => Ok(()),
        };
    }
}

impl Read for &Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(socket) => (&mut &*socket).read(buf),
            Socket::Tcp(socket) => (&mut &*socket).read(buf),
            Socket::Stdio => io::stdin().lock().read(buf),
        }
    }
}

impl Write for &Socket {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(socket) => (&mut &*socket).write(buf),
            Socket::Tcp(socket) => (&mut &*socket).write(buf),
            // Not through the standard library's line buffer.
            Socket::Stdio => Ok(rustix::io::write(rustix::stdio::stdout(), buf)?),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket, in plain or with TLS.
#[derive(Debug)]
pub struct Channel {
    socket: Socket,
    tls: Option<Tls>,
    polling: Polling,
    outbox: Outbox,
}

#[derive(Debug)]
struct Tls {
    state: Mutex<ServerConnection>,
    /// What was read of the socket before it is put into the state, so that the state is free while
    /// somebody waits for the socket.
    raw: Mutex<Raw>,
}

/// Bytes of a socket, those from `start` to `end` not used yet.
#[derive(Debug)]
struct Raw {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

const RAW_LEN: usize = 64 << 10;

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Channel {
    /// In plain.
    #[must_use]
    pub fn new(socket: Socket) -> Self {
        Self { socket, tls: None, polling: Polling::new(), outbox: Outbox::default() }
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Goes on with TLS: shakes hands, until `deadline` at most. `early` is what was read behind the
    /// request for it.
    ///
    /// # Errors
    /// Those of the socket; a client that is not let in.
    pub fn start_tls(
        &mut self,
        mut state: ServerConnection,
        early: &[u8],
        deadline: Instant,
    ) -> io::Result<()> {
        state.set_buffer_limit(None);
        let mut socket = Early { early, socket: &self.socket, deadline };
        while state.is_handshaking() {
            state.complete_io(&mut socket)?;
        }
        // What came early may be more than the handshake.
        if !socket.early.is_empty() {
            return Err(ErrorKind::InvalidData.into());
        }
        let raw = Raw { bytes: vec![0; RAW_LEN], start: 0, end: 0 };
        self.tls = Some(Tls { state: Mutex::new(state), raw: Mutex::new(raw) });
        Ok(())
    }

    /// Reads some bytes; none at the end. One thread only.
    ///
    /// # Errors
    /// Those of the socket, and of TLS.
    pub fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &self.tls else { return self.read_socket(buf) };
        let mut raw = held(&tls.raw);
        let raw = &mut *raw;
        loop {
            let read = held(&tls.state).reader().read(buf);
            match read {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return done,
            }
            if raw.start == raw.end {
                raw.end = self.read_socket(&mut raw.bytes)?;
                raw.start = 0;
            }
            let mut rest = &raw.bytes[raw.start..raw.end];
            let mut state = held(&tls.state);
            if rest.is_empty() {
                state.read_tls(&mut rest)?;
            }
            // It holds a record or so: what it has is taken before it gets more.
            let mut has_some = false;
            while !rest.is_empty() && !has_some {
                state.read_tls(&mut rest)?;
                let done = state.process_new_packets();
                let found = done.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
                has_some = found.plaintext_bytes_to_read() > 0;
            }
            raw.start = raw.end - rest.len();
            while state.wants_write() {
                state.write_tls(&mut &self.socket)?;
            }
        }
    }

    fn read_socket(&self, buf: &mut [u8]) -> io::Result<usize> {
        let sleep = |buf: &mut [u8]| read_again(&self.socket, buf);
        match &self.socket {
            Socket::Unix(socket) => self.polling.read(socket.as_fd(), buf, sleep),
            Socket::Tcp(socket) => self.polling.read(socket.as_fd(), buf, sleep),
            Socket::Stdio => sleep(buf),
        }
    }

    /// Sends what is in `out`, not mixed with what other threads send, or leaves it to one of them that
    /// sends already; `out` is empty then.
    ///
    /// # Errors
    /// Those of the socket, [`ErrorKind::BrokenPipe`] where another thread had one before.
    pub fn send(&self, out: &mut Output) -> io::Result<()> {
        if out.is_empty() { Ok(()) } else { self.outbox.send(out, |bytes| self.write_all(bytes)) }
    }

    /// Lets `body` write several times with nothing of others in between.
    ///
    /// # Errors
    /// Those of `body`, and as of [`Channel::send`].
    pub fn alone(&self, body: impl FnOnce(&Writer<'_>) -> io::Result<()>) -> io::Result<()> {
        self.outbox.alone(|| body(&Writer(self)), |bytes| self.write_all(bytes))
    }

    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let Some(tls) = &self.tls else { return (&self.socket).write_all(bytes) };
        let mut state = held(&tls.state);
        state.writer().write_all(bytes)?;
        while state.wants_write() {
            state.write_tls(&mut &self.socket)?;
        }
        Ok(())
    }

    /// Says over TLS that nothing more follows.
    pub fn close(&self) {
        if let Some(tls) = &self.tls {
            let mut state = held(&tls.state);
            state.send_close_notify();
            let _ = state.write_tls(&mut &self.socket);
        }
    }
}

/// See [`Channel::alone`].
#[derive(Debug)]
pub struct Writer<'a>(&'a Channel);

impl Writer<'_> {
    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
}

fn read_again(mut socket: &Socket, buf: &mut [u8]) -> io::Result<usize> {
    loop {
        match socket.read(buf) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// A socket of which the first bytes were read already.
struct Early<'a> {
    early: &'a [u8],
    socket: &'a Socket,
    deadline: Instant,
}

impl Read for Early<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if !self.early.is_empty() {
            return self.early.read(buf);
        }
        if Instant::now() > self.deadline {
            return Err(ErrorKind::TimedOut.into());
        }
        read_again(self.socket, buf)
    }
}

impl Write for Early<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&mut &*self.socket).write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
