//! Reads requests and sends replies, until the client leaves.
//!
//! The threads of a connection take turns at reading requests, many at a time. The reading thread
//! answers those whose data is decoded in memory, and sends the replies of a batch with one call.
//! The others wait in a queue. Every free thread takes a batch of them, the reader first, so no
//! request waits for a thread to wake. There are as many threads as processors, and more while
//! reads wait for the medium (see [`LatencyProbe`]). Beyond the second thread, a thread needs
//! a permit of the server's [`Budget`].
//!
//! While all threads decode, none reads, which does no harm if decoding takes microseconds. If
//! reads were slow lately, as from a network or a bad disk, one more thread keeps reading: slow
//! requests then do not delay fast ones. Replies are sent in the order of completion.
//!
//! Memory: two pieces (see [`PIECE_LEN`]) per thread with output, or 1 MiB for a read without
//! fragments; an idle thread has none. A queued request takes 48 bytes, and there are fewer than
//! twice `WAITING_MAX`. Replies left to a sending thread take less than 96 KiB. A client that does
//! not accept replies blocks only its own threads.

use std::collections::VecDeque;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;
use std::time::{Duration, Instant};

use melv_serve::{Budget, LatencyProbe, ThreadPermit};

use crate::channel::Channel;
use crate::handler::{Handler, PIECE_LEN};
use crate::negotiation::Session;
use crate::request::{Action, Request};
use crate::send_buffer::SendBuffer;

/// The length of one read from the socket, in bytes: it holds fewer than `WAITING_MAX` requests.
const READ_LEN: usize = 16 << 10;
/// The number of queued requests at which reading pauses.
const WAITING_MAX: usize = 1024;
/// The length of collected replies that triggers a send, in bytes.
const TOGETHER_LEN: usize = PIECE_LEN as usize;
/// The maximum number of requests in a thread's batch; their replies are sent together.
const BATCH_MAX: usize = 4;
/// The duration above which a read is slow.
const SLOW: Duration = Duration::from_millis(1);
/// The number of quick reads after a slow one until slow ones are no longer expected.
const EXPECT_SLOW_READS: usize = 32;
/// The number of single requests after several in flight until several are no longer expected.
const PIPELINED_READS: usize = 8;
/// The time for which an idle thread stays awake while several requests are in flight: work will
/// come soon, and waking takes longer.
const AWAKE: Duration = Duration::from_micros(30);
/// The number of helpers that each connection may always have. Others come from the budget of all
/// connections, so that a hundred connections stay small even with many processors or a slow medium.
const HELPERS_OWN: usize = 2;
/// The idle time after which a helper beyond those ends.
const EXTRA_IDLE: Duration = Duration::from_millis(500);
const STACK_LEN: usize = 512 << 10;

/// The number of threads that may answer one client's requests for data not decoded in memory.
#[derive(Debug, Clone, Copy)]
pub struct Helpers {
    /// The usual maximum.
    pub max: usize,
    /// The maximum while reads wait for the medium.
    pub waiting_max: usize,
}

/// Serves one client with these helpers and one thread that reads. Helpers beyond the client's own
/// need permits of `budget`.
///
/// # Errors
/// The errors of the socket, and bytes that are not a request.
pub fn run(
    channel: &Channel,
    session: &Session,
    early: Vec<u8>,
    helpers: Helpers,
    budget: &Budget,
) -> io::Result<()> {
    let state = State {
        input: Some(Input::new(early)),
        threads: 1,
        expect_slow: EXPECT_SLOW_READS,
        ..State::default()
    };
    let probe = LatencyProbe::default();
    let workers = Workers {
        handler: Handler { channel, session, probe: &probe },
        has_contexts: session.contexts.contexts().next().is_some(),
        helpers,
        budget,
        state: Mutex::new(state),
        wake: Condvar::new(),
    };
    std::thread::scope(|scope| workers.worker_loop(scope));
    workers.state.into_inner().unwrap_or_else(PoisonError::into_inner).end.unwrap_or(Ok(()))
}

/// The threads of a connection.
struct Workers<'a> {
    handler: Handler<'a>,
    has_contexts: bool,
    helpers: Helpers,
    budget: &'a Budget,
    state: Mutex<State>,
    /// Wakes idle threads.
    wake: Condvar,
}

/// The state that the threads share.
#[derive(Default)]
struct State {
    /// The bytes read from the socket; `None` while a thread reads, and after the end.
    input: Option<Input>,
    /// The queue of requests for data not decoded in memory.
    waiting: VecDeque<(Request, Action)>,
    threads: usize,
    /// A permit for each helper beyond the connection's own.
    extra: Vec<ThreadPermit>,
    /// The number of threads that answer queued requests.
    answering: usize,
    /// The number of idle threads that have not been woken.
    idle: usize,
    /// The number of threads that have been woken and do not run yet.
    woken: usize,
    /// Positive if the next read may be slow: the number of quick reads until this is over.
    expect_slow: usize,
    /// Positive if the client lately had several requests in flight.
    pipelined: usize,
    /// The result of the connection.
    end: Option<io::Result<()>>,
}

