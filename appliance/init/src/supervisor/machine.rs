//! The phases of the machine.

use std::time::Duration;

use super::unit::{Act, Entry, State, Unit};
use crate::{config::Config, report::Report, sys::Status};

const SIGTERM: u8 = 15;
/// Time that a setup command has to end when the machine stops.
const SETUP_STOP: Duration = Duration::from_secs(5);
/// Time after which a killed process is given up: it hangs in the kernel.
const GIVE_UP: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waits for the network.
    Network,
    /// Runs the setup command with this index.
    Setup(usize),
    Serving,
    /// Stops, with the code to tell at the end.
    Stopping(u8),
    Off,
}

/// The order of setup commands and services.
#[derive(Debug)]
pub struct Supervisor {
    setups: Vec<String>,
    services: Vec<Entry>,
    phase: Phase,
    /// The setup command that runs while the machine stops, and the time at which it is killed.
    setup_left: Option<(usize, Duration)>,
    up: bool,
    acts: Vec<Act>,
}

impl Supervisor {
    /// Makes the state of a machine that has started nothing.
    pub fn new(config: &Config) -> Self {
        Self {
            setups: config.setups.iter().map(|setup| setup.name.clone()).collect(),
            services: config.services.iter().map(|service| Entry::new(service, &config.services)).collect(),
            phase: Phase::Network,
            setup_left: None,
            up: false,
            acts: Vec::new(),
        }
    }

    /// Returns the time at which [`Self::time`] has something to do.
    pub fn deadline(&self) -> Option<Duration> {
        let services = self.services.iter().filter_map(Entry::deadline);
        services.chain(self.setup_left.map(|(_, time)| time)).min()
    }

    /// Takes the acts that are due.
    pub fn take(&mut self) -> Vec<Act> {
        std::mem::take(&mut self.acts)
    }

    /// Notes that the network has its address, or will not have it soon.
    pub fn settled(&mut self, now: Duration) {
        if self.phase == Phase::Network {
            self.next_setup(now, 0);
        }
    }

    /// Notes that a process has started.
    pub fn started(&mut self, now: Duration, unit: Unit) {
        let Unit::Service(index) = unit else { return };
        let entry = &mut self.services[index];
        if entry.state == State::Running && entry.start(now) && !entry.console {
            self.become_ready(now, index);
        }
        self.start_services(now);
    }

    /// Notes that a process could not be started.
    pub fn failed(&mut self, now: Duration, unit: Unit, error: &str) {
        let name = self.name(unit);
        self.acts.push(Act::Tell(Report::Note(format!("{name} does not start: {error}"))));
        // The code by which a shell says that a command was not found.
        self.ended(now, unit, Status::Code(127));
    }

    /// Notes that a setup command need not run.
    pub fn skipped(&mut self, now: Duration, index: usize) {
        if self.phase == Phase::Setup(index) {
            self.next_setup(now, index + 1);
        }
    }

    /// Notes that a process has ended.
    pub fn ended(&mut self, now: Duration, unit: Unit, status: Status) {
        let good = status == Status::Code(0);
        match unit {
            Unit::Setup(index) => {
                self.setup_left = None;
                if self.phase == Phase::Setup(index) && good {
                    self.next_setup(now, index + 1);
                } else if self.phase == Phase::Setup(index) {
                    self.acts.push(Act::Tell(Report::Ended(self.name(unit), status)));
                    self.phase = Phase::Serving;
                    let name = self.name(unit);
                    self.acts
                        .push(Act::Tell(Report::Failed(format!("setup {name}: code {}", status.code()))));
                    self.stop(now, "setup failed", 1);
                }
            }
            Unit::Service(index) => {
                self.acts.push(Act::Tell(Report::Ended(self.name(unit), status)));
                let entry = &mut self.services[index];
                if let Phase::Stopping(_) = self.phase {
                    entry.state = State::Ended(good);
                } else {
                    entry.end(now, good);
                    if entry.exit {
                        self.stop(now, "service ended", status.code());
                    }
                }
            }
        }
        self.proceed(now);
    }

    /// Notes the result of a probe.
    pub fn probed(&mut self, now: Duration, index: usize, good: bool) {
        let entry = &mut self.services[index];
        if entry.state != State::Running || entry.ready {
            return;
        }
        if good {
            self.become_ready(now, index);
            self.start_services(now);
        } else {
            entry.probe_later(now);
        }
    }

