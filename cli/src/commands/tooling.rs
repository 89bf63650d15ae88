//! Tools for packagers: completion scripts and manual pages.

use std::path::PathBuf;

use clap_complete::Shell;
use melv::Error;

use crate::args::command;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::report::write_failed;
use crate::session::Session;

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

pub fn completions(args: &CompletionsArgs, session: &Session<'_>) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "melv", &mut script);
    let mut out = session.out();
    std::io::Write::write_all(&mut out, &script)
        .and_then(|()| std::io::Write::flush(&mut out))
        .map_err(write_failed)?;
    Ok(Exit::Done)
}

pub fn man(args: &ManArgs) -> Result<Exit, Failure> {
    let failed = |operation| move |error| Error::io(operation, args.folder.display().to_string(), error);
    std::fs::create_dir_all(&args.folder).map_err(failed("create"))?;
    clap_mangen::generate_to(command(), &args.folder).map_err(failed("write pages into"))?;
    Ok(Exit::Done)
}
