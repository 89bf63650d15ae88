//! States of the client (RFC 2131 section 4.4).

use std::{net::Ipv4Addr, time::Duration};

use super::message::{Answer, Kind, Lease, Query, parse};

/// The act that the caller does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send a message to all stations, from no address.
    Broadcast(Vec<u8>),
    /// Send a message to this server from the address of the lease.
    Unicast(Ipv4Addr, Vec<u8>),
    /// Send a message to all stations from the address of the lease.
    BroadcastFromAddress(Vec<u8>),
    /// Give the interface this lease.
    Configure(Lease),
    /// Take the address away: its lease has ended.
    Deconfigure,
}

#[derive(Debug, Clone)]
enum State {
    Idle,
    /// Looks for servers.
    Selecting,
    /// Has taken an offer.
    Requesting {
        address: Ipv4Addr,
        server: Ipv4Addr,
        tries: u8,
    },
    /// Has a lease since `since`, and renews it from `lease.renew` on.
    Bound {
        lease: Lease,
        since: Duration,
    },
}

/// A client of one interface.
#[derive(Debug)]
pub struct Client {
    hardware: [u8; 6],
    host_name: String,
    state: State,
    transaction: u32,
    random: u64,
    began: Duration,
    next: Option<Duration>,
    wait: Duration,
}

/// First wait for an answer. RFC 2131 says four seconds, for networks of its time; a server near by answers in
/// milliseconds, and the wait doubles.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(64);
/// Requests of one offer until the client looks for servers again.
const REQUESTS: u8 = 4;
/// Least time between two renewals (RFC 2131 section 4.4.5).
const RENEW_WAIT: Duration = Duration::from_secs(60);

impl Client {
    /// Makes a client. `seed` spreads its transactions and waits.
    pub fn new(hardware: [u8; 6], host_name: &str, seed: u64) -> Self {
        Self {
            hardware,
            host_name: host_name.to_owned(),
            state: State::Idle,
            transaction: 0,
            // A generator of the kind used here must not begin with zero.
            random: seed | 1,
            began: Duration::ZERO,
            next: None,
            wait: FIRST_WAIT,
        }
    }

    /// Returns the time at which [`Self::time`] has something to do.
    pub fn deadline(&self) -> Option<Duration> {
        self.next
    }

    /// Returns the lease, if there is one.
    pub fn lease(&self) -> Option<&Lease> {
        if let State::Bound { lease, .. } = &self.state { Some(lease) } else { None }
    }

    /// Begins to look for servers.
    pub fn start(&mut self, now: Duration) -> Vec<Action> {
        self.state = State::Selecting;
        self.transaction = self.random() as u32;
        self.began = now;
        self.wait = FIRST_WAIT;
        self.ask(now)
    }

    /// Gives the address back.
    pub fn release(&mut self, now: Duration) -> Option<Action> {
        let State::Bound { lease, .. } = std::mem::replace(&mut self.state, State::Idle) else { return None };
        self.next = None;
        let query =
            Query { own: Some(lease.address), server: Some(lease.server), ..self.query(Kind::Release, now) };
        Some(Action::Unicast(lease.server, query.bytes()))
    }

    /// Takes a message that came.
    pub fn message(&mut self, now: Duration, message: &[u8]) -> Vec<Action> {
        let Some(answer) = parse(message, self.transaction, self.hardware) else { return Vec::new() };
        match (answer, &self.state) {
            (Answer::Offer(address, server), State::Selecting) => {
                self.state = State::Requesting { address, server, tries: 0 };
                self.wait = FIRST_WAIT;
                self.ask(now)
            }
            (Answer::Acknowledge(lease), State::Requesting { server, .. }) if lease.server == *server => {
                self.bind(now, lease)
            }
            (Answer::Acknowledge(lease), State::Bound { since, lease: old })
                if lease.address == old.address && now.saturating_sub(*since) >= old.renew =>
            {
                self.bind(now, lease)
            }
            (Answer::Refuse, State::Requesting { .. }) => self.start(now),
            (Answer::Refuse, State::Bound { since, lease }) if now.saturating_sub(*since) >= lease.renew => {
                self.lose(now)
            }
            _ => Vec::new(),
        }
    }

    /// Does what is due.
    pub fn time(&mut self, now: Duration) -> Vec<Action> {
        if self.next.is_none_or(|next| now < next) {
            return Vec::new();
        }
        match &mut self.state {
            State::Idle => Vec::new(),
            State::Selecting => self.ask(now),
            State::Requesting { tries, .. } => {
                *tries += 1;
                if *tries < REQUESTS { self.ask(now) } else { self.start(now) }
            }
            State::Bound { lease, since } => {
                if now.saturating_sub(*since) >= lease.end {
                    self.lose(now)
                } else {
                    self.renew(now)
                }
            }
        }
    }

    /// Sends the message of the state, and waits for twice as long as before.
    fn ask(&mut self, now: Duration) -> Vec<Action> {
        let query = match &self.state {
            State::Requesting { address, server, .. } => {
                Query { requested: Some(*address), server: Some(*server), ..self.query(Kind::Request, now) }
            }
            _ => self.query(Kind::Discover, now),
        };
        let bytes = query.bytes();
        // A tenth more or less keeps machines that start together apart.
        let spread = Duration::from_millis(self.random() % (self.wait.as_millis() as u64 / 5 + 1));
        self.next = Some(now + self.wait * 9 / 10 + spread);
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        vec![Action::Broadcast(bytes)]
    }

    fn bind(&mut self, now: Duration, lease: Lease) -> Vec<Action> {
        let changed = self.lease() != Some(&lease);
        self.next = Some(now + lease.renew);
        self.state = State::Bound { lease: lease.clone(), since: now };
        if changed { vec![Action::Configure(lease)] } else { Vec::new() }
    }

    fn lose(&mut self, now: Duration) -> Vec<Action> {
        let mut actions = vec![Action::Deconfigure];
        actions.extend(self.start(now));
        actions
    }

    /// Asks for more time: first the server of the lease, later any.
    fn renew(&mut self, now: Duration) -> Vec<Action> {
        let State::Bound { lease, since } = &self.state else { return Vec::new() };
        let age = now.saturating_sub(*since);
        let (address, server) = (lease.address, lease.server);
        let rebinding = age >= lease.rebind;
        let until = if rebinding { lease.end } else { lease.rebind };
        // Half of the time that is left, a minute at least, and never past the next border.
        let left = until.saturating_sub(age);
        self.next = Some(now + (left / 2).max(RENEW_WAIT).min(left));
        self.transaction = self.random() as u32;
        self.began = now;
        let bytes = Query { own: Some(address), ..self.query(Kind::Request, now) }.bytes();
        vec![if rebinding { Action::BroadcastFromAddress(bytes) } else { Action::Unicast(server, bytes) }]
    }

    fn query(&self, kind: Kind, now: Duration) -> Query<'_> {
        Query {
            kind,
            transaction: self.transaction,
            seconds: u16::try_from(now.saturating_sub(self.began).as_secs()).unwrap_or(u16::MAX),
            hardware: self.hardware,
            host_name: &self.host_name,
            own: None,
            requested: None,
            server: None,
        }
    }

    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}
