//! The command `melv`: imports disk images into a store and exports them.
//!
//! A module uses only modules that come after it:
//!
//! | module | content |
//! |---|---|
//! | `args` | the command line: the commands, and the parser of their names and options |
//! | `commands` | the commands, one module each: options, help, and implementation |
//! | `catalog` | the images that a front end serves |
//! | `disk` | disks in files: those of other programs, and images of bundles |
//! | `operand` | arguments: an image of the store or of a bundle, or a file |
//! | `bundle_ref` | references to bundles, given in place of a reference or a disk |
//! | `output_file` | files and block devices that are written |
//! | `session` | the global options in effect: store, threads, and cancellation |
//! | `finish` | the end of a run: failures and hints as text or JSON |
//! | `hint` | the next step after a failure |
//! | `producer` | a command whose output is a disk |
//! | `incoming` | a disk that is read from a pipe |
//! | `stdin`, `stdout` | cancellable pipes; text and JSON on standard output |
//! | `progress`, `stats` | the progress of long work; the statistics of a front end |
//! | `daemon` | a process that continues after the command has ended |
//! | `log` | the log for people, a service manager, or the system's log |
//! | `heard` | warnings of the library, for JSON |
//! | `threads`, `memory` | threads and memory, reduced under resource limits |
//! | `opened_image`, `input_file` | images that were opened; files and block devices that are read |
//! | `store_path` | the path of the store, and errors that name it |
//! | `machine` | the machine around an image |
//! | `format`, `naming` | names of disk formats; names of new images |
//! | `failure` | the reasons why a command fails: messages, exit codes |
//! | `bundled_image`, `bundle_path` | images in bundles; the form of paths to bundles |
//! | `exit`, `cause` | the exit codes; the causes of an error |
//! | `color` | colours on standard error |
//! | `globals` | the global options |
//! | `table`, `width` | tables and text that fit the terminal |
//! | `units`, `times` | sizes and times for programs and for people |
//! | `order` | the order of names in lists |
//!
//! A new command is a module in `commands`, a line in `args::Command` and one in `Command::run`.

mod args;
mod bundle_path;
mod bundle_ref;
mod bundled_image;
mod catalog;
mod cause;
mod color;
mod commands;
mod daemon;
mod disk;
mod exit;
mod failure;
mod finish;
mod format;
mod globals;
mod heard;
mod hint;
mod incoming;
mod input_file;
mod log;
mod machine;
mod memory;
mod naming;
mod opened_image;
mod operand;
mod order;
mod output_file;
mod producer;
mod progress;
mod session;
mod stats;
mod stdin;
mod stdout;
mod store_path;
mod table;
mod threads;
mod times;
mod units;
mod width;

use std::process::ExitCode;

use args::Cli;
use exit::Exit;
use failure::Failure;
use session::Session;

fn main() -> ExitCode {
    memory::use_one_arena();
    let cli = match args::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    finish::finish(&cli.globals, run(&cli))
}

fn run(cli: &Cli) -> Result<Exit, Failure> {
    log::start(&cli.globals, cli.command.is_service());
    let session = Session::new(&cli.globals);
    match cli.command.needs() {
        None => cli.command.run(&session),
        Some(needs) => {
            // Start the signal thread first, before the worker threads use up the allowed ones.
            session.cancel()?;
            threads::run(cli.globals.threads, needs, || cli.command.run(&session))
        }
    }
}
