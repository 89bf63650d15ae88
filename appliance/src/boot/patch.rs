//! Changes of a volume: the bytes that differ from those of its plan.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::error::{BootError, InstallFault};
use super::files::Files;
use crate::fat::{self, FatError};

/// Bytes of a volume that replace those of its plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// The first byte, from the start of the volume.
    pub offset_bytes: u64,
    /// The bytes: whole sectors.
    pub bytes: Vec<u8>,
}

/// Bytes of all patches at most: several times syslinux's 184,320.
const MAX_BYTES: usize = 1 << 20;

const SECTOR_BYTES: u64 = 512;

/// Bytes of the boot sector that tell the volume's parameters, and the mark at its end: they stay.
const PARAMETERS: [Range<u64>; 2] = [11..62, 510..512];

/// Compares the volume `file` with its plan. Patches are in ascending order, with a gap between any two.
pub(super) fn compare(
    plan: &fat::Plan<'_>,
    files: &Files<'_>,
    file: &File,
) -> Result<Result<Vec<Patch>, (u64, InstallFault)>, BootError> {
    let expected = plan.size_bytes();
    let unreadable = |source| FatError::Write { offset: 0, source };
    let length = file.metadata().map_err(unreadable)?.len();
    if length != expected {
        return Ok(Err((length, InstallFault::Length { expected })));
    }
    let mut kept: Vec<Range<u64>> = PARAMETERS.to_vec();
    for fat::File { path, content } in files.as_fat() {
        kept.extend(plan.offset_bytes(path).map(|start| start..start.saturating_add(content.len())));
    }
    let mut comparison =
        Comparison { file, kept, position: 0, found: Vec::new(), patches: Vec::new(), bytes: 0, fault: None };
    plan.write(&Vec::new(), &mut comparison)?;
    Ok(comparison.fault.map_or(Ok(comparison.patches), Err))
}

/// Takes the bytes of a plan, and compares them with those of a file.
struct Comparison<'a> {
    file: &'a File,
    /// Ranges that must not change, though they may hold zeros.
    kept: Vec<Range<u64>>,
    position: u64,
    found: Vec<u8>,
    patches: Vec<Patch>,
    bytes: usize,
    fault: Option<(u64, InstallFault)>,
}

impl Comparison<'_> {
    /// Compares the bytes of one sector, or of a part of it.
    fn sector(&mut self, offset: u64, planned: &[u8], found: &[u8]) {
        if planned == found || self.fault.is_some() {
            return;
        }
        let is_kept = |at: u64| self.kept.iter().any(|range| range.contains(&at));
        let pairs =
            (offset..).zip(planned.iter().zip(found)).filter(|(_, (planned, found))| planned != found);
        // Of what was not zero, the boot sector's code alone may change.
        let mut changes =
            pairs.map(|(at, (planned, _))| (at, is_kept(at) || *planned != 0 && at >= SECTOR_BYTES));
        if let Some((at, _)) = changes.find(|(_, is_wrong)| *is_wrong) {
            self.fault = Some((at, InstallFault::Overwritten));
            return;
        }
        self.bytes += found.len();
        if self.bytes > MAX_BYTES {
            self.fault = Some((offset, InstallFault::TooMuch { max: MAX_BYTES }));
            return;
        }
        match self.patches.last_mut() {
            Some(last) if last.offset_bytes + last.bytes.len() as u64 == offset => {
                last.bytes.extend_from_slice(found);
            }
            _ => self.patches.push(Patch { offset_bytes: offset, bytes: found.to_vec() }),
        }
    }
}

impl Write for Comparison<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut found = std::mem::take(&mut self.found);
        found.resize(bytes.len(), 0);
        self.file.read_exact_at(&mut found, self.position)?;
        let (mut offset, mut at) = (self.position, 0);
        while at < bytes.len() {
            let rest = SECTOR_BYTES - offset % SECTOR_BYTES;
            let end = bytes.len().min(at + rest as usize);
            self.sector(offset, &bytes[at..end], &found[at..end]);
            offset += (end - at) as u64;
            at = end;
        }
        self.position = offset;
        self.found = found;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
