//! `melv umount`: unmounts images.

use std::path::PathBuf;

use serde_json::json;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  $ melv mount disks && ls disks; melv umount disks

It returns once the process that served the images has ended. It also removes a mount whose process was
killed.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Folder with the mounted images
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub fn run(args: &Args, session: &Session<'_>) -> Result<Exit, Failure> {
    let dir = melv_fuse::umount(&args.dir)?;
    session.out().summary(&json!({ "mountpoint": dir.display().to_string() }), "")?;
    Ok(Exit::Done)
}