/// The next task of a thread.
enum Step {
    Read(Input),
    /// Answer the requests in its batch.
    Answer,
}

/// The reason why reading paused or ended.
enum Read {
    /// Queued requests must be answered first.
    Found,
    Ended(io::Result<()>),
}

/// Bytes read from the socket and not used yet.
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

    /// Reads more bytes; returns false at the end.
    fn more(&mut self, channel: &Channel) -> io::Result<bool> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let len = channel.read(&mut self.buffer[self.end..])?;
        self.end += len;
        Ok(len > 0)
    }

    /// Skips `len` bytes; returns false if the end comes first.
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
    /// Returns a task for a free thread, if there is one; moves requests to be answered to `batch`.
    fn step(&mut self, answering_max: usize, batch: &mut Vec<(Request, Action)>) -> Option<Step> {
        let can_answer = self.answering < answering_max;
        if can_answer && !self.waiting.is_empty() {
            // With a thread for every request, each takes one, so that no request waits for another.
            let count = (self.waiting.len() / answering_max).clamp(1, BATCH_MAX);
            batch.extend(self.waiting.drain(..count));
            self.answering += 1;
            return Some(Step::Answer);
        }
        if (can_answer || self.expect_slow > 0) && self.waiting.len() < WAITING_MAX {
            return self.input.take().map(Step::Read);
        }
        None
    }

    /// Whether there is a task for one more thread.
    fn has_work(&self, answering_max: usize) -> bool {
        let can_answer = self.answering < answering_max;
        let can_read = self.input.is_some() && self.waiting.len() < WAITING_MAX;
        let has_batch = can_answer && !self.waiting.is_empty();
        has_batch || can_read && (self.expect_slow > 0 || can_answer && self.pipelined > 0)
    }
}

