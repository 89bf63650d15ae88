//! `melv compare`: are an image and another disk the same?

use std::path::Path;

use melv::source::RawFile;
use melv::{BlockDevice, Comparison, Error, compare};
use serde_json::json;

use crate::disk::{Disk, say_warnings};
use crate::exit::{Exit, Failure};
use crate::format::{Format, read_format};
use crate::operand::{Found, Operand, blame, metadata};
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  $ melv compare web disk.raw
  $ melv compare web disk.vmdk
  $ melv compare web.melv web:latest

Exits with 0 where they are the same, with 5 where they differ.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Image of the store or of a bundle
    #[arg(value_name = "REF")]
    image: String,
    /// Image of the store or of a bundle, else a disk file or block device
    #[arg(value_name = "FILE|REF")]
    other: String,
    /// Take the file as raw, vmdk or bundle [default: what it looks like]
    #[arg(long, value_name = "F")]
    format: Option<String>,
}

pub fn run(args: &Args, session: &Session<'_>) -> Result<Exit, Failure> {
    let format = read_format(args.format.as_deref())?;
    let one = Found::of(&args.image, session)?;
    // A format asked for makes a path to a bundle a file.
    let is_file = matches!(format, Some(Format::Raw | Format::Vmdk)) && Path::new(&args.other).exists();
    let operand = match Operand::find_named(&args.other, is_file, session)? {
        Operand::Image(other) => Disk::Image(other, None),
        Operand::File(path) => Disk::open(&path, format, true, session)?,
    };
    let found = compare(&one.image, operand.device(), Some(session.cancel()?));
    let found = found.map_err(|error| tell(error, &one, &operand))?;
    operand.check_unchanged()?;
    let found = match &operand {
        Disk::Raw(raw) => at_end_of_file(found, raw, Path::new(&args.other))?,
        Disk::Vmdk(_) | Disk::Image(..) => found,
    };
    let (offset, text, exit) = match found {
        Comparison::Same => (None, "same\n".into(), Exit::Done),
        Comparison::Differ { offset } => (Some(offset), format!("differ at byte {offset}\n"), Exit::Differ),
    };
    let warnings = say_warnings(operand.warnings(), session);
    let json = json!({ "same": offset.is_none(), "offset": offset, "warnings": warnings });
    session.out().summary(&json, &text)?;
    Ok(exit)
}

/// What went wrong, told of the one that it went wrong with.
fn tell(error: Error, one: &Found, other: &Disk) -> Failure {
    match other {
        Disk::Image(other, _) => blame(error, &[one, other]),
        Disk::Raw(_) | Disk::Vmdk(_) => blame(error, &[one]),
    }
}

/// A file that is no whole number of sectors long is compared as if zeros followed, and then
/// differs where it ends: it is not the disk.
fn at_end_of_file(found: Comparison, raw: &RawFile, path: &Path) -> Result<Comparison, Failure> {
    let attributes = metadata(path)?;
    let end = if attributes.is_file() { attributes.len() } else { raw.size() };
    Ok(match found {
        Comparison::Same if end < raw.size() => Comparison::Differ { offset: end },
        Comparison::Same => Comparison::Same,
        Comparison::Differ { offset } => Comparison::Differ { offset: offset.min(end) },
    })
}
