//! The handshake: options and their replies, until an export is selected. Pure: bytes in, bytes out.

use melv_serve::{Export, Exports};

use crate::context::{Chosen, Context};
use crate::export;
use crate::wire::{
    BadText, INIT_MAGIC, OPTION_MAGIC, OPTION_REPLY_MAGIC, PAYLOAD_LEN_MAX, Put, STRING_LEN_MAX, Take,
    handshake, info, option, reply, text_of,
};

/// The maximum length of an option's data, in bytes; longer data is skipped.
pub const OPTION_LEN_MAX: u32 = 64 << 10;
/// The maximum number of options in a handshake: no client needs more, and endless ones must end.
const OPTIONS_MAX: u32 = 1 << 16;
const OPTION_HEAD_LEN: usize = 16;
const CLIENT_FLAGS_LEN: usize = 4;
const EXPORT_NAME_ZEROES: usize = 124;

/// The server's policy on TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsPolicy {
    /// TLS is not available.
    Off,
    /// TLS is optional.
    Allowed,
    /// TLS is required before any information.
    Required,
}

/// The form of replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum ReplyMode {
    /// A single header, then the data.
    #[default]
    Simple,
    /// A sequence of chunks.
    Structured,
    /// A sequence of chunks with 64-bit lengths, as in requests.
    Extended,
}

/// The result of a handshake.
#[derive(Debug, Clone)]
pub struct Session {
    /// The selected disk.
    pub export: Export,
    /// The form of replies.
    pub mode: ReplyMode,
    /// The metadata contexts that block status is reported for.
    pub contexts: Chosen,
}

/// The next step in a handshake.
#[derive(Debug)]
pub enum Step {
    /// More input is needed.
    More,
    /// There was progress; the input may hold more.
    Went,
    /// The output must be sent without TLS, and everything after it over TLS.
    StartTls,
    /// The handshake is over.
    Ready(Session),
    /// The output must be sent, and then the connection closed.
    Close,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    ClientFlags,
    Options,
    /// Skipping this number of bytes of an option's data.
    Skip(u32),
}

/// One handshake.
#[derive(Debug)]
pub struct Negotiation {
    policy: TlsPolicy,
    is_tls: bool,
    phase: Phase,
    no_zeroes: bool,
    options: u32,
    mode: ReplyMode,
    /// The metadata contexts that the client has selected, and the name of the export they are for.
    contexts: Option<(String, Chosen)>,
}

impl Negotiation {
    /// Starts a handshake and appends the server's greeting to `out`.
    #[must_use]
    pub fn new(policy: TlsPolicy, out: &mut Vec<u8>) -> Self {
        out.put_u64(INIT_MAGIC);
        out.put_u64(OPTION_MAGIC);
        out.put_u16((handshake::FIXED_NEWSTYLE | handshake::NO_ZEROES) as u16);
        Self {
            policy,
            is_tls: false,
            phase: Phase::ClientFlags,
            no_zeroes: false,
            options: 0,
            mode: ReplyMode::default(),
            contexts: None,
        }
    }

    /// Notes that TLS has begun, as [`Step::StartTls`] demanded.
    pub fn tls_begun(&mut self) {
        self.is_tls = true;
    }

    /// Takes one step: consumes bytes from the front of `input` and appends replies to `out`.
    /// Returns the number of bytes consumed.
    pub fn step(&mut self, input: &[u8], exports: &dyn Exports, out: &mut Vec<u8>) -> (usize, Step) {
        match self.phase {
            Phase::ClientFlags => match Take(input).u32() {
                None => (0, Step::More),
                Some(flags) if flags & !(handshake::FIXED_NEWSTYLE | handshake::NO_ZEROES) != 0 => {
                    (CLIENT_FLAGS_LEN, Step::Close)
                }
                Some(flags) => {
                    self.no_zeroes = flags & handshake::NO_ZEROES != 0;
                    self.phase = Phase::Options;
                    (CLIENT_FLAGS_LEN, Step::Went)
                }
            },
            Phase::Skip(0) => {
                self.phase = Phase::Options;
                (0, Step::Went)
            }
            Phase::Skip(_) if input.is_empty() => (0, Step::More),
            Phase::Skip(left) => {
                let len = input.len().min(left as usize);
                self.phase = Phase::Skip(left - len as u32);
                (len, Step::Went)
            }
            Phase::Options => self.option(input, exports, out),
        }
    }

