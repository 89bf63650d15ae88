//! The commands, one module each: options, help, and implementation.

pub mod compare;
pub mod df;
pub mod digest;
pub mod export;
pub mod import;
pub mod inspect;
mod inspect_file;
pub mod load;
pub mod ls;
pub mod map;
pub mod mount;
pub mod rm;
pub mod save;
pub mod serve;
pub mod tag;
pub mod tooling;
pub mod umount;
pub mod verify;

use crate::args::{Cli, Command};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::memory::Needs;
use crate::session::Session;
use crate::{log, threads};

/// Runs the command.
pub fn run(cli: &Cli) -> Result<Exit, Failure> {
    log::start(cli);
    let session = Session::new(&cli.globals);
    match needs(&cli.command) {
        None => dispatch(&cli.command, &session),
        Some(needs) => {
            // Start the signal thread first, before the worker threads use up the allowed ones.
            session.cancel()?;
            threads::run(cli.globals.threads, needs, || dispatch(&cli.command, &session))
        }
    }
}

/// Returns the memory that a command's threads take; `None` for single-threaded commands.
fn needs(command: &Command) -> Option<Needs> {
    match command {
        Command::Import(args) => Some(args.needs()),
        Command::Digest(_)
        | Command::Export(_)
        | Command::Compare(_)
        | Command::Save(_)
        | Command::Load(_)
        | Command::Verify(_) => Some(Needs { base_bytes: 24 << 20, thread_bytes: 12 << 20 }),
        _ => None,
    }
}

fn dispatch(command: &Command, session: &Session<'_>) -> Result<Exit, Failure> {
    match command {
        Command::Import(args) => import::run(args, session),
        Command::Ls => ls::run(session),
        Command::Inspect(args) => inspect::run(args, session),
        Command::Map(args) => map::run(args, session),
        Command::Digest(args) => digest::run(args, session),
        Command::Export(args) => export::run(args, session),
        Command::Compare(args) => compare::run(args, session),
        Command::Save(args) => save::run(args, session),
        Command::Load(args) => load::run(args, session),
        Command::Serve(args) => serve::run(args, session),
        Command::Tag(args) => tag::run(args, session),
        Command::Rm(args) => rm::run(args, session),
        Command::Df => df::run(session),
        Command::Verify(args) => verify::run(args, session),
        Command::Mount(args) => mount::run(args, session),
        Command::Umount(args) => umount::run(args, session),
        Command::Completions(args) => tooling::completions(args, session),
        Command::Man(args) => tooling::man(args),
    }
}
