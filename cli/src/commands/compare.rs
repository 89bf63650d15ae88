//! `melv compare`: are an image and another disk the same?

use std::path::Path;

use melv::{BlockDevice, Comparison, Image, compare};
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::operand::{self, Operand, Use, is_raw_named, metadata, open_disk};
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  $ melv compare web disk.raw
  $ melv compare web web:latest

Exits with 0 where they are the same, with 5 where they differ.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Image of the store
    #[arg(value_name = "REF")]
    image: String,
    /// Image of the store, else a raw disk file or block device
    #[arg(value_name = "FILE|REF")]
    other: String,
    /// Take the file as this format [default: what it looks like]
    #[arg(long, value_name = "F")]
    format: Option<String>,
}

pub fn run(args: &Args, session: &Session<'_>) -> Result<Exit, Failure> {
    let as_raw = is_raw_named(args.format.as_deref(), Use::Read)?;
    let store = session.store()?;
    let image = operand::image(&store, &args.image)?;
    let found = match Operand::find(&args.other, Ok(store))? {
        Operand::Image(other) => compare(&image, other.as_ref(), Some(session.cancel()?))?,
        Operand::File(path) => compare_file(&image, &path, as_raw, session)?,
    };
    let (offset, text, exit) = match found {
        Comparison::Same => (None, "same\n".into(), Exit::Done),
        Comparison::Differ { offset } => (Some(offset), format!("differ at byte {offset}\n"), Exit::Differ),
    };
    session.out().summary(&json!({ "same": offset.is_none(), "offset": offset }), &text)?;
    Ok(exit)
}

/// A file that is no whole number of sectors long is compared as if zeros followed, and then
/// differs where it ends: it is not the disk.
fn compare_file(
    image: &Image,
    path: &Path,
    as_raw: bool,
    session: &Session<'_>,
) -> Result<Comparison, Failure> {
    let raw = open_disk(path, as_raw, true)?;
    let found = compare(image, &raw, Some(session.cancel()?))?;
    raw.check_unchanged()?;
    let attributes = metadata(path)?;
    let end = if attributes.is_file() { attributes.len() } else { raw.size() };
    Ok(match found {
        Comparison::Same if end < raw.size() => Comparison::Differ { offset: end },
        Comparison::Same => Comparison::Same,
        Comparison::Differ { offset } => Comparison::Differ { offset: offset.min(end) },
    })
}
