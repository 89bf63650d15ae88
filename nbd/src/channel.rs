//! A connection as bytes in both directions: one thread reads while others write.

use std::fmt::Debug;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use melv_serve::Budget;
use rustls::ServerConnection;

use crate::polling::Polling;
use crate::send_buffer::SendBuffer;
use crate::send_queue::SendQueue;

/// A socket, or standard input and output as one.
#[derive(Debug)]
pub enum Socket {
    /// A Unix socket.
    Unix(UnixStream),
    /// A TCP socket.
    Tcp(TcpStream),
    /// Standard input and output.
    Stdio,
}

impl Socket {
    /// Sets the timeouts of reads and writes; `None` means no timeout.
    ///
    /// # Errors
    /// The errors of the system.
    pub fn set_timeouts(&self, read: Option<Duration>, write: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Unix(socket) => {
                socket.set_read_timeout(read).and_then(|()| socket.set_write_timeout(write))
            }
            Self::Tcp(socket) => socket.set_read_timeout(read).and_then(|()| socket.set_write_timeout(write)),
            Self::Stdio => Ok(()),
        }
    }

    /// Shuts down both directions, which wakes threads that wait for the socket.
    pub fn shutdown(&self) {
        // The connection may be closed already.
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
            // This bypasses the standard library's line buffer.
            Socket::Stdio => Ok(rustix::io::write(rustix::stdio::stdout(), buf)?),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket with or without TLS.
#[derive(Debug)]
pub struct Channel {
    socket: Socket,
    tls: Option<Tls>,
    polling: Polling,
    queue: SendQueue,
}

#[derive(Debug)]
struct Tls {
    state: Mutex<ServerConnection>,
    /// Bytes read from the socket but not passed to `state` yet, so that `state` stays unlocked
    /// while a thread waits for the socket.
    raw: Mutex<Raw>,
}

/// A buffer for a socket; the bytes from `start` to `end` are unused.
#[derive(Debug)]
struct Raw {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

const RAW_LEN: usize = 64 << 10;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Channel {
    /// Creates a channel without TLS, which polls only with permits of `budget`.
    #[must_use]
    pub fn new(socket: Socket, budget: Budget) -> Self {
        Self { socket, tls: None, polling: Polling::new(budget), queue: SendQueue::default() }
    }

    /// Returns the socket.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Performs the TLS handshake, until `deadline` at most. `early` holds the bytes already read
    /// after the client's request for TLS.
    ///
    /// # Errors
    /// The errors of the socket, and of TLS, such as a rejected client.
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
        // Early bytes beyond the handshake are refused.
        if !socket.early.is_empty() {
            return Err(ErrorKind::InvalidData.into());
        }
        let raw = Raw { bytes: vec![0; RAW_LEN], start: 0, end: 0 };
        self.tls = Some(Tls { state: Mutex::new(state), raw: Mutex::new(raw) });
        Ok(())
    }

    /// Reads some bytes; 0 at the end. Only one thread may read.
    ///
    /// # Errors
    /// The errors of the socket and of TLS.
    pub fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &self.tls else { return self.read_socket(buf) };
        let mut raw = lock(&tls.raw);
        let raw = &mut *raw;
        loop {
            let read = lock(&tls.state).reader().read(buf);
            match read {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return done,
            }
            if raw.start == raw.end {
                raw.end = self.read_socket(&mut raw.bytes)?;
                raw.start = 0;
            }
            let mut rest = &raw.bytes[raw.start..raw.end];
            let mut state = lock(&tls.state);
            if rest.is_empty() {
                state.read_tls(&mut rest)?;
            }
            // `state` buffers about one record, so its plaintext is taken before it gets more.
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

    /// Sends the contents of `out` without mixing them with other threads' output, or leaves them
    /// to a thread that is already sending. Afterwards `out` is empty.
    ///
    /// # Errors
    /// The errors of the socket; [`ErrorKind::BrokenPipe`] after another thread's send has failed.
    pub fn send(&self, out: &mut SendBuffer) -> io::Result<()> {
        if out.is_empty() { Ok(()) } else { self.queue.send(out, |bytes| self.write_all(bytes)) }
    }

    /// Lets `body` write several times without output of other threads in between.
    ///
    /// # Errors
    /// The errors of `body` and of [`Channel::send`].
    pub fn write_exclusive(&self, body: impl FnOnce(&Writer<'_>) -> io::Result<()>) -> io::Result<()> {
        self.queue.write_exclusive(|| body(&Writer(self)), |bytes| self.write_all(bytes))
    }

    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let Some(tls) = &self.tls else { return (&self.socket).write_all(bytes) };
        let mut state = lock(&tls.state);
        state.writer().write_all(bytes)?;
        while state.wants_write() {
            state.write_tls(&mut &self.socket)?;
        }
        Ok(())
    }

    /// Sends the close message of TLS.
    pub fn close(&self) {
        if let Some(tls) = &self.tls {
            let mut state = lock(&tls.state);
            state.send_close_notify();
            let _ = state.write_tls(&mut &self.socket);
        }
    }
}

/// The access to the channel in [`Channel::write_exclusive`].
#[derive(Debug)]
pub struct Writer<'a>(&'a Channel);

impl Writer<'_> {
    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// The errors of the socket.
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

/// A socket whose first bytes were already read.
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
