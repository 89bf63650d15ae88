//! `melv.store`: the file that marks a folder as a store (spec section 5.1).

use super::cursor::Put;
use super::header::{self, Kind};
use crate::digest::{Digest, object_digest};
use crate::fault::RuleViolation;

/// The contents of a store's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreHeader {
    /// The writer mask: bits unknown to a writer forbid it to write.
    pub writer_mask: u32,
}

/// Encodes the header of a new store: always the same bytes.
#[must_use]
pub fn encode() -> Vec<u8> {
    let mut out = header::begin(Kind::Store);
    out.put_digest(&Digest::ZERO); // domain
    header::finish_checked(&mut out);
    out
}

/// Decodes and checks a store's header.
pub fn decode(bytes: &[u8]) -> Result<StoreHeader, RuleViolation> {
    let (header, mut cursor) = header::decode_whole(Kind::Store, bytes)?;
    let domain = cursor.digest()?;
    let covered = bytes.get(..cursor.position()).unwrap_or_default();
    let checksum = cursor.digest()?;
    cursor.end()?;
    if object_digest(covered) != checksum {
        return Err(RuleViolation::Checksum);
    }
    if !domain.is_zero() {
        return Err(RuleViolation::Domain);
    }
    Ok(StoreHeader { writer_mask: header.writer_mask })
}
