//! Serves connections from their first byte to their last.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use melv_serve::{Budget, Exports};
use rustls::{ServerConfig, ServerConnection};

use crate::channel::{Channel, Socket};
use crate::negotiation::{Negotiation, Session, Step, TlsPolicy};
use crate::transmission::{self, Helpers};

/// The length of one read from a socket during the handshake, in bytes.
const READ_LEN: usize = 16 << 10;
/// The size of a thread's stack, in bytes: calls are not deeply nested.
const STACK_LEN: usize = 256 << 10;
/// The pause after running out of file descriptors or memory.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(100);

/// The options of a server.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The policy on TLS; any but [`TlsPolicy::Off`] needs `tls`.
    pub policy: TlsPolicy,
    /// The certificates; see [`crate::tls::config`].
    pub tls: Option<Arc<ServerConfig>>,
    /// The maximum silence of a client in its handshake before it is disconnected.
    pub handshake_idle: Duration,
    /// The maximum duration of a handshake before its client is disconnected.
    pub handshake_max: Duration,
    /// The maximum time for which a client may accept no replies before it is disconnected. A
    /// paused guest accepts none.
    pub stall_max: Duration,
    /// The maximum number of threads of a connection for requests that cannot be answered at once.
    /// Two are always available; the others come from `budget`.
    pub helpers_max: usize,
    /// The same limit while reads wait for a drive or a network; at least `helpers_max`.
    pub helpers_waiting_max: usize,
    /// The maximum number of open connections; further ones are closed at once.
    pub connections_max: usize,
    /// The limits on threads, for all connections of this server and of those with the same budget.
    pub budget: Budget,
}

impl Default for ServerOptions {
    /// Returns the defaults: no TLS; one minute of silence and ten minutes in all for a handshake;
    /// ten minutes for a reply; helper threads: one per processor, from 2 to 16, or up to 16 while reads wait for
    /// a drive; 4096 connections; limits on threads that are shared with no other server.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            policy: TlsPolicy::Off,
            tls: None,
            handshake_idle: Duration::from_secs(60),
            handshake_max: Duration::from_secs(600),
            stall_max: Duration::from_secs(600),
            helpers_max: processors.clamp(2, 16),
            helpers_waiting_max: 16,
            connections_max: 4096,
            budget: Budget::default(),
        }
    }
}

/// A server. Clones share its state.
#[derive(Debug, Clone)]
pub struct Server {
    exports: Arc<dyn Exports>,
    options: Arc<ServerOptions>,
    connections: Arc<AtomicUsize>,
}

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// A Unix socket.
    Unix(UnixListener),
    /// A TCP socket.
    Tcp(TcpListener),
}

impl Listener {
    fn accept(&self) -> io::Result<Socket> {
        match self {
            Self::Unix(listener) => listener.accept().map(|(socket, _)| Socket::Unix(socket)),
            Self::Tcp(listener) => {
                let (socket, _) = listener.accept()?;
                // Each write contains whole replies, so the system need not collect them.
                socket.set_nodelay(true)?;
                rustix::net::sockopt::set_socket_keepalive(&socket, true)?;
                Ok(Socket::Tcp(socket))
            }
        }
    }
}

/// A counted connection, until it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Server {
    /// Creates a server of `exports`.
    #[must_use]
    pub fn new(exports: Arc<dyn Exports>, options: ServerOptions) -> Self {
        Self { exports, options: Arc::new(options), connections: Arc::default() }
    }

    /// Returns the number of open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Accepts connections forever, with one thread for each.
    ///
    /// # Errors
    /// Errors that make listening impossible; the failure of a single connection is not among them.
    pub fn listen(&self, listener: &Listener) -> io::Result<()> {
        loop {
            match listener.accept() {
                Ok(socket) => self.spawn(socket),
                Err(error) if is_of_connection(&error) => {}
                Err(error) if is_exhausted(&error) => {
                    tracing::warn!(%error, "out of file descriptors or memory; new connections must wait");
                    std::thread::sleep(EXHAUSTED_WAIT);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn spawn(&self, socket: Socket) {
        let open = self.connections.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(self.connections.clone());
        if open >= self.options.connections_max {
            tracing::warn!(open, "too many connections; a new one is closed");
            return;
        }
        let server = self.clone();
        let thread = std::thread::Builder::new().name("nbd".into()).stack_size(STACK_LEN);
        let spawned = thread.spawn(move || {
            server.connection(socket);
            drop(counted);
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, "cannot start a thread for a connection; it is closed");
        }
    }

    /// Serves one connection to its end.
    pub fn connection(&self, socket: Socket) {
        match self.serve(socket) {
            Ok(()) => tracing::debug!("a connection ended"),
            // Clients may leave at any time.
            Err(error) => tracing::info!(%error, "a connection failed"),
        }
    }

    fn serve(&self, socket: Socket) -> io::Result<()> {
        let mut channel = Channel::new(socket, self.options.budget.clone());
        channel.socket().set_timeouts(Some(self.options.handshake_idle), Some(self.options.stall_max))?;
        let Some((session, early)) = self.negotiate(&mut channel)? else {
            channel.close();
            return Ok(());
        };
        // A client may be silent for as long as it likes.
        channel.socket().set_timeouts(None, Some(self.options.stall_max))?;
        tracing::info!(export = %session.export.name, mode = ?session.mode, "a client opened an export");
        let helpers =
            Helpers { max: self.options.helpers_max, waiting_max: self.options.helpers_waiting_max };
        let done = transmission::run(&channel, &session, early, helpers, &self.options.budget);
        // After an error the client may accept nothing more, and a close message could block again.
        if done.is_ok() {
            channel.close();
        }
        channel.socket().shutdown();
        done
    }

    /// Performs the handshake; returns its result and the surplus bytes read, or `None` if the client left.
    fn negotiate(&self, channel: &mut Channel) -> io::Result<Option<(Session, Vec<u8>)>> {
        let begun = Instant::now();
        let mut out = Vec::new();
        let mut negotiation = Negotiation::new(self.options.policy, &mut out);
        let (mut input, mut buffer): (Vec<u8>, _) = (Vec::new(), vec![0; READ_LEN]);
        loop {
            let (taken, step) = negotiation.step(&input, self.exports.as_ref(), &mut out);
            input.drain(..taken);
            if !matches!(step, Step::Went) || out.len() > READ_LEN {
                channel.write_exclusive(|writer| writer.write(&out))?;
                out.clear();
            }
            match step {
                Step::Went => {}
                Step::Ready(session) => return Ok(Some((session, input))),
                Step::Close => return Ok(None),
                Step::StartTls => {
                    let config = self.options.tls.clone().ok_or(io::ErrorKind::Unsupported)?;
                    let state = ServerConnection::new(config).map_err(io::Error::other)?;
                    let deadline = begun + self.options.handshake_max;
                    channel.start_tls(state, &std::mem::take(&mut input), deadline)?;
                    negotiation.tls_begun();
                }
                Step::More => {
                    if begun.elapsed() > self.options.handshake_max {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    match channel.read(&mut buffer)? {
                        0 => return Ok(None),
                        len => input.extend_from_slice(&buffer[..len]),
                    }
                }
            }
        }
    }
}

/// Whether an error of `accept` concerns only the new connection.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, InvalidInput, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | InvalidInput | NotConnected)
}

fn is_exhausted(error: &io::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(error);
    use rustix::io::Errno as E;
    matches!(errno, Some(E::MFILE | E::NFILE | E::NOBUFS | E::NOMEM))
}