    /// Stops the machine, and tells `code` at its end. A second call kills all that still runs.
    pub fn stop(&mut self, now: Duration, reason: &'static str, code: u8) {
        match self.phase {
            Phase::Off => return,
            Phase::Stopping(_) => {
                for entry in &mut self.services {
                    if let State::Stopping(kill_at) = &mut entry.state {
                        *kill_at = now;
                    }
                }
            }
            phase => {
                self.acts.push(Act::Tell(Report::Stop(reason)));
                if let Phase::Setup(index) = phase {
                    self.acts.push(Act::Signal(Unit::Setup(index), SIGTERM));
                    self.setup_left = Some((index, now + SETUP_STOP));
                }
                self.phase = Phase::Stopping(code);
                for entry in self.services.iter_mut() {
                    entry.probe_at = None;
                    entry.late_at = None;
                    if !entry.is_alive() {
                        entry.state = State::Ended(false);
                    }
                }
            }
        }
        self.proceed(now);
    }

    /// Does what is due.
    pub fn time(&mut self, now: Duration) {
        for index in 0..self.services.len() {
            let entry = &mut self.services[index];
            let due = |time: Option<Duration>| time.is_some_and(|time| time <= now);
            if due(entry.probe_at) {
                entry.probe_at = None;
                self.acts.push(Act::Probe(index));
            }
            if due(entry.late_at) {
                entry.late_at = None;
                entry.late = true;
                self.acts.push(Act::Tell(Report::Late(entry.name.clone())));
            }
            match entry.state {
                State::Pausing(time) if time <= now => self.start(now, index),
                State::Stopping(time) if time <= now => {
                    entry.state = State::Killed(now + GIVE_UP);
                    self.acts.push(Act::Kill(Unit::Service(index)));
                }
                State::Killed(time) if time <= now => entry.state = State::Ended(false),
                _ => {}
            }
        }
        if let Some((index, time)) = self.setup_left
            && time <= now
        {
            self.acts.push(Act::Kill(Unit::Setup(index)));
            self.setup_left = None;
        }
        self.proceed(now);
    }

    fn next_setup(&mut self, now: Duration, index: usize) {
        if index < self.setups.len() {
            self.phase = Phase::Setup(index);
            self.acts.push(Act::Start(Unit::Setup(index)));
        } else {
            self.phase = Phase::Serving;
            self.start_services(now);
        }
    }

    fn proceed(&mut self, now: Duration) {
        match self.phase {
            Phase::Serving => self.start_services(now),
            Phase::Stopping(code) => self.stop_services(now, code),
            Phase::Network | Phase::Setup(_) | Phase::Off => {}
        }
    }

    /// Starts the services whose needs are met, and tells once that all are ready.
    fn start_services(&mut self, now: Duration) {
        if self.phase != Phase::Serving {
            return;
        }
        for index in 0..self.services.len() {
            let entry = &self.services[index];
            let met = entry.depends.iter().all(|other| self.services[*other].satisfies());
            // It has the screen from then on, so that lines about others come before.
            let last = entry.after.iter().all(|other| self.services[*other].is_settled());
            if entry.state == State::Waiting && met && last {
                self.start(now, index);
            }
        }
        self.tell_up(now);
    }

    fn tell_up(&mut self, now: Duration) {
        if !self.up && self.services.iter().all(Entry::satisfies) {
            self.up = true;
            self.acts.push(Act::Tell(Report::Up(now)));
        }
    }

    fn start(&mut self, now: Duration, index: usize) {
        self.services[index].state = State::Running;
        // A line after the start would be written over the screen of the program.
        if self.services[index].console {
            self.become_ready(now, index);
            self.tell_up(now);
        }
        self.acts.push(Act::Start(Unit::Service(index)));
    }

    fn become_ready(&mut self, now: Duration, index: usize) {
        let entry = &mut self.services[index];
        entry.ready = true;
        entry.late_at = None;
        self.acts.push(Act::Tell(Report::Ready(entry.name.clone(), now)));
    }

    /// Stops the services that no other one needs any more.
    fn stop_services(&mut self, now: Duration, code: u8) {
        for index in 0..self.services.len() {
            let mut others = self.services.iter();
            let needed = others.any(|other| other.is_alive() && other.depends.contains(&index));
            let entry = &mut self.services[index];
            if entry.state == State::Running && !needed {
                entry.state = State::Stopping(now + entry.stop.timeout);
                self.acts.push(Act::Signal(Unit::Service(index), entry.stop.signal));
            }
        }
        if self.setup_left.is_none() && !self.services.iter().any(Entry::is_alive) {
            self.phase = Phase::Off;
            self.acts.push(Act::Off(code));
        }
    }

    fn name(&self, unit: Unit) -> String {
        match unit {
            Unit::Setup(index) => self.setups[index].clone(),
            Unit::Service(index) => self.services[index].name.clone(),
        }
    }
}

#[cfg(test)]
impl Supervisor {
    /// Whether no act is due.
    pub(super) fn acts_are_empty(&self) -> bool {
        self.acts.is_empty()
    }
}
