//! One service and its state.

use std::time::Duration;

use crate::{
    config::{Ready, Restart, Service, Stop},
    report::Report,
};

/// A process that the supervisor starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// The setup command with this index.
    Setup(usize),
    /// The service with this index.
    Service(usize),
}

/// An act that the caller does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Start the process, and say so by `started` or `failed`.
    Start(Unit),
    /// Try once whether the service is ready, and say so by `probed`.
    Probe(usize),
    /// Send a signal to the process.
    Signal(Unit, u8),
    /// Kill the process, which still runs, and all that it started.
    Kill(Unit),
    /// Write a line.
    Tell(Report),
    /// End the machine with this code.
    Off(u8),
}

/// State of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Waits for those that it depends on.
    Waiting,
    /// Runs.
    Running,
    /// Has ended, and starts again at this time.
    Pausing(Duration),
    /// Was told to stop, and is killed at this time.
    Stopping(Duration),
    /// Was killed, and is given up at this time.
    Killed(Duration),
    /// Has ended for good; whether by code 0.
    Ended(bool),
}

/// First wait before a service starts again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A service that ran for so long starts again after the first wait.
const STEADY: Duration = Duration::from_secs(10);
const FIRST_PROBE: Duration = Duration::from_millis(10);
const LONGEST_PROBE: Duration = Duration::from_millis(250);

/// A service.
#[derive(Debug)]
pub(super) struct Entry {
    pub name: String,
    /// Indices of services that must be ready before.
    pub depends: Vec<usize>,
    pub stop: Stop,
    pub exit: bool,
    pub console: bool,
    pub state: State,
    pub ready: bool,
    /// Time of the next probe; none while one runs.
    pub probe_at: Option<Duration>,
    /// Time at which the console says that it is late.
    pub late_at: Option<Duration>,
    /// Whether the console has said so.
    pub late: bool,
    /// Indices of services that a program with the terminal lets start before: all that do not need it.
    pub after: Vec<usize>,
    restart: Restart,
    probed: bool,
    patience: Duration,
    since: Duration,
    pauses: u32,
    probe_wait: Duration,
}

impl Entry {
    pub fn new(service: &Service, all: &[Service]) -> Self {
        let index = |name: &String| all.iter().position(|other| other.name == *name);
        Self {
            name: service.name.clone(),
            depends: service.depends.iter().filter_map(index).collect(),
            stop: service.stop,
            exit: service.exit,
            console: service.console,
            state: State::Waiting,
            ready: false,
            probe_at: None,
            late_at: None,
            late: false,
            after: if service.console { others(service, all) } else { Vec::new() },
            restart: service.restart,
            probed: service.ready != Ready::Started,
            patience: service.patience,
            since: Duration::ZERO,
            pauses: 0,
            probe_wait: FIRST_PROBE,
        }
    }

    /// Notes that the process runs. Returns whether that makes it ready.
    pub fn start(&mut self, now: Duration) -> bool {
        self.state = State::Running;
        self.since = now;
        if self.probed {
            self.probe_wait = FIRST_PROBE;
            self.probe_at = Some(now + FIRST_PROBE);
            self.late_at = Some(now + self.patience);
        }
        !self.probed
    }

    /// Notes that a probe failed.
    pub fn probe_later(&mut self, now: Duration) {
        self.probe_wait = (self.probe_wait * 3 / 2).min(LONGEST_PROBE);
        self.probe_at = Some(now + self.probe_wait);
    }

    /// Notes that the process has ended while the machine serves.
    pub fn end(&mut self, now: Duration, good: bool) {
        self.ready = false;
        self.probe_at = None;
        self.late_at = None;
        let again = match self.restart {
            Restart::Never => false,
            Restart::OnFailure => !good,
            Restart::Always => true,
        };
        if !again || self.exit {
            self.state = State::Ended(good);
            return;
        }
        if now.saturating_sub(self.since) >= STEADY {
            self.pauses = 0;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.pauses.min(20)).min(LONGEST_PAUSE);
        self.pauses = self.pauses.saturating_add(1);
        self.state = State::Pausing(now + pause);
    }

    /// Whether services that depend on it may start.
    pub fn satisfies(&self) -> bool {
        self.ready || self.state == State::Ended(true)
    }

    /// Whether a program with the terminal need not wait for it any longer.
    pub fn is_settled(&self) -> bool {
        self.ready || self.late || matches!(self.state, State::Ended(_) | State::Pausing(_))
    }

    /// Whether its process may be there.
    pub fn is_alive(&self) -> bool {
        matches!(self.state, State::Running | State::Stopping(_) | State::Killed(_))
    }

    /// Returns the time of its next act.
    pub fn deadline(&self) -> Option<Duration> {
        let state = match self.state {
            State::Pausing(time) | State::Stopping(time) | State::Killed(time) => Some(time),
            State::Waiting | State::Running | State::Ended(_) => None,
        };
        [state, self.probe_at, self.late_at].into_iter().flatten().min()
    }
}

/// Returns the indices of all services that do not need `service`, neither directly nor through others.
fn others(service: &Service, all: &[Service]) -> Vec<usize> {
    let mut needing = vec![service.name.as_str()];
    let mut known = 0;
    while known < needing.len() {
        known = needing.len();
        for other in all {
            let needs = other.depends.iter().any(|name| needing.contains(&name.as_str()));
            if needs && !needing.contains(&other.name.as_str()) {
                needing.push(&other.name);
            }
        }
    }
    (0..all.len()).filter(|index| !needing.contains(&all[*index].name.as_str())).collect()
}
