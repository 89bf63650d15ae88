//! The global options, which every command has.

use std::path::PathBuf;

use clap::ValueEnum;

/// One year. A longer wait is a typing error, and the deadline could overflow the clock.
const WAIT_MAX: u64 = 365 * 24 * 3600;

/// Global options, accepted before or after the command.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Store folder [default: $MELV_STORE, else melv in the user's data folder]
    #[arg(long, global = true, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long, global = true)]
    pub json: bool,
    /// Print no progress and no summary
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Log each step; given twice, log details
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
    /// Threads to use [default: all cores]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Seconds to wait for a lock held by another process
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 30)]
    #[arg(value_parser = clap::value_parser!(u64).range(..=WAIT_MAX))]
    pub wait: u64,
    /// Clean up after dead writers on other machines and damaged journals; first make sure that no writer runs
    #[arg(long, global = true, hide_short_help = true)]
    pub break_locks: bool,
    /// Treat a store that another user owns as your own
    #[arg(long, global = true, hide_short_help = true)]
    pub trust_owner: bool,
    /// Progress display
    #[arg(
        long,
        global = true,
        value_name = "MODE",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    #[arg(help = "Progress: auto (a bar on a terminal), plain (lines), none")]
    pub progress: ProgressMode,
    /// Colours on standard error
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    #[arg(help = "Colours: auto, always, never; auto respects NO_COLOR")]
    pub color: Color,
}

/// A progress display.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ProgressMode {
    /// A bar on a terminal, otherwise nothing.
    #[default]
    Auto,
    /// Lines.
    Plain,
    /// Nothing.
    None,
}

/// The use of colours on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}
