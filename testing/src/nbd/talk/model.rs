//! A client model written from the protocol's text alone.
//!
//! It reads both directions of a conversation and finds all violations of the protocol. It shares
//! no code with the server except the numbers.

use melv_block::BlockDevice;
use melv_nbd::TlsPolicy;
use melv_nbd::negotiation::ReplyMode;
use melv_nbd::wire::{
    INIT_MAGIC, OPTION_MAGIC, OPTION_REPLY_MAGIC, Take, export, handshake, info, option, reply,
};

/// A description of a violation.
pub type Wrong = String;

/// The end of a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client's input has ended.
    More,
    Close,
    Ready,
}

/// The client's view of the negotiated state.
#[derive(Debug, Clone, Default)]
pub struct Agreed {
    pub mode: ReplyMode,
    /// The numbers of the selected contexts.
    pub contexts: Vec<u32>,
    contexts_for: Vec<u8>,
    is_tls: bool,
    has_zeroes: bool,
}

const OPTION_LEN_MAX: u32 = 64 << 10;

/// Returns an error unless a condition holds.
macro_rules! must {
    ($what:expr, $($text:tt)+) => {
        if !$what {
            return Err(format!($($text)+));
        }
    };
}

pub(super) use must;

/// Returns a value that must be present.
pub fn have<T>(taken: Option<T>, what: &str) -> Result<T, Wrong> {
    taken.ok_or_else(|| format!("{what} is cut off"))
}

/// Checks the server's output in a handshake. Returns the expected end, the negotiated state, and
/// the number of bytes of `said` that belong to the handshake.
pub fn handshake(
    said: &[u8],
    policy: TlsPolicy,
    heard: &[u8],
    disk: &dyn BlockDevice,
) -> Result<(End, Agreed, usize), Wrong> {
    let (mut client, mut server) = (Take(said), Take(heard));
    must!(server.u64() == Some(INIT_MAGIC), "no greeting");
    must!(server.u64() == Some(OPTION_MAGIC), "no second magic");
    let offered = have(server.u16(), "the greeting")?;
    must!(offered == 3, "handshake flags {offered:x}");
    let mut agreed = Agreed::default();
    let end = match client.u32() {
        None => End::More,
        Some(flags) if flags > 3 => End::Close,
        Some(flags) => {
            agreed.has_zeroes = flags & handshake::NO_ZEROES == 0;
            loop {
                match one_option(&mut client, &mut server, policy, &mut agreed, disk)? {
                    None => {}
                    Some(end) => break end,
                }
            }
        }
    };
    must!(server.0.is_empty(), "{} bytes that nobody asked for", server.0.len());
    Ok((end, agreed, said.len() - client.0.len()))
}

