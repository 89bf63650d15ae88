//! PID 1 of an appliance.
//!
//! `boot` goes from the kernel's start to the root of the image. Then the configuration is read ([`config`]), the
//! data disks are opened ([`data`]), `/` is made writable and the rest is mounted ([`system`]), and [`run`] starts
//! the network ([`network`]) and the services ([`supervisor`]) and waits for the end. [`report`] has the lines that
//! others read. All system calls that `std` lacks are in [`sys`], the only room with `unsafe`.
//!
//! The crate has no dependencies and one thread. Decisions are pure functions and state machines that take bytes,
//! events and times; files, sockets and processes are at their edges.

mod boot;
mod config;
mod data;
mod dhcp;
mod network;
mod output;
mod report;
mod run;
mod supervisor;
mod sys;
mod system;

use std::{collections::BTreeMap, fs, io, panic};

use self::{
    network::Network,
    output::{Console, Ring},
    report::{Problem, Report},
    run::Machine,
};

fn main() {
    // Started by anyone else it could only do harm.
    if std::process::id() != 1 {
        eprintln!("melv-init runs as the first process of a machine");
        std::process::exit(1);
    }
    panic::set_hook(Box::new(|info| fail(&info.to_string())));
    let mut console = Console::open();
    match start(&mut console) {
        Ok(machine) => machine.run(),
        Err(problem) => fail(&problem.to_string()),
    }
}

/// Tells a failure that no service has seen, and ends the machine.
fn fail(text: &str) -> ! {
    let mut console = Console::open();
    console.tell(&Report::Failed(text.into()));
    console.tell(&Report::Exit(1));
    console.finish(std::time::Duration::from_secs(1));
    run::off()
}

/// Brings the machine from the kernel's start to the start of its services.
fn start(console: &mut Console) -> Result<Machine, Problem> {
    let late = boot::enter(&mut |report| console.tell(&report))?;
    // In the initrd there was perhaps no `/dev/console` that reaches anyone.
    *console = Console::open();
    system::panic_restarts();
    console.tell(&Report::Init(sys::since_boot()));
    let config = configuration()?;
    system::first()?;
    let network = Network::start(&config, sys::since_boot());
    if !config.data.is_empty() {
        late.load(&mut |report| console.tell(&report));
    }
    let disks = data::open(&config.data, &mut |report| console.tell(&report))?;
    system::root(&config.writes, &disks)?;
    if let Ok(log) = Ring::create("/run/log/melv".into()) {
        console.keep(log);
    }
    system::rest(&config.writes, &mut |problem| console.tell(&Report::Note(problem.to_string())));
    system::bind_data(&disks)?;
    system::configure(&config, &mut |problem| console.tell(&Report::Note(problem.to_string())));
    system::seed(&mut |report| console.tell(&report));
    system::directories(&config.directories)?;
    system::secrets(&config.secrets, &BTreeMap::new(), &mut |report| console.tell(&report))?;
    let console = std::mem::replace(console, Console::open());
    Machine::new(config, console, network, disks).map_err(|error| Problem::new("signals", "", error))
}

fn configuration() -> Result<config::Config, Problem> {
    let problem = |error| Problem::new("configuration", config::PATH, error);
    let text = fs::read(config::PATH).map_err(problem)?;
    config::parse(&text)
        .map_err(|fault| problem(io::Error::new(io::ErrorKind::InvalidData, fault.to_string())))
}
