//! A minimal NBD client: the fixed newstyle handshake and pipelined reads. Enough to drive a server, and
//! nothing that would cost it time.

#![expect(clippy::big_endian_bytes, reason = "so is NBD")]

use std::io::{self, Error, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

const MAGIC: &[u8; 8] = b"NBDMAGIC";
const OPTION_MAGIC: &[u8; 8] = b"IHAVEOPT";
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const REPLY_MAGIC: u32 = 0x6744_6698;
const FIXED_NEWSTYLE: u16 = 1;
const OPTION_GO: u32 = 7;
const REPLY_ACK: u32 = 1;
const REPLY_INFO: u32 = 3;
const INFO_EXPORT: u16 = 0;
const COMMAND_READ: u16 = 0;
const COMMAND_DISCONNECT: u16 = 2;
/// The limit on one option reply, more than any server sends about an export.
const INFO_LEN_MAX: u32 = 4096;
/// The time limit for a newly started server to listen.
const START: Duration = Duration::from_secs(10);

/// A connection to a server, ready for reads.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    size: u64,
}

impl Client {
    /// Connects to `export` at a socket that a server is about to listen on.
    ///
    /// # Errors
    /// Any socket error; a refusal by the server.
    pub fn connect(socket: &Path, export: &str) -> io::Result<Self> {
        let mut stream = wait_for(socket)?;
        let hello: [u8; 18] = receive(&mut stream)?;
        if &hello[..8] != MAGIC || &hello[8..16] != OPTION_MAGIC || hello[17] & FIXED_NEWSTYLE as u8 == 0 {
            return Err(wrong("no fixed newstyle server"));
        }
        let mut go = u32::from(FIXED_NEWSTYLE).to_be_bytes().to_vec();
        go.extend_from_slice(OPTION_MAGIC);
        go.extend_from_slice(&OPTION_GO.to_be_bytes());
        go.extend_from_slice(&(export.len() as u32 + 6).to_be_bytes());
        go.extend_from_slice(&(export.len() as u32).to_be_bytes());
        go.extend_from_slice(export.as_bytes());
        go.extend_from_slice(&0u16.to_be_bytes());
        stream.write_all(&go)?;
        let mut size = None;
        while let Some(info) = option_reply(&mut stream)? {
            if info.len() >= 10 && info[..2] == INFO_EXPORT.to_be_bytes() {
                size = info[2..10].try_into().ok().map(u64::from_be_bytes);
            }
        }
        let size = size.ok_or_else(|| wrong("the server did not say how long the export is"))?;
        Ok(Self { stream, size })
    }

    /// Returns the size of the export, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Requests `len` bytes at `offset`; the reply will carry `cookie`.
    ///
    /// # Errors
    /// Any socket error.
    pub fn send(&mut self, cookie: u64, offset: u64, len: u32) -> io::Result<()> {
        self.stream.write_all(&request(COMMAND_READ, cookie, offset, len))
    }

    /// Returns the cookie of the next reply. Its bytes must be taken with [`Client::payload`] at once.
    ///
    /// # Errors
    /// Any socket error; a read that failed on the server.
    pub fn reply(&mut self) -> io::Result<u64> {
        let head: [u8; 16] = receive(&mut self.stream)?;
        if u32_of(&head, 0) != REPLY_MAGIC {
            return Err(wrong("no simple reply"));
        }
        match u32_of(&head, 4) {
            0 => Ok(u64_of(&head, 8)),
            code => Err(Error::from_raw_os_error(code as i32)),
        }
    }

    /// Reads the bytes of the reply.
    ///
    /// # Errors
    /// Any socket error.
    pub fn payload(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.stream.read_exact(buf)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // The server may be gone already; then no disconnect is needed.
        let _ = self.stream.write_all(&request(COMMAND_DISCONNECT, 0, 0, 0));
    }
}

fn request(command: u16, cookie: u64, offset: u64, len: u32) -> [u8; 28] {
    let mut bytes = [0; 28];
    bytes[..4].copy_from_slice(&REQUEST_MAGIC.to_be_bytes());
    bytes[6..8].copy_from_slice(&command.to_be_bytes());
    bytes[8..16].copy_from_slice(&cookie.to_be_bytes());
    bytes[16..24].copy_from_slice(&offset.to_be_bytes());
    bytes[24..].copy_from_slice(&len.to_be_bytes());
    bytes
}

/// Reads one reply to the option; `None` at the server's final acknowledgement.
fn option_reply(stream: &mut UnixStream) -> io::Result<Option<Vec<u8>>> {
    let head: [u8; 20] = receive(stream)?;
    let (kind, len) = (u32_of(&head, 12), u32_of(&head, 16));
    if u64_of(&head, 0) != OPTION_REPLY_MAGIC || len > INFO_LEN_MAX {
        return Err(wrong("no reply to an option"));
    }
    let mut info = vec![0; len as usize];
    stream.read_exact(&mut info)?;
    match kind {
        REPLY_INFO => Ok(Some(info)),
        REPLY_ACK => Ok(None),
        _ => Err(wrong(&format!("the server refuses: {kind:#x} {}", String::from_utf8_lossy(&info)))),
    }
}

fn wait_for(socket: &Path) -> io::Result<UnixStream> {
    let begun = Instant::now();
    loop {
        match UnixStream::connect(socket) {
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
                    && begun.elapsed() < START =>
            {
                sleep(Duration::from_millis(5));
            }
            other => return other,
        }
    }
}

fn receive<const N: usize>(stream: &mut UnixStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn u32_of(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().fold(0, |value, &byte| value << 8 | u32::from(byte))
}

fn u64_of(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_of(bytes, at)) << 32 | u64::from(u32_of(bytes, at + 4))
}

fn wrong(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}
