//! Requests and replies, until the client leaves.
//!
//! The connection's own thread reads requests, many at a time, and answers those at once whose bytes are
//! at hand: their replies go out together, one call for all that came together. What must be decoded goes
//! to helpers, unless it is the only request: then nothing is gained by handing it on. Replies come in the
//! order in which they are ready.
//!
//! Memory: two pieces (see [`PIECE_LEN`]) for each of the connection's threads that has something to send, a
//! mebibyte where a client wants no fragments; a helper that waits has none. A request that waits is 48
//! bytes, and there are at most `WAITING_MAX`. Who does not take replies makes its own threads wait, and
//! no others.

use std::collections::VecDeque;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;

use crate::answer::{Answers, PIECE_LEN};
use crate::channel::Channel;
use crate::negotiation::Session;
use crate::output::Output;
use crate::request::{Request, Todo};

/// Bytes read of a socket at once.
const READ_LEN: usize = 64 << 10;
/// Requests that wait for a helper at most; then no more are read.
const WAITING_MAX: usize = 1024;
/// Replies that wait to be sent together, in bytes.
const TOGETHER_LEN: usize = PIECE_LEN as usize;
/// Requests that a helper takes at a time at most.
const SHARE_MAX: usize = 4;
const STACK_LEN: usize = 512 << 10;

/// Serves one client.
///
/// # Errors
/// Those of the socket; bytes that are no request.
pub fn run(channel: &Channel, session: &Session, early: Vec<u8>, helpers_max: usize) -> io::Result<()> {
    let answers = Answers { channel, session };
    let work = Work { answers, helpers_max, state: Mutex::default(), wake: Condvar::new() };
    std::thread::scope(|scope| {
        let done = work.requests(scope, early);
        work.end(done.is_err());
        done
    })
}

struct Work<'a> {
    answers: Answers<'a>,
    helpers_max: usize,
    state: Mutex<Waiting>,
    /// For helpers: there is work. For the reader: there is room.
    wake: Condvar,
}

/// Requests that wait for a helper.
#[derive(Default)]
struct Waiting {
    requests: VecDeque<(Request, Todo)>,
    helpers: usize,
    idle: usize,
    has_ended: bool,
}

/// Bytes read of the socket and not used yet.
struct Input {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Reads more; false at the end.
    fn more(&mut self, channel: &Channel) -> io::Result<bool> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let len = channel.read(&mut self.buffer[self.end..])?;
        self.end += len;
        Ok(len > 0)
    }

    /// Passes over so many bytes; false where the end comes first.
    fn skip(&mut self, mut len: u64, channel: &Channel) -> io::Result<bool> {
        loop {
            let now = len.min(self.bytes().len() as u64);
            self.start += now as usize;
            len -= now;
            if len == 0 {
                return Ok(true);
            }
            if !self.more(channel)? {
                return Ok(false);
            }
        }
    }
}

