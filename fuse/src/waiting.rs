//! Reads that wait for the medium, by threads of their own, while the file system's answer the kernel.
//!
//! Memory: for each of these threads the longest request that it has answered, at most what the kernel asks for at
//! once (1 MiB), and its decoder; of the threads there are no more than [`ExtraThread`] allows.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fuser::{Errno, ReplyData};
use melv::BlockDevice;
use melv::serving::{Disk, ExtraThread, Medium};

/// A thread that has had nothing to do for so long ends.
const IDLE: Duration = Duration::from_millis(500);

/// A read of what is not held.
#[derive(Debug)]
pub(crate) struct Missed {
    pub disk: Arc<Disk>,
    pub offset: u64,
    pub len: usize,
    pub reply: ReplyData,
}

/// What the disks lie on, and the threads that wait for it.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    medium: Medium,
    state: Mutex<State>,
    /// For threads that have nothing to do: there is something.
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    reads: VecDeque<Missed>,
    /// Threads that have nothing to do, or were woken and have not come yet.
    idle: usize,
}

/// The disk has logged what is wrong. Never a part: to the kernel that would be the end of the file.
pub(crate) fn answer(read: melv::Result<()>, room: &[u8], reply: ReplyData) {
    match read {
        Ok(()) => reply.data(room),
        Err(_) => reply.error(Errno::EIO),
    }
}

impl Waiting {
    /// Answers a read, with `room` of its length for whoever calls.
    pub fn read(self: &Arc<Self>, missed: Missed, room: &mut [u8]) {
        let left = if self.medium.makes_wait() { self.hand_over(missed) } else { Some(missed) };
        if let Some(missed) = left {
            self.answer(missed, room);
        }
    }

    fn answer(&self, missed: Missed, room: &mut [u8]) {
        let Missed { disk, offset, reply, .. } = missed;
        answer(self.medium.watch(|| disk.read_at(offset, room)), room, reply);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a read to another thread; gives it back where there is none for it.
    fn hand_over(self: &Arc<Self>, missed: Missed) -> Option<Missed> {
        let mut state = self.state();
        if state.idle > state.reads.len() {
            state.reads.push_back(missed);
            drop(state);
            self.wake.notify_one();
            return None;
        }
        let Some(extra) = ExtraThread::begin() else { return Some(missed) };
        state.reads.push_back(missed);
        let mine = self.clone();
        let thread = std::thread::Builder::new().name("fuse-wait".into());
        match thread.spawn(move || mine.serve(&extra)) {
            Ok(_) => None,
            // The lock is held: it is the one that was put there.
            Err(_) => state.reads.pop_back(),
        }
    }

    /// A thread's life.
    fn serve(&self, _: &ExtraThread) {
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
