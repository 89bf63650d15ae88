//! Checks the server's replies to each request.

use melv_block::{BlockDevice, RunKind};
use melv_nbd::negotiation::ReplyMode;
use melv_nbd::wire::{
    EXTENDED_REPLY_MAGIC, EXTENDED_REQUEST_MAGIC, REQUEST_MAGIC, SIMPLE_REPLY_MAGIC, STRUCTURED_REPLY_MAGIC,
    Take, chunk, command, flag,
};

use super::model::{Agreed, Wrong, have, must};
use crate::nbd::{MIB, pattern};

/// A request, as the client sees it.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    pub flags: u16,
    pub command: u16,
    pub cookie: u64,
    pub offset: u64,
    pub len: u64,
}

/// The client's bytes are not a request.
#[derive(Debug)]
pub struct NoRequest;

/// Decodes the request at the front of the client's bytes.
pub fn asked(said: &mut Take<'_>, mode: ReplyMode) -> Result<Option<Asked>, NoRequest> {
    let mut take = *said;
    let is_extended = mode == ReplyMode::Extended;
    let magic = if is_extended { EXTENDED_REQUEST_MAGIC } else { REQUEST_MAGIC };
    let Some(found) = take.u32() else { return Ok(None) };
    if found != magic {
        return Err(NoRequest);
    }
    let mut fields = || {
        let (flags, command, cookie) = (take.u16()?, take.u16()?, take.u64()?);
        let offset = take.u64()?;
        let len = if is_extended { take.u64()? } else { u64::from(take.u32()?) };
        Some(Asked { flags, command, cookie, offset, len })
    };
    let asked = fields();
    if asked.is_some() {
        *said = take;
    }
    Ok(asked)
}

/// The replies to one request so far.
#[derive(Debug, Default)]
struct Heard {
    /// The expected offset of the next data: data comes in ascending order.
    at: u64,
    contents: usize,
    statuses: Vec<u32>,
    errno: u32,
    is_done: bool,
}

/// Checks the whole reply to a request, and returns its error.
pub fn check(asked: &Asked, agreed: &Agreed, disk: &dyn BlockDevice, heard: &[u8]) -> Result<u32, Wrong> {
    let mut server = Take(heard);
    let mut so_far = Heard { at: asked.offset, ..Heard::default() };
    if agreed.mode == ReplyMode::Simple {
        simple(asked, disk, &mut server, &mut so_far)?;
    } else {
        while !so_far.is_done {
            one_chunk(asked, agreed, disk, &mut server, &mut so_far)?;
        }
    }
    must!(server.0.is_empty(), "{} bytes after the last chunk", server.0.len());
    let errno = so_far.errno;
    must!([0, 1, 5, 22, 75].contains(&errno), "errno {errno}");
    let is_read = asked.command == command::READ;
    if errno == 0 {
        must!(!is_read || so_far.at == asked.offset + asked.len, "data ends at {}", so_far.at);
        must!(!is_read || asked.flags & flag::DF == 0 || so_far.contents <= 1, "fragments of a DF read");
        let all = if asked.command == command::BLOCK_STATUS { agreed.contexts.as_slice() } else { &[] };
        so_far.statuses.sort_unstable();
        must!(so_far.statuses == all, "contexts {:?} of {all:?}", so_far.statuses);
    }
    let wanted = wanted(asked, agreed, disk.size());
    must!(wanted.contains(&errno), "errno {errno}, expected one of {wanted:?}");
    must!(errno != 5 || asked.command != command::READ || may_fail(asked), "an error without a cause");
    Ok(errno)
}

