//! Promises of the order of services.

use std::time::Duration;

use super::*;
use crate::{
    config::{Config, Process, Ready, Restart, Service, Setup, Stop, tests::Rng},
    report::Report,
    sys::Status,
};

const fn ms(time: u64) -> Duration {
    Duration::from_millis(time)
}

fn service(name: &str, depends: &[&str]) -> Service {
    Service {
        name: name.into(),
        process: Process::default(),
        depends: depends.iter().map(|name| (*name).into()).collect(),
        restart: Restart::Never,
        stop: Stop::default(),
        ready: Ready::Started,
        patience: Duration::from_secs(60),
        console: false,
        exit: false,
    }
}

fn machine(services: Vec<Service>) -> Supervisor {
    Supervisor::new(&Config { services, ..Config::default() })
}

/// Leaves lines for people and the killing of what is left out of the acts.
fn steps(supervisor: &mut Supervisor) -> Vec<Act> {
    let mut acts = supervisor.take();
    acts.retain(|act| !matches!(act, Act::Tell(_) | Act::Kill(_)));
    acts
}

fn start(index: usize) -> Act {
    Act::Start(Unit::Service(index))
}

fn tells(acts: &[Act], report: &Report) -> bool {
    acts.contains(&Act::Tell(report.clone()))
}

#[test]
fn a_service_starts_when_those_that_it_needs_are_ready() {
    let mut db = service("db", &[]);
    db.ready = Ready::Tcp(5432);
    let mut supervisor = machine(vec![service("web", &["db"]), db]);
    assert_eq!(supervisor.take(), []);
    supervisor.settled(ms(100));
    assert_eq!(steps(&mut supervisor), [start(1)]);
    supervisor.started(ms(110), Unit::Service(1));
    assert_eq!(steps(&mut supervisor), []);
    supervisor.time(ms(120));
    assert_eq!(steps(&mut supervisor), [Act::Probe(1)]);
    supervisor.probed(ms(121), 1, false);
    supervisor.time(ms(130));
    assert_eq!(steps(&mut supervisor), []);
    supervisor.time(ms(136));
    assert_eq!(steps(&mut supervisor), [Act::Probe(1)]);
    supervisor.probed(ms(140), 1, true);
    let acts = supervisor.take();
    assert!(tells(&acts, &Report::Ready("db".into(), ms(140))) && acts.contains(&start(0)));
    supervisor.started(ms(150), Unit::Service(0));
    assert!(tells(&supervisor.take(), &Report::Up(ms(150))));
    assert_eq!(supervisor.deadline(), None);
}

#[test]
fn setup_commands_run_one_after_the_other_and_before_services() {
    let setup = |name: &str| Setup { name: name.into(), process: Process::default(), creates: None };
    let setups = vec![setup("a"), setup("b"), setup("c")];
    let mut supervisor =
        Supervisor::new(&Config { setups, services: vec![service("s", &[])], ..Config::default() });
    supervisor.settled(ms(0));
    assert_eq!(steps(&mut supervisor), [Act::Start(Unit::Setup(0))]);
    supervisor.skipped(ms(1), 0);
    assert_eq!(steps(&mut supervisor), [Act::Start(Unit::Setup(1))]);
    supervisor.ended(ms(2), Unit::Setup(1), Status::Code(0));
    assert_eq!(steps(&mut supervisor), [Act::Start(Unit::Setup(2))]);
    supervisor.ended(ms(3), Unit::Setup(2), Status::Code(4));
    let acts = supervisor.take();
    assert!(tells(&acts, &Report::Failed("setup c: code 4".into())));
    assert!(acts.contains(&Act::Off(1)) && !acts.contains(&start(0)));
}

