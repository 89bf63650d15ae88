//! A client that speaks the protocol byte by byte and can violate it.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use melv_nbd::negotiation::ReplyMode;
use melv_nbd::wire::{
    EXTENDED_REPLY_MAGIC, EXTENDED_REQUEST_MAGIC, INIT_MAGIC, OPTION_MAGIC, OPTION_REPLY_MAGIC, Put,
    REQUEST_MAGIC, SIMPLE_REPLY_MAGIC, STRUCTURED_REPLY_MAGIC, Take, chunk, command, info, option, reply,
};
use melv_nbd::{Server, ServerOptions, Socket};

use super::{Bytes, Shelf};

/// The timeout of any step that need not wait: far more than it takes.
pub const SOON: Duration = Duration::from_secs(20);
/// All flags of a client.
pub const CLIENT_FLAGS: u32 = 3;

/// A reply to an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionReply {
    pub kind: u32,
    pub body: Vec<u8>,
}

/// A part of a reply.
#[derive(Clone, PartialEq, Eq)]
pub enum Chunk {
    None,
    Data { at: u64, bytes: Vec<u8> },
    Hole { at: u64, len: u64 },
    Status { context: u32, extents: Vec<(u64, u64)> },
    Error { errno: u32, at: Option<u64> },
}

impl std::fmt::Debug for Chunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => write!(f, "None"),
            Self::Data { at, bytes } => write!(f, "Data at {at}: {:?}", Bytes(bytes)),
            Self::Hole { at, len } => write!(f, "Hole {at}+{len}"),
            Self::Status { context, extents } => write!(f, "Status {context}: {extents:?}"),
            Self::Error { errno, at } => write!(f, "Error {errno} at {at:?}"),
        }
    }
}

/// A whole reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub cookie: u64,
    pub chunks: Vec<Chunk>,
}

impl Answer {
    /// Returns the error, or 0.
    pub fn errno(&self) -> u32 {
        match self.chunks.last() {
            Some(Chunk::Error { errno, .. }) => *errno,
            _ => 0,
        }
    }

    /// Returns the offset of the error.
    pub fn error_at(&self) -> Option<u64> {
        match self.chunks.last() {
            Some(Chunk::Error { at, .. }) => *at,
            _ => None,
        }
    }

    /// Returns the bytes of a read, with holes as zeros, and asserts that chunks are consecutive.
    pub fn bytes(&self) -> Vec<u8> {
        let (mut all, mut next): (Vec<u8>, Option<u64>) = (Vec::new(), None);
        for part in &self.chunks {
            let (at, len) = match part {
                Chunk::Data { at, bytes } => {
                    all.extend(bytes);
                    (*at, bytes.len() as u64)
                }
                Chunk::Hole { at, len } => {
                    all.resize(all.len() + *len as usize, 0);
                    (*at, *len)
                }
                _ => continue,
            };
            assert!(next.is_none_or(|next| next == at), "{:?}", self.chunks);
            next = Some(at + len);
        }
        all
    }

    /// Returns the extents of each context.
    pub fn statuses(&self) -> HashMap<u32, Vec<(u64, u64)>> {
        let status = |part: &Chunk| match part {
            Chunk::Status { context, extents } => Some((*context, extents.clone())),
            _ => None,
        };
        self.chunks.iter().filter_map(status).collect()
    }
}

/// A connection to a server.
pub struct Client<S = UnixStream> {
    pub stream: S,
    pub mode: ReplyMode,
    cookie: u64,
    /// The offset and the length of each read, which simple replies do not repeat.
    reads: HashMap<u64, (u64, u64)>,
    begun: HashMap<u64, Vec<Chunk>>,
    ended: Option<Receiver<()>>,
}

/// Creates a server of `shelf` with the usual options.
pub fn server(shelf: Shelf) -> Server {
    server_with(shelf, ServerOptions { helpers_max: 4, ..ServerOptions::default() })
}

