//! The command `melv`: disk images into a store and back.
//!
//! | module | idea |
//! |---|---|
//! | `args` | the command line: global options, commands, sizes |
//! | `session` | what the global options come to: store, threads, the wish to stop |
//! | `operand` | what an argument means: an image of the store or of a bundle, or a file |
//! | `bundle_ref` | what a path to a bundle means where a reference or a disk is wanted |
//! | `daemon` | a process that goes on when the command has ended |
//! | `disk` | disks in files: raw, VMware's, or an image of a bundle |
//! | `format` | names of disk formats |
//! | `catalog` | what a front end serves |
//! | `stats` | what it has done |
//! | `stdin` | pipes, which notice the wish to stop |
//! | `incoming` | a disk that arrives through a pipe |
//! | `producer` | a command whose output is a disk |
//! | `threads`, `memory` | threads and memory, fewer and less where the system gives less |
//! | `heard` | warnings of the library, for JSON |
//! | `report` | standard output: text, JSON, sizes for people |
//! | `table`, `width` | tables and text that fit the terminal |
//! | `times` | times for programs and for people |
//! | `naming`, `order` | names that images are given; the order in which they are listed |
//! | `progress` | how far long work is |
//! | `exit` | failures: exit codes, messages |
//! | `hint` | what to do next |
//! | `log` | the log as its readers want it: people, a service manager, the system's log |
//! | `commands` | one module a command: its options, its help, what it does |
//!
//! A new command is a module in `commands`, a line in `args::Command` and one in `commands::run`.

mod args;
mod bundle_ref;
mod catalog;
mod commands;
mod daemon;
mod disk;
mod exit;
mod format;
mod heard;
mod hint;
mod incoming;
mod log;
mod memory;
mod naming;
mod operand;
mod order;
mod producer;
mod progress;
mod report;
mod session;
mod stats;
mod stdin;
mod table;
mod threads;
mod times;
mod width;

use std::process::ExitCode;

fn main() -> ExitCode {
    memory::use_one_arena();
    let cli = match args::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    exit::finish(&cli.globals, commands::run(&cli))
}
