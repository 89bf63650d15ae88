//! Listening sockets, and their URIs for clients (NBD's `doc/uri.md`).

use std::fs::Permissions;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

/// The file of a socket, which is removed on drop.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another server may have replaced the file.
        if std::fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Listens at `path` with access as in `mode` and `group`. Replaces a stale socket of an earlier server.
///
/// The process's umask changes briefly: call this before starting other threads.
///
/// # Errors
/// [`ErrorKind::AddrInUse`] if a server listens there; [`ErrorKind::AlreadyExists`] for any other file.
pub fn unix(path: &Path, mode: u32, group: Option<u32>) -> io::Result<(UnixListener, SocketFile)> {
    remove_left_behind(path)?;
    // The umask keeps other users out until the access is set.
    let mask = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(path);
    rustix::process::umask(mask);
    let listener = bound?;
    let file = SocketFile { path: path.into(), inode: std::fs::symlink_metadata(path)?.ino() };
    if group.is_some() {
        std::os::unix::fs::chown(path, None, group)?;
    }
    std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok((listener, file))
}

fn remove_left_behind(path: &Path) -> io::Result<()> {
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(ErrorKind::AlreadyExists.into());
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Ok(_) => Err(ErrorKind::AddrInUse.into()),
        Err(error) => Err(error),
    }
}

/// Returns the URI of a Unix socket.
#[must_use]
pub fn unix_uri(path: &Path, is_tls: bool) -> String {
    let scheme = if is_tls { "nbds" } else { "nbd" };
    format!("{scheme}+unix:///?socket={}", escaped(path.as_os_str().as_encoded_bytes()))
}

/// Returns the URI of a TCP address. The unspecified address becomes the loopback address.
#[must_use]
pub fn tcp_uri(mut address: SocketAddr, is_tls: bool) -> String {
    let scheme = if is_tls { "nbds" } else { "nbd" };
    if address.ip().is_unspecified() {
        let local =
            if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
        address.set_ip(local);
    }
    format!("{scheme}://{address}/")
}

/// Escapes bytes for a URI's query.
fn escaped(bytes: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte);
    let each = |&byte: &u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    bytes.iter().map(each).collect()
}
