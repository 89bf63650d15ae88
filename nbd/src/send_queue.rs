//! Sends the replies of several threads, one after the other.
//!
//! A thread whose reply is ready while another thread sends does not wait. It leaves a copy to the
//! sending thread, which sends all such copies together, and goes on decoding. A thread waits only
//! with a long reply, or if a slow client has let the copies accumulate.

use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::send_buffer::SendBuffer;
use crate::wire::Put;

/// The limit on bytes left to the sending thread, beyond which others wait; the last copy may exceed it.
const LEFT_LEN_MAX: usize = 64 << 10;
/// The maximum length of a copy for the sending thread, in bytes: a longer one is not worth its memory.
const LEAVE_LEN_MAX: usize = 32 << 10;

/// The output queue of a channel.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    state: Mutex<State>,
    /// Signals waiting threads that output was sent.
    sent: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Whether a thread is sending.
    is_busy: bool,
    /// The output that other threads have left to the sending thread.
    left: SendBuffer,
    has_failed: bool,
}

impl SendQueue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Acquires the right to send and returns `None`. If another thread has it and output may be
    /// left to that thread, returns the locked state.
    fn begin(&self, can_leave: bool) -> io::Result<Option<MutexGuard<'_, State>>> {
        let mut state = self.state();
        while state.is_busy && !state.has_failed && !(can_leave && state.left.len() < LEFT_LEN_MAX) {
            state = self.sent.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.has_failed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if state.is_busy {
            return Ok(Some(state));
        }
        state.is_busy = true;
        Ok(None)
    }

    /// Sends the contents of `out` with `write`, or leaves them to a thread that is already
    /// sending. Afterwards `out` is empty.
    ///
    /// # Errors
    /// The errors of `write`, and [`io::ErrorKind::BrokenPipe`] after it has failed for any thread.
    pub fn send(&self, out: &mut SendBuffer, write: impl Fn(&[u8]) -> io::Result<()>) -> io::Result<()> {
        if let Some(mut state) = self.begin(out.len() <= LEAVE_LEN_MAX)? {
            state.left.put(out.filled());
            out.truncate(0);
            return Ok(());
        }
        let done = write(out.filled());
        out.truncate(0);
        self.end(done, write)
    }

    /// Calls `body`, which may write several times, while no other thread sends.
    ///
    /// # Errors
    /// The errors of `body` and of [`SendQueue::send`].
    pub fn write_exclusive(
        &self,
        body: impl FnOnce() -> io::Result<()>,
        write: impl Fn(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        self.begin(false)?;
        self.end(body(), write)
    }

    /// Sends the output left by other threads until none remains.
    fn end(&self, mut done: io::Result<()>, write: impl Fn(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut left = SendBuffer::default();
        loop {
            let mut state = self.state();
            state.has_failed |= done.is_err();
            if state.left.is_empty() || state.has_failed {
                state.is_busy = false;
                drop(state);
                self.sent.notify_all();
                return done;
            }
            // The sent buffer becomes the memory for the next copies.
            std::mem::swap(&mut left, &mut state.left);
            drop(state);
            self.sent.notify_all();
            done = write(left.filled());
            left.truncate(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn output(bytes: &[u8]) -> SendBuffer {
        let mut out = SendBuffer::default();
        out.put(bytes);
        out
    }

    #[test]
    fn what_is_ready_while_another_sends_goes_out_with_the_next_call_and_nobody_waits() {
        let send_queue = SendQueue::default();
        let calls = Mutex::new(Vec::new());
        let (begun, go_on) = (mpsc::channel(), mpsc::channel::<()>());
        let go_on = (go_on.0, Mutex::new(go_on.1));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let write = |bytes: &[u8]| {
                    calls.lock().unwrap().push(bytes.to_vec());
                    begun.0.send(()).unwrap();
                    go_on.1.lock().unwrap().recv().unwrap();
                    Ok(())
                };
                send_queue.send(&mut output(b"first"), write).unwrap();
            });
            begun.1.recv().unwrap();
            for part in [b"a", b"b", b"c"] {
                let mut out = output(part);
                send_queue.send(&mut out, |_| panic!("another sends")).unwrap();
                assert!(out.is_empty());
            }
            (0..2).for_each(|_| go_on.0.send(()).unwrap());
        });
        assert_eq!(*calls.lock().unwrap(), [b"first".to_vec(), b"abc".to_vec()]);
        let last = |bytes: &[u8]| {
            assert_eq!(bytes, b"last");
            Ok(())
        };
        send_queue.send(&mut output(b"last"), last).unwrap();
    }

    #[test]
    fn what_is_left_is_bounded_and_all_arrives_whole_and_once() {
        let send_queue = SendQueue::default();
        let sent = Mutex::new(Vec::new());
        let most = Mutex::new(0);
        let write = |bytes: &[u8]| {
            let mut most = most.lock().unwrap();
            *most = bytes.len().max(*most);
            sent.lock().unwrap().extend_from_slice(bytes);
            std::thread::sleep(std::time::Duration::from_millis(1));
            Ok(())
        };
        std::thread::scope(|scope| {
            for thread in 0..8u8 {
                let (send_queue, write) = (&send_queue, &write);
                scope.spawn(move || {
                    for at in 0..8u8 {
                        send_queue.send(&mut output(&[thread * 8 + at; 20 << 10]), write).unwrap();
                    }
                });
            }
        });
        let mut parts: Vec<u8> = sent.lock().unwrap().chunks(20 << 10).map(|part| part[0]).collect();
        assert!(sent.lock().unwrap().chunks(20 << 10).all(|part| part.iter().all(|&byte| byte == part[0])));
        parts.sort_unstable();
        assert!(parts.into_iter().eq(0..64));
        assert!(*most.lock().unwrap() <= LEFT_LEN_MAX + (20 << 10));
    }

    #[test]
    fn after_a_failure_nobody_sends_or_waits() {
        let send_queue = SendQueue::default();
        let failed = send_queue.send(&mut output(b"1"), |_| Err(io::ErrorKind::TimedOut.into()));
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let after = send_queue.send(&mut output(b"2"), |_| panic!("it has failed"));
        assert_eq!(after.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        let alone = send_queue.write_exclusive(|| panic!("it has failed"), |_| Ok(()));
        assert_eq!(alone.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
