//! The clock by a time server.

use std::{
    net::Ipv4Addr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, SystemTime},
};

use super::sntp::{LENGTH, answer, offset, request};
use crate::sys::{self, Datagram};

const PORT: u16 = 123;
/// Time until the next server is asked.
const PATIENCE: Duration = Duration::from_secs(3);
/// Time between two answers that set the clock (RFC 4330 section 10 wants more than a minute).
const PAUSE: Duration = Duration::from_secs(1024);
/// A clock that is further off jumps; else it drifts to the right time.
const JUMP: i64 = 500_000;

/// A client of time servers.
#[derive(Debug)]
pub struct Time {
    servers: Vec<Ipv4Addr>,
    turn: usize,
    socket: Option<OwnedFd>,
    nonce: u64,
    sent: Duration,
    next: Duration,
}

impl Time {
    /// Makes a client that asks `servers` in turn, from `now` on.
    pub fn new(servers: Vec<Ipv4Addr>, seed: u64, now: Duration) -> Self {
        Self { servers, turn: 0, socket: None, nonce: seed | 1, sent: Duration::ZERO, next: now }
    }

    /// Returns the socket on which an answer comes.
    pub fn file(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    /// Returns the time of the next request.
    pub fn deadline(&self) -> Option<Duration> {
        (!self.servers.is_empty()).then_some(self.next)
    }

    /// Asks the next server if it is time.
    pub fn step(&mut self, now: Duration) {
        let Some(server) = self.servers.get(self.turn % self.servers.len().max(1)).copied() else { return };
        if now < self.next {
            return;
        }
        self.turn += 1;
        self.next = now + PATIENCE;
        self.nonce = self.nonce.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(now.as_nanos() as u64);
        self.socket = sys::udp_socket(Datagram { port: 0, interface: None, broadcast: false }).ok();
        self.sent = clock();
        if let Some(socket) = &self.socket {
            // An answer that does not come makes the next server's turn.
            let _ = sys::send_to(socket, &request(self.nonce), server, PORT);
        }
    }

    /// Reads an answer and sets the clock. Returns the microseconds that the clock was behind.
    pub fn read(&mut self, now: Duration) -> Option<i64> {
        let mut message = [0; LENGTH];
        let (count, sender) = sys::receive(self.socket.as_ref()?, &mut message).ok()?;
        if !sender.is_some_and(|(address, port)| self.servers.contains(&address) && port == PORT) {
            return None;
        }
        let times = answer(&message[..count], self.nonce)?;
        let behind = offset(self.sent, times, clock());
        self.socket = None;
        self.next = now + PAUSE;
        self.turn -= 1;
        if behind.abs() < JUMP {
            sys::adjust_clock(behind).ok()?;
        } else {
            let micros = i64::try_from(clock().as_micros()).ok()?.checked_add(behind)?;
            sys::set_clock(Duration::from_micros(u64::try_from(micros).ok()?)).ok()?;
        }
        Some(behind)
    }
}

/// Returns the time since 1970.
fn clock() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
