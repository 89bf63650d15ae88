//! `melv import`: a disk into the store.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use melv::limits::{BLOCK_LEN, CHUNK_BLOCKS_DEFAULT, LEVEL_DEFAULT};
use melv::{ImportOptions, ImportReport, Progress, RefName, Source};
use serde_json::json;

use crate::args::size;
use crate::exit::{Exit, Failure};
use crate::operand::{Use, is_raw_named, open_disk};
use crate::progress::Unit;
use crate::report::human;
use crate::session::Session;
use crate::stdin::{self, Stdin};

const EXAMPLES: &str = "\
Examples:
  $ melv import disk.raw
  $ melv import new.raw --name web:2 --parent web
  $ melv import new.raw --name web --replace
  $ melv import - --name web:3 --json <disk.raw";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Disk file or block device; - reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Name of the image [default: made from the file's]
    #[arg(long, value_name = "N[:T]")]
    name: Option<String>,
    /// Take the file as this format [default: what it looks like; raw for -]
    #[arg(long, value_name = "F")]
    format: Option<String>,
    /// The image that this disk is a later version of
    #[arg(long, value_name = "REF")]
    parent: Option<String>,
    /// zstd level, 1 to 19
    #[arg(long, value_name = "L", default_value_t = LEVEL_DEFAULT)]
    #[arg(value_parser = clap::value_parser!(i32).range(1..=19))]
    level: i32,
    /// Bytes compressed together, 4K to 4M
    #[arg(long, value_name = "SIZE", value_parser = size, default_value_t = default_chunk())]
    chunk: u64,
    /// Take the name from the image that has it
    #[arg(long)]
    replace: bool,
    /// Add zeros to a size that is no multiple of 512
    #[arg(long)]
    pad: bool,
}

const fn default_chunk() -> u64 {
    CHUNK_BLOCKS_DEFAULT as u64 * BLOCK_LEN as u64
}

pub fn run(args: &Args, session: &Session<'_>) -> Result<Exit, Failure> {
    let as_raw = is_raw_named(args.format.as_deref(), Use::Read)?;
    let options = ImportOptions {
        replace: args.replace,
        parent: args.parent.as_deref().map(str::parse).transpose()?,
        level: args.level,
        chunk_blocks: chunk_blocks(args.chunk)?,
        pad: args.pad,
        ..ImportOptions::named(name_of(args)?)
    };
    if args.file == Path::new("-") {
        let cancel = session.cancel()?;
        let source = Source::stream(Stdin::open(cancel)?, stdin::NAME);
        return import(source, options, cancel, session);
    }
    // The input first: no store is made for one that is not there.
    let raw = open_disk(&args.file, as_raw, args.pad)?;
    let unchanged = || raw.check_unchanged();
    let options = ImportOptions { before_commit: Some(&unchanged), ..options };
    import(Source::device(&raw), options, session.cancel()?, session)
}

fn import(
    source: Source<'_>,
    options: ImportOptions<'_>,
    cancel: &AtomicBool,
    session: &Session<'_>,
) -> Result<Exit, Failure> {
    let begun = Instant::now();
    let store = session.store_or_new()?;
    let bar = session.progress(format!("import {}", options.name), Unit::Bytes);
    let progress = |at: Progress| bar.update(at.done_bytes, at.size_bytes);
    let options = ImportOptions { progress: Some(&progress), cancel: Some(cancel), ..options };
    let report = store.import(source, &options)?;
    bar.update(report.size_bytes, Some(report.size_bytes));
    drop(bar);
    tell(&report, begun.elapsed().as_secs_f64(), session)?;
    Ok(Exit::Done)
}

fn name_of(args: &Args) -> Result<RefName, Failure> {
    if let Some(name) = &args.name {
        return Ok(name.parse()?);
    }
    if args.file == Path::new("-") {
        return Err(Failure::Usage("a disk from standard input needs a name; give it with --name".into()));
    }
    let stem = args.file.file_stem().unwrap_or_default().to_string_lossy();
    RefName::from_stem(&stem).ok_or_else(|| {
        Failure::Usage(format!("no name can be made of {:?}; give one with --name", args.file.display()))
    })
}

fn chunk_blocks(bytes: u64) -> Result<u32, Failure> {
    let blocks = u32::try_from(bytes / BLOCK_LEN as u64).ok();
    match blocks.filter(|_| bytes.is_multiple_of(BLOCK_LEN as u64)) {
        Some(blocks) => Ok(blocks),
        None => Err(Failure::Usage(format!(
            "--chunk {bytes} is not acceptable: expected a power of two from 4K to 4M"
        ))),
    }
}

fn tell(report: &ImportReport, seconds: f64, session: &Session<'_>) -> melv::Result<()> {
    let json = json!({
        "image": report.image.to_string(),
        "content": report.content.to_string(),
        "name": report.name.to_string(),
        "size": report.size_bytes,
        "data_bytes": report.data_bytes,
        "new_bytes": report.new_bytes,
        "stored_bytes": report.stored_bytes,
        "seconds": seconds,
    });
    let text = format!(
        "{}  @{}\n{} disk, {} data, {} of it new, stored in {}; {seconds:.1} s\n",
        report.name,
        report.image.short(),
        human(report.size_bytes),
        human(report.data_bytes),
        human(report.new_bytes),
        human(report.stored_bytes),
    );
    session.out().summary(&json, &text)
}