impl Workers<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of threads that may answer now.
    fn answering_max(&self) -> usize {
        let Helpers { max, waiting_max } = self.helpers;
        if self.handler.probe.is_slow() { waiting_max.max(max) } else { max }
    }

    /// Performs tasks until there are none left for this thread.
    fn worker_loop<'s>(&'s self, scope: &'s Scope<'s, '_>) {
        let (mut out, mut batch) = (SendBuffer::default(), Vec::with_capacity(BATCH_MAX));
        while let Some(step) = self.next(scope, &mut batch, &mut out) {
            match step {
                Step::Read(input) => self.read(scope, input, &mut batch, &mut out),
                Step::Answer => self.answer_batch(&mut batch, &mut out),
            }
        }
    }

    /// Waits for a task; returns `None` if none will come, or other threads suffice.
    fn next<'s>(
        &'s self,
        scope: &'s Scope<'s, '_>,
        batch: &mut Vec<(Request, Action)>,
        out: &mut SendBuffer,
    ) -> Option<Step> {
        let mut state = self.state();
        let mut awake_until = None;
        loop {
            if let Some(step) = state.step(self.answering_max(), batch) {
                self.wake_one(scope, state);
                return Some(step);
            }
            if state.end.is_some() {
                return None;
            }
            if state.pipelined > 0
                && !self.handler.probe.is_slow()
                && Instant::now() < *awake_until.get_or_insert_with(|| Instant::now() + AWAKE)
            {
                drop(state);
                std::thread::yield_now();
                state = self.state();
                continue;
            }
            awake_until = None;
            *out = SendBuffer::default();
            state = self.sleep(state)?;
        }
    }

    /// Waits to be woken, or for the end; returns `None` for an extra thread that has been idle too long.
    fn sleep<'s>(&self, mut state: MutexGuard<'s, State>) -> Option<MutexGuard<'s, State>> {
        state.idle += 1;
        while state.woken == 0 && state.end.is_none() {
            if state.extra.is_empty() {
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let waited = self.wake.wait_timeout(state, EXTRA_IDLE);
            let timeout;
            (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            let is_over = timeout.timed_out() && state.woken == 0 && state.end.is_none();
            if is_over && state.extra.pop().is_some() {
                state.idle -= 1;
                state.threads -= 1;
                return None;
            }
        }
        if state.woken > 0 {
            state.woken -= 1;
        } else {
            state.idle -= 1;
        }
        Some(state)
    }

    /// Wakes or starts one more thread if there is a task for it; that thread wakes the next one.
    fn wake_one<'s>(&'s self, scope: &'s Scope<'s, '_>, mut state: MutexGuard<'_, State>) {
        let answering_max = self.answering_max();
        if state.woken > 0 || !state.has_work(answering_max) {
            return;
        }
        if state.idle > 0 {
            state.idle -= 1;
            state.woken += 1;
            // The woken thread needs the lock at once.
            drop(state);
            self.wake.notify_one();
        } else if state.threads <= answering_max {
            let is_extra = state.threads > HELPERS_OWN.min(self.helpers.max);
            let extra = if is_extra { self.budget.extra_thread() } else { None };
            if is_extra && extra.is_none() {
                return;
            }
            let thread = std::thread::Builder::new().name("nbd-worker".into()).stack_size(STACK_LEN);
            // If no thread can be started, the existing ones do the work.
            if thread.spawn_scoped(scope, || self.worker_loop(scope)).is_ok() {
                state.threads += 1;
                state.extra.extend(extra);
            }
        }
    }

    /// Reads requests until some need data that is not decoded in memory; those go to the queue by
    /// way of `found`.
    fn read<'s>(
        &'s self,
        scope: &'s Scope<'s, '_>,
        mut input: Input,
        found: &mut Vec<(Request, Action)>,
        out: &mut SendBuffer,
    ) {
        let read = self.read_requests(scope, &mut input, found, out);
        let mut state = self.state();
        state.waiting.extend(found.drain(..));
        let is_pipelined = state.waiting.len() + state.answering > 1;
        state.pipelined = if is_pipelined { PIPELINED_READS } else { state.pipelined.saturating_sub(1) };
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
        found: &mut Vec<(Request, Action)>,
        out: &mut SendBuffer,
    ) -> io::Result<Read> {
        let Handler { channel, session, .. } = self.handler;
        let mut has_found = false;
        loop {
            let Ok(decoded) = Request::decode(input.bytes(), session.mode) else {
                self.handler.send(out)?;
                let error = io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the client sent bytes that are not a request",
                );
                return Ok(Read::Ended(Err(error)));
            };
            let Some((request, header_len)) = decoded else {
                // Finished replies do not wait for further requests.
                self.handler.send(out)?;
                if has_found {
                    return Ok(Read::Found);
                }
                if !input.more(channel)? {
                    return Ok(Read::Ended(Ok(())));
                }
                continue;
            };
            input.start += header_len;
            let action = request.action(session.mode, session.export.disk.size(), self.has_contexts);
            if action == Action::Disconnect {
                self.handler.send(out)?;
                return Ok(Read::Ended(Ok(())));
            }
            let payload_len = request.payload_len(session.mode);
            if payload_len > input.bytes().len() as u64 {
                self.pass_on(scope, found);
                self.handler.send(out)?;
            }
            if !input.skip(payload_len, channel)? {
                return Ok(Read::Ended(Ok(())));
            }
            has_found |= self.begin(request, action, found, out)?;
            if found.len() >= BATCH_MAX || out.len() >= TOGETHER_LEN {
                self.pass_on(scope, found);
            }
            if out.len() >= TOGETHER_LEN {
                self.handler.send(out)?;
            }
        }
    }

    /// Answers a request at once, or adds it to `found` and returns true if its data is not in memory.
    fn begin(
        &self,
        request: Request,
        action: Action,
        found: &mut Vec<(Request, Action)>,
        out: &mut SendBuffer,
    ) -> io::Result<bool> {
        match action {
            Action::Read { in_one } if request.len <= PIECE_LEN => {
                if self.handler.try_read_cached(&request, in_one, out) {
                    return Ok(false);
                }
                found.push((request, action));
            }
            Action::Read { .. } | Action::Cache => found.push((request, action)),
            _ => return self.answer(&request, action, out).map(|()| false),
        }
        Ok(true)
    }

    /// Moves requests from `found` to the queue while reading goes on.
    fn pass_on<'s>(&'s self, scope: &'s Scope<'s, '_>, found: &mut Vec<(Request, Action)>) {
        if !found.is_empty() {
            let mut state = self.state();
            state.waiting.extend(found.drain(..));
            self.wake_one(scope, state);
        }
    }

    fn answer_batch(&self, batch: &mut Vec<(Request, Action)>, out: &mut SendBuffer) {
        let (begun, count) = (Instant::now(), batch.len());
        let done = batch.drain(..).try_for_each(|(request, action)| self.answer(&request, action, out));
        let is_slow = begun.elapsed() > SLOW * count as u32;
        let done = done.and_then(|()| self.handler.send(out));
        let mut state = self.state();
        state.answering -= 1;
        state.expect_slow = if is_slow { EXPECT_SLOW_READS } else { state.expect_slow.saturating_sub(count) };
        if let Err(error) = done {
            out.truncate(0);
            self.fail(&mut state, error);
            self.wake.notify_all();
        }
    }

    fn answer(&self, request: &Request, action: Action, out: &mut SendBuffer) -> io::Result<()> {
        match action {
            Action::Read { in_one } => self.handler.read(request, in_one, out)?,
            Action::Status { only_first } => self.handler.status(request, only_first, out),
            Action::Cache => self.handler.cache(request, out),
            Action::Nothing => self.handler.nothing(request, out),
            Action::Refuse(errno) => self.handler.refuse(request, errno, out),
            Action::Disconnect => {}
        }
        Ok(())
    }

    /// Ends the connection after an error: the client is gone or accepts no replies, so no thread
    /// may wait for it again.
    fn fail(&self, state: &mut State, error: io::Error) {
        state.waiting.clear();
        state.end.get_or_insert(Err(error));
        self.handler.channel.socket().shutdown();
    }
}