#[test]
fn a_service_that_ends_again_and_again_waits_longer_each_time() {
    let mut web = service("web", &[]);
    web.restart = Restart::Always;
    let mut supervisor = machine(vec![web]);
    supervisor.settled(ms(0));
    let mut now = ms(0);
    let mut waits = Vec::new();
    for _ in 0..12 {
        assert_eq!(steps(&mut supervisor), [start(0)]);
        supervisor.started(now, Unit::Service(0));
        supervisor.ended(now, Unit::Service(0), Status::Code(1));
        let next = supervisor.deadline().unwrap();
        waits.push((next - now).as_millis());
        now = next;
        supervisor.take();
        supervisor.time(now);
    }
    assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000, 30000]);
    supervisor.take();
    supervisor.started(now, Unit::Service(0));
    now += Duration::from_secs(10);
    supervisor.ended(now, Unit::Service(0), Status::Signal(11));
    assert_eq!(supervisor.deadline(), Some(now + ms(100)), "it ran for long");
}

#[test]
fn a_service_restarts_as_its_declaration_says() {
    for (restart, status, again) in [
        (Restart::Never, Status::Code(1), false),
        (Restart::OnFailure, Status::Code(0), false),
        (Restart::OnFailure, Status::Signal(9), true),
        (Restart::Always, Status::Code(0), true),
    ] {
        let mut web = service("web", &[]);
        web.restart = restart;
        let mut supervisor = machine(vec![web]);
        supervisor.settled(ms(0));
        supervisor.started(ms(0), Unit::Service(0));
        supervisor.ended(ms(5), Unit::Service(0), status);
        assert_eq!(supervisor.deadline().is_some(), again, "{restart:?} {status:?}");
    }
}

#[test]
fn services_stop_in_reverse_and_a_deaf_one_is_killed() {
    let mut db = service("db", &[]);
    db.stop = Stop { signal: 2, timeout: ms(500) };
    let mut supervisor = machine(vec![db, service("web", &["db"])]);
    supervisor.settled(ms(0));
    supervisor.started(ms(0), Unit::Service(0));
    supervisor.started(ms(0), Unit::Service(1));
    supervisor.take();
    supervisor.stop(ms(1000), "power button", 0);
    assert_eq!(steps(&mut supervisor), [Act::Signal(Unit::Service(1), 15)]);
    supervisor.ended(ms(1100), Unit::Service(1), Status::Signal(15));
    assert_eq!(steps(&mut supervisor), [Act::Signal(Unit::Service(0), 2)]);
    assert_eq!(supervisor.deadline(), Some(ms(1600)));
    supervisor.time(ms(1600));
    assert_eq!(supervisor.take(), [Act::Kill(Unit::Service(0))]);
    supervisor.ended(ms(1610), Unit::Service(0), Status::Signal(9));
    assert_eq!(steps(&mut supervisor), [Act::Off(0)]);
    supervisor.stop(ms(1700), "again", 1);
    supervisor.time(ms(9000));
    assert_eq!(supervisor.take(), []);
}

#[test]
fn a_second_stop_kills_at_once_and_a_hung_process_does_not_keep_the_machine() {
    let mut supervisor = machine(vec![service("db", &[])]);
    supervisor.settled(ms(0));
    supervisor.started(ms(0), Unit::Service(0));
    supervisor.stop(ms(10), "signal", 0);
    supervisor.stop(ms(20), "signal", 0);
    supervisor.take();
    supervisor.time(ms(20));
    assert_eq!(supervisor.take(), [Act::Kill(Unit::Service(0))]);
    supervisor.time(ms(5020));
    assert_eq!(steps(&mut supervisor), [Act::Off(0)]);
}

#[test]
fn the_code_of_an_exit_service_is_the_machines() {
    let mut game = service("game", &[]);
    game.exit = true;
    game.console = true;
    let mut supervisor = machine(vec![game, service("log", &[])]);
    supervisor.settled(ms(7));
    assert_eq!(steps(&mut supervisor), [start(1)], "the program with the terminal comes last");
    supervisor.started(ms(8), Unit::Service(1));
    let acts = supervisor.take();
    let place = |act: Act| acts.iter().position(|other| *other == act).unwrap();
    let begin = place(start(0));
    assert!(place(Act::Tell(Report::Ready("game".into(), ms(8)))) < begin, "told before it has the screen");
    assert!(place(Act::Tell(Report::Up(ms(8)))) < begin);
    supervisor.started(ms(9), Unit::Service(0));
    supervisor.take();
    supervisor.ended(ms(9), Unit::Service(0), Status::Code(3));
    assert_eq!(steps(&mut supervisor), [Act::Signal(Unit::Service(1), 15)]);
    supervisor.ended(ms(10), Unit::Service(1), Status::Signal(15));
    assert_eq!(steps(&mut supervisor), [Act::Off(3)]);
}

