//! `melv compare`: compares two disks.

use std::path::Path;

use melv::limits::SPAN_LEN;
use melv::{BlockDevice, Comparison, Error, Warning, compare, first_data};
use rayon::prelude::*;
use serde_json::json;

use crate::disk::{InputDisk, print_warnings};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::format::{Format, read_format};
use crate::incoming::{self, Incoming, Span};
use crate::opened_image::{self, OpenedImage};
use crate::operand::Operand;
use crate::session::Session;
use crate::stdin::{self, Pipe};

const EXAMPLES: &str = "\
Examples:
  $ melv compare web disk.raw
  $ melv compare disk.raw disk.vmdk
  $ melv compare web.melv web:latest
  $ melv export web - | melv compare web -

Exits with 0 if the disks are the same, and with 5 if they differ. For disks of different sizes, it
shows whether the longer one begins with the whole shorter one and continues with zeros or data.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Image of the store or of a bundle, or else a disk file or block device
    #[arg(value_name = "REF|FILE")]
    one: String,
    /// The other disk, given in the same way, or - for standard input
    #[arg(value_name = "REF|FILE")]
    other: String,
    /// Format of files: raw, vmdk or bundle [default: detected from their content]
    #[arg(long, value_name = "F")]
    format: Option<String>,
}

pub fn run(args: &Args, session: &Session<'_>) -> Result<Exit, Failure> {
    let format = read_format(args.format.as_deref())?;
    if args.one == "-" {
        let text = "standard input can only be the second disk: `melv compare REF -`";
        return Err(Failure::Usage(text.into()));
    }
    let one = Side::open(&args.one, format, session)?;
    let (found, warnings) = if args.other == "-" {
        let pipe = Pipe::stdin(session.cancel()?)?;
        let mut other = incoming::open(pipe, stdin::NAME, format)?;
        let found = compare_incoming(&one, &mut other, session)?;
        (found, [one.disk.warnings(), other.warnings()].concat())
    } else {
        let other = Side::open(&args.other, format, session)?;
        (compare_sides(&one, &other, session)?, [one.disk.warnings(), other.disk.warnings()].concat())
    };
    one.disk.check_unchanged()?;
    print(args, &found, &warnings, session)
}

/// One of the two disks.
struct Side {
    disk: InputDisk,
    /// The length in bytes, as in the file. If it is not a multiple of the sector size, the device is read as
    /// padded with zeros, but the comparison ends here.
    len: u64,
}

impl Side {
    fn open(text: &str, format: Option<Format>, session: &Session<'_>) -> Result<Self, Failure> {
        // An explicit raw or vmdk format turns a path to a bundle into a plain file.
        let is_file = matches!(format, Some(Format::Disk(_))) && Path::new(text).exists();
        let disk = match Operand::find_named(text, is_file, session)? {
            Operand::Image(found) => InputDisk::Image(found, None),
            Operand::File(path) => InputDisk::open(&path, format, true, session)?,
        };
        Ok(Self { len: disk.len(), disk })
    }

    fn device(&self) -> &dyn BlockDevice {
        self.disk.device()
    }
}

/// The result of a comparison.
#[derive(Debug, Default)]
struct Found {
    /// The size of each disk, in bytes.
    sizes: [u64; 2],
    /// The first byte that differs. If one disk is a prefix of the other, the end of the shorter one.
    offset: Option<u64>,
    /// The first nonzero byte of the longer disk after the end of the shorter one.
    data_behind: Option<u64>,
}

impl Found {
    /// Whether one disk is a prefix of the other.
    fn is_beginning(&self) -> bool {
        self.sizes[0] != self.sizes[1] && self.offset == Some(self.sizes[0].min(self.sizes[1]))
    }
}

fn compare_sides(one: &Side, other: &Side, session: &Session<'_>) -> Result<Found, Failure> {
    let cancel = session.cancel()?;
    let found = compare(one.device(), other.device(), Some(cancel));
    let end = one.len.min(other.len);
    let offset = match found.map_err(|error| blame(error, &one.disk, Some(&other.disk)))? {
        Comparison::Differ { offset } => Some(offset.min(end)),
        Comparison::Same => (one.len != other.len).then_some(end),
    };
    let mut found = Found { sizes: [one.len, other.len], offset, data_behind: None };
    if found.is_beginning() {
        let longer = if one.len > other.len { one } else { other };
        let behind = first_data(longer.device(), end, longer.len, Some(cancel));
        found.data_behind = behind.map_err(|error| blame(error, &longer.disk, None))?;
    }
    other.disk.check_unchanged()?;
    Ok(found)
}

