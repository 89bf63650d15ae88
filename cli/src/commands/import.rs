//! `melv import`: stores a disk.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use melv::limits::{BLOCK_LEN, CHUNK_BLOCKS_DEFAULT, CHUNK_BLOCKS_MAX, LEVEL_DEFAULT};
use melv::{ArrivedSpan, SpanStream};
use melv::{
    ContentId, ImageRef, ImportOptions, ImportReport, Progress, RefName, Source, StoreError, Warning,
};
use serde_json::json;

use crate::disk::{InputDisk, print_warnings};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::format::{Format, read_format};
use crate::heard;
use crate::incoming::{self, Incoming};
use crate::input_file::is_empty;
use crate::memory::Needs;
use crate::naming::new_name;
use crate::operand::stored_ref;
use crate::producer::Producer;
use crate::progress::Unit;
use crate::session::Session;
use crate::stdin::{self, Pipe};
use crate::units::{human, size};

const EXAMPLES: &str = "\
Examples:
  $ melv import disk.raw
  $ melv import new.raw --name web:2 --parent web
  $ melv import new.raw --name web --replace
  $ melv import - --name web:3 --json <disk.raw
  $ melv import disk.vmdk --name db
  $ melv import - --name db <stream.vmdk
  $ melv import --from-command --name web:5 -- gunzip -c disk.raw.gz
  $ melv import - --name web:6 --size 3696128 <disk.raw
  $ melv import web.melv --name web:4

FILE is a raw disk, a VMDK with its extents beside it, or a bundle, optionally with #NAME[:TAG]. Unlike
`melv load`, an import from a bundle shares every 4 KiB block that the store already has; the image id
may change, the content id does not. The format of a pipe is detected from its content, as for a file;
a VMDK in a pipe must be a stream (streamOptimized).

An empty input is refused. A pipe does not show whether its writer succeeded: --from-command runs CMD
without a shell, imports its output, and stores nothing unless CMD exits with 0. --size and --expect
check the size and the content id of the disk. If they differ, nothing is stored, and the exit code
is 1 or 17.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Disk file, block device or bundle; - reads standard input
    #[arg(value_name = "FILE", required_unless_present_any = ["from_command", "command"])]
    file: Option<PathBuf>,
    /// Import the standard output of CMD; nothing is stored unless CMD exits with 0
    #[arg(long, conflicts_with = "file", requires = "command")]
    from_command: bool,
    /// Program to run with --from-command, and its arguments
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
    /// Name of the image [default: its name in the bundle, else one made from the file name]
    #[arg(long, value_name = "N[:T]")]
    name: Option<String>,
    /// Format of the file: raw, vmdk or bundle [default: detected from its content]
    #[arg(long, value_name = "F")]
    format: Option<String>,
    /// Image of which this disk is a later version
    #[arg(long, value_name = "REF")]
    parent: Option<String>,
    /// zstd level, 1 to 19
    #[arg(long, value_name = "L", default_value_t = LEVEL_DEFAULT)]
    #[arg(value_parser = clap::value_parser!(i32).range(1..=19))]
    level: i32,
    /// Chunk size, the amount of data compressed together, 4K to 4M
    #[arg(long, value_name = "SIZE", value_parser = size, default_value_t = default_chunk())]
    chunk: u64,
    /// Take the name from the image that has it
    #[arg(long)]
    replace: bool,
    /// Decode and check all data in the store that the new image shares
    #[arg(long)]
    check_shared: bool,
    /// Pad the disk with zeros to a multiple of 512 bytes
    #[arg(long)]
    pad: bool,
    /// Fail unless the disk has this size in bytes
    #[arg(long, value_name = "SIZE", value_parser = size)]
    size: Option<u64>,
    /// Fail unless the disk has this content id, as printed by `melv digest`
    #[arg(long, value_name = "CONTENT-ID", value_parser = content_id)]
    expect: Option<ContentId>,
}

