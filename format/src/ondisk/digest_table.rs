//! Map root, span root and span page: numbers in ascending order, each with a digest (spec section 7.3).
//! All-zero leaves and spans have no entry.

use super::cursor::Put;
use super::header::{self, HEADER_LEN, Kind};
use crate::digest::{DIGEST_LEN, Digest, PageId};
use crate::fault::RuleViolation;

/// Bytes in one entry.
pub const ENTRY_LEN: usize = 4 + DIGEST_LEN;

/// An entry: a leaf of the disk or a span of a leaf, and its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The number of the leaf in the disk, or of the span in the leaf.
    pub index: u32,
    /// The digest of the page or span.
    pub digest: Digest,
}

impl Entry {
    /// Returns the id of the page of an entry of a root.
    #[must_use]
    pub fn page(&self) -> PageId {
        PageId::new(self.digest)
    }
}

/// Returns the length in bytes of a table of `entries`.
#[must_use]
pub fn encoded_len(entries: usize) -> u64 {
    (HEADER_LEN + entries * ENTRY_LEN) as u64
}

/// Encodes a root, which is empty if there are no entries.
#[must_use]
pub fn encode_root(kind: Kind, entries: &[Entry]) -> Vec<u8> {
    if entries.is_empty() { Vec::new() } else { encode(kind, entries) }
}

/// Encodes the table; its object digest names it.
#[must_use]
pub fn encode(kind: Kind, entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_LEN + entries.len() * ENTRY_LEN);
    header::encode(kind, (entries.len() * ENTRY_LEN) as u64, &mut out);
    for entry in entries {
        out.put_u32(entry.index);
        out.put_digest(&entry.digest);
    }
    out
}

/// Decodes and checks a table whose indexes must be below `index_max`.
pub fn decode(kind: Kind, bytes: &[u8], index_max: u64) -> Result<Vec<Entry>, RuleViolation> {
    let (_, mut cursor) = header::decode_whole(kind, bytes)?;
    let body_len = cursor.rest().len();
    if body_len == 0 {
        return Err(RuleViolation::EmptyPage);
    }
    let count = body_len / ENTRY_LEN;
    let mut entries = Vec::with_capacity(count);
    let mut least = 0;
    for _ in 0..count {
        let entry = Entry { index: cursor.u32()?, digest: cursor.digest()? };
        if u64::from(entry.index) < least {
            return Err(RuleViolation::TableOrder { index: entry.index });
        }
        if u64::from(entry.index) >= index_max {
            return Err(RuleViolation::TableRange { index: u64::from(entry.index), max: index_max });
        }
        least = u64::from(entry.index) + 1;
        entries.push(entry);
    }
    cursor.end()?;
    Ok(entries)
}
