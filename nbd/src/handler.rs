//! Answers checked requests.

use std::io;

use melv_block::{BlockDevice, Error, ErrorKind, RunKind};
use melv_serve::LatencyProbe;

use crate::channel::Channel;
use crate::negotiation::{ReplyMode, Session};
use crate::reply::Reply;
use crate::request::Request;
use crate::send_buffer::SendBuffer;
use crate::wire::Errno;

/// The number of bytes read and held in memory at a time: they stay in the CPU cache until they are sent.
pub const PIECE_LEN: u64 = 128 << 10;
/// The maximum read without fragments, in bytes. The protocol demands 64 KiB.
const IN_ONE_LEN_MAX: u64 = 1 << 20;
/// The minimum length of zeros between data, in bytes, that are sent as a hole.
const HOLE_LEN_MIN: u64 = 16 << 10;
/// The maximum number of bytes of one request that are read into the cache.
const CACHE_LEN_MAX: u64 = 64 << 20;

/// Answers the requests of one client.
#[derive(Debug, Clone, Copy)]
pub struct Handler<'a> {
    /// The connection for the replies.
    pub channel: &'a Channel,
    /// The result of the handshake.
    pub session: &'a Session,
    /// The probe that watches the reads of the disk.
    pub probe: &'a LatencyProbe,
}

/// The way to read the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadPolicy {
    /// Copies bytes that are decoded in memory, and fails for any other.
    CacheOnly,
    /// Reads without trying memory first: not all bytes are there.
    AfterMiss,
    Any,
}

/// The reason why a read has no reply.
enum ReadFailure {
    /// The bytes are not decoded in memory.
    NotCached,
    /// The error, and its offset on the disk.
    Failed(Errno, u64),
    /// The connection broke.
    Broken(io::Error),
}

