//! Requests and replies, until the client leaves.
//!
//! The threads of a connection take turns at reading requests, many at a time. Who reads answers those at
//! once whose bytes are at hand: their replies go out together, one call for all that came together. What
//! must be decoded waits in a queue, of which whoever is free takes a share, the reader first: while there is
//! something to decode, all who can do so, and nobody is woken on the way from a request to its reply. They are as
//! many as there are processors, and more while reads wait for the medium (see [`Medium`]); of those beyond the second
//! the process has a limited number for all connections.
//!
//! While all decode nobody reads, which is as well where decoding takes microseconds. Where reads were slow
//! lately, as from a network or a bad disk, one thread more reads on: what is slow does not hold back what
//! is not. Replies come in the order in which they are ready.
//!
//! Memory: two pieces (see [`PIECE_LEN`]) for each of the connection's threads that has something to send, a
//! mebibyte where a client wants no fragments; a thread that waits has none. A request that waits is 48
//! bytes, and there are fewer than twice `WAITING_MAX`. Replies that are left to a thread that sends already
//! have less than 96 KiB. Who does not take replies makes its own threads wait, and
//! no others.

use std::collections::VecDeque;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;
use std::time::{Duration, Instant};

use melv::serving::{ExtraThread, Medium};

use crate::answer::{Answers, PIECE_LEN};
use crate::channel::Channel;
use crate::negotiation::Session;
use crate::output::Output;
use crate::request::{Request, Todo};

/// Bytes read of a socket at once: fewer than `WAITING_MAX` requests have more.
const READ_LEN: usize = 16 << 10;
/// Where so many requests wait, no more are read.
const WAITING_MAX: usize = 1024;
/// Replies that wait to be sent together, in bytes.
const TOGETHER_LEN: usize = PIECE_LEN as usize;
/// Requests that a thread takes at a time at most; their replies go out together.
const SHARE_MAX: usize = 4;
/// A read that takes longer is slow.
const SLOW: Duration = Duration::from_millis(1);
/// After a slow read so many must be quick until slow ones are not expected any more.
const WARY_READS: usize = 32;
/// After several were under way so many must come alone until the next is expected to do so.
const DEEP_READS: usize = 8;
/// For so long a thread stays awake that has nothing to do while several requests are under way: there will
/// soon be something, and being woken takes longer.
const AWAKE: Duration = Duration::from_micros(30);
/// Helpers that each connection may have whatever others have. More come out of what the whole process may have, so
/// that neither many processors nor a slow medium make a hundred connections large.
const HELPERS_OWN: usize = 2;
/// One of those ends when it was not called for so long.
const EXTRA_IDLE: Duration = Duration::from_millis(500);
const STACK_LEN: usize = 512 << 10;

/// How many threads may answer what is not at hand for one client.
#[derive(Debug, Clone, Copy)]
pub struct Helpers {
    /// Ordinarily.
    pub max: usize,
    /// While reads wait for the medium.
    pub waiting_max: usize,
}

/// Serves one client, with these helpers and one thread that reads.
///
/// # Errors
/// Those of the socket; bytes that are no request.
pub fn run(channel: &Channel, session: &Session, early: Vec<u8>, helpers: Helpers) -> io::Result<()> {
    let state = State { input: Some(Input::new(early)), threads: 1, wary: WARY_READS, ..State::default() };
    let medium = Medium::default();
    let crew = Crew {
        answers: Answers { channel, session, medium: &medium },
        has_contexts: session.contexts.contexts().next().is_some(),
        helpers,
        state: Mutex::new(state),
        wake: Condvar::new(),
    };
    std::thread::scope(|scope| crew.take_part(scope));
    crew.state.into_inner().unwrap_or_else(PoisonError::into_inner).end.unwrap_or(Ok(()))
}

/// The threads of a connection.
struct Crew<'a> {
    answers: Answers<'a>,
    has_contexts: bool,
    helpers: Helpers,
    state: Mutex<State>,
    /// For those who have nothing to do.
    wake: Condvar,
}

/// What the threads tell each other.
#[derive(Default)]
struct State {
    /// What was read of the socket; `None` while somebody reads, and after the end.
    input: Option<Input>,
    /// What is not at hand.
    waiting: VecDeque<(Request, Todo)>,
    threads: usize,
    /// For each helper that is not one of the connection's own.
    extra: Vec<ExtraThread>,
    /// Those that answer what was not at hand.
    answering: usize,
    /// Those that have nothing to do and that nobody has called.
    idle: usize,
    /// Those that were called and have not come yet.
    called: usize,
    /// More than none where the next read may be slow.
    wary: usize,
    /// More than none where the client lately had several requests under way.
    deep: usize,
    /// How it ended.
    end: Option<io::Result<()>>,
}

