//! Connections from their first byte to their last.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection};

use crate::channel::{Channel, Socket};
use crate::export::Exports;
use crate::negotiation::{Negotiation, Session, Step, TlsPolicy};
use crate::transmission::{self, Helpers};

/// Bytes read of a socket at once in the handshake.
const READ_LEN: usize = 16 << 10;
/// A thread's stack: nothing here goes deep.
const STACK_LEN: usize = 256 << 10;
/// How long to wait when there are no descriptors left.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(100);

/// How a server behaves.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Who must or may use TLS; where it is not [`TlsPolicy::Off`], `tls` is needed.
    pub policy: TlsPolicy,
    /// Certificates; see [`crate::tls::config`].
    pub tls: Option<Arc<ServerConfig>>,
    /// A client that does not go on with its handshake for so long is let go.
    pub handshake_idle: Duration,
    /// And one whose handshake has not ended after so long.
    pub handshake_max: Duration,
    /// A client that does not take its replies for so long is let go. A guest that is paused takes none.
    pub stall_max: Duration,
    /// Threads that a connection uses at most for what cannot be answered at once. Two it always has; of more there
    /// are 24 for all connections of the process.
    pub helpers_max: usize,
    /// The same while its reads wait for a drive or a network; not below `helpers_max`.
    pub helpers_waiting_max: usize,
    /// Connections at once; more are closed at once.
    pub connections_max: usize,
}

impl Default for ServerOptions {
    /// No TLS; a minute between options and ten for all; ten minutes for a reply; as many helpers as there
    /// are processors, up to 16, and 16 while reads wait; 4096 connections.
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
        }
    }
}

/// A server. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Server {
    exports: Arc<dyn Exports>,
    options: Arc<ServerOptions>,
    connections: Arc<AtomicUsize>,
}

/// Where a server waits for connections.
#[derive(Debug)]
pub enum Listener {
    /// On this machine.
    Unix(UnixListener),
    /// On a network.
    Tcp(TcpListener),
}

impl Listener {
    fn accept(&self) -> io::Result<Socket> {
        match self {
            Self::Unix(listener) => listener.accept().map(|(socket, _)| Socket::Unix(socket)),
            Self::Tcp(listener) => {
                let (socket, _) = listener.accept()?;
                // Replies are whole when they are written.
                socket.set_nodelay(true)?;
                rustix::net::sockopt::set_socket_keepalive(&socket, true)?;
                Ok(Socket::Tcp(socket))
            }
        }
    }
}

/// One more connection, until it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Server {
    /// A server of `exports`.
    #[must_use]
    pub fn new(exports: Arc<dyn Exports>, options: ServerOptions) -> Self {
        Self { exports, options: Arc::new(options), connections: Arc::default() }
    }

    /// Connections that are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Takes connections for ever, each to a thread of its own.
    ///
    /// # Errors
    /// What makes listening impossible. That one connection fails is not.
    pub fn listen(&self, listener: &Listener) -> io::Result<()> {
        loop {
            match listener.accept() {
                Ok(socket) => self.spawn(socket),
                Err(error) if is_of_connection(&error) => {}
                Err(error) if is_exhausted(&error) => {
                    tracing::warn!(%error, "the process is out of descriptors or memory; connections wait");
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
            tracing::warn!(open, "there are too many connections; one more is closed");
            return;
        }
        let server = self.clone();
        let thread = std::thread::Builder::new().name("nbd".into()).stack_size(STACK_LEN);
        let spawned = thread.spawn(move || {
            server.connection(socket);
            drop(counted);
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, "there is no thread for a connection; it is closed");
        }
    }

    /// Serves one connection to its end.
    pub fn connection(&self, socket: Socket) {
        match self.serve(socket) {
            Ok(()) => tracing::debug!("a connection ended"),
            // Clients come and go as they like.
            Err(error) => tracing::info!(%error, "a connection broke off"),
        }
    }

    fn serve(&self, socket: Socket) -> io::Result<()> {
        let mut channel = Channel::new(socket);
        channel.socket().set_patience(Some(self.options.handshake_idle), Some(self.options.stall_max))?;
        let Some((session, early)) = self.negotiate(&mut channel)? else {
            channel.close();
            return Ok(());
        };
        // A client may be silent for as long as it likes.
        channel.socket().set_patience(None, Some(self.options.stall_max))?;
        tracing::info!(export = %session.export.name, mode = ?session.mode, "a client begins");
        let helpers =
            Helpers { max: self.options.helpers_max, waiting_max: self.options.helpers_waiting_max };
        let done = transmission::run(&channel, &session, early, helpers);
        // A client that does not take what it is sent is not waited for a second time.
        if done.is_ok() {
            channel.close();
        }
        channel.socket().shutdown();
        done
    }

    /// Shakes hands; gives what was agreed on, and what was read beyond. `None` where the client left.
    fn negotiate(&self, channel: &mut Channel) -> io::Result<Option<(Session, Vec<u8>)>> {
        let begun = Instant::now();
        let mut out = Vec::new();
        let mut negotiation = Negotiation::new(self.options.policy, &mut out);
        let (mut input, mut buffer): (Vec<u8>, _) = (Vec::new(), vec![0; READ_LEN]);
        loop {
            let (taken, step) = negotiation.step(&input, self.exports.as_ref(), &mut out);
            input.drain(..taken);
            if !matches!(step, Step::Went) || out.len() > READ_LEN {
                channel.alone(|writer| writer.write(&out))?;
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

/// What went wrong with a connection before it was one.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, InvalidInput, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | InvalidInput | NotConnected)
}

fn is_exhausted(error: &io::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(error);
    use rustix::io::Errno as E;
    matches!(errno, Some(E::MFILE | E::NFILE | E::NOBUFS | E::NOMEM))
}