impl Args {
    /// Returns the memory an import needs for chunks at every stage, the compressor's tables, and new blocks.
    pub fn needs(&self) -> Needs {
        let chunks = self.chunk.min(CHUNK_BLOCKS_MAX as u64 * BLOCK_LEN as u64).saturating_mul(20);
        Needs { base_bytes: (28 << 20) + self.block_bytes(), thread_bytes: (12 << 20) + chunks }
    }

    /// Returns the memory for the new blocks of the disk. A pipe gets the maximum, since its size is unknown.
    fn block_bytes(&self) -> u64 {
        const BYTES_MAX: u64 = 60 << 20;
        let file = self.file.as_ref().and_then(|file| std::fs::metadata(file).ok());
        match file.filter(std::fs::Metadata::is_file) {
            Some(file) => (file.blocks() * 512 / BLOCK_LEN as u64).saturating_mul(64).min(BYTES_MAX),
            None => BYTES_MAX,
        }
    }
}

fn content_id(text: &str) -> Result<ContentId, String> {
    text.parse().map_err(|_| "expected 64 hexadecimal digits, as printed by `melv digest`".into())
}

const fn default_chunk() -> u64 {
    CHUNK_BLOCKS_DEFAULT as u64 * BLOCK_LEN as u64
}

/// The origin of the disk.
enum From<'a> {
    File(&'a Path),
    Stdin,
    Command(&'a [OsString]),
}

impl Args {
    fn from(&self) -> Result<From<'_>, Failure> {
        match (&self.file, self.command.as_slice()) {
            (None, command) if self.from_command => Ok(From::Command(command)),
            // The file after `--`, whose name starts with a dash.
            (None, [file]) => Ok(From::File(Path::new(file))),
            (Some(file), []) if file == Path::new("-") => Ok(From::Stdin),
            (Some(file), []) => Ok(From::File(file)),
            _ => Err(Failure::Usage("give either one FILE, or --from-command and a command after --".into())),
        }
    }
}

pub fn run(args: &Args, session: &Session<'_>) -> Result<Exit, Failure> {
    let format = read_format(args.format.as_deref())?;
    let name = args.name.as_deref().map(new_name).transpose()?;
    let job = Job { args, session, parent: args.parent.as_deref().map(parent_ref).transpose()? };
    chunk_blocks(args.chunk)?;
    let named = |name: Option<RefName>, what: &str| {
        name.ok_or_else(|| Failure::Usage(format!("a disk from {what} needs a name; give it with --name")))
    };
    match args.from()? {
        From::Stdin => job.import_stdin(format, named(name, "standard input")?),
        From::Command(command) => job.import_command(command, format, named(name, "a command")?),
        From::File(path) => job.import_file(path, format, name),
    }
}

/// Parses the parent, which must be in the store: the import reuses its pages.
fn parent_ref(text: &str) -> Result<ImageRef, Failure> {
    stored_ref(text).map_err(|failure| match &failure {
        Failure::Melv(error) => match error.detail() {
            Some(StoreError::ReadOnly { object }) => Failure::Usage(format!(
                "the parent must be an image of the store; `melv load {object}` loads the bundle into it"
            )),
            _ => failure,
        },
        _ => failure,
    })
}

/// An import in progress.
struct Job<'a> {
    args: &'a Args,
    session: &'a Session<'a>,
    parent: Option<ImageRef>,
}