impl<'a> Handler<'a> {
    fn disk(&self) -> &'a dyn BlockDevice {
        self.session.export.disk.as_ref()
    }

    fn reply(&self, request: &Request) -> Reply {
        Reply { mode: self.session.mode, cookie: request.cookie, offset: request.offset }
    }

    /// Sends the contents of `out`.
    pub fn send(&self, out: &mut SendBuffer) -> io::Result<()> {
        self.channel.send(out)
    }

    /// Appends a reply that reports success and has no data.
    pub fn nothing(&self, request: &Request, out: &mut SendBuffer) {
        self.reply(request).nothing(out);
    }

    /// Appends a reply with an error.
    pub fn refuse(&self, request: &Request, errno: Errno, out: &mut SendBuffer) {
        self.reply(request).error(out, errno, None);
    }

    /// Appends the reply to a read of at most [`PIECE_LEN`] bytes to `out` if all bytes are decoded
    /// in memory. Returns whether it did.
    pub fn try_read_cached(&self, request: &Request, in_one: bool, out: &mut SendBuffer) -> bool {
        let start = out.len();
        let done = if request.len == 0 {
            self.nothing(request, out);
            Ok(())
        } else if in_one || self.session.mode == ReplyMode::Simple {
            self.read_unfragmented(request, ReadPolicy::CacheOnly, out)
        } else {
            self.read_chunked(request, ReadPolicy::CacheOnly, out)
        };
        if done.is_err() {
            out.truncate(start);
        }
        done.is_ok()
    }

    /// Answers a read; the part of the reply that is not sent yet is left in `out`.
    pub fn read(&self, request: &Request, in_one: bool, out: &mut SendBuffer) -> io::Result<()> {
        let reply = self.reply(request);
        let start = out.len();
        let is_simple = self.session.mode == ReplyMode::Simple;
        // Shorter reads arrive here after `try_read_cached` has failed.
        let policy = if request.len > PIECE_LEN { ReadPolicy::Any } else { ReadPolicy::AfterMiss };
        let done = if request.len == 0 {
            reply.nothing(out);
            Ok(())
        } else if is_simple && request.len > PIECE_LEN {
            self.read_long_simple(request, out)
        } else if in_one && request.len > IN_ONE_LEN_MAX {
            Err(ReadFailure::Failed(Errno::Overflow, request.offset))
        } else if is_simple || in_one {
            self.read_unfragmented(request, policy, out)
        } else {
            self.read_chunked(request, policy, out)
        };
        match done {
            Ok(()) => Ok(()),
            Err(ReadFailure::Broken(error)) => Err(error),
            Err(ReadFailure::NotCached) => Err(io::ErrorKind::Other.into()),
            Err(ReadFailure::Failed(errno, at)) => {
                if is_simple {
                    out.truncate(start);
                }
                let at = (errno == Errno::Io).then_some(at);
                reply.error(out, errno, at);
                Ok(())
            }
        }
    }

    /// Appends a whole read as one reply or chunk.
    fn read_unfragmented(
        &self,
        request: &Request,
        policy: ReadPolicy,
        out: &mut SendBuffer,
    ) -> Result<(), ReadFailure> {
        let start = out.len();
        self.reply(request).data(out, request.offset, request.len as usize, true);
        let filled = self.fill(request.offset, out.room(request.len as usize), policy);
        if filled.is_err() {
            out.truncate(start);
        }
        filled
    }

    /// Answers a simple read longer than [`PIECE_LEN`]. After the header no error can be reported,
    /// so the data is read once as a check and again to be sent.
    fn read_long_simple(&self, request: &Request, out: &mut SendBuffer) -> Result<(), ReadFailure> {
        self.send(out).map_err(ReadFailure::Broken)?;
        let end = request.offset + request.len;
        let piece = |at: u64| (end - at).min(PIECE_LEN);
        let mut at = request.offset;
        while at < end {
            self.fill(at, out.room(piece(at) as usize), ReadPolicy::Any).inspect_err(|_| out.truncate(0))?;
            out.truncate(0);
            at += piece(at);
        }
        let all = self.channel.write_exclusive(|writer| {
            self.reply(request).data(out, request.offset, request.len as usize, true);
            let mut at = request.offset;
            while at < end {
                let filled = self.fill(at, out.room(piece(at) as usize), ReadPolicy::Any);
                // The header promised data that has become unreadable: only closing is left.
                filled.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
                writer.write(out.filled())?;
                out.truncate(0);
                at += piece(at);
            }
            Ok(())
        });
        all.map_err(ReadFailure::Broken)
    }

    /// Appends a read as chunks: pieces of data, and holes.
    fn read_chunked(
        &self,
        request: &Request,
        policy: ReadPolicy,
        out: &mut SendBuffer,
    ) -> Result<(), ReadFailure> {
        let reply = self.reply(request);
        let end = request.offset + request.len;
        let mut at = request.offset;
        while at < end {
            let (kind, len) = self.stretch(at, end)?;
            let is_last = at + len == end;
            if kind == RunKind::Zero {
                reply.hole(out, at, len as u32, is_last);
            } else {
                if policy != ReadPolicy::CacheOnly && out.len() as u64 + len > PIECE_LEN + PIECE_LEN / 2 {
                    self.send(out).map_err(ReadFailure::Broken)?;
                }
                let start = out.len();
                reply.data(out, at, len as usize, is_last);
                self.fill(at, out.room(len as usize), policy).inspect_err(|_| out.truncate(start))?;
            }
            at += len;
        }
        Ok(())
    }

    /// Returns the kind and the length of the next chunk of `at..end`.
    fn stretch(&self, at: u64, end: u64) -> Result<(RunKind, u64), ReadFailure> {
        let run_at = |at: u64| {
            let run =
                self.disk().map(at, end - at).map_err(|error| ReadFailure::Failed(errno(&error), at))?;
            let mut len = run.len;
            // Adjacent runs of zeros may each be too short alone.
            while run.kind == RunKind::Zero && at + len < end && len < HOLE_LEN_MIN {
                match self.disk().map(at + len, end - at - len) {
                    Ok(next) if next.kind == RunKind::Zero => len += next.len,
                    _ => break,
                }
            }
            Ok((run.kind, len))
        };
        let mut len = 0;
        while at + len < end && len < PIECE_LEN {
            let (kind, run_len) = run_at(at + len)?;
            if kind == RunKind::Zero && (run_len >= HOLE_LEN_MIN || len == 0 && at + run_len == end) {
                if len == 0 {
                    return Ok((RunKind::Zero, run_len));
                }
                break;
            }
            len += run_len;
        }
        Ok((RunKind::Data, len.min(PIECE_LEN)))
    }

    fn fill(&self, offset: u64, buf: &mut [u8], policy: ReadPolicy) -> Result<(), ReadFailure> {
        match policy {
            ReadPolicy::CacheOnly => match self.disk().try_read_cached(offset, buf) {
                Ok(true) => Ok(()),
                // A full read reports the error.
                _ => Err(ReadFailure::NotCached),
            },
            ReadPolicy::Any if self.fill(offset, buf, ReadPolicy::CacheOnly).is_ok() => Ok(()),
            ReadPolicy::Any | ReadPolicy::AfterMiss => {
                let read = self.probe.watch(|| self.disk().read_at(offset, buf));
                read.map_err(|error| ReadFailure::Failed(errno(&error), self.first_bad(offset, buf)))
            }
        }
    }

    /// Returns the offset of the first unreadable block in an unreadable range.
    fn first_bad(&self, offset: u64, buf: &mut [u8]) -> u64 {
        let step = u64::from(self.session.export.preferred_len.max(1));
        let end = offset + buf.len() as u64;
        let mut at = offset;
        while at < end {
            let len = (step - at % step).min(end - at);
            if len == end - offset || self.disk().read_at(at, &mut buf[..len as usize]).is_err() {
                return at;
            }
            at += len;
        }
        offset
    }

    /// Appends the status of extents.
    pub fn status(&self, request: &Request, only_first: bool, out: &mut SendBuffer) {
        let reply = self.reply(request);
        let extents = |context: crate::context::Context| {
            context.extents(self.disk(), request.offset, request.len, only_first)
        };
        let chosen: Vec<_> = self.session.contexts.contexts().collect();
        match chosen.iter().map(|&context| extents(context)).collect::<Result<Vec<_>, _>>() {
            Err(error) => reply.error(out, errno(&error), None),
            Ok(all) => {
                for (number, (context, extents)) in chosen.iter().zip(&all).enumerate() {
                    reply.status(out, *context, extents, number + 1 == chosen.len());
                }
            }
        }
    }

    /// Reads a range, or the beginning of a long one, into the cache. This is advice, so it reports
    /// no errors.
    pub fn cache(&self, request: &Request, out: &mut SendBuffer) {
        let start = out.len();
        let end = request.offset + request.len.min(CACHE_LEN_MAX);
        let step = u64::from(self.session.export.preferred_len.max(1));
        let mut at = request.offset;
        while at < end {
            let len = (step - at % step).min(end - at);
            // A later read reports the error.
            let _ = self.probe.watch(|| self.disk().read_at(at, out.room(len as usize)));
            out.truncate(start);
            at += len;
        }
        self.nothing(request, out);
    }
}

/// Returns the protocol's error number for an error.
fn errno(error: &Error) -> Errno {
    match error.kind() {
        ErrorKind::Invalid => Errno::Inval,
        ErrorKind::OutOfMemory => Errno::NoMem,
        _ => Errno::Io,
    }
}