fn one_option(
    client: &mut Take<'_>,
    server: &mut Take<'_>,
    policy: TlsPolicy,
    agreed: &mut Agreed,
    disk: &dyn BlockDevice,
) -> Result<Option<End>, Wrong> {
    let mut take = *client;
    let (Some(magic), Some(number), Some(len)) = (take.u64(), take.u32(), take.u32()) else {
        return Ok(Some(End::More));
    };
    if magic != OPTION_MAGIC {
        return Ok(Some(End::Close));
    }
    if len > OPTION_LEN_MAX {
        if number == option::EXPORT_NAME {
            return Ok(Some(End::Close));
        }
        must!(final_reply(server, number)? == reply::ERR_TOO_BIG, "an option too long was not refused");
        let skipped = take.0.len().min(len as usize);
        take.bytes(skipped);
        *client = take;
        return Ok((skipped < len as usize).then_some(End::More));
    }
    let Some(data) = take.bytes(len as usize) else { return Ok(Some(End::More)) };
    *client = take;
    let is_barred = policy == TlsPolicy::Required && !agreed.is_tls;
    match number {
        option::ABORT => {
            must!(final_reply(server, number)? == reply::ACK, "ABORT was refused");
            Ok(Some(End::Close))
        }
        option::EXPORT_NAME if is_barred || server.0.is_empty() => Ok(Some(End::Close)),
        option::EXPORT_NAME => {
            flags_are_right(server, agreed, disk)?;
            let zeroes = if agreed.has_zeroes { 124 } else { 0 };
            let zeroes = have(server.bytes(zeroes), "the zeros")?;
            must!(zeroes.iter().all(|&byte| byte == 0), "zeros that are none");
            agreed.choose(data);
            Ok(Some(End::Ready))
        }
        option::STARTTLS => start_tls(server, policy, agreed, data),
        _ if is_barred => {
            must!(final_reply(server, number)? == reply::ERR_TLS_REQD, "told without TLS");
            Ok(None)
        }
        option::INFO | option::GO => go(server, number, data, agreed, disk),
        option::LIST | option::LIST_META_CONTEXT | option::SET_META_CONTEXT => {
            listing(server, number, data, agreed)
        }
        option::STRUCTURED_REPLY | option::EXTENDED_HEADERS => {
            let kind = final_reply(server, number)?;
            let wanted = match number {
                option::STRUCTURED_REPLY => ReplyMode::Structured,
                _ => ReplyMode::Extended,
            };
            let may = data.is_empty() && agreed.mode < wanted;
            must!((kind == reply::ACK) == may, "option {number} in {:?}: {kind:x}", agreed.mode);
            agreed.mode = if may { wanted } else { agreed.mode };
            Ok(None)
        }
        _ => {
            must!(final_reply(server, number)? == reply::ERR_UNSUP, "an unknown option was known");
            Ok(None)
        }
    }
}

fn start_tls(
    server: &mut Take<'_>,
    policy: TlsPolicy,
    agreed: &mut Agreed,
    data: &[u8],
) -> Result<Option<End>, Wrong> {
    let kind = final_reply(server, option::STARTTLS)?;
    let may = data.is_empty() && policy != TlsPolicy::Off && !agreed.is_tls;
    must!((kind == reply::ACK) == may, "STARTTLS: {kind:x}");
    if may {
        *agreed = Agreed { is_tls: true, has_zeroes: agreed.has_zeroes, ..Agreed::default() };
    }
    Ok(None)
}

fn go(
    server: &mut Take<'_>,
    number: u32,
    data: &[u8],
    agreed: &mut Agreed,
    disk: &dyn BlockDevice,
) -> Result<Option<End>, Wrong> {
    let mut exports = 0;
    let kind = loop {
        let (kind, body) = one_reply(server, number)?;
        if kind != reply::INFO {
            break kind;
        }
        let mut body = Take(body);
        match have(body.u16(), "an info")? {
            info::EXPORT => {
                exports += 1;
                flags_are_right(&mut body, agreed, disk)?;
            }
            info::NAME | info::DESCRIPTION => {
                must!(body.0.len() <= 4096 && std::str::from_utf8(body.0).is_ok(), "an info is no text");
                body.0 = &[];
            }
            info::BLOCK_SIZE => {
                let sizes = (body.u32(), body.u32(), body.u32());
                let (Some(min), Some(preferred), Some(max)) = sizes else { return Err("cut off".into()) };
                must!(min <= 65536 && preferred >= min.max(512) && max >= preferred, "sizes {sizes:?}");
            }
            other => return Err(format!("info {other}")),
        }
        must!(body.0.is_empty(), "an info is too long");
    };
    must!((kind == reply::ACK) == (exports == 1), "{exports} infos of the export, then {kind:x}");
    if kind != reply::ACK || number == option::INFO {
        return Ok(None);
    }
    let mut data = Take(data);
    let len = have(data.u32(), "a name that was taken")?;
    agreed.choose(have(data.bytes(len as usize), "a name that was taken")?);
    Ok(Some(End::Ready))
}

