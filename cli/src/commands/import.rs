//! `melv import`: a disk into the store.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use melv::limits::{BLOCK_LEN, CHUNK_BLOCKS_DEFAULT, LEVEL_DEFAULT};
use melv::source::{ArrivedSpan, SpanStream};
use melv::vmdk::{self, Warning};
use melv::{Error, ImageRef, ImportOptions, ImportReport, Progress, RefName, Source};
use serde_json::json;

use crate::args::size;
use crate::disk::{Disk, say_warnings};
use crate::exit::{Exit, Failure};
use crate::format::{Format, read_format};
use crate::naming::new_name;
use crate::operand::stored_ref;
use crate::progress::Unit;
use crate::report::human;
use crate::session::Session;
use crate::stdin::{self, Stdin};

const EXAMPLES: &str = "\
Examples:
  $ melv import disk.raw
  $ melv import new.raw --name web:2 --parent web
  $ melv import new.raw --name web --replace
  $ melv import - --name web:3 --json <disk.raw
  $ melv import disk.vmdk --name db
  $ melv import - --format vmdk --name db <stream.vmdk
  $ melv import web.melv --name web:4

FILE is raw, a VMDK (its extents beside it), or a bundle, which may have #NAME[:TAG] behind it.
Other than with `melv load`, every 4 KiB block that the store has is shared; the image id may be
another, the content id is kept. From a pipe, a VMDK must be a stream (streamOptimized).";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Disk file, block device or bundle; - reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Name of the image [default: its name in the bundle, else made from the file's]
    #[arg(long, value_name = "N[:T]")]
    name: Option<String>,
    /// Take the file as raw, vmdk or bundle [default: what it looks like; raw for -]
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
    /// Decode everything of the store that the image comes to share, and check it
    #[arg(long)]
    check_shared: bool,
    /// Add zeros to a size that is no multiple of 512
    #[arg(long)]
    pad: bool,
}

const fn default_chunk() -> u64 {
    CHUNK_BLOCKS_DEFAULT as u64 * BLOCK_LEN as u64
}

pub fn run(args: &Args, session: &Session<'_>) -> Result<Exit, Failure> {
    let format = read_format(args.format.as_deref())?;
    let is_stdin = args.file == Path::new("-");
    let name = args.name.as_deref().map(new_name).transpose()?;
    let job = Job { args, session, parent: args.parent.as_deref().map(parent_ref).transpose()? };
    chunk_blocks(args.chunk)?;
    if is_stdin {
        let text = "a disk from standard input needs a name; give it with --name";
        return job.import_stdin(format, name.ok_or_else(|| Failure::Usage(text.into()))?);
    }
    // The input first: no store is made for one that is not there.
    let disk = Disk::open(&args.file, format, args.pad, session)?;
    let name = name.or_else(|| disk.default_name(&args.file)).ok_or_else(|| {
        Failure::Usage(format!("no name can be made of {:?}; give one with --name", args.file.display()))
    })?;
    let unchanged = || disk.check_unchanged();
    let options = ImportOptions { before_commit: Some(&unchanged), ..job.options(name)? };
    let tell = |imported| disk.told(imported);
    let done = job.import(Source::device(disk.device()), options, session.cancel()?, &tell)?;
    done.say(disk.warnings(), session)
}

/// The parent must be in the store: its pages are used again.
fn parent_ref(text: &str) -> Result<ImageRef, Failure> {
    match stored_ref(text) {
        Err(Failure::Melv(Error::ReadOnly { object })) => Err(Failure::Usage(format!(
            "the parent must be an image of the store; `melv load {object}` brings it there"
        ))),
        other => other,
    }
}

/// What is asked for.
struct Job<'a> {
    args: &'a Args,
    session: &'a Session<'a>,
    parent: Option<ImageRef>,
}

/// What came of it, and after how many seconds.
struct Done {
    report: ImportReport,
    seconds: f64,
}

impl Job<'_> {
    fn options(&self, name: RefName) -> Result<ImportOptions<'static>, Failure> {
        Ok(ImportOptions {
            replace: self.args.replace,
            parent: self.parent.clone(),
            level: self.args.level,
            chunk_blocks: chunk_blocks(self.args.chunk)?,
            check_shared: self.args.check_shared,
            pad: self.args.pad,
            ..ImportOptions::named(name)
        })
    }

    fn import_stdin(&self, format: Option<Format>, name: RefName) -> Result<Exit, Failure> {
        let (session, cancel) = (self.session, self.session.cancel()?);
        let options = self.options(name)?;
        let tell = |imported: melv::Result<ImportReport>| Ok(imported?);
        match format {
            None | Some(Format::Raw) => {
                let (raw, looks_like) = Stdin::open_raw(cancel)?;
                if format.is_none() && !session.globals.quiet {
                    stdin::note_format(looks_like);
                }
                let source = Source::stream(raw, stdin::NAME);
                self.import(source, options, cancel, &tell)?.say(&[], session)
            }
            Some(Format::Vmdk) => {
                let stdin = Stdin::open(cancel)?;
                let mut stream = vmdk::Stream::open(stdin, stdin::NAME).map_err(Failure::of_vmdk)?;
                let source = Source::spans(Lent(&mut stream), stdin::NAME);
                let done = self.import(source, options, cancel, &tell)?;
                done.say(stream.warnings(), session)
            }
            Some(Format::Bundle) => Err(Failure::Usage(stdin::NO_BUNDLE.into())),
        }
    }

    /// Imports; `tell` makes of an error what is to be told of it.
    fn import(
        &self,
        source: Source<'_>,
        options: ImportOptions<'_>,
        cancel: &AtomicBool,
        tell: &dyn Fn(melv::Result<ImportReport>) -> Result<ImportReport, Failure>,
    ) -> Result<Done, Failure> {
        let begun = Instant::now();
        let store = self.session.store_or_new()?;
        let bar = self.session.progress(format!("import {}", options.name), Unit::Bytes);
        let progress = |at: Progress| bar.update(at.done_bytes, at.size_bytes);
        let options = ImportOptions { progress: Some(&progress), cancel: Some(cancel), ..options };
        let report = tell(store.import(source, &options))?;
        bar.update(report.size_bytes, Some(report.size_bytes));
        Ok(Done { report, seconds: begun.elapsed().as_secs_f64() })
    }
}

/// A stream that is still there when the import is done.
struct Lent<'a, S>(&'a mut S);

impl<S: SpanStream> SpanStream for Lent<'_, S> {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn sector_bits(&self) -> melv::SectorBits {
        self.0.sector_bits()
    }

    fn next_span(&mut self) -> melv::Result<Option<ArrivedSpan>> {
        self.0.next_span()
    }
}

impl Done {
    fn say(&self, warnings: &[Warning], session: &Session<'_>) -> Result<Exit, Failure> {
        let Self { report, seconds } = self;
        let json = json!({
            "image": report.image.to_string(),
            "content": report.content.to_string(),
            "name": report.name.to_string(),
            "size": report.size_bytes,
            "data_bytes": report.data_bytes,
            "new_bytes": report.new_bytes,
            "stored_bytes": report.stored_bytes,
            "seconds": seconds,
            "warnings": say_warnings(warnings, session),
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
        session.out().summary(&json, &text)?;
        Ok(Exit::Done)
    }
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