    fn option(&mut self, input: &[u8], exports: &dyn Exports, out: &mut Vec<u8>) -> (usize, Step) {
        let mut take = Take(input);
        let (Some(magic), Some(number), Some(len)) = (take.u64(), take.u32(), take.u32()) else {
            return (0, Step::More);
        };
        if magic != OPTION_MAGIC || self.options == OPTIONS_MAX {
            return (OPTION_HEAD_LEN, Step::Close);
        }
        if len > OPTION_LEN_MAX {
            self.options += 1;
            self.phase = Phase::Skip(len);
            if number == option::EXPORT_NAME {
                // The option has no error reply.
                return (OPTION_HEAD_LEN, Step::Close);
            }
            refuse(out, number, reply::ERR_TOO_BIG, "the option's data is too long");
            return (OPTION_HEAD_LEN, Step::Went);
        }
        let Some(data) = take.bytes(len as usize) else { return (0, Step::More) };
        self.options += 1;
        (OPTION_HEAD_LEN + len as usize, self.answer(number, data, exports, out))
    }

    fn answer(&mut self, number: u32, data: &[u8], exports: &dyn Exports, out: &mut Vec<u8>) -> Step {
        let needs_tls = self.policy == TlsPolicy::Required && !self.is_tls;
        match number {
            option::ABORT => {
                put_reply(out, number, reply::ACK, &[]);
                return Step::Close;
            }
            option::EXPORT_NAME if needs_tls => return Step::Close,
            option::EXPORT_NAME => return self.export_name(data, exports, out),
            option::STARTTLS => return self.start_tls(data, out),
            _ if needs_tls => refuse(out, number, reply::ERR_TLS_REQD, "start TLS first"),
            option::LIST if data.is_empty() => {
                for (name, description) in export::list(exports) {
                    let mut body = Vec::with_capacity(4 + name.len() + description.len());
                    body.put_u32(name.len() as u32);
                    body.extend_from_slice(name.as_bytes());
                    body.extend_from_slice(description.as_bytes());
                    put_reply(out, number, reply::SERVER, &body);
                }
                put_reply(out, number, reply::ACK, &[]);
            }
            option::LIST => refuse(out, number, reply::ERR_INVALID, "this option takes no data"),
            option::STRUCTURED_REPLY | option::EXTENDED_HEADERS => self.reply_mode(number, data, out),
            option::INFO | option::GO => return self.go(number, data, exports, out),
            option::LIST_META_CONTEXT | option::SET_META_CONTEXT => {
                self.meta_context(number, data, exports, out);
            }
            _ => refuse(out, number, reply::ERR_UNSUP, "unknown option"),
        }
        Step::Went
    }

    fn start_tls(&mut self, data: &[u8], out: &mut Vec<u8>) -> Step {
        let number = option::STARTTLS;
        if !data.is_empty() {
            refuse(out, number, reply::ERR_INVALID, "this option takes no data");
        } else if self.is_tls {
            refuse(out, number, reply::ERR_INVALID, "TLS is already in use");
        } else if self.policy == TlsPolicy::Off {
            refuse(out, number, reply::ERR_POLICY, "this server has no TLS");
        } else {
            // Plaintext options may come from an attacker.
            self.mode = ReplyMode::default();
            self.contexts = None;
            put_reply(out, number, reply::ACK, &[]);
            return Step::StartTls;
        }
        Step::Went
    }

    fn reply_mode(&mut self, number: u32, data: &[u8], out: &mut Vec<u8>) {
        let wanted = match number {
            option::EXTENDED_HEADERS => ReplyMode::Extended,
            _ => ReplyMode::Structured,
        };
        if !data.is_empty() {
            refuse(out, number, reply::ERR_INVALID, "this option takes no data");
        } else if self.mode == wanted {
            refuse(out, number, reply::ERR_INVALID, "this is already negotiated");
        } else if self.mode > wanted {
            refuse(out, number, reply::ERR_EXT_HEADER_REQD, "extended headers are already negotiated");
        } else {
            self.mode = wanted;
            put_reply(out, number, reply::ACK, &[]);
        }
    }

    fn export_name(&mut self, data: &[u8], exports: &dyn Exports, out: &mut Vec<u8>) -> Step {
        // The option has no error reply, so closing is the only refusal.
        let Some(export) = text_of(data).ok().and_then(|name| export::open(exports, name)) else {
            return Step::Close;
        };
        out.put_u64(export.disk.size());
        out.put_u16(export::flags(self.mode > ReplyMode::Simple));
        if !self.no_zeroes {
            out.extend_from_slice(&[0; EXPORT_NAME_ZEROES]);
        }
        let name = String::from_utf8_lossy(data);
        Step::Ready(self.session(&name, export))
    }

    fn session(&self, name: &str, export: Export) -> Session {
        // A selection of contexts applies only to its own export.
        let contexts = self.contexts.as_ref().filter(|(chosen_for, _)| chosen_for == name);
        Session { export, mode: self.mode, contexts: contexts.map(|(_, chosen)| *chosen).unwrap_or_default() }
    }

