//! `melv serve`: serves images as network block devices.

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use clap::ValueEnum;
use melv::{Cache, Error, MemoryPages};
use melv_nbd::listen::{self, SocketFile};
use melv_nbd::tls::{self, Clients};
use melv_nbd::{Listener, Server, ServerOptions, Socket, TlsPolicy};
use melv_serve::Catalog;
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::{Handle, Signals};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::log::note;
use crate::memory::{self, Needs};
use crate::session::Session;
use crate::units::size;
use crate::{catalog, stats, threads};

const EXAMPLES: &str = "\
Examples:
  $ melv serve --socket /run/melv.sock
  $ melv serve web --socket web.sock &
  $ qemu-system-x86_64 -drive file=nbd+unix:///?socket=web.sock,format=raw,if=virtio,snapshot=on
  $ melv serve web --run 'qemu-img convert -O qcow2 \"$uri\" web.qcow2'
  $ melv serve --listen 0.0.0.0 --tls require --tls-certificates /etc/pki/melv
  $ melv serve backup.melv --socket backup.sock

Exports are named NAME:TAG, or NAME for NAME:latest. If only one REF is given, the empty name stands
for it. New images of the store appear without a restart. A client keeps reading the same image, even
if its name is replaced or removed.

TLS reads server-cert.pem, server-key.pem and ca-cert.pem, as QEMU and nbdkit do; clients must present
a certificate signed by that CA. RSA keys may have 2048 to 8192 bits. SIGUSR1 prints statistics on
standard error, as JSON with --json. Under systemd, each log line has its severity, so that
`journalctl -p err` finds failures.";

/// The default port of NBD.
const PORT: u16 = 10809;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Images to serve; a bundle stands for all its images [default: all images of the store]
    #[arg(value_name = "REF")]
    images: Vec<String>,
    /// Serve all images of the store
    #[arg(long, conflicts_with = "images")]
    all: bool,
    /// Listen on a Unix socket
    #[arg(long, value_name = "P")]
    socket: Option<PathBuf>,
    /// Mode of the Unix socket, in octal
    #[arg(long, value_name = "M", default_value = "0600", value_parser = mode, requires = "socket")]
    socket_mode: u32,
    /// Group of the Unix socket, by name or number
    #[arg(long, value_name = "G", requires = "socket")]
    socket_group: Option<String>,
    /// Listen on a TCP address: HOST, HOST:PORT or [HOST]:PORT; needs TLS, or --insecure
    #[arg(long, value_name = "A")]
    listen: Vec<String>,
    /// Serve one client on standard input and output
    #[arg(long, conflicts_with_all = ["socket", "listen", "run"])]
    stdio: bool,
    /// Size of the cache of decoded data
    #[arg(long, value_name = "SIZE", default_value = catalog::CACHE_DEFAULT, value_parser = size)]
    cache: u64,
    /// Run a shell command with the URI in $uri, do not print the URI, and end when the command ends
    #[arg(long, value_name = "CMD")]
    run: Option<String>,
    /// Listen on TCP without TLS: anyone who can reach the address can read the images
    #[arg(long)]
    insecure: bool,
    /// TLS: off, on (for clients that ask for it), require [default: require with --tls-certificates]
    #[arg(long, value_name = "T", value_enum, hide_possible_values = true)]
    tls: Option<Tls>,
    /// Folder with server-cert.pem, server-key.pem and ca-cert.pem
    #[arg(long, value_name = "DIR")]
    tls_certificates: Option<PathBuf>,
    /// Accept clients without a certificate
    #[arg(long, requires = "tls_certificates")]
    tls_any_client: bool,
    /// Print statistics on standard error at the end
    #[arg(long)]
    stats: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tls {
    Off,
    On,
    Require,
}

fn mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| "expected three octal digits, such as 0660".into())
}

/// The listening sockets and their URIs.
#[derive(Debug, Default)]
struct Places {
    listeners: Vec<Listener>,
    uris: Vec<String>,
    /// Removed when the server ends.
    _files: Vec<SocketFile>,
    _folder: Option<TemporaryFolder>,
}

