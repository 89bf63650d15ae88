//! The command `melv`: imports disk images into a store and exports them.
//!
//! | module | content |
//! |---|---|
//! | `args` | the command line: global options, commands, sizes |
//! | `session` | the global options in effect: store, threads, cancellation |
//! | `operand` | arguments: an image of the store or of a bundle, or a file |
//! | `bundle_ref` | paths to bundles, given in place of a reference or a disk |
//! | `daemon` | a process that continues after the command has ended |
//! | `disk` | disks in files: raw disks, VMDKs, images of bundles |
//! | `format` | names of disk formats |
//! | `catalog` | the images that a front end serves |
//! | `stats` | the statistics of a front end |
//! | `stdin` | cancellable pipes |
//! | `incoming` | a disk that is read from a pipe |
//! | `producer` | a command whose output is a disk |
//! | `threads`, `memory` | threads and memory, reduced under resource limits |
//! | `heard` | warnings of the library, for JSON |
//! | `report` | standard output: text, JSON, sizes for people |
//! | `table`, `width` | tables and text that fit the terminal |
//! | `times` | times for programs and for people |
//! | `naming`, `order` | names of new images; the order of names in lists |
//! | `progress` | the progress of long work |
//! | `exit` | failures: exit codes, messages |
//! | `hint` | the next step after a failure |
//! | `log` | the log for people, a service manager, or the system's log |
//! | `commands` | the commands, one module each: options, help, and implementation |
//!
//! A new command is a module in `commands`, a line in `args::Command` and one in `commands::run`.

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
mod memory;
mod naming;
mod opened_image;
mod operand;
mod order;
mod output_file;
mod producer;
mod progress;
mod report;
mod session;
mod stats;
mod stdin;
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