/// What a thread does next.
enum Turn {
    Read(Input),
    /// What is in its share.
    Answer,
}

/// Why reading paused or ended.
enum Read {
    /// What is not at hand is answered first.
    Found,
    Ended(io::Result<()>),
}

/// Bytes read of the socket and not used yet.
struct Input {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    fn new(early: Vec<u8>) -> Self {
        let mut input = Self { start: 0, end: early.len(), buffer: early };
        input.buffer.resize(input.end.max(READ_LEN), 0);
        input
    }

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

impl State {
    /// What there is to do for a thread that is free; what it is to answer goes to `share`.
    fn turn(&mut self, answering_max: usize, share: &mut Vec<(Request, Todo)>) -> Option<Turn> {
        let can_answer = self.answering < answering_max;
        if can_answer && !self.waiting.is_empty() {
            // One alone where there are threads for all: none waits for another then.
            let count = (self.waiting.len() / answering_max).clamp(1, SHARE_MAX);
            share.extend(self.waiting.drain(..count));
            self.answering += 1;
            return Some(Turn::Answer);
        }
        if (can_answer || self.wary > 0) && self.waiting.len() < WAITING_MAX {
            return self.input.take().map(Turn::Read);
        }
        None
    }

    /// Whether there is something to do for one more thread.
    fn has_work(&self, answering_max: usize) -> bool {
        let can_answer = self.answering < answering_max;
        let can_read = self.input.is_some() && self.waiting.len() < WAITING_MAX;
        let has_share = can_answer && !self.waiting.is_empty();
        has_share || can_read && (self.wary > 0 || can_answer && self.deep > 0)
    }
}

impl Crew<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Threads that may answer now.
    fn answering_max(&self) -> usize {
        let Helpers { max, waiting_max } = self.helpers;
        if self.answers.medium.makes_wait() { waiting_max.max(max) } else { max }
    }

