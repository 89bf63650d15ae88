//! `melv digest`: computes the content id of any disk, without a store.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use melv::content::ContentHasher;
use melv::limits::SPAN_LEN;
use melv::ondisk::manifest::Geometry;
use melv::padded_size;
use melv::{ContentId, Digest, ErrorKind, Warning, content_of};
use serde_json::json;

use crate::disk::{InputDisk, print_warnings};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::format::{Format, read_format};
use crate::incoming::{self, Incoming};
use crate::operand::Operand;
use crate::progress::{Progress, Unit};
use crate::session::Session;
use crate::stdin::{self, Pipe};

const EXAMPLES: &str = "\
Examples:
  $ melv digest disk.raw
  $ melv digest disk.vmdk
  $ melv digest web.melv
  $ melv digest web
  $ melv export web - | melv digest -

The output has the format of sha256sum. A file takes precedence over an image of the same name.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Disk file, block device, bundle or image of the store; - reads standard input
    #[arg(value_name = "FILE|REF")]
    file: PathBuf,
    /// Format of the file: raw, vmdk or bundle [default: detected from its content]
    #[arg(long, value_name = "F")]
    format: Option<String>,
    /// Pad the disk with zeros to a multiple of 512 bytes
    #[arg(long)]
    pad: bool,
}

pub fn run(args: &Args, session: &Session<'_>) -> Result<Exit, Failure> {
    let format = read_format(args.format.as_deref())?;
    let bar = session.progress("digest", Unit::Bytes);
    let (content, size, warnings) = if args.file == Path::new("-") {
        let pipe = Pipe::stdin(session.cancel()?)?;
        content_of_pipe(incoming::open(pipe, stdin::NAME, format)?, args.pad, &bar)?
    } else {
        let disk = open(args, format, session)?;
        let progress = |done, size| bar.update(done, Some(size));
        let content = disk.in_bundle(content_of(disk.device(), Some(session.cancel()?), Some(&progress)))?;
        disk.check_unchanged()?;
        (content, disk.device().size(), disk.warnings().to_vec())
    };
    bar.update(size, Some(size));
    drop(bar);
    let warnings = print_warnings(&warnings, session);
    let json = json!({ "content": content.to_string(), "size": size, "warnings": warnings });
    session.out().data_bytes(&json, &line(&content, &args.file))?;
    Ok(Exit::Done)
}

/// Opens the file of that name, if there is one, otherwise the image.
fn open(args: &Args, format: Option<Format>, session: &Session<'_>) -> Result<InputDisk, Failure> {
    match (InputDisk::open(&args.file, format, args.pad, session), args.file.to_str()) {
        (Err(Failure::NoFile { path }), Some(text)) if !text.contains('/') => {
            match Operand::find(text, session) {
                Ok(Operand::Image(found)) => Ok(InputDisk::Image(found, None)),
                Err(Failure::Melv(error)) if error.kind() == ErrorKind::NoStore => {
                    Err(Failure::NoFile { path })
                }
                Ok(Operand::File(path)) => InputDisk::open(&path, format, args.pad, session),
                Err(failure) => Err(failure),
            }
        }
        (opened, _) => opened,
    }
}

/// Formats a line as `sha256sum` prints it. A backslash at its start marks an escaped name, one whose bytes
/// would otherwise break the line.
fn line(content: &ContentId, file: &Path) -> Vec<u8> {
    let name = file.as_os_str().as_bytes();
    let mut escaped = Vec::with_capacity(name.len());
    for byte in name {
        match byte {
            b'\\' => escaped.extend(b"\\\\"),
            b'\n' => escaped.extend(b"\\n"),
            b'\r' => escaped.extend(b"\\r"),
            other => escaped.push(*other),
        }
    }
    let begin: &[u8] = if escaped == name { b"" } else { b"\\" };
    [begin, content.to_string().as_bytes(), b"  ", &escaped, b"\n"].concat()
}

/// Computes the content id of a piped disk. The size is hashed first but may be known last, so the span
/// digests are kept: 40 bytes for each MiB that is not zero.
fn content_of_pipe(
    mut disk: Incoming<'_>,
    pad: bool,
    bar: &Progress,
) -> Result<(ContentId, u64, Vec<Warning>), Failure> {
    let known = disk.known_size();
    let mut spans: Vec<(u64, Digest)> = Vec::new();
    let size = incoming::for_each_batch(&mut disk, stdin::NAME, &mut |batch| {
        spans.extend(incoming::digests(batch));
        let end = batch.last().map_or(0, |(number, data)| number * SPAN_LEN as u64 + data.len() as u64);
        bar.update(end, known);
        Ok(())
    })?;
    let size = padded_size(size, pad, stdin::NAME)?;
    let content = ContentHasher::of_spans(size, Geometry::of_size(size).spans(), spans);
    Ok((content, size, disk.warnings().to_vec()))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn names_are_escaped_as_sha256sum_does() {
        let content: ContentId = "ab".repeat(32).parse().expect("a digest");
        let line = |name: &[u8]| line(&content, Path::new(OsStr::from_bytes(name)));
        let plain = format!("{content}  ").into_bytes();
        assert_eq!(line(b"disk.raw"), [&plain[..], b"disk.raw\n"].concat());
        assert_eq!(line(b"a\nb\\c\r"), [b"\\", &plain[..], b"a\\nb\\\\c\\r\n"].concat());
        // Other bytes are not escaped.
        assert_eq!(line(b"\xff\t"), [&plain[..], b"\xff\t\n"].concat());
    }
}
