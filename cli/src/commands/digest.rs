//! `melv digest`: the content id of any disk, without a store.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use melv::content::{ContentHasher, span_of_bytes};
use melv::limits::SPAN_LEN;
use melv::ondisk::manifest::Geometry;
use melv::source::padded_size;
use melv::{BlockDevice, Digest, Error, content_of};
use rayon::prelude::*;
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::operand::{Use, is_raw_named, open_disk};
use crate::progress::{Progress, Unit};
use crate::session::Session;
use crate::stdin::{self, Stdin};

const EXAMPLES: &str = "\
Examples:
  $ melv digest disk.raw
  $ melv export web - | melv digest -";

/// Spans read before they are hashed together, for each thread.
const SPANS_PER_THREAD: usize = 4;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Disk file or block device; - reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Take the file as this format [default: what it looks like; raw for -]
    #[arg(long, value_name = "F")]
    format: Option<String>,
    /// Add zeros to a size that is no multiple of 512
    #[arg(long)]
    pad: bool,
}

pub fn run(args: &Args, session: &Session<'_>) -> Result<Exit, Failure> {
    let as_raw = is_raw_named(args.format.as_deref(), Use::Read)?;
    let bar = session.progress("digest", Unit::Bytes);
    let (content, size) = if args.file == Path::new("-") {
        content_of_stdin(session.cancel()?, args.pad, &bar)?
    } else {
        let raw = open_disk(&args.file, as_raw, args.pad)?;
        let progress = |done, size| bar.update(done, Some(size));
        let content = content_of(&raw, Some(session.cancel()?), Some(&progress))?;
        raw.check_unchanged()?;
        (content, raw.size())
    };
    bar.update(size, Some(size));
    drop(bar);
    let json = json!({ "content": content.to_string(), "size": size });
    session.out().data(&json, &format!("{content}  {}\n", args.file.display()))?;
    Ok(Exit::Done)
}

/// The size comes last but is hashed first, so the digests of the spans are kept: 40 bytes for
/// each MiB that is not zero.
fn content_of_stdin(cancel: &AtomicBool, pad: bool, bar: &Progress) -> Result<(Digest, u64), Failure> {
    let mut stdin = Stdin::open(cancel)?;
    let batch_len = (rayon::current_num_threads() * SPANS_PER_THREAD * SPAN_LEN) as u64;
    let mut batch = Vec::new();
    let mut spans: Vec<(u64, Digest)> = Vec::new();
    let mut size = 0;
    loop {
        batch.clear();
        let read = (&mut stdin).take(batch_len).read_to_end(&mut batch);
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
