//! The file or block device that is written.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use crate::failure::Failure;
use crate::log::note;
use crate::session::Session;
use crate::units::human;

/// Fails if `out` is the block device that holds the bundle. A file is replaced only once the output is
/// complete, but a device would be overwritten while it is read.
pub fn check_not_read(out: &Path, bundle: Option<&Path>) -> Result<(), Failure> {
    let Some(bundle) = bundle else { return Ok(()) };
    let (Ok(from), Ok(to)) = (bundle.canonicalize(), out.canonicalize()) else { return Ok(()) };
    let is_device = std::fs::metadata(&to).is_ok_and(|to| to.file_type().is_block_device());
    if is_device && from == to {
        let text = format!("{} would be overwritten while it is read", out.display());
        return Err(Failure::Usage(text));
    }
    Ok(())
}

/// Reports the bytes of a block device after the written ones, and returns their number. Returns `None` for
/// files and for devices that were filled.
pub fn note_rest(out: &Path, written: u64, session: &Session<'_>) -> Option<u64> {
    std::fs::metadata(out).ok().filter(|metadata| metadata.file_type().is_block_device())?;
    let room = File::open(out).and_then(|mut device| device.seek(SeekFrom::End(0))).ok()?;
    let left = room.checked_sub(written).filter(|left| *left > 0)?;
    if !session.globals.quiet {
        let (device, human) = (out.display(), human(left));
        note(&format!("melv: note: the last {left} bytes ({human}) of {device} stay unchanged"));
    }
    Some(left)
}