impl<'a> Work<'a> {
    fn state(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads requests and answers them or has them answered, to the end.
    fn requests<'s>(&'s self, scope: &'s Scope<'s, '_>, early: Vec<u8>) -> io::Result<()> {
        let mut input = Input { end: early.len(), start: 0, buffer: early };
        input.buffer.resize(input.end.max(READ_LEN), 0);
        let session = self.answers.session;
        let (size, has_contexts) = (session.export.disk.size(), session.contexts.contexts().next().is_some());
        let mut out = Output::default();
        loop {
            let decoded = Request::decode(input.bytes(), session.mode);
            let (request, header_len) = match decoded {
                Ok(Some(decoded)) => decoded,
                Ok(None) => {
                    self.answers.send(&mut out)?;
                    match input.more(self.answers.channel)? {
                        true => continue,
                        false => return Ok(()),
                    }
                }
                Err(_) => {
                    self.answers.send(&mut out)?;
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "the client sent no request"));
                }
            };
            input.start += header_len;
            let todo = request.todo(session.mode, size, has_contexts);
            if todo == Todo::Disconnect {
                return self.answers.send(&mut out);
            }
            let payload_len = request.payload_len(session.mode);
            if payload_len > input.bytes().len() as u64 {
                self.answers.send(&mut out)?;
            }
            if !input.skip(payload_len, self.answers.channel)? {
                return Ok(());
            }
            self.begin(scope, request, todo, input.bytes().is_empty(), &mut out)?;
            if out.len() >= TOGETHER_LEN {
                self.answers.send(&mut out)?;
            }
        }
    }

    /// Answers a request at once, or hands it to the helpers.
    fn begin<'s>(
        &'s self,
        scope: &'s Scope<'s, '_>,
        request: Request,
        todo: Todo,
        is_last: bool,
        out: &mut Output,
    ) -> io::Result<()> {
        match todo {
            Todo::Read { in_one }
                if request.len <= PIECE_LEN && self.answers.read_held(&request, in_one, out) =>
            {
                Ok(())
            }
            Todo::Read { .. } | Todo::Cache if !is_last || self.is_busy() => {
                self.hand_on(scope, request, todo, out)
            }
            Todo::Read { .. } | Todo::Cache => {
                // What is ready does not wait for what is not.
                self.answers.send(out)?;
                self.answer(&request, todo, out)
            }
            _ => self.answer(&request, todo, out),
        }
    }

    fn answer(&self, request: &Request, todo: Todo, out: &mut Output) -> io::Result<()> {
        match todo {
            Todo::Read { in_one } => self.answers.read(request, in_one, out)?,
            Todo::Status { only_first } => self.answers.status(request, only_first, out),
            Todo::Cache => self.answers.cache(request, out),
            Todo::Nothing => self.answers.nothing(request, out),
            Todo::Refuse(errno) => self.answers.refuse(request, errno, out),
            Todo::Disconnect => {}
        }
        Ok(())
    }

    /// Whether helpers have something to do.
    fn is_busy(&self) -> bool {
        let state = self.state();
        !state.requests.is_empty() || state.idle < state.helpers
    }

    fn hand_on<'s>(
        &'s self,
        scope: &'s Scope<'s, '_>,
        request: Request,
        todo: Todo,
        out: &mut Output,
    ) -> io::Result<()> {
        let mut state = self.state();
        if state.requests.len() >= WAITING_MAX {
            drop(state);
            self.answers.send(out)?;
            state = self.state();
            while state.requests.len() >= WAITING_MAX {
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
        state.requests.push_back((request, todo));
        // Who was woken for an earlier one may take long over it.
        if state.idle >= state.requests.len() {
            // Who wakes needs the lock at once.
            drop(state);
            self.wake.notify_one();
        } else if state.helpers < self.helpers_max {
            let thread = std::thread::Builder::new().name("nbd-helper".into()).stack_size(STACK_LEN);
            match thread.spawn_scoped(scope, || self.help()) {
                Ok(_) => state.helpers += 1,
                Err(error) if state.helpers == 0 => return Err(error),
                // The others do it.
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// A helper's life.
    fn help(&self) {
        let (mut out, mut share) = (Output::default(), Vec::with_capacity(SHARE_MAX));
        while self.take_share(&mut share, &mut out) {
            let done = share.drain(..).try_for_each(|(request, todo)| self.answer(&request, todo, &mut out));
            if done.and_then(|()| self.answers.send(&mut out)).is_err() {
                // The reader notices, and says why; nobody waits for the rest.
                self.answers.channel.socket().shutdown();
                self.state().requests.clear();
                self.wake.notify_all();
                out.truncate(0);
            }
        }
    }

    /// Waits for requests and takes this helper's share of them, whose replies go out together; false
    /// where there will be none.
    fn take_share(&self, share: &mut Vec<(Request, Todo)>, out: &mut Output) -> bool {
        let mut state = self.state();
        loop {
            let waiting = state.requests.len();
            if waiting > 0 {
                // One alone where there are helpers for all: none waits for another then.
                let count = (waiting / self.helpers_max).clamp(1, SHARE_MAX);
                share.extend(state.requests.drain(..count));
                if waiting == WAITING_MAX {
                    self.wake.notify_all();
                }
                return true;
            }
            if state.has_ended {
                return false;
            }
            *out = Output::default();
            state.idle += 1;
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    fn end(&self, is_broken: bool) {
        let mut state = self.state();
        state.has_ended = true;
        if is_broken {
            state.requests.clear();
        }
        drop(state);
        self.wake.notify_all();
    }
}
