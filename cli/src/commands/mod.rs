//! One module a command: its options, its help, what it does.

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

use melv::Error;

use crate::args::{Cli, Command};
use crate::exit::{self, Exit, Failure};
use crate::session::Session;

/// Does what the command line asks for.
pub fn run(cli: &Cli) -> Result<Exit, Failure> {
    start_log(cli);
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

/// Sends the library's log to standard error.
fn start_log(cli: &Cli) {
    let globals = &cli.globals;
    let level = match (globals.quiet, globals.verbose) {
        (true, _) => tracing::Level::ERROR,
        (false, 0) => tracing::Level::WARN,
        (false, 1) => tracing::Level::INFO,
        (false, _) => tracing::Level::DEBUG,
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        // A log that nobody reads any more is no reason to panic.
        .log_internal_errors(false)
        .with_ansi(exit::is_colored(globals.color))
        .with_target(false)
        .with_max_level(level)
        .without_time()
        .init();
}
