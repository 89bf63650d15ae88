//! Reads that wait for the medium in extra threads, so that the threads of the file system can answer the
//! kernel.
//!
//! Memory: each of these threads keeps a buffer for its longest request, at most 1 MiB as the kernel limits
//! it, and a decoder. The [`Budget`] limits the number of threads.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fuser::{Errno, ReplyData};
use melv_block::BlockDevice;
use melv_serve::{Budget, LatencyProbe, ThreadPermit};

/// The time after which an idle thread ends.
const IDLE: Duration = Duration::from_millis(500);

/// A read of data that is not in memory.
#[derive(Debug)]
pub(crate) struct Missed {
    pub disk: Arc<dyn BlockDevice>,
    pub offset: u64,
    pub len: usize,
    pub reply: ReplyData,
}

/// The probe of the disks' medium, and the threads that wait for it.
#[derive(Debug)]
pub(crate) struct Waiting {
    probe: LatencyProbe,
    budget: Budget,
    state: Mutex<State>,
    /// Wakes idle threads.
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    reads: VecDeque<Missed>,
    /// The number of threads that are idle, or were woken but do not run yet.
    idle: usize,
}

/// Answers a read. The disk has logged any error. Never sends a part, which the kernel would take as the end
/// of file.
pub(crate) fn answer(read: melv_block::Result<()>, room: &[u8], reply: ReplyData) {
    match read {
        Ok(()) => reply.data(room),
        Err(_) => reply.error(Errno::EIO),
    }
}

impl Waiting {
    /// Starts without threads; each needs a permit of `budget`.
    pub fn new(budget: Budget) -> Self {
        Self { probe: LatencyProbe::default(), budget, state: Mutex::default(), wake: Condvar::new() }
    }

    /// Answers a read here or in an extra thread; `room` has the length of the read.
    pub fn read(self: &Arc<Self>, missed: Missed, room: &mut [u8]) {
        let left = if self.probe.is_slow() { self.hand_over(missed) } else { Some(missed) };
        if let Some(missed) = left {
            self.answer(missed, room);
        }
    }

    fn answer(&self, missed: Missed, room: &mut [u8]) {
        let Missed { disk, offset, reply, .. } = missed;
        answer(self.probe.watch(|| disk.read_at(offset, room)), room, reply);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes a read to an extra thread, or returns it if none is available.
    fn hand_over(self: &Arc<Self>, missed: Missed) -> Option<Missed> {
        let mut state = self.state();
        if state.idle > state.reads.len() {
            state.reads.push_back(missed);
            drop(state);
            self.wake.notify_one();
            return None;
        }
        let Some(permit) = self.budget.extra_thread() else { return Some(missed) };
        state.reads.push_back(missed);
        let mine = self.clone();
        let thread = std::thread::Builder::new().name("fuse-wait".into());
        match thread.spawn(move || mine.serve(&permit)) {
            Ok(_) => None,
            // Since the lock is held, the last read is still this one.
            Err(_) => state.reads.pop_back(),
        }
    }

    /// Runs an extra thread: answers reads until none has come for [`IDLE`].
    fn serve(&self, _: &ThreadPermit) {
        let mut room = Vec::new();
        while let Some(missed) = self.next() {
            room.resize(missed.len.max(room.len()), 0);
            let len = missed.len;
            self.answer(missed, &mut room[..len]);
        }
    }

    fn next(&self) -> Option<Missed> {
        let mut state = self.state();
        if state.reads.is_empty() {
            state.idle += 1;
            let waited = self.wake.wait_timeout_while(state, IDLE, |state| state.reads.is_empty());
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.idle -= 1;
        }
        state.reads.pop_front()
    }
}
