//! The command line: the commands, and the parser of their names and options.

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};
use serde_json::json;

use crate::commands::{
    build, compare, df, digest, export, import, inspect, load, ls, map, mount, rm, save, serve, tag, tooling,
    umount, verify,
};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::globals::Globals;
use crate::log::note;
use crate::memory::Needs;
use crate::session::Session;

/// Disk images in a store that keeps every 4 KiB block once.
#[derive(Debug, Parser)]
#[command(name = "melv", version, max_term_width = 100)]
#[command(
    after_help = "REF: NAME[:TAG], @IMAGE-ID, its first 6 or more digits, or FILE.melv[#NAME[:TAG]|#@IMAGE-ID]\n\
                  `melv COMMAND --help` shows examples; for packagers: `melv completions SHELL`, `melv man DIR`",
    after_long_help = "REF: NAME[:TAG], @IMAGE-ID, its first 6 or more digits, or FILE.melv[#NAME[:TAG]|#@IMAGE-ID]\n\
                  Exit codes: 0 done, 1 failure, 2 usage, 4 damage, 5 disks differ, 10 no store, 11 locked, \
                  13 not found, 14 unsupported, 15 no space, 17 wrong digest, 130 interrupted\n\
                  `melv COMMAND --help` shows examples; for packagers: `melv completions SHELL`, `melv man DIR`"
)]
pub struct Cli {
    /// The global options.
    #[command(flatten)]
    pub globals: Globals,
    /// The command to run.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Import a disk into the store
    Import(import::Args),
    /// Build the disk of an appliance from its declaration
    Build(build::Args),
    /// List the images
    #[command(after_help = ls::HELP)]
    Ls,
    /// Describe an image, a bundle or any other file
    Inspect(inspect::Args),
    /// List the runs of data and of zeros in a disk
    Map(map::Args),
    /// Compute the content id of any disk file
    Digest(digest::Args),
    /// Export a disk from the store or a bundle
    Export(export::Args),
    /// Compare an image with another disk
    Compare(compare::Args),
    /// Save images in a single file, a bundle
    Save(save::Args),
    /// Load the images of a bundle into the store
    Load(load::Args),
    /// Serve images as network block devices (NBD)
    Serve(serve::Args),
    /// Show the images as files in a folder (FUSE)
    Mount(mount::Args),
    /// Unmount the images from a folder
    Umount(umount::Args),
    /// Give an image an additional name
    Tag(tag::Args),
    /// Remove image names
    Rm(rm::Args),
    /// Show the sizes of the images and the space that the store takes
    #[command(after_help = df::HELP)]
    Df,
    /// Check the store, images or bundles
    Verify(verify::Args),
    /// Print a completion script
    #[command(hide = true)]
    Completions(tooling::CompletionsArgs),
    /// Write the manual pages into a folder
    #[command(hide = true)]
    Man(tooling::ManArgs),
}

impl Command {
    /// Whether a service manager runs such a command.
    pub fn is_service(&self) -> bool {
        match self {
            Self::Serve(_) => true,
            Self::Mount(args) => args.is_foreground(),
            _ => false,
        }
    }

    /// Returns the memory that the command's threads take; `None` for single-threaded commands.
    pub fn needs(&self) -> Option<Needs> {
        match self {
            Self::Import(args) => Some(args.needs()),
            Self::Build(_) => Some(build::NEEDS),
            Self::Digest(_)
            | Self::Export(_)
            | Self::Compare(_)
            | Self::Save(_)
            | Self::Load(_)
            | Self::Verify(_) => Some(Needs { base_bytes: 24 << 20, thread_bytes: 12 << 20 }),
            _ => None,
        }
    }

    /// Runs the command.
    pub fn run(&self, session: &Session<'_>) -> Result<Exit, Failure> {
        match self {
            Self::Import(args) => import::run(args, session),
            Self::Build(args) => build::run(args, session),
            Self::Ls => ls::run(session),
            Self::Inspect(args) => inspect::run(args, session),
            Self::Map(args) => map::run(args, session),
            Self::Digest(args) => digest::run(args, session),
            Self::Export(args) => export::run(args, session),
            Self::Compare(args) => compare::run(args, session),
            Self::Save(args) => save::run(args, session),
            Self::Load(args) => load::run(args, session),
            Self::Serve(args) => serve::run(args, session),
            Self::Tag(args) => tag::run(args, session),
            Self::Rm(args) => rm::run(args, session),
            Self::Df => df::run(session),
            Self::Verify(args) => verify::run(args, session),
            Self::Mount(args) => mount::run(args, session),
            Self::Umount(args) => umount::run(args, session),
            Self::Completions(args) => tooling::completions(args, parser(), session),
            Self::Man(args) => tooling::man(args, parser()),
        }
    }
}