pub fn server_with(shelf: Shelf, options: ServerOptions) -> Server {
    Server::new(Arc::new(shelf), options)
}

/// Connects a client to `server` that has sent nothing yet.
pub fn connect(server: &Server) -> Client {
    let (mine, theirs) = UnixStream::pair().unwrap();
    mine.set_read_timeout(Some(SOON)).unwrap();
    mine.set_write_timeout(Some(SOON)).unwrap();
    let (end, ended) = channel();
    let server = server.clone();
    std::thread::spawn(move || {
        server.connection(Socket::Unix(theirs));
        drop(end);
    });
    Client { ended: Some(ended), ..Client::over(mine) }
}

/// Connects a client that has read the greeting and sent its flags.
pub fn greeted(server: &Server) -> Client {
    let mut client = connect(server);
    client.greet();
    client
}

/// Connects a client that reads `export` with replies in `mode`.
pub fn reading(server: &Server, export: &str, mode: ReplyMode) -> Client {
    let mut client = greeted(server);
    client.agree(mode);
    client.go(export);
    client
}

/// Connects a client to one of the usual disks.
pub fn usual(export: &str, mode: ReplyMode) -> Client {
    reading(&server(Shelf::usual()), export, mode)
}

/// Encodes text after its length.
pub fn text(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.put_u32(text.len() as u32);
    bytes.put(text);
    bytes
}

/// Encodes the data of GO and INFO.
pub fn go_data(name: &[u8], infos: &[u16]) -> Vec<u8> {
    let mut data = text(name);
    data.put_u16(infos.len() as u16);
    infos.iter().for_each(|info| data.put_u16(*info));
    data
}

/// Encodes the data of LIST_META_CONTEXT and SET_META_CONTEXT.
pub fn meta_data(name: &str, queries: &[&str]) -> Vec<u8> {
    let mut data = text(name.as_bytes());
    data.put_u32(queries.len() as u32);
    queries.iter().for_each(|query| data.extend(text(query.as_bytes())));
    data
}

/// Returns the infos by their kinds.
pub fn infos(replies: &[OptionReply]) -> HashMap<u16, Vec<u8>> {
    let found = replies.iter().filter(|found| found.kind == reply::INFO);
    found.map(|found| (Take(&found.body).u16().unwrap(), found.body[2..].to_vec())).collect()
}

/// Returns the contexts with their numbers.
pub fn contexts(replies: &[OptionReply]) -> Vec<(String, u32)> {
    let found = replies.iter().filter(|found| found.kind == reply::META_CONTEXT);
    let one = |body: &[u8]| (String::from_utf8(body[4..].to_vec()).unwrap(), Take(body).u32().unwrap());
    found.map(|found| one(&found.body)).collect()
}

impl<S: Read + Write> Client<S> {
    pub fn over(stream: S) -> Self {
        let (reads, begun) = (HashMap::new(), HashMap::new());
        Self { stream, mode: ReplyMode::Simple, cookie: 0, reads, begun, ended: None }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
        self.stream.flush().unwrap();
    }