/// Returns the errors that a request may have.
fn wanted(asked: &Asked, agreed: &Agreed, size: u64) -> &'static [u32] {
    let can_df = agreed.mode > ReplyMode::Simple;
    let allowed = match asked.command {
        command::READ if can_df => flag::FUA | flag::DF,
        command::BLOCK_STATUS => flag::FUA | flag::REQ_ONE,
        command::WRITE | command::WRITE_ZEROES | command::TRIM => return &[1, 22],
        _ => flag::FUA,
    };
    let is_inside = asked.offset.checked_add(asked.len).is_some_and(|end| end <= size);
    if asked.flags & !allowed != 0 {
        return &[22];
    }
    match asked.command {
        command::READ if !is_inside || asked.len > 32 * MIB => &[22],
        command::READ if asked.flags & flag::DF != 0 && asked.len > MIB => &[75],
        command::READ => &[0, 5],
        command::BLOCK_STATUS if !is_inside || asked.len == 0 || agreed.contexts.is_empty() => &[22],
        command::CACHE if !is_inside => &[22],
        command::FLUSH | command::CACHE | command::BLOCK_STATUS => &[0],
        _ => &[22],
    }
}

/// The damaged range of the disk.
pub const DAMAGED: std::ops::Range<u64> = 2 * MIB..2 * MIB + 16384;

fn may_fail(asked: &Asked) -> bool {
    asked.offset < DAMAGED.end && asked.offset + asked.len > DAMAGED.start
}

fn simple(
    asked: &Asked,
    disk: &dyn BlockDevice,
    server: &mut Take<'_>,
    heard: &mut Heard,
) -> Result<(), Wrong> {
    must!(have(server.u32(), "a reply")? == SIMPLE_REPLY_MAGIC, "the magic of a simple reply");
    heard.errno = have(server.u32(), "a reply")?;
    must!(have(server.u64(), "a reply")? == asked.cookie, "another cookie");
    if heard.errno == 0 && asked.command == command::READ {
        let bytes = have(server.bytes(asked.len as usize), "data")?;
        right_data(disk, heard.at, bytes)?;
        heard.at += asked.len;
    }
    Ok(())
}

fn one_chunk(
    asked: &Asked,
    agreed: &Agreed,
    disk: &dyn BlockDevice,
    server: &mut Take<'_>,
    heard: &mut Heard,
) -> Result<(), Wrong> {
    let is_extended = agreed.mode == ReplyMode::Extended;
    let magic = if is_extended { EXTENDED_REPLY_MAGIC } else { STRUCTURED_REPLY_MAGIC };
    must!(have(server.u32(), "a chunk")? == magic, "the magic of a chunk");
    let flags = have(server.u16(), "a chunk")?;
    must!(flags <= 1, "chunk flags {flags:x}");
    let kind = have(server.u16(), "a chunk")?;
    must!(have(server.u64(), "a chunk")? == asked.cookie, "another cookie");
    let len = if is_extended {
        must!(have(server.u64(), "a chunk")? == asked.offset, "another offset");
        have(server.u64(), "a chunk")?
    } else {
        u64::from(have(server.u32(), "a chunk")?)
    };
    let mut body = Take(have(server.bytes(len as usize), "a chunk")?);
    heard.is_done = flags & chunk::DONE != 0;
    match (kind, asked.command) {
        (chunk::NONE, _) => must!(heard.is_done && heard.contents == 0, "a chunk of nothing"),
        (chunk::OFFSET_DATA, command::READ) => {
            must!(body.u64() == Some(heard.at), "data that is not at {}", heard.at);
            must!(!body.0.is_empty(), "no data");
            right_data(disk, heard.at, body.0)?;
            heard.at += body.0.len() as u64;
            heard.contents += 1;
            body.0 = &[];
        }
        (chunk::OFFSET_HOLE, command::READ) => {
            must!(body.u64() == Some(heard.at), "a hole that is not at {}", heard.at);
            let hole_len = u64::from(have(body.u32(), "a hole")?);
            right_hole(disk, heard.at, hole_len)?;
            heard.at += hole_len;
            heard.contents += 1;
        }
        (chunk::BLOCK_STATUS, command::BLOCK_STATUS) if !is_extended => {
            status(asked, disk, &mut body, heard, false)?;
        }
        (chunk::BLOCK_STATUS_EXT, command::BLOCK_STATUS) if is_extended => {
            status(asked, disk, &mut body, heard, true)?;
        }
        (chunk::ERROR | chunk::ERROR_OFFSET, _) => error(asked, kind, &mut body, heard)?,
        _ => return Err(format!("a chunk of kind {kind:x} for command {}", asked.command)),
    }
    must!(body.0.is_empty(), "a chunk of kind {kind:x} is too long");
    must!(heard.at <= asked.offset.saturating_add(asked.len), "data past the end of the request");
    Ok(())
}