    fn go(&mut self, number: u32, data: &[u8], exports: &dyn Exports, out: &mut Vec<u8>) -> Step {
        let mut take = Take(data);
        let name = match take.text() {
            Some(Ok(name)) => name,
            Some(Err(bad)) => {
                refuse_text(out, number, bad);
                return Step::Went;
            }
            None => return invalid(out, number),
        };
        let Some(count) = take.u16() else { return invalid(out, number) };
        let wanted: Vec<u16> = (0..count).map_while(|_| take.u16()).collect();
        if wanted.len() != usize::from(count) || !take.0.is_empty() {
            return invalid(out, number);
        }
        let Some(export) = export::open(exports, name) else {
            refuse(out, number, reply::ERR_UNKNOWN, "there is no such export");
            return Step::Went;
        };
        self.put_info(number, &export, &wanted, out);
        put_reply(out, number, reply::ACK, &[]);
        if number == option::INFO { Step::Went } else { Step::Ready(self.session(name, export)) }
    }

    fn put_info(&self, number: u32, export: &Export, wanted: &[u16], out: &mut Vec<u8>) {
        let mut put = |kind: u16, fill: &dyn Fn(&mut Vec<u8>)| {
            let mut body = Vec::new();
            body.put_u16(kind);
            fill(&mut body);
            put_reply(out, number, reply::INFO, &body);
        };
        put(info::EXPORT, &|body| {
            body.put_u64(export.disk.size());
            body.put_u16(export::flags(self.mode > ReplyMode::Simple));
        });
        if wanted.contains(&info::NAME) {
            put(info::NAME, &|body| body.extend_from_slice(cut(&export.name)));
        }
        if wanted.contains(&info::DESCRIPTION) {
            put(info::DESCRIPTION, &|body| body.extend_from_slice(cut(&export.description)));
        }
        if wanted.contains(&info::BLOCK_SIZE) {
            put(info::BLOCK_SIZE, &|body| {
                body.put_u32(1);
                body.put_u32(export.preferred_len);
                body.put_u32(PAYLOAD_LEN_MAX);
            });
        }
    }

    fn meta_context(&mut self, number: u32, data: &[u8], exports: &dyn Exports, out: &mut Vec<u8>) {
        let is_listing = number == option::LIST_META_CONTEXT;
        if !is_listing {
            // The previous selection is gone even if this one fails.
            self.contexts = None;
        }
        if self.mode == ReplyMode::Simple {
            return refuse(out, number, reply::ERR_INVALID, "negotiate structured replies first");
        }
        let mut take = Take(data);
        let name = match take.text() {
            Some(Ok(name)) => name,
            Some(Err(bad)) => return refuse_text(out, number, bad),
            None => return drop(invalid(out, number)),
        };
        let Some(queries) = queries(&mut take) else { return drop(invalid(out, number)) };
        if export::open(exports, name).is_none() {
            return refuse(out, number, reply::ERR_UNKNOWN, "there is no such export");
        }
        let mut chosen = Chosen::default();
        for context in Context::ALL {
            let is_all = is_listing && queries.is_empty();
            if is_all || queries.iter().any(|query| context.is_meant(query, is_listing)) {
                chosen.add(context);
                let mut body = Vec::new();
                body.put_u32(if is_listing { 0 } else { context.id() });
                body.extend_from_slice(context.name().as_bytes());
                put_reply(out, number, reply::META_CONTEXT, &body);
            }
        }
        if !is_listing {
            self.contexts = Some((name.to_owned(), chosen));
        }
        put_reply(out, number, reply::ACK, &[]);
    }
}

/// Reads the queries of a meta context option, which must fill the remaining data. Invalid text
/// becomes an empty query, which matches no context.
fn queries<'a>(take: &mut Take<'a>) -> Option<Vec<&'a str>> {
    let count = take.u32()?;
    let mut queries = Vec::new();
    for _ in 0..count {
        queries.push(take.text()?.unwrap_or_default());
    }
    take.0.is_empty().then_some(queries)
}

/// Returns as much of a text as the protocol allows.
fn cut(text: &str) -> &[u8] {
    let mut len = text.len().min(STRING_LEN_MAX);
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    &text.as_bytes()[..len]
}

fn invalid(out: &mut Vec<u8>, number: u32) -> Step {
    refuse(out, number, reply::ERR_INVALID, "the option's data is malformed");
    Step::Went
}

fn refuse_text(out: &mut Vec<u8>, number: u32, bad: BadText) {
    match bad {
        BadText::Long => refuse(out, number, reply::ERR_TOO_BIG, "names have at most 4096 bytes"),
        BadText::Chars => refuse(out, number, reply::ERR_INVALID, "names are UTF-8 without NUL"),
    }
}

fn refuse(out: &mut Vec<u8>, number: u32, kind: u32, why: &str) {
    put_reply(out, number, kind, why.as_bytes());
}

fn put_reply(out: &mut Vec<u8>, number: u32, kind: u32, body: &[u8]) {
    out.put_u64(OPTION_REPLY_MAGIC);
    out.put_u32(number);
    out.put_u32(kind);
    out.put_u32(body.len() as u32);
    out.extend_from_slice(body);
}