/// A private folder, removed on drop.
#[derive(Debug)]
struct TemporaryFolder(PathBuf);

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn run(args: &Args, session: &Session<'_>) -> Result<Exit, Failure> {
    // A request costs far more than huge pages would save, and a read that waits for a huge page is slow.
    let session =
        session.for_serving(Cache::with_memory(memory::cache_bytes(args.cache), MemoryPages::Small));
    let options = server_options(args)?;
    // A client may request up to 32 MiB at once.
    Needs { base_bytes: 16 << 20, thread_bytes: 40 << 20 }.threads(1)?;
    let is_tls = options.policy != TlsPolicy::Off;
    // Register the handlers before any thread starts and before anything blocks.
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1])
        .map_err(|error| Error::io("catch", "signals", error))?;
    let places = places(args, is_tls)?;
    catalog::raise_open_files();
    let catalog = Arc::new(catalog::of(&args.images, &session)?);
    let server = Server::new(catalog.clone(), options);
    let handle = signals.handle();
    for listener in places.listeners {
        let (server, handle) = (server.clone(), handle.clone());
        threads::spawn(move || {
            if let Err(error) = server.listen(&listener) {
                tracing::error!(%error, "listening failed");
                handle.close();
            }
        })?;
    }
    let mut running = None;
    if args.stdio {
        threads::spawn(move || {
            server.connection(Socket::Stdio);
            handle.close();
        })?;
    } else {
        // With `--run`, standard output belongs to the command. The service manager knows the sockets it
        // passed.
        if args.run.is_none() && !places.uris.is_empty() {
            let text: String = places.uris.iter().map(|uri| format!("{uri}\n")).collect();
            session.out().data(&json!({ "uris": places.uris }), &text)?;
        }
        notify_ready();
        running =
            args.run.as_deref().map(|command| Running::start(command, &places.uris, handle)).transpose()?;
    }
    attend(&mut signals, &catalog, &session);
    if args.stats {
        stats::print(&catalog, session.cache(), session.globals.json);
    }
    drop((places._files, places._folder));
    match running.map(Running::end) {
        None | Some(0) => Ok(Exit::Done),
        // Pass on the exit code of the command.
        Some(code) => std::process::exit(code),
    }
}

/// Handles signals until one of them, or a closed handle, ends the server.
fn attend(signals: &mut Signals, catalog: &Catalog, session: &Session<'_>) {
    for signal in signals.forever() {
        if signal != SIGUSR1 {
            return;
        }
        stats::print(catalog, session.cache(), session.globals.json);
    }
}

fn server_options(args: &Args) -> Result<ServerOptions, Failure> {
    let policy = match (args.tls, &args.tls_certificates) {
        (Some(Tls::Off), _) | (None, None) => TlsPolicy::Off,
        (Some(Tls::On), _) => TlsPolicy::Allowed,
        (Some(Tls::Require) | None, _) => TlsPolicy::Required,
    };
    if !args.listen.is_empty() && policy != TlsPolicy::Required && !args.insecure {
        let text = "--listen needs TLS: give --tls-certificates DIR with --tls require, or --insecure to let \
                    anyone who can reach the address read the images";
        return Err(Failure::Usage(text.into()));
    }
    if policy != TlsPolicy::Off && args.tls_certificates.is_none() {
        let text =
            "--tls on and --tls require need --tls-certificates DIR, with server-cert.pem and server-key.pem";
        return Err(Failure::Usage(text.into()));
    }
    let clients = if args.tls_any_client { Clients::Any } else { Clients::Known };
    let folder = args.tls_certificates.as_deref().filter(|_| policy != TlsPolicy::Off);
    let tls = folder.map(|folder| tls::config(folder, clients)).transpose();
    let tls = tls.map_err(|error| Failure::Usage(error.to_string()))?;
    Ok(ServerOptions { policy, tls, ..Default::default() })
}

/// Opens all listening sockets of the command line and the service manager.
fn places(args: &Args, is_tls: bool) -> Result<Places, Failure> {
    let mut places = Places::default();
    if args.stdio {
        return Ok(places);
    }
    let mut socket = args.socket.clone();
    for text in &args.listen {
        places.add_tcp(text, is_tls)?;
    }
    places.add_activated(is_tls, args.insecure)?;
    if socket.is_none() && places.listeners.is_empty() && args.run.is_some() {
        let folder = TemporaryFolder::new()?;
        socket = Some(folder.0.join("nbd.sock"));
        places._folder = Some(folder);
    }
    if let Some(path) = &socket {
        places.add_unix(path, args, is_tls)?;
    }
    if places.listeners.is_empty() {
        let text = "no address to listen on: give --socket P, --listen A or --stdio";
        return Err(Failure::Usage(text.into()));
    }
    Ok(places)
}

impl TemporaryFolder {
    fn new() -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("melv-{}", std::process::id()));
        let made =
            std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).create(&folder);
        made.map_err(|error| Error::io("create", folder.display().to_string(), error))?;
        Ok(Self(folder))
    }
}

