//! `melv export`: a disk out of the store.

use std::io::{ErrorKind, IsTerminal};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use melv::{Error, ExportOptions, export, export_stream};
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::operand::{self, Use, is_raw_named};
use crate::progress::Unit;
use crate::report::{STDOUT, human, note};
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  $ melv export web out.raw
  $ melv export web out.raw --force
  $ melv export web - | sha256sum";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Image of the store
    #[arg(value_name = "REF")]
    image: String,
    /// File to make, or block device to fill; - writes standard output
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// Format to write: raw
    #[arg(long, value_name = "F")]
    format: Option<String>,
    /// Replace a file that exists
    #[arg(long)]
    force: bool,
}

pub fn run(args: &Args, session: &Session<'_>) -> Result<Exit, Failure> {
    is_raw_named(args.format.as_deref(), Use::Write)?;
    let to_stdout = args.out == Path::new("-");
    if to_stdout && std::io::stdout().is_terminal() {
        return Err(Failure::Usage(
            "a disk is not written to a terminal; send it to a file or a pipe".into(),
        ));
    }
    if !to_stdout {
        check_target(&args.out)?;
    }
    let store = session.store()?;
    let image = operand::image(&store, &args.image)?;
    let bar = session.progress(format!("export {}", args.image), Unit::Bytes);
    let progress = |done, size| bar.update(done, Some(size));
    let options =
        ExportOptions { force: args.force, progress: Some(&progress), cancel: Some(session.cancel()?) };
    if to_stdout {
        let bytes = export_stream(&image, &mut std::io::stdout().lock(), STDOUT, &options).map_err(gone)?;
        if session.globals.json {
            note(&json!({ "bytes": bytes }).to_string());
        }
    } else {
        let bytes = export(&image, &args.out, &options)?;
        bar.update(bytes, Some(bytes));
        drop(bar);
        let text = format!("{}: {} ({bytes} bytes)\n", args.out.display(), human(bytes));
        session.out().summary(&json!({ "bytes": bytes }), &text)?;
    }
    Ok(Exit::Done)
}

/// `--force` replaces files, not the devices, pipes and folders of the system.
fn check_target(out: &Path) -> Result<(), Failure> {
    let Ok(metadata) = std::fs::metadata(out) else { return Ok(()) };
    if metadata.is_file() || metadata.file_type().is_block_device() {
        return Ok(());
    }
    let expected = "a regular file or a block device (- writes to a pipe)";
    Err(Error::Invalid { what: "output", found: out.display().to_string(), expected }.into())
}

/// A reader that closes its end knows that it has not got all.
fn gone(error: Error) -> Failure {
    match error {
        Error::Io { source, .. } if source.kind() == ErrorKind::BrokenPipe => Failure::ReaderGone,
        other => other.into(),
    }
}
