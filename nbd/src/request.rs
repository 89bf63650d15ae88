//! Decodes requests and checks them against the session. Pure.

use crate::negotiation::ReplyMode;
use crate::wire::{EXTENDED_REQUEST_MAGIC, Errno, PAYLOAD_LEN_MAX, REQUEST_MAGIC, Take, command, flag};

const REQUEST_LEN: usize = 28;
const EXTENDED_REQUEST_LEN: usize = 32;

/// A request's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The client's identifier for the request.
    pub cookie: u64,
    /// The flags; see [`flag`].
    pub flags: u16,
    /// The command; see [`command`].
    pub command: u16,
    /// The first byte on the disk.
    pub offset: u64,
    /// The length, in bytes.
    pub len: u64,
}

/// The action that a request demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Send data; in one piece if `in_one` is set.
    Read {
        /// Whether the client wants no fragments.
        in_one: bool,
    },
    /// Send the status of extents; of the first alone if `only_first` is set.
    Status {
        /// Whether the client wants one extent only.
        only_first: bool,
    },
    /// Read a range into the cache.
    Cache,
    /// Report success.
    Nothing,
    /// Skip the payload, then report an error.
    Refuse(Errno),
    /// Close without a reply.
    Disconnect,
}

/// The error of bytes that are not a request: the connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadMagic;

impl Request {
    /// Decodes a header at the front of `input`; returns it with its length, or `None` if more
    /// bytes are needed.
    ///
    /// # Errors
    /// [`BadMagic`] if this is not a header of `mode`.
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

    /// Returns the number of bytes that follow the header.
    #[must_use]
    pub fn payload_len(&self, mode: ReplyMode) -> u64 {
        let says_so = mode == ReplyMode::Extended && self.flags & flag::PAYLOAD_LEN != 0;
        // A write has a payload with any flags.
        if says_so || self.command == command::WRITE { self.len } else { 0 }
    }

    /// Returns the action for the request, on a disk of `size` bytes. `has_contexts` tells whether
    /// the client has selected metadata contexts.
    #[must_use]
    pub fn action(&self, mode: ReplyMode, size: u64, has_contexts: bool) -> Action {
        let can_df = mode > ReplyMode::Simple;
        let allowed = match self.command {
            command::READ if can_df => flag::DF,
            command::BLOCK_STATUS => flag::REQ_ONE,
            command::WRITE if mode == ReplyMode::Extended => flag::PAYLOAD_LEN,
            command::WRITE_ZEROES => flag::NO_HOLE | flag::FAST_ZERO,
            _ => 0,
        };
        if self.command == command::DISC {
            return Action::Disconnect;
        }
        if self.flags & !(allowed | flag::FUA) != 0 {
            return Action::Refuse(Errno::Inval);
        }
        let is_inside = self.offset.checked_add(self.len).is_some_and(|end| end <= size);
        match self.command {
            command::WRITE | command::TRIM | command::WRITE_ZEROES => Action::Refuse(Errno::Perm),
            command::FLUSH => Action::Nothing,
            command::READ if !is_inside || self.len > u64::from(PAYLOAD_LEN_MAX) => {
                Action::Refuse(Errno::Inval)
            }
            command::READ => Action::Read { in_one: self.flags & flag::DF != 0 },
            command::CACHE if is_inside => Action::Cache,
            command::BLOCK_STATUS if is_inside && has_contexts && self.len > 0 => {
                Action::Status { only_first: self.flags & flag::REQ_ONE != 0 }
            }
            _ => Action::Refuse(Errno::Inval),
        }
    }
}