    /// A thread's life.
    fn take_part<'s>(&'s self, scope: &'s Scope<'s, '_>) {
        let (mut out, mut share) = (Output::default(), Vec::with_capacity(SHARE_MAX));
        while let Some(turn) = self.next(scope, &mut share, &mut out) {
            match turn {
                Turn::Read(input) => self.read(scope, input, &mut share, &mut out),
                Turn::Answer => self.answer_share(&mut share, &mut out),
            }
        }
    }

    /// Waits for something to do; `None` where there will be nothing, or others suffice.
    fn next<'s>(
        &'s self,
        scope: &'s Scope<'s, '_>,
        share: &mut Vec<(Request, Todo)>,
        out: &mut Output,
    ) -> Option<Turn> {
        let mut state = self.state();
        let mut awake_until = None;
        loop {
            if let Some(turn) = state.turn(self.answering_max(), share) {
                self.call(scope, state);
                return Some(turn);
            }
            if state.end.is_some() {
                return None;
            }
            if state.deep > 0
                && !self.answers.medium.makes_wait()
                && Instant::now() < *awake_until.get_or_insert_with(|| Instant::now() + AWAKE)
            {
                drop(state);
                std::thread::yield_now();
                state = self.state();
                continue;
            }
            awake_until = None;
            *out = Output::default();
            state = self.sleep(state)?;
        }
    }

    /// Waits until somebody calls, or the end; `None` for a thread that was not called for so long that it is
    /// not needed.
    fn sleep<'s>(&self, mut state: MutexGuard<'s, State>) -> Option<MutexGuard<'s, State>> {
        state.idle += 1;
        while state.called == 0 && state.end.is_none() {
            if state.extra.is_empty() {
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let waited = self.wake.wait_timeout(state, EXTRA_IDLE);
            let timeout;
            (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            let is_over = timeout.timed_out() && state.called == 0 && state.end.is_none();
            if is_over && state.extra.pop().is_some() {
                state.idle -= 1;
                state.threads -= 1;
                return None;
            }
        }
        if state.called > 0 {
            state.called -= 1;
        } else {
            state.idle -= 1;
        }
        Some(state)
    }

    /// Calls one more thread if there is something to do for it; when it comes it calls the next.
    fn call<'s>(&'s self, scope: &'s Scope<'s, '_>, mut state: MutexGuard<'_, State>) {
        let answering_max = self.answering_max();
        if state.called > 0 || !state.has_work(answering_max) {
            return;
        }
        if state.idle > 0 {
            state.idle -= 1;
            state.called += 1;
            // Who wakes needs the lock at once.
            drop(state);
            self.wake.notify_one();
        } else if state.threads <= answering_max {
            let is_extra = state.threads > HELPERS_OWN.min(self.helpers.max);
            let extra = if is_extra { ExtraThread::begin() } else { None };
            if is_extra && extra.is_none() {
                return;
            }
            let thread = std::thread::Builder::new().name("nbd-crew".into()).stack_size(STACK_LEN);
            // Without it, those who are there do it.
            if thread.spawn_scoped(scope, || self.take_part(scope)).is_ok() {
                state.threads += 1;
                state.extra.extend(extra);
            }
        }
    }

    /// Reads requests until some are found that are not at hand, which go to the queue by way of `found`.
    fn read<'s>(
        &'s self,
        scope: &'s Scope<'s, '_>,
        mut input: Input,
        found: &mut Vec<(Request, Todo)>,
        out: &mut Output,
    ) {
        let read = self.read_requests(scope, &mut input, found, out);
        let mut state = self.state();
        state.waiting.extend(found.drain(..));
        let is_deep = state.waiting.len() + state.answering > 1;
        state.deep = if is_deep { DEEP_READS } else { state.deep.saturating_sub(1) };
        match read {
            Ok(Read::Found) => state.input = Some(input),
            Ok(Read::Ended(end)) => _ = state.end.get_or_insert(end),
            Err(error) => self.fail(&mut state, error),
        }
        if state.end.is_some() {
            self.wake.notify_all();
        }
    }

    fn read_requests<'s>(
        &'s self,
        scope: &'s Scope<'s, '_>,
        input: &mut Input,
        found: &mut Vec<(Request, Todo)>,
        out: &mut Output,
    ) -> io::Result<Read> {
        let Answers { channel, session, .. } = self.answers;
        let mut has_found = false;
        loop {
            let Ok(decoded) = Request::decode(input.bytes(), session.mode) else {
                self.answers.send(out)?;
                let error = io::Error::new(io::ErrorKind::InvalidData, "the client sent no request");
                return Ok(Read::Ended(Err(error)));
            };
            let Some((request, header_len)) = decoded else {
                // What is ready does not wait for what is not.
                self.answers.send(out)?;
                if has_found {
                    return Ok(Read::Found);
                }
                if !input.more(channel)? {
                    return Ok(Read::Ended(Ok(())));
                }
                continue;
            };
            input.start += header_len;
            let todo = request.todo(session.mode, session.export.disk.size(), self.has_contexts);
            if todo == Todo::Disconnect {
                self.answers.send(out)?;
                return Ok(Read::Ended(Ok(())));
            }
            let payload_len = request.payload_len(session.mode);
            if payload_len > input.bytes().len() as u64 {
                self.pass_on(scope, found);
                self.answers.send(out)?;
            }
            if !input.skip(payload_len, channel)? {
                return Ok(Read::Ended(Ok(())));
            }
            has_found |= self.begin(request, todo, found, out)?;
            if found.len() >= SHARE_MAX || out.len() >= TOGETHER_LEN {
                self.pass_on(scope, found);
            }
            if out.len() >= TOGETHER_LEN {
                self.answers.send(out)?;
            }
        }
    }

    /// Answers a request at once, or puts it with what was found not to be at hand, which it tells.
    fn begin(
        &self,
        request: Request,
        todo: Todo,
        found: &mut Vec<(Request, Todo)>,
        out: &mut Output,
    ) -> io::Result<bool> {
        match todo {
            Todo::Read { in_one } if request.len <= PIECE_LEN => {
                if self.answers.read_held(&request, in_one, out) {
                    return Ok(false);
                }
                found.push((request, todo));
            }
            Todo::Read { .. } | Todo::Cache => found.push((request, todo)),
            _ => return self.answer(&request, todo, out).map(|()| false),
        }
        Ok(true)
    }

    /// Puts what was found into the queue, while reading goes on.
    fn pass_on<'s>(&'s self, scope: &'s Scope<'s, '_>, found: &mut Vec<(Request, Todo)>) {
        if !found.is_empty() {
            let mut state = self.state();
            state.waiting.extend(found.drain(..));
            self.call(scope, state);
        }
    }

    fn answer_share(&self, share: &mut Vec<(Request, Todo)>, out: &mut Output) {
        let (begun, count) = (Instant::now(), share.len());
        let done = share.drain(..).try_for_each(|(request, todo)| self.answer(&request, todo, out));
        let is_slow = begun.elapsed() > SLOW * count as u32;
        let done = done.and_then(|()| self.answers.send(out));
        let mut state = self.state();
        state.answering -= 1;
        state.wary = if is_slow { WARY_READS } else { state.wary.saturating_sub(count) };
        if let Err(error) = done {
            out.truncate(0);
            self.fail(&mut state, error);
            self.wake.notify_all();
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

    /// The client is gone, or does not take its replies: nobody waits for it a second time.
    fn fail(&self, state: &mut State, error: io::Error) {
        state.waiting.clear();
        state.end.get_or_insert(Err(error));
        self.answers.channel.socket().shutdown();
    }
}