fn listing(
    server: &mut Take<'_>,
    number: u32,
    data: &[u8],
    agreed: &mut Agreed,
) -> Result<Option<End>, Wrong> {
    let mut numbers = Vec::new();
    let kind = loop {
        let (kind, body) = one_reply(server, number)?;
        let mut body = Take(body);
        match (kind, number) {
            (reply::SERVER, option::LIST) => {
                let len = have(body.u32(), "a name")?;
                have(body.bytes(len as usize), "a name")?;
            }
            (reply::META_CONTEXT, option::LIST_META_CONTEXT | option::SET_META_CONTEXT) => {
                numbers.push(have(body.u32(), "a context")?);
                must!(std::str::from_utf8(body.0).is_ok_and(|name| name.contains(':')), "a context's name");
            }
            _ => break kind,
        }
    };
    must!(kind == reply::ACK || kind > 1 << 31, "option {number}: {kind:x}");
    if number == option::LIST {
        must!((kind == reply::ACK) == data.is_empty(), "LIST: {kind:x}");
        return Ok(None);
    }
    must!(kind != reply::ACK || agreed.mode > ReplyMode::Simple, "contexts without structured replies");
    if number == option::LIST_META_CONTEXT {
        must!(numbers.iter().all(|&number| number == 0), "numbers where none are given");
        return Ok(None);
    }
    (agreed.contexts, agreed.contexts_for) = (Vec::new(), Vec::new());
    if kind == reply::ACK {
        let mut data = Take(data);
        let len = have(data.u32(), "a name that was taken")?;
        agreed.contexts_for = have(data.bytes(len as usize), "a name that was taken")?.to_vec();
        numbers.sort_unstable();
        must!(numbers.windows(2).all(|pair| pair[0] != pair[1]), "two contexts with one number");
        agreed.contexts = numbers;
    }
    Ok(None)
}

/// Reads a reply that must be final.
fn final_reply(server: &mut Take<'_>, number: u32) -> Result<u32, Wrong> {
    let (kind, _) = one_reply(server, number)?;
    must!(kind == reply::ACK || kind > 1 << 31, "option {number}: {kind:x} is not final");
    Ok(kind)
}

fn one_reply<'a>(server: &mut Take<'a>, number: u32) -> Result<(u32, &'a [u8]), Wrong> {
    must!(have(server.u64(), "a reply")? == OPTION_REPLY_MAGIC, "the magic of a reply");
    let found = have(server.u32(), "a reply")?;
    must!(found == number, "a reply to {found} instead of {number}");
    let kind = have(server.u32(), "a reply")?;
    let len = have(server.u32(), "a reply")?;
    must!(len <= 16 << 10, "a reply of {len} bytes");
    let body = have(server.bytes(len as usize), "a reply")?;
    let known = (reply::ERR_UNSUP..=reply::ERR_EXT_HEADER_REQD).contains(&kind);
    must!(known || (1..=4).contains(&kind), "a reply of kind {kind:x}");
    must!(!known || std::str::from_utf8(body).is_ok() && body.len() <= 4096, "an error's text");
    must!(kind != reply::ACK || body.is_empty(), "an ACK with data");
    Ok((kind, body))
}

fn flags_are_right(from: &mut Take<'_>, agreed: &Agreed, disk: &dyn BlockDevice) -> Result<(), Wrong> {
    let size = have(from.u64(), "the size")?;
    must!(size == disk.size(), "size {size}");
    let flags = have(from.u16(), "the flags")?;
    must!(flags & export::HAS_FLAGS != 0 && flags & export::READ_ONLY != 0, "flags {flags:x}");
    let has_df = flags & export::SEND_DF != 0;
    must!(has_df == (agreed.mode > ReplyMode::Simple), "DF with {:?}: {has_df}", agreed.mode);
    Ok(())
}

impl Agreed {
    /// Drops the contexts if they were selected for another export.
    fn choose(&mut self, name: &[u8]) {
        if self.contexts_for != name {
            self.contexts.clear();
        }
    }
}
