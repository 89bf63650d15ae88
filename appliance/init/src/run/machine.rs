//! The loop of the machine.

use std::{collections::BTreeMap, path::Path, time::Duration};

use super::{
    button::Buttons,
    group::Group,
    input::Inputs,
    launch::{Streams, launch},
    probe::Probe,
};
use crate::{
    config::{Config, Process},
    data::Opened,
    network::{Network, NetworkFile},
    output::Console,
    report::Report,
    supervisor::{Act, Supervisor, Unit},
    sys::{self, Interest, Poll, Power, Signals, Status},
    system,
};

const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;
const SIGCHLD: i32 = 17;
const SIGPWR: i32 = 30;
/// Time that the console has for its last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// A file that the loop waits for.
#[derive(Debug, Clone, Copy)]
enum Token {
    Signal,
    Console,
    Button,
    Input(u64),
    Network(NetworkFile),
    Probe(usize),
}

/// The machine while it runs.
#[derive(Debug)]
pub struct Machine {
    config: Config,
    supervisor: Supervisor,
    console: Console,
    signals: Signals,
    network: Network,
    buttons: Buttons,
    inputs: Inputs,
    probes: Vec<Probe>,
    processes: BTreeMap<Unit, i32>,
    disks: Vec<Opened>,
    code: Option<u8>,
}

impl Machine {
    /// Takes the machine over from its start.
    pub fn new(
        config: Config,
        console: Console,
        network: Network,
        disks: Vec<Opened>,
    ) -> std::io::Result<Self> {
        Ok(Self {
            supervisor: Supervisor::new(&config),
            config,
            console,
            signals: sys::signals(&[SIGCHLD, SIGTERM, SIGINT, SIGPWR])?,
            network,
            buttons: Buttons::open(sys::since_boot()),
            inputs: Inputs::default(),
            probes: Vec::new(),
            processes: BTreeMap::new(),
            disks,
            code: None,
        })
    }

    /// Runs until the machine is to end, and ends it.
    pub fn run(mut self) -> ! {
        loop {
            let now = sys::since_boot();
            self.network.step(now);
            self.network.reports().iter().for_each(|report| self.console.tell(report));
            self.buttons.step(now);
            if self.network.is_settled() {
                self.supervisor.settled(now);
            }
            self.expire_probes(now);
            self.supervisor.time(now);
            self.act();
            if let Some(code) = self.code {
                self.end(code);
            }
            for token in self.wait() {
                self.handle(token);
            }
        }
    }

    fn wait(&self) -> Vec<Token> {
        let mut poll = Poll::new();
        poll.add(std::os::fd::AsFd::as_fd(&self.signals), Interest::Read, Token::Signal);
        self.console.waits().into_iter().for_each(|file| poll.add(file, Interest::Write, Token::Console));
        self.buttons.files().for_each(|file| poll.add(file, Interest::Read, Token::Button));
        self.inputs.files().for_each(|(token, file)| poll.add(file, Interest::Read, Token::Input(token)));
        self.network.files().for_each(|(token, file)| poll.add(file, Interest::Read, Token::Network(token)));
        for (index, probe) in self.probes.iter().enumerate() {
            if let Some((file, interest)) = probe.file() {
                poll.add(file, interest, Token::Probe(index));
            }
        }
        let own = [self.supervisor.deadline(), self.network.deadline(), self.buttons.deadline()];
        let next = own.into_iter().flatten().chain(self.probes.iter().map(Probe::deadline)).min();
        poll.wait(next.map(|time| time.saturating_sub(sys::since_boot())))
    }

    fn handle(&mut self, token: Token) {
        let now = sys::since_boot();
        match token {
            Token::Console => self.console.write(),
            Token::Input(token) => self.inputs.read(token, &mut self.console),
            Token::Network(file) => self.network.read(file, now),
            Token::Button if self.buttons.read() => self.supervisor.stop(now, "power button", 0),
            Token::Button => {}
            Token::Signal => {
                while let Some(signal) = self.signals.next() {
                    match signal.cast_signed() {
                        SIGINT => self.supervisor.stop(now, "Ctrl-Alt-Del", 0),
                        SIGTERM | SIGPWR => self.supervisor.stop(now, "signal", 0),
                        _ => {}
                    }
                }
                self.reap(now);
            }
            Token::Probe(index) => {
                // One probe may have gone in this round, and its index with it: the next round finds the rest.
                if let Some(result) = self.probes.get_mut(index).and_then(Probe::proceed) {
                    let probe = self.probes.remove(index);
                    self.supervisor.probed(now, probe.service, result);
                }
            }
        }
    }