/// The result of an import and its duration.
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
            size_bytes: self.args.size,
            content: self.args.expect,
            ..ImportOptions::named(name)
        })
    }

    fn import_file(
        &self,
        path: &Path,
        format: Option<Format>,
        name: Option<RefName>,
    ) -> Result<Exit, Failure> {
        // Open the input first, so that a missing file does not create a store.
        let empty = || Failure::Empty { name: path.display().to_string() };
        if is_empty(path) {
            return Err(empty());
        }
        let disk = InputDisk::open(path, format, self.args.pad, self.session)?;
        if disk.len() == 0 {
            return Err(empty());
        }
        disk.check_len(self.args.size)?;
        let name = name.or_else(|| disk.default_name(path)).ok_or_else(|| {
            Failure::Usage(format!("cannot make a name from {:?}; give one with --name", path.display()))
        })?;
        let unchanged = || disk.check_unchanged();
        // The size was checked above, against the length of the file without padding.
        let options =
            ImportOptions { before_commit: Some(&unchanged), size_bytes: None, ..self.options(name)? };
        let attributed = |imported| disk.in_bundle(imported);
        let done =
            self.import(Source::device(disk.device()), options, self.session.cancel()?, &attributed)?;
        done.print(disk.warnings(), self.session)
    }

    fn import_stdin(&self, format: Option<Format>, name: RefName) -> Result<Exit, Failure> {
        let options = self.options(name)?;
        self.import_pipe(Pipe::stdin(self.session.cancel()?)?, stdin::NAME, format, options)
    }

    fn import_command(
        &self,
        command: &[OsString],
        format: Option<Format>,
        name: RefName,
    ) -> Result<Exit, Failure> {
        let options = self.options(name)?;
        let (producer, pipe) = Producer::start(command, self.session.cancel()?)?;
        let ended_well = || producer.finish();
        let options = ImportOptions { before_commit: Some(&ended_well), ..options };
        let imported = self.import_pipe(pipe, producer.name(), format, options);
        match imported {
            Ok(exit) => {
                producer.done();
                Ok(exit)
            }
            Err(failure) => Err(producer.blame(failure)),
        }
    }

    fn import_pipe(
        &self,
        pipe: Pipe<'_>,
        from: &str,
        format: Option<Format>,
        options: ImportOptions<'_>,
    ) -> Result<Exit, Failure> {
        let cancel = self.session.cancel()?;
        let attributed = |imported: melv::Result<ImportReport>| imported.map_err(Failure::of_disk);
        match incoming::open_some(pipe, from, format)? {
            Incoming::Raw(raw) => {
                self.import(Source::stream(raw, from), options, cancel, &attributed)?.print(&[], self.session)
            }
            Incoming::Vmdk(stream) if stream.size() == 0 => Err(Failure::Empty { name: from.into() }),
            Incoming::Vmdk(mut stream) => {
                let source = Source::spans(Lent(stream.as_mut()), from);
                let done = self.import(source, options, cancel, &attributed)?;
                done.print(stream.warnings(), self.session)
            }
        }
    }

    /// Imports from `source`; `attributed` turns an error into the failure to report.
    fn import(
        &self,
        source: Source<'_>,
        options: ImportOptions<'_>,
        cancel: &AtomicBool,
        attributed: &dyn Fn(melv::Result<ImportReport>) -> Result<ImportReport, Failure>,
    ) -> Result<Done, Failure> {
        let begun = Instant::now();
        let store = self.session.store_or_new()?;
        let bar = self.session.progress(format!("import {}", options.name), Unit::Bytes);
        let progress = |at: Progress| bar.update(at.done_bytes, at.size_bytes);
        let options = ImportOptions { progress: Some(&progress), cancel: Some(cancel), ..options };
        let report = attributed(store.import(source, &options))?;
        bar.update(report.size_bytes, Some(report.size_bytes));
        Ok(Done { report, seconds: begun.elapsed().as_secs_f64() })
    }
}

/// A borrowed stream, so that the caller still has it after the import.
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
    fn print(&self, warnings: &[Warning], session: &Session<'_>) -> Result<Exit, Failure> {
        let Self { report, seconds } = self;
        let warnings = [print_warnings(warnings, session), heard::take()].concat();
        let json = json!({
            "image": report.image.to_string(),
            "content": report.content.to_string(),
            "name": report.name.to_string(),
            "size": report.size_bytes,
            "data_bytes": report.data_bytes,
            "new_bytes": report.new_bytes,
            "stored_bytes": report.stored_bytes,
            "seconds": seconds,
            "warnings": warnings,
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
        None => {
            Err(Failure::Usage(format!("--chunk {bytes} is invalid, expected a power of two from 4K to 4M")))
        }
    }
}
