//! Requests: taken apart and checked against what was agreed on. Pure.

use crate::negotiation::ReplyMode;
use crate::wire::{EXTENDED_REQUEST_MAGIC, Errno, PAYLOAD_LEN_MAX, REQUEST_MAGIC, Take, command, flag};

const REQUEST_LEN: usize = 28;
const EXTENDED_REQUEST_LEN: usize = 32;

/// A request's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The client's number for it.
    pub cookie: u64,
    /// See [`flag`].
    pub flags: u16,
    /// See [`command`].
    pub command: u16,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

/// What to do about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Todo {
    /// Send data; in one piece if `in_one` is set.
    Read {
        /// The client wants no fragments.
        in_one: bool,
    },
    /// Tell the status of extents; of the first alone if `only_first` is set.
    Status {
        /// The client wants one extent.
        only_first: bool,
    },
    /// Bring a range into the cache.
    Cache,
    /// Say that all is well.
    Nothing,
    /// Say why not, after passing over the payload.
    Refuse(Errno),
    /// End, without a reply.
    Disconnect,
}

/// The bytes are no request: the connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadMagic;

impl Request {
    /// Takes a header off the front of `input`; gives it with its length, or `None` where more bytes are
    /// needed.
    ///
    /// # Errors
    /// [`BadMagic`] where this is no header of the mode.
    pub fn decode(input: &[u8], mode: ReplyMode) -> Result<Option<(Self, usize)>, BadMagic> {
        let mut take = Take(input);
        let is_extended = mode == ReplyMode::Extended;
        match take.u32() {
            None => return Ok(None),
            Some(EXTENDED_REQUEST_MAGIC) if is_extended => {}
            Some(REQUEST_MAGIC) if !is_extended => {}
            Some(_) => return Err(BadMagic),
        }
        let mut fields = || {
            let (flags, command) = (take.u16()?, take.u16()?);
            let (cookie, offset) = (take.u64()?, take.u64()?);
            let len = if is_extended { take.u64()? } else { u64::from(take.u32()?) };
            Some(Self { cookie, flags, command, offset, len })
        };
        let header_len = if is_extended { EXTENDED_REQUEST_LEN } else { REQUEST_LEN };
        Ok(fields().map(|request| (request, header_len)))
    }

    /// Bytes that follow the header.
    #[must_use]
    pub fn payload_len(&self, mode: ReplyMode) -> u64 {
        let says_so = mode == ReplyMode::Extended && self.flags & flag::PAYLOAD_LEN != 0;
        // A write has its data behind it, whatever its flags are.
        if says_so || self.command == command::WRITE { self.len } else { 0 }
    }

    /// What to do about it, on a disk of `size` bytes with `has_contexts` chosen or not.
    #[must_use]
    pub fn todo(&self, mode: ReplyMode, size: u64, has_contexts: bool) -> Todo {
        let can_df = mode > ReplyMode::Simple;
        let allowed = match self.command {
            command::READ if can_df => flag::DF,
            command::BLOCK_STATUS => flag::REQ_ONE,
            command::WRITE if mode == ReplyMode::Extended => flag::PAYLOAD_LEN,
            command::WRITE_ZEROES => flag::NO_HOLE | flag::FAST_ZERO,
            _ => 0,
        };
        if self.command == command::DISC {
            return Todo::Disconnect;
        }
        if self.flags & !(allowed | flag::FUA) != 0 {
            return Todo::Refuse(Errno::Inval);
        }
        let is_inside = self.offset.checked_add(self.len).is_some_and(|end| end <= size);
        match self.command {
            command::WRITE | command::TRIM | command::WRITE_ZEROES => Todo::Refuse(Errno::Perm),
            command::FLUSH => Todo::Nothing,
            command::READ if !is_inside || self.len > u64::from(PAYLOAD_LEN_MAX) => {
                Todo::Refuse(Errno::Inval)
            }
            command::READ => Todo::Read { in_one: self.flags & flag::DF != 0 },
            command::CACHE if is_inside => Todo::Cache,
            command::BLOCK_STATUS if is_inside && has_contexts && self.len > 0 => {
                Todo::Status { only_first: self.flags & flag::REQ_ONE != 0 }
            }
            _ => Todo::Refuse(Errno::Inval),
        }
    }
}