    /// Takes the ends of all children, also of those that were left to PID 1 by others.
    fn reap(&mut self, now: Duration) {
        while let Some((pid, status)) = sys::reap() {
            if let Some(unit) = self.processes.iter().find_map(|(unit, own)| (*own == pid).then_some(*unit)) {
                // Children that it left behind must not outlive it.
                Group::new(&self.group(unit)).kill(self.processes.remove(&unit));
                self.ended(now, unit, status);
            } else if let Some((index, result)) = self
                .probes
                .iter()
                .enumerate()
                .find_map(|(index, probe)| Some((index, probe.ended(pid, status)?)))
            {
                let probe = self.probes.remove(index);
                self.supervisor.probed(now, probe.service, result);
            }
        }
    }

    fn ended(&mut self, now: Duration, unit: Unit, status: Status) {
        let console = matches!(unit, Unit::Service(index) if self.config.services[index].console);
        if console {
            self.console.set_quiet(false);
        }
        // The last lines of a process come before the line that it has ended.
        let mut poll = Poll::new();
        self.inputs.files().for_each(|(token, file)| poll.add(file, Interest::Read, token));
        for token in poll.wait(Some(Duration::ZERO)) {
            self.inputs.read(token, &mut self.console);
        }
        self.supervisor.ended(now, unit, status);
    }

    fn expire_probes(&mut self, now: Duration) {
        while let Some(index) = self.probes.iter().position(|probe| probe.deadline() <= now) {
            let probe = self.probes.remove(index);
            probe.cancel(&self.config.services[probe.service]);
            self.supervisor.probed(now, probe.service, false);
        }
    }

    /// Does the acts of the supervisor until it has none.
    fn act(&mut self) {
        loop {
            let acts = self.supervisor.take();
            if acts.is_empty() {
                return;
            }
            for act in acts {
                let now = sys::since_boot();
                match act {
                    Act::Tell(report) => self.console.tell(&report),
                    Act::Off(code) => self.code = Some(code),
                    Act::Start(unit) => self.start(now, unit),
                    Act::Probe(index) => match Probe::start(index, &self.config.services[index], now) {
                        Ok(probe) => self.probes.push(probe),
                        Err(_) => self.supervisor.probed(now, index, false),
                    },
                    Act::Signal(unit, signal) => {
                        if let Some(pid) = self.processes.get(&unit) {
                            // It fails if the process has just ended; its end is read next.
                            let _ = sys::kill(*pid, signal);
                        }
                    }
                    Act::Kill(unit) => {
                        let pid = self.processes.get(&unit).copied();
                        Group::new(&self.group(unit)).kill(pid);
                    }
                }
            }
        }
    }

    fn start(&mut self, now: Duration, unit: Unit) {
        if let Unit::Setup(index) = unit
            && self.config.setups[index].creates.as_deref().is_some_and(|path| Path::new(path).exists())
        {
            self.supervisor.skipped(now, index);
            return;
        }
        let (process, streams, name) = self.process(unit);
        let group = Group::new(&self.group(unit));
        if streams == Streams::Terminal {
            self.console.finish(LAST_LINES);
            self.console.set_quiet(true);
        }
        match launch(&process, &process.command, streams, &group) {
            Ok(started) => {
                self.processes.insert(unit, started.pid);
                if let Some(output) = started.output {
                    self.inputs.add(&name, output);
                }
                self.supervisor.started(now, unit);
            }
            Err(error) => {
                if streams == Streams::Terminal {
                    self.console.set_quiet(false);
                }
                self.supervisor.failed(now, unit, &format!("{}: {error}", process.command[0]));
            }
        }
    }

    fn process(&self, unit: Unit) -> (Process, Streams, String) {
        match unit {
            Unit::Setup(index) => {
                let setup = &self.config.setups[index];
                (setup.process.clone(), Streams::Logged, setup.name.clone())
            }
            Unit::Service(index) => {
                let service = &self.config.services[index];
                let streams = if service.console { Streams::Terminal } else { Streams::Logged };
                (service.process.clone(), streams, service.name.clone())
            }
        }
    }

    fn group(&self, unit: Unit) -> String {
        match unit {
            Unit::Setup(index) => format!("setup.{index}"),
            Unit::Service(index) => self.config.services[index].name.clone(),
        }
    }

    /// Ends the machine: no process, no mount, no power.
    fn end(mut self, code: u8) -> ! {
        const SIGKILL: u8 = 9;
        self.network.end(sys::since_boot());
        sys::kill_all(SIGKILL);
        let end = sys::since_boot() + LAST_LINES;
        while sys::reap().is_some() && sys::since_boot() < end {}
        system::end(&self.disks);
        self.console.tell(&Report::Exit(code));
        self.console.finish(LAST_LINES);
        off()
    }
}

/// Turns the machine off.
pub fn off() -> ! {
    sys::sync();
    for way in [Power::Off, Power::Halt] {
        // A machine that cannot be turned off is halted; if even that fails, nothing is left to do but to wait.
        let _ = sys::power(way);
    }
    loop {
        std::thread::sleep(LAST_LINES);
    }
}
