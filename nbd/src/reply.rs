//! Encodes replies in the negotiated form. Pure.

use crate::context::{Context, Extent};
use crate::negotiation::ReplyMode;
use crate::wire::{EXTENDED_REPLY_MAGIC, Errno, Put, SIMPLE_REPLY_MAGIC, STRUCTURED_REPLY_MAGIC, chunk};

/// The maximum length of an extent in a reply with 32-bit lengths: the largest multiple of 4 KiB.
const EXTENT_LEN_MAX: u64 = (u32::MAX - 4095) as u64;

/// An encoder of the replies to one request.
#[derive(Debug, Clone, Copy)]
pub struct Reply {
    /// The form of replies.
    pub mode: ReplyMode,
    /// The request's cookie.
    pub cookie: u64,
    /// The request's offset, in bytes.
    pub offset: u64,
}

impl Reply {
    /// Begins a chunk with a body of `len` bytes.
    fn chunk(&self, out: &mut impl Put, flags: u16, kind: u16, len: usize) {
        let is_extended = self.mode == ReplyMode::Extended;
        out.put_u32(if is_extended { EXTENDED_REPLY_MAGIC } else { STRUCTURED_REPLY_MAGIC });
        out.put_u16(flags);
        out.put_u16(kind);
        out.put_u64(self.cookie);
        if is_extended {
            out.put_u64(self.offset);
            out.put_u64(len as u64);
        } else {
            out.put_u32(len as u32);
        }
    }

    /// Begins data of `len` bytes at byte `at` of the disk; the caller appends them. A simple reply
    /// is a single block of data, so this is called once for it.
    pub fn data(&self, out: &mut impl Put, at: u64, len: usize, is_last: bool) {
        if self.mode == ReplyMode::Simple {
            self.simple(out, 0);
        } else {
            self.chunk(out, done(is_last), chunk::OFFSET_DATA, 8 + len);
            out.put_u64(at);
        }
    }

    /// Appends a hole, which stands for zeros. It must not be used in simple replies.
    pub fn hole(&self, out: &mut impl Put, at: u64, len: u32, is_last: bool) {
        self.chunk(out, done(is_last), chunk::OFFSET_HOLE, 12);
        out.put_u64(at);
        out.put_u32(len);
    }

    /// Appends a reply that reports success and has no data.
    pub fn nothing(&self, out: &mut impl Put) {
        match self.mode {
            ReplyMode::Simple => self.simple(out, 0),
            _ => self.chunk(out, chunk::DONE, chunk::NONE, 0),
        }
    }

    /// Appends an error, with its offset on the disk if known.
    pub fn error(&self, out: &mut impl Put, errno: Errno, at: Option<u64>) {
        if self.mode == ReplyMode::Simple {
            return self.simple(out, errno as u32);
        }
        let kind = if at.is_some() { chunk::ERROR_OFFSET } else { chunk::ERROR };
        self.chunk(out, chunk::DONE, kind, if at.is_some() { 14 } else { 6 });
        out.put_u32(errno as u32);
        out.put_u16(0);
        if let Some(at) = at {
            out.put_u64(at);
        }
    }

    /// Appends the extents of one context.
    pub fn status(&self, out: &mut impl Put, context: Context, extents: &[Extent], is_last: bool) {
        if self.mode == ReplyMode::Extended {
            let len = 8 + 16 * extents.len();
            self.chunk(out, done(is_last), chunk::BLOCK_STATUS_EXT, len);
            out.put_u32(context.id());
            out.put_u32(extents.len() as u32);
            for extent in extents {
                out.put_u64(extent.len);
                out.put_u64(extent.status);
            }
            return;
        }
        // A request is shorter than 4 GiB, so only the first extent can be too long. It is then
        // truncated and stands alone, since the next must begin at its end.
        let is_cut = extents.first().is_some_and(|first| first.len > EXTENT_LEN_MAX);
        let extents = if is_cut { &extents[..1] } else { extents };
        self.chunk(out, done(is_last), chunk::BLOCK_STATUS, 4 + 8 * extents.len());
        out.put_u32(context.id());
        for extent in extents {
            out.put_u32(extent.len.min(EXTENT_LEN_MAX) as u32);
            out.put_u32(extent.status as u32);
        }
    }

    fn simple(&self, out: &mut impl Put, errno: u32) {
        out.put_u32(SIMPLE_REPLY_MAGIC);
        out.put_u32(errno);
        out.put_u64(self.cookie);
    }
}

fn done(is_last: bool) -> u16 {
    if is_last { chunk::DONE } else { 0 }
}
