//! The command `melv`: disk images into a store and back.
//!
//! | module | idea |
//! |---|---|
//! | `args` | the command line: global options, commands, sizes |
//! | `session` | what the global options come to: store, threads, the wish to stop |
//! | `operand` | what an argument means: an input disk, or a reference or file |
//! | `stdin` | standard input that notices the wish to stop |
//! | `report` | standard output: text, JSON, sizes and times for people |
//! | `progress` | how far long work is |
//! | `exit` | failures: exit codes, messages, hints |
//! | `commands` | one module a command: its options, its help, what it does |
//!
//! A new command is a module in `commands`, a line in `args::Command` and one in `commands::run`.

mod args;
mod commands;
mod exit;
mod operand;
mod progress;
mod report;
mod session;
mod stdin;

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match args::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    exit::finish(&cli.globals, commands::run(&cli))
}