#[test]
fn a_service_that_cannot_start_counts_as_one_that_ended() {
    let mut game = service("game", &[]);
    game.exit = true;
    let mut supervisor = machine(vec![game]);
    supervisor.settled(ms(0));
    supervisor.failed(ms(1), Unit::Service(0), "not found");
    assert!(supervisor.take().contains(&Act::Off(127)));
}

#[test]
fn a_late_service_is_told_once_and_probed_on() {
    let mut web = service("web", &[]);
    web.ready = Ready::Http(80, "/".into());
    web.patience = ms(300);
    let mut supervisor = machine(vec![web]);
    supervisor.settled(ms(0));
    supervisor.started(ms(0), Unit::Service(0));
    let mut late = 0;
    let mut probes = 0;
    for now in 0..2000 {
        supervisor.time(ms(now));
        for act in supervisor.take() {
            late += usize::from(act == Act::Tell(Report::Late("web".into())));
            if act == Act::Probe(0) {
                probes += 1;
                supervisor.probed(ms(now), 0, false);
            }
        }
    }
    assert_eq!(late, 1);
    assert!((10..20).contains(&probes), "{probes} probes in two seconds");
}

/// Plays random ends, probes, times and stops, and checks that the machine always ends.
#[test]
fn every_order_of_events_ends_in_off() {
    let mut rng = Rng(21);
    for round in 0..3000 {
        let count = 1 + rng.below(5) as usize;
        let names: Vec<String> = (0..count).map(|index| format!("s{index}")).collect();
        let mut services = Vec::new();
        for index in 0..count {
            let depends: Vec<&str> =
                names[..index].iter().filter(|_| rng.below(2) == 0).map(String::as_str).collect();
            let mut one = service(&names[index], &depends);
            one.restart = [Restart::Never, Restart::OnFailure, Restart::Always][rng.below(3) as usize];
            one.ready = if rng.below(2) == 0 { Ready::Started } else { Ready::Tcp(1) };
            one.console = rng.below(8) == 0;
            services.push(one);
        }
        let mut supervisor = machine(services);
        let mut running = vec![false; count];
        let mut now = ms(0);
        let mut off = false;
        supervisor.settled(now);
        for step in 0..400 {
            for act in supervisor.take() {
                assert!(!off, "round {round}: {act:?} after the end");
                match act {
                    Act::Start(Unit::Service(index)) if rng.below(8) > 0 => {
                        assert!(!running[index], "round {round}: started twice");
                        running[index] = true;
                        supervisor.started(now, Unit::Service(index));
                    }
                    Act::Start(unit) => supervisor.failed(now, unit, "x"),
                    Act::Probe(index) => supervisor.probed(now, index, rng.below(3) == 0),
                    Act::Kill(Unit::Service(index)) if running[index] && rng.below(4) > 0 => {
                        running[index] = false;
                        supervisor.ended(now, Unit::Service(index), Status::Signal(9));
                    }
                    Act::Off(_) => off = true,
                    _ => {}
                }
            }
            if off && supervisor.acts_are_empty() {
                break;
            }
            let index = rng.below(count as u64) as usize;
            if running[index] && rng.below(3) == 0 {
                running[index] = false;
                supervisor.ended(now, Unit::Service(index), Status::Code(rng.below(2) as u8));
            }
            now += ms(rng.below(3000));
            if step == 200 {
                supervisor.stop(now, "test", 0);
            }
            supervisor.time(now);
        }
        assert!(off, "round {round}: the machine did not end");
    }
}
