//! Checks whether a pack or page file is sound, i.e. its bytes match its name (spec section 9.4).
//!
//! These checks open objects anew: an object in the open-object cache may have been replaced.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::names;
use super::objects::read_range;
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result, StoreError};
use crate::fault::RuleViolation;
use crate::guard::guard_by_key;
use crate::ondisk::cursor::Cursor;
use crate::ondisk::header::{self, HEADER_LEN, Kind};
use crate::ondisk::pack::{self, FRAMES_OFFSET, FrameRecord, Trailer};
use crate::storage::{ObjectName, ObjectSource, ReadAt};

/// The number of bytes read at a time.
const PIECE_LEN: u64 = 1 << 20;

/// Opens an object, bypassing the open-object cache.
///
/// # Errors
/// [`StoreError::Corrupt`] with `missing` if it does not exist: another object refers to it.
pub(crate) fn open_anew(source: &dyn ObjectSource, name: &ObjectName) -> Result<Arc<dyn ReadAt>> {
    source.open(name).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => StoreError::corrupt(name, 0, RuleViolation::Missing),
        _ => StoreError::unopened(name, error),
    })
}

/// Checks the first bytes of a page file.
pub(crate) fn check_page_file_head(head: &[u8]) -> std::result::Result<(), RuleViolation> {
    match header::decode(Kind::PageFile, &mut Cursor::new(head))?.body_len {
        0 => Ok(()),
        declared => Err(RuleViolation::BodyLength { declared, found: 0 }),
    }
}

/// Checks header and id of a page file, reading all of it. Its pages are checked by the images that place
/// them; there may be other bytes in between.
pub(crate) fn check_page_file(object: &dyn ReadAt, name: &str) -> Result<()> {
    let head = read_range(object, name, 0, HEADER_LEN as u64)?;
    check_page_file_head(&head).map_err(|fault| StoreError::corrupt(name, 0, fault))?;
    let mut hasher = Hasher::object();
    let mut offset = 0;
    while offset < object.len() {
        let piece = read_range(object, name, offset, (object.len() - offset).min(PIECE_LEN))?;
        hasher.update(&piece);
        offset += piece.len() as u64;
    }
    check_name(name, &hasher.finish())
}

/// Reads the trailer of a pack, which must match its length and its name: one read.
pub(crate) fn pack_trailer(object: &dyn ReadAt, name: &str) -> Result<Trailer> {
    let len = object.len();
    let tail_len = pack::TRAILER_LEN.min(len);
    let tail = read_range(object, name, len - tail_len, tail_len)?;
    let trailer =
        pack::decode_trailer(&tail, len).map_err(|fault| StoreError::corrupt(name, len - tail_len, fault))?;
    check_name(name, &trailer.id.digest())?;
    Ok(trailer)
}

/// Checks head, trailer, index and name of a pack. Returns the index entries of its frames.
pub(crate) fn check_pack(object: &dyn ReadAt, name: &str) -> Result<Vec<FrameRecord>> {
    let head = read_range(object, name, 0, FRAMES_OFFSET)?;
    pack::decode_head(&head).map_err(|fault| StoreError::corrupt(name, 0, fault))?;
    let trailer = pack_trailer(object, name)?;
    let index = read_range(object, name, trailer.index_offset(), trailer.index_len())?;
    pack::decode_index(&head, &index, &trailer)
        .map_err(|fault| StoreError::corrupt(name, trailer.index_offset(), fault))
}

/// Reads all frames of a pack. Returns the offsets of frames with a wrong guard, and the first error.
/// Memory: a piece of the pack, and four bytes for each bad frame.
pub(crate) fn bad_frames(
    object: &dyn ReadAt,
    name: &str,
    records: &[FrameRecord],
) -> Result<(BTreeSet<u32>, Option<Error>)> {
    let (mut bad, mut first) = (BTreeSet::new(), None);
    let mut offset = FRAMES_OFFSET;
    let mut rest = records;
    while !rest.is_empty() {
        let (mut count, mut len) = (0, 0);
        while count < rest.len() && (count == 0 || len + u64::from(rest[count].len) <= PIECE_LEN) {
            len += u64::from(rest[count].len);
            count += 1;
        }
        let piece = read_range(object, name, offset, len)?;
        let mut at = 0;
        for record in &rest[..count] {
            let stored = &piece[at..at + record.len as usize];
            let found = guard_by_key(record.key, stored);
            if found != record.guard {
                let place = offset + at as u64;
                bad.insert(u32::try_from(place).unwrap_or(u32::MAX));
                let fault = RuleViolation::FrameGuard { expected: record.guard, found };
                first.get_or_insert_with(|| StoreError::corrupt(name, place, fault));
            }
            at += stored.len();
        }
        offset += len;
        rest = &rest[count..];
    }
    Ok((bad, first))
}

/// Fails if an object's id does not match its name.
pub(crate) fn check_name(name: &str, found: &Digest) -> Result<()> {
    if names::digest_of(name) == Some(*found) {
        return Ok(());
    }
    let expected = names::digest_of(name).map(|id| id.to_string()).unwrap_or_default();
    Err(StoreError::corrupt(name, 0, RuleViolation::PageDigest { expected, found: found.to_string() }))
}