impl Places {
    fn add_tcp(&mut self, text: &str, is_tls: bool) -> Result<(), Failure> {
        let has_port = text.rsplit_once(':').is_some_and(|(host, port)| {
            port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']'))
        });
        let address = match (has_port, text.contains(':') && !text.starts_with('[')) {
            (true, _) => text.to_owned(),
            (false, true) => format!("[{text}]:{PORT}"),
            (false, false) => format!("{text}:{PORT}"),
        };
        let failed = |source: std::io::Error| {
            let port = address.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
            Failure::Listen { address: address.clone(), port, source }
        };
        let listener = std::net::TcpListener::bind(&address).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        self.uris.push(listen::tcp_uri(bound, is_tls));
        self.listeners.push(Listener::Tcp(listener));
        Ok(())
    }

    fn add_unix(&mut self, path: &Path, args: &Args, is_tls: bool) -> Result<(), Failure> {
        let failed = |error: std::io::Error| {
            let what = match error.kind() {
                std::io::ErrorKind::AddrInUse => "listen (another server is there) on",
                std::io::ErrorKind::AlreadyExists => "listen (it is not a socket) on",
                _ => "listen on",
            };
            Error::io(what, path.display().to_string(), error)
        };
        let group = args.socket_group.as_deref().map(group_id).transpose()?;
        let absolute = std::path::absolute(path).map_err(failed)?;
        let (listener, file) = listen::unix(path, args.socket_mode, group).map_err(failed)?;
        self.uris.push(listen::unix_uri(&absolute, is_tls));
        self._files.push(file);
        self.listeners.push(Listener::Unix(listener));
        Ok(())
    }

    /// Adds the sockets passed by a service manager.
    fn add_activated(&mut self, is_tls: bool, is_insecure: bool) -> Result<(), Failure> {
        let mut passed = listenfd::ListenFd::from_env();
        for number in 0..passed.len() {
            let failed = |error| Error::io("use", format!("socket {number} of the service manager"), error);
            if let Ok(Some(listener)) = passed.take_unix_listener(number) {
                self.add_blocking_unix(listener).map_err(failed)?;
                continue;
            }
            let listener = passed.take_tcp_listener(number).map_err(failed)?;
            let Some(listener) = listener else { continue };
            if !is_tls && !is_insecure {
                let text = "the service manager's socket is TCP, which needs TLS, or --insecure";
                return Err(Failure::Usage(text.into()));
            }
            listener.set_nonblocking(false).map_err(failed)?;
            self.listeners.push(Listener::Tcp(listener));
        }
        Ok(())
    }

    fn add_blocking_unix(&mut self, listener: UnixListener) -> std::io::Result<()> {
        listener.set_nonblocking(false)?;
        self.listeners.push(Listener::Unix(listener));
        Ok(())
    }
}

fn group_id(name: &str) -> Result<u32, Failure> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    match nix::unistd::Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        _ => Err(Failure::Usage(format!("--socket-group {name}: no such group exists"))),
    }
}

/// Notifies the service manager that clients can connect.
fn notify_ready() {
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        note(&format!("melv: cannot notify the service manager: {error}"));
    }
}

/// A command that uses the server.
struct Running {
    child: Arc<Mutex<Child>>,
    waiter: JoinHandle<()>,
}

impl Running {
    /// Starts `command`; the server ends when the command does.
    fn start(command: &str, uris: &[String], server: Handle) -> Result<Self, Failure> {
        let uri = uris.first().map_or("", String::as_str);
        let child = Command::new("sh").args(["-c", command]).env("uri", uri).spawn();
        let child =
            Arc::new(Mutex::new(child.map_err(|source| Failure::Run { program: "sh".into(), source })?));
        let waited = child.clone();
        let waiter = threads::spawn(move || {
            // Poll instead of waiting under the lock, so that `end` can terminate the command meanwhile.
            while matches!(waited.lock().unwrap_or_else(PoisonError::into_inner).try_wait(), Ok(None)) {
                thread::sleep(std::time::Duration::from_millis(5));
            }
            server.close();
        });
        let waiter = waiter.inspect_err(|_| {
            let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = child.kill().and_then(|()| child.wait());
        })?;
        Ok(Self { child, waiter })
    }

    /// Terminates the command if it still runs, and returns its exit code.
    fn end(self) -> i32 {
        let pid = self.child.lock().unwrap_or_else(PoisonError::into_inner).id();
        let is_running = !self.waiter.is_finished();
        if is_running && let Some(pid) = rustix::process::Pid::from_raw(pid as i32) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.waiter.join();
        let status = self.child.lock().unwrap_or_else(PoisonError::into_inner).wait();
        match status {
            Ok(status) => status.code().unwrap_or(Exit::Failure as i32),
            Err(_) => Exit::Failure as i32,
        }
    }
}