/// Compares with a piped disk, to its end: its size is known only there, and perhaps its format.
fn compare_incoming(one: &Side, other: &mut Incoming<'_>, session: &Session<'_>) -> Result<Found, Failure> {
    let cancel = session.cancel()?;
    let mut offset = None;
    let mut data_behind: Option<u64> = None;
    let mut next = 0;
    let zeros = |start: u64, end: u64| {
        let looked = first_data(one.device(), start.min(one.len), end.min(one.len), Some(cancel));
        looked.map_err(|error| blame(error, &one.disk, None))
    };
    let len = incoming::for_each_batch(other, stdin::NAME, &mut |batch| {
        let compared: Vec<melv::Result<Option<u64>>> =
            batch.par_iter().map(|span| compare_span(one, span)).collect();
        for ((number, data), compared) in batch.iter().zip(compared) {
            let start = number * SPAN_LEN as u64;
            if offset.is_none() {
                offset = zeros(next, start)?.or(compared.map_err(|error| blame(error, &one.disk, None))?);
            }
            next = start + data.len() as u64;
            let behind = one.len.saturating_sub(start).min(data.len() as u64) as usize;
            let at = data[behind..].iter().position(|byte| *byte != 0);
            data_behind = data_behind.or(at.map(|at| start + (behind + at) as u64));
        }
        Ok(())
    })?;
    let end = one.len.min(len);
    if offset.is_none() {
        offset = zeros(next, end)?.or((one.len != len).then_some(end));
    }
    if one.len > len && offset == Some(len) {
        data_behind = zeros(len, one.len)?;
    }
    Ok(Found { sizes: [one.len, len], offset, data_behind })
}

/// Returns the first byte at which a span differs from the disk, up to the end of the disk.
fn compare_span(one: &Side, (number, data): &Span<'_>) -> melv::Result<Option<u64>> {
    let start = number * SPAN_LEN as u64;
    let len = one.len.saturating_sub(start).min(data.len() as u64) as usize;
    if len == 0 {
        return Ok(None);
    }
    let mut held = vec![0; len];
    one.device().read_at(start, &mut held)?;
    let differs = held.iter().zip(*data).position(|(left, right)| left != right);
    Ok(differs.map(|at| start + at as u64))
}

fn print(args: &Args, found: &Found, warnings: &[Warning], session: &Session<'_>) -> Result<Exit, Failure> {
    let behind = match found.data_behind {
        _ if !found.is_beginning() => None,
        Some(_) => Some("data"),
        None => Some("zeros"),
    };
    let [one, other] = found.sizes;
    let text = match found.offset {
        None => "same\n".into(),
        Some(offset) if !found.is_beginning() && one == other => format!("differ at byte {offset}\n"),
        Some(offset) if !found.is_beginning() => {
            format!("differ at byte {offset}; {} has {one} bytes, {} {other}\n", args.one, args.other)
        }
        Some(offset) => {
            let (shorter, longer) =
                if one < other { (&args.one, &args.other) } else { (&args.other, &args.one) };
            let rest = match found.data_behind {
                None => "zeros only".into(),
                Some(at) => format!("data, first at byte {at}"),
            };
            format!(
                "differ in size: {} has {one} bytes, {} {other}\n\
                 all {offset} bytes of {shorter} are the same; {longer} goes on with {rest}\n",
                args.one, args.other
            )
        }
    };
    let json = json!({
        "same": found.offset.is_none(),
        "offset": found.offset,
        "sizes": found.sizes,
        "behind": behind,
        "data_behind": found.data_behind.filter(|_| behind.is_some()),
        "warnings": print_warnings(warnings, session),
    });
    session.out().summary(&json, &text)?;
    Ok(if found.offset.is_none() { Exit::Done } else { Exit::Differ })
}

/// Turns an error into a failure that names the affected image.
fn blame(error: Error, one: &InputDisk, other: Option<&InputDisk>) -> Failure {
    let images: Vec<_> = std::iter::once(one).chain(other).filter_map(image_of).collect();
    opened_image::blame(error, &images)
}

fn image_of(disk: &InputDisk) -> Option<&OpenedImage> {
    match disk {
        InputDisk::Image(found, _) => Some(found.as_ref()),
        InputDisk::Foreign(_) => None,
    }
}
