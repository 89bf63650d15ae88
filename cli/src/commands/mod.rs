//! One module a command: its options, its help, what it does.

pub mod compare;
mod df;
pub mod digest;
pub mod export;
pub mod import;
pub mod inspect;
mod inspect_file;
pub mod load;
mod ls;
pub mod map;
pub mod mount;
pub mod rm;
pub mod save;
pub mod serve;
pub mod tag;
pub mod tooling;
pub mod umount;
pub mod verify;

use melv::Error;

use crate::args::{Cli, Command};
use crate::exit::{Exit, Failure};
use crate::log;
use crate::session::Session;

/// Does what the command line asks for.
pub fn run(cli: &Cli) -> Result<Exit, Failure> {
    log::start(cli);
    let session = Session::new(&cli.globals);
    let command = || dispatch(&cli.command, &session);
    match cli.globals.threads {
        None => command(),
        Some(threads) => {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(usize::from(threads)).build();
            let failed = |error| Error::io("start", "threads", std::io::Error::other(error));
            pool.map_err(failed)?.install(command)
        }
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
