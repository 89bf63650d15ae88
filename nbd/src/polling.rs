//! Busy-polls for a client's requests if that pays.
//!
//! A sleeping thread is woken by an interrupt to its processor. In a virtual machine this takes
//! several times as long as a read of decoded data. A client with one request in flight pays for it
//! on every request. Therefore the waiting thread polls first. Its window follows the time that the
//! client lately took to send the next request, up to [`WINDOW_MAX`]; between polls the thread
//! yields. A slower client halves the window until polling stops. KVM's halt polling and QEMU's
//! event loops do the same, for the same reason.
//!
//! One processor always stays free: of `n` processors, all clients of a [`Budget`] together use at most `n - 1`
//! for polling.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use melv_serve::Budget;
use rustix::net::RecvFlags;

/// The maximum polling window.
const WINDOW_MAX: Duration = Duration::from_micros(200);
/// The minimum polling window: a shorter one is not worth its calls.
const WINDOW_MIN: Duration = Duration::from_micros(10);
/// Waits shorter than this found data already present, which tells nothing about the client.
const NO_WAIT: Duration = Duration::from_micros(2);
/// The ratio of a window to the expected wait.
const MARGIN: u32 = 2;

/// The polling window for one client.
#[derive(Debug)]
pub(crate) struct Polling {
    window_nanos: AtomicU32,
    budget: Budget,
}

impl Polling {
    /// Creates a window of zero for a new client.
    pub fn new(budget: Budget) -> Self {
        Self { window_nanos: AtomicU32::new(0), budget }
    }

    /// Reads some bytes of `socket` into `buf`; calls `sleep` if they do not come within the window.
    pub fn read(
        &self,
        socket: BorrowedFd<'_>,
        buf: &mut [u8],
        sleep: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let begun = Instant::now();
        let window = self.window();
        let permit = if window.is_zero() { None } else { self.budget.polling() };
        while permit.is_some() && begun.elapsed() < window {
            if let Some(done) = ask(socket, buf) {
                self.learn(begun.elapsed());
                return done;
            }
            std::thread::yield_now();
        }
        drop(permit);
        let done = sleep(buf);
        self.learn(begun.elapsed());
        done
    }

    fn window(&self) -> Duration {
        Duration::from_nanos(u64::from(self.window_nanos.load(Ordering::Relaxed)))
    }

    /// Adapts the window to a wait for the client.
    fn learn(&self, waited: Duration) {
        if waited < NO_WAIT {
            return;
        }
        let window = match self.window() {
            window if waited <= WINDOW_MAX => (waited * MARGIN).max(window / 8 * 7).min(WINDOW_MAX),
            // Polling does not pay here. The window shrinks in steps, since this may be a mere pause.
            window => Some(window / 2).filter(|window| *window >= WINDOW_MIN).unwrap_or_default(),
        };
        // At most 200,000 nanoseconds.
        self.window_nanos.store(window.as_nanos() as u32, Ordering::Relaxed);
    }
}

/// Reads without blocking: returns bytes, the end or an error, or `None` if none is there yet.
fn ask(socket: BorrowedFd<'_>, buf: &mut [u8]) -> Option<io::Result<usize>> {
    match rustix::net::recv(socket, &mut *buf, RecvFlags::DONTWAIT) {
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => None,
        Err(error) => Some(Err(error.into())),
        Ok((_, len)) => Some(Ok(len)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    const MICRO: Duration = Duration::from_micros(1);

    fn polling(polling_threads_max: usize) -> Polling {
        Polling::new(Budget::new(0, polling_threads_max))
    }

    #[test]
    fn the_window_fits_a_quick_client_and_closes_for_a_slow_one() {
        let polling = polling(1);
        polling.learn(40 * MICRO);
        assert_eq!(polling.window(), 80 * MICRO);
        polling.learn(150 * MICRO);
        assert_eq!(polling.window(), WINDOW_MAX);
        polling.learn(MICRO);
        assert_eq!(polling.window(), WINDOW_MAX, "what is there already tells nothing");
        polling.learn(5 * MICRO);
        assert_eq!(polling.window(), WINDOW_MAX / 8 * 7, "it shrinks slowly");
        let mut wasted = Duration::ZERO;
        while !polling.window().is_zero() {
            wasted += polling.window();
            polling.learn(WINDOW_MAX + MICRO);
        }
        assert!(wasted < 2 * WINDOW_MAX, "{wasted:?}");
    }

    #[test]
    fn bytes_and_the_end_come_the_same_whether_it_asks_or_sleeps() {
        for polling_threads_max in [0, usize::MAX] {
            let (mut client, server) = UnixStream::pair().unwrap();
            let polling = polling(polling_threads_max);
            let sender = std::thread::spawn(move || {
                for number in 0..200u8 {
                    client.write_all(&[number; 3]).unwrap();
                    std::thread::sleep(u32::from(number) * MICRO);
                }
            });
            let (mut found, mut buf) = (Vec::new(), [0; 7]);
            loop {
                polling.window_nanos.store(100_000, Ordering::Relaxed);
                let len = polling.read(server.as_fd(), &mut buf, |buf| (&server).read(buf)).unwrap();
                if len == 0 {
                    break;
                }
                found.extend_from_slice(&buf[..len]);
            }
            sender.join().unwrap();
            assert!(found.into_iter().eq((0..200).flat_map(|number| [number; 3])));
        }
    }
}
