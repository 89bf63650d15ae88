//! `melv digest`: the content id of any disk, without a store.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use melv::content::{ContentHasher, span_of_bytes};
use melv::limits::SPAN_LEN;
use melv::ondisk::manifest::Geometry;
use melv::source::{ArrivedSpan, SpanStream, padded_size};
use melv::{Digest, Error, content_of, vmdk};
use rayon::prelude::*;
use serde_json::json;

use crate::disk::{Disk, say_warnings};
use crate::exit::{Exit, Failure};
use crate::format::{Format, read_format};
use crate::progress::{Progress, Unit};
use crate::session::Session;
use crate::stdin::{self, Stdin};

const EXAMPLES: &str = "\
Examples:
  $ melv digest disk.raw
  $ melv digest disk.vmdk
  $ melv digest web.melv
  $ melv export web - | melv digest -";

/// Spans read before they are hashed together, for each thread.
const SPANS_PER_THREAD: usize = 4;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Disk file, block device or bundle; - reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Take the file as raw, vmdk or bundle [default: what it looks like; raw for -]
    #[arg(long, value_name = "F")]
    format: Option<String>,
    /// Add zeros to a size that is no multiple of 512
    #[arg(long)]
    pad: bool,
}

pub fn run(args: &Args, session: &Session<'_>) -> Result<Exit, Failure> {
    let format = read_format(args.format.as_deref())?;
    let bar = session.progress("digest", Unit::Bytes);
    let (content, size, warnings) = if args.file == Path::new("-") {
        let cancel = session.cancel()?;
        match format {
            None | Some(Format::Raw) => {
                let (mut raw, looks_like) = Stdin::open_raw(cancel)?;
                if format.is_none() && !session.globals.quiet {
                    stdin::note_format(looks_like);
                }
                let (content, size) = content_of_stdin(&mut raw, args.pad, &bar)?;
                (content, size, Vec::new())
            }
            Some(Format::Vmdk) => content_of_stream(cancel, &bar)?,
            Some(Format::Bundle) => return Err(Failure::Usage(stdin::NO_BUNDLE.into())),
        }
    } else {
        let disk = Disk::open(&args.file, format, args.pad, session)?;
        let progress = |done, size| bar.update(done, Some(size));
        let content = disk.told(content_of(disk.device(), Some(session.cancel()?), Some(&progress)))?;
        disk.check_unchanged()?;
        (content, disk.device().size(), disk.warnings().to_vec())
    };
    bar.update(size, Some(size));
    drop(bar);
    let warnings = say_warnings(&warnings, session);
    let json = json!({ "content": content.to_string(), "size": size, "warnings": warnings });
    session.out().data(&json, &format!("{content}  {}\n", args.file.display()))?;
    Ok(Exit::Done)
}

/// The content id of a VMDK that arrives: spans are decoded and hashed side by side.
fn content_of_stream(
    cancel: &AtomicBool,
    bar: &Progress,
) -> Result<(Digest, u64, Vec<vmdk::Warning>), Failure> {
    let mut stream = vmdk::Stream::open(Stdin::open(cancel)?, stdin::NAME).map_err(Failure::of_vmdk)?;
    let size = stream.size();
    let mut content = ContentHasher::new(size, Geometry::of_size(size).spans());
    let digest = |span: ArrivedSpan| {
        let start = span.number * SPAN_LEN as u64;
        let mut data = vec![0; (size - start).min(SPAN_LEN as u64) as usize];
        (span.fill)(&mut data)?;
        Ok((span.number, span_of_bytes(&data)))
    };
    loop {
        let mut batch = Vec::new();
        while batch.len() < rayon::current_num_threads() * SPANS_PER_THREAD {
            let Some(span) = stream.next_span()? else { break };
            batch.push(span);
        }
        let Some(last) = batch.last().map(|span| span.number) else { break };
        let digests = batch.into_par_iter().map(digest).collect::<melv::Result<Vec<_>>>()?;
        for (number, digest) in digests {
            if let Some(digest) = digest {
                content.span(number, &digest);
            }
        }
        bar.update(((last + 1) * SPAN_LEN as u64).min(size), Some(size));
    }
    Ok((content.finish(), size, stream.warnings().to_vec()))
}

/// The size comes last but is hashed first, so the digests of the spans are kept: 40 bytes for
/// each MiB that is not zero.
fn content_of_stdin(stdin: &mut impl Read, pad: bool, bar: &Progress) -> Result<(Digest, u64), Failure> {
    let batch_len = (rayon::current_num_threads() * SPANS_PER_THREAD * SPAN_LEN) as u64;
    let mut batch = Vec::new();
    let mut spans: Vec<(u64, Digest)> = Vec::new();
    let mut size = 0;
    loop {
        batch.clear();
        let read = stdin.take(batch_len).read_to_end(&mut batch);
        read.map_err(|error| Error::io("read", format!("{} at byte {size}", stdin::NAME), error))?;
        let is_last = (batch.len() as u64) < batch_len;
        let first = size / SPAN_LEN as u64;
        let digests: Vec<_> = batch.par_chunks(SPAN_LEN).map(span_of_bytes).collect();
        spans.extend((first..).zip(digests).filter_map(|(number, digest)| Some((number, digest?))));
        size += batch.len() as u64;
        bar.update(size, None);
        if is_last {
            break;
        }
    }
    let size = padded_size(size, pad, stdin::NAME)?;
    Ok((ContentHasher::of_spans(size, Geometry::of_size(size).spans(), spans), size))
}