/// Builds the command line parser, with its help laid out for the width of the terminal.
fn parser() -> clap::Command {
    let reflowed = |command: clap::Command| match command.get_after_help().map(ToString::to_string) {
        Some(text) => command.after_help(paragraphs(&text)),
        None => command,
    };
    Cli::command().mut_subcommands(reflowed)
}

/// Joins the lines of each paragraph and leaves wrapping to clap, since source line breaks would add a second
/// break on a narrow terminal. Indented lines, such as examples, and headings before them stay.
fn paragraphs(text: &str) -> String {
    let mut joined = String::new();
    let mut goes_on = false;
    for line in text.lines() {
        let stands_alone = line.is_empty() || line.starts_with(' ');
        if !joined.is_empty() {
            joined.push(if goes_on && !stands_alone { ' ' } else { '\n' });
        }
        joined.push_str(line);
        goes_on = !stands_alone && !line.ends_with(':');
    }
    joined
}

/// Parses the command line. On an error, prints the message and returns the exit code.
pub fn parse() -> Result<Cli, ExitCode> {
    let arguments: Vec<_> = std::env::args_os().collect();
    // `--color` and `--json` also apply to errors in the command line itself, so look for them first.
    let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    let follows = |value: &str| {
        has(&format!("--color={value}"))
            || arguments.windows(2).any(|two| two[0] == "--color" && two[1] == value)
    };
    let color = match (follows("always"), follows("never")) {
        (true, false) => ColorChoice::Always,
        (false, true) => ColorChoice::Never,
        _ => ColorChoice::Auto,
    };
    let parsed = parser().color(color).try_get_matches_from(&arguments).map_err(suggest);
    parsed.and_then(|matches| Cli::from_arg_matches(&matches)).map_err(|error| {
        let code = u8::try_from(error.exit_code()).unwrap_or(Exit::Usage as u8);
        if error.use_stderr() && has("--json") {
            let text = error.render().to_string();
            let text = text.trim().trim_start_matches("error: ");
            note(&json!({ "error": text, "hint": null, "code": code }).to_string());
        } else {
            // A closed output leaves nobody to report the error to.
            let _ = error.print();
        }
        ExitCode::from(code)
    })
}

/// Command names of other tools, by the command that does the same here.
const ELSEWHERE: &[(&str, &[&str])] = &[
    ("import", &["add", "create", "backup", "put", "new", "commit"]),
    ("ls", &["list", "images", "image", "snapshots", "ps", "dir"]),
    ("inspect", &["info", "show", "history", "stat", "stats", "describe"]),
    ("export", &["convert", "restore", "extract", "dump", "cat", "dd", "get", "cp"]),
    ("compare", &["cmp", "diff"]),
    ("digest", &["hash", "checksum", "sum", "sha256sum", "b3sum", "id"]),
    ("save", &["pack", "bundle", "send", "push"]),
    ("load", &["unpack", "receive", "pull"]),
    ("tag", &["rename", "mv", "name", "alias"]),
    ("rm", &["rmi", "remove", "delete", "del", "untag", "forget"]),
    ("df", &["du", "usage", "space"]),
    ("verify", &["check", "fsck", "scrub", "test"]),
    ("serve", &["nbd", "server", "export-nbd"]),
    ("mount", &["fuse", "attach"]),
    ("umount", &["unmount", "detach", "eject"]),
];

/// Suggests the equivalent command when the name comes from another tool.
fn suggest(mut error: clap::Error) -> clap::Error {
    if let Some(ContextValue::String(tried)) = error.get(ContextKind::InvalidSubcommand) {
        let tried = tried.to_lowercase();
        if let Some((meant, _)) = ELSEWHERE.iter().find(|(_, names)| names.contains(&tried.as_str())) {
            let meant = ContextValue::Strings(vec![(*meant).into()]);
            error.insert(ContextKind::SuggestedSubcommand, meant);
        }
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_of_help_are_left_to_be_wrapped() {
        let text = "Examples:\n  $ a\n  $ b\n\nOne\ntwo.\n\nThree:\n  four\nfive";
        assert_eq!(paragraphs(text), "Examples:\n  $ a\n  $ b\n\nOne two.\n\nThree:\n  four\nfive");
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        let has = |name: &str| Cli::command().get_subcommands().any(|command| command.get_name() == name);
        for (meant, elsewhere) in ELSEWHERE {
            assert!(has(meant) && !elsewhere.iter().any(|name| has(name)), "{meant}");
        }
    }
}