fn error(asked: &Asked, kind: u16, body: &mut Take<'_>, heard: &mut Heard) -> Result<(), Wrong> {
    heard.errno = have(body.u32(), "an error")?;
    must!(heard.errno != 0 && heard.is_done, "errno {}, done {}", heard.errno, heard.is_done);
    let len = have(body.u16(), "an error")?;
    have(body.bytes(usize::from(len)), "an error")?;
    if kind == chunk::ERROR_OFFSET {
        let at = have(body.u64(), "an error")?;
        must!(at >= heard.at && at < asked.offset + asked.len, "an error at {at}, outside the request");
    }
    Ok(())
}

fn status(
    asked: &Asked,
    disk: &dyn BlockDevice,
    body: &mut Take<'_>,
    heard: &mut Heard,
    is_extended: bool,
) -> Result<(), Wrong> {
    let context = have(body.u32(), "a status")?;
    heard.statuses.push(context);
    let count = if is_extended { have(body.u32(), "a status")? as usize } else { body.0.len() / 8 };
    must!(count > 0 && body.0.len() == count * if is_extended { 16 } else { 8 }, "{count} extents");
    must!(asked.flags & flag::REQ_ONE == 0 || count == 1, "{count} extents, one was asked for");
    let mut at = asked.offset;
    for _ in 0..count {
        let (len, value) = if is_extended {
            (have(body.u64(), "an extent")?, have(body.u64(), "an extent")?)
        } else {
            (have(body.u32(), "an extent")?.into(), have(body.u32(), "an extent")?.into())
        };
        must!(len > 0 && len <= asked.offset + asked.len - at, "an extent of {len} at {at}");
        let end = at + len;
        while at < end {
            let run = disk.depth(at, end - at).map_err(|error| error.to_string())?;
            let zero = if run.kind == RunKind::Zero { 3 } else { 0 };
            let right = if context == 1 { zero } else { u64::from(run.depth) };
            must!(value == right, "context {context} is {right} at {at}, and not {value}");
            at += run.len;
        }
    }
    Ok(())
}

fn right_data(disk: &dyn BlockDevice, offset: u64, bytes: &[u8]) -> Result<(), Wrong> {
    let (mut at, mut rest) = (offset, bytes);
    while !rest.is_empty() {
        let run = disk.map(at, rest.len() as u64).map_err(|error| error.to_string())?;
        let (now, later) = rest.split_at(run.len as usize);
        let is_right = match run.kind {
            RunKind::Zero => now.iter().all(|&byte| byte == 0),
            // Comparing every byte would take too long.
            RunKind::Data => {
                [0, now.len() / 2, now.len() - 1].iter().all(|&i| now[i] == pattern(at + i as u64))
            }
        };
        must!(is_right, "wrong data in {at}+{}", now.len());
        (at, rest) = (at + run.len, later);
    }
    Ok(())
}

fn right_hole(disk: &dyn BlockDevice, offset: u64, len: u64) -> Result<(), Wrong> {
    must!(len > 0, "a hole of nothing");
    let (mut at, end) = (offset, offset + len);
    while at < end {
        let run = disk.map(at, end - at).map_err(|error| error.to_string())?;
        must!(run.kind == RunKind::Zero, "a hole at {at}, where data is");
        at += run.len;
    }
    Ok(())
}