    pub fn take(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Asserts that the server has closed the connection without sending more.
    #[track_caller]
    pub fn is_closed(&mut self) {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => assert!(rest.is_empty(), "{:?}", Bytes(&rest)),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
    }

    /// Reads the greeting and returns its flags.
    pub fn greeting(&mut self) -> u16 {
        let greeting = self.take(18);
        let mut take = Take(&greeting);
        assert_eq!((take.u64(), take.u64()), (Some(INIT_MAGIC), Some(OPTION_MAGIC)));
        take.u16().unwrap()
    }

    pub fn greet(&mut self) {
        self.greeting();
        self.send(&CLIENT_FLAGS.to_be_bytes());
    }

    pub fn send_option(&mut self, number: u32, data: &[u8]) {
        let mut bytes = option_head(number, data.len() as u32);
        bytes.extend(data);
        self.send(&bytes);
    }

    /// Reads the next reply, which must belong to option `number`.
    #[track_caller]
    pub fn option_reply(&mut self, number: u32) -> OptionReply {
        let head = self.take(20);
        let mut take = Take(&head);
        assert_eq!(take.u64(), Some(OPTION_REPLY_MAGIC));
        assert_eq!(take.u32(), Some(number));
        let (kind, len) = (take.u32().unwrap(), take.u32().unwrap());
        OptionReply { kind, body: self.take(len as usize) }
    }

    /// Sends an option and returns all replies, the final one last.
    #[track_caller]
    pub fn option(&mut self, number: u32, data: &[u8]) -> Vec<OptionReply> {
        self.send_option(number, data);
        self.option_replies(number)
    }

    #[track_caller]
    pub fn option_replies(&mut self, number: u32) -> Vec<OptionReply> {
        let mut replies = Vec::new();
        loop {
            let found = self.option_reply(number);
            let is_final = found.kind == reply::ACK || found.kind > 1 << 31;
            replies.push(found);
            if is_final {
                return replies;
            }
        }
    }

    /// Sends an option and returns the kind of its only reply.
    #[track_caller]
    pub fn answer_to(&mut self, number: u32, data: &[u8]) -> u32 {
        let replies = self.option(number, data);
        assert_eq!(replies.len(), 1, "{replies:?}");
        replies[0].kind
    }

    /// Negotiates the form of replies.
    #[track_caller]
    pub fn agree(&mut self, mode: ReplyMode) {
        let number = match mode {
            ReplyMode::Simple => return,
            ReplyMode::Structured => option::STRUCTURED_REPLY,
            ReplyMode::Extended => option::EXTENDED_HEADERS,
        };
        assert_eq!(self.answer_to(number, &[]), reply::ACK);
        self.mode = mode;
    }

    /// Selects contexts.
    #[track_caller]
    pub fn choose(&mut self, export: &str, queries: &[&str]) {
        let replies = self.option(option::SET_META_CONTEXT, &meta_data(export, queries));
        assert_eq!(replies.last().unwrap().kind, reply::ACK);
    }

    /// Selects an export; returns its size and flags.
    #[track_caller]
    pub fn go(&mut self, export: &str) -> (u64, u16) {
        let replies = self.option(option::GO, &go_data(export.as_bytes(), &[]));
        assert_eq!(replies.last().unwrap().kind, reply::ACK);
        let body = infos(&replies).remove(&info::EXPORT).unwrap();
        let mut take = Take(&body);
        (take.u64().unwrap(), take.u16().unwrap())
    }

    /// Encodes a request with the next cookie.
    pub fn request(&mut self, command: u16, flags: u16, offset: u64, len: u64) -> Vec<u8> {
        self.cookie += 1;
        let is_extended = self.mode == ReplyMode::Extended;
        let mut bytes = Vec::new();
        bytes.put_u32(if is_extended { EXTENDED_REQUEST_MAGIC } else { REQUEST_MAGIC });
        bytes.put_u16(flags);
        bytes.put_u16(command);
        bytes.put_u64(self.cookie);
        bytes.put_u64(offset);
        if is_extended {
            bytes.put_u64(len)
        } else {
            bytes.put_u32(u32::try_from(len).unwrap())
        }
        if command == command::READ {
            self.reads.insert(self.cookie, (offset, len));
        }
        bytes
    }

    /// Sends a request and returns its cookie.
    pub fn ask(&mut self, command: u16, flags: u16, offset: u64, len: u64) -> u64 {
        let bytes = self.request(command, flags, offset, len);
        self.send(&bytes);
        self.cookie
    }

    /// Sends a request and reads its reply, which must be the next.
    #[track_caller]
    pub fn call(&mut self, command: u16, flags: u16, offset: u64, len: u64) -> Answer {
        let cookie = self.ask(command, flags, offset, len);
        let answer = self.answer();
        assert_eq!(answer.cookie, cookie);
        answer
    }

    #[track_caller]
    pub fn read(&mut self, offset: u64, len: u64) -> Answer {
        self.call(command::READ, 0, offset, len)
    }

    /// Reads chunks until a reply is complete.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        loop {
            let (cookie, part, is_done) =
                if self.mode == ReplyMode::Simple { self.simple() } else { self.chunk() };
            let chunks = self.begun.entry(cookie).or_default();
            chunks.push(part);
            if is_done {
                let chunks = self.begun.remove(&cookie).unwrap();
                return Answer { cookie, chunks };
            }
        }
    }

    fn simple(&mut self) -> (u64, Chunk, bool) {
        let head = self.take(16);
        let mut take = Take(&head);
        assert_eq!(take.u32(), Some(SIMPLE_REPLY_MAGIC));
        let (errno, cookie) = (take.u32().unwrap(), take.u64().unwrap());
        let part = match (errno, self.reads.remove(&cookie)) {
            (0, Some((at, len))) => Chunk::Data { at, bytes: self.take(len as usize) },
            (0, None) => Chunk::None,
            (errno, _) => Chunk::Error { errno, at: None },
        };
        (cookie, part, true)
    }

    fn chunk(&mut self) -> (u64, Chunk, bool) {
        let is_extended = self.mode == ReplyMode::Extended;
        let head = self.take(if is_extended { 32 } else { 20 });
        let mut take = Take(&head);
        let magic = if is_extended { EXTENDED_REPLY_MAGIC } else { STRUCTURED_REPLY_MAGIC };
        assert_eq!(take.u32(), Some(magic));
        let (flags, kind, cookie) = (take.u16().unwrap(), take.u16().unwrap(), take.u64().unwrap());
        let len = if is_extended {
            take.u64();
            take.u64().unwrap()
        } else {
            u64::from(take.u32().unwrap())
        };
        let body = self.take(len as usize);
        let mut body = Take(&body);
        let part = match kind {
            chunk::NONE => Chunk::None,
            chunk::OFFSET_DATA => Chunk::Data { at: body.u64().unwrap(), bytes: body.0.to_vec() },
            chunk::OFFSET_HOLE => Chunk::Hole { at: body.u64().unwrap(), len: body.u32().unwrap().into() },
            chunk::BLOCK_STATUS => {
                let context = body.u32().unwrap();
                let extent = |body: &mut Take<'_>| Some((body.u32()?.into(), body.u32()?.into()));
                Chunk::Status { context, extents: std::iter::from_fn(|| extent(&mut body)).collect() }
            }
            chunk::BLOCK_STATUS_EXT => {
                let (context, count) = (body.u32().unwrap(), body.u32().unwrap());
                let extent = |_| (body.u64().unwrap(), body.u64().unwrap());
                Chunk::Status { context, extents: (0..count).map(extent).collect() }
            }
            chunk::ERROR | chunk::ERROR_OFFSET => {
                let errno = body.u32().unwrap();
                let text_len = body.u16().unwrap();
                body.bytes(text_len.into()).unwrap();
                let at = (kind == chunk::ERROR_OFFSET).then(|| body.u64().unwrap());
                Chunk::Error { errno, at }
            }
            other => panic!("a chunk of kind {other}"),
        };
        (cookie, part, flags & chunk::DONE != 0)
    }
}

impl Client {
    /// Waits until the server has closed this connection.
    #[track_caller]
    pub fn ends(&mut self) {
        self.ended().wait();
    }

    /// Returns the end of this connection, for waiting.
    pub fn ended(&mut self) -> Ended {
        Ended(self.ended.take().unwrap())
    }
}

/// The end of a connection.
pub struct Ended(Receiver<()>);

impl Ended {
    #[track_caller]
    pub fn wait(self) {
        let ended = self.0.recv_timeout(SOON);
        assert_eq!(ended, Err(RecvTimeoutError::Disconnected), "the connection goes on");
    }
}

/// Encodes the head of an option with data of `len` bytes.
pub fn option_head(number: u32, len: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.put_u64(OPTION_MAGIC);
    bytes.put_u32(number);
    bytes.put_u32(len);
    bytes
}
