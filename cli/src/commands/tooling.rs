//! Tools for packagers: completion scripts and manual pages.

use std::path::PathBuf;

use clap::Command;
use clap_complete::Shell;
use melv::Error;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::write_failed;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  $ melv completions bash >melv.bash")]
pub struct CompletionsArgs {
    /// Shell to write the script for
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  $ melv man man1")]
pub struct ManArgs {
    /// Folder for the pages, created if missing
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Prints a completion script for the command line of `parser`.
pub fn completions(
    args: &CompletionsArgs,
    mut parser: Command,
    session: &Session<'_>,
) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut parser, "melv", &mut script);
    let mut out = session.out();
    std::io::Write::write_all(&mut out, &script)
        .and_then(|()| std::io::Write::flush(&mut out))
        .map_err(write_failed)?;
    Ok(Exit::Done)
}

/// Writes the manual pages of the command line of `parser`.
pub fn man(args: &ManArgs, parser: Command) -> Result<Exit, Failure> {
    let failed = |operation| move |error| Error::io(operation, args.folder.display().to_string(), error);
    std::fs::create_dir_all(&args.folder).map_err(failed("create"))?;
    clap_mangen::generate_to(parser, &args.folder).map_err(failed("write pages into"))?;
    Ok(Exit::Done)
}
