//! The 32 bytes that begin every object (spec section 3).

use super::cursor::{Cursor, Put};
use crate::digest::{Digest, object_digest};
use crate::fault::RuleViolation;

/// Bytes in a header.
pub const HEADER_LEN: usize = 32;
/// The version that this library writes, and the only major version that it reads.
pub const MAJOR: u8 = 1;
const ALGORITHM_BLAKE3: u8 = 1;

/// The kind of an object: the last four bytes of the magic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The header of a store, `melv.store`.
    Store,
    /// A reference record.
    Reference,
    /// A manifest.
    Manifest,
    /// A manifest record: a manifest as stored.
    Record,
    /// The root of a map tree.
    MapRoot,
    /// A leaf of a map tree.
    MapLeaf,
    /// The root of a span tree.
    SpanRoot,
    /// A page of a span tree.
    SpanPage,
    /// The root of a chunk list.
    List,
    /// The root of a locator.
    Locator,
    /// A pack.
    Pack,
    /// A file of map and span pages.
    PageFile,
    /// A bundle.
    Bundle,
    /// The table of a bundle.
    BundleTable,
}

impl Kind {
    /// Returns the magic: `melv` and four letters for the kind.
    #[must_use]
    pub fn magic(self) -> &'static str {
        match self {
            Self::Store => "melvstor",
            Self::Reference => "melvrefr",
            Self::Manifest => "melvmani",
            Self::Record => "melvrecd",
            Self::MapRoot => "melvmapr",
            Self::MapLeaf => "melvmapl",
            Self::SpanRoot => "melvspnr",
            Self::SpanPage => "melvspnp",
            Self::List => "melvlist",
            Self::Locator => "melvloca",
            Self::Pack => "melvpack",
            Self::PageFile => "melvpage",
            Self::Bundle => "melvbndl",
            Self::BundleTable => "melvbtab",
        }
    }
}

/// Appends the header of an object whose body has `body_len` bytes.
pub fn encode(kind: Kind, body_len: u64, out: &mut Vec<u8>) {
    encode_version(kind, 0, body_len, out);
}

fn encode_version(kind: Kind, minor: u8, body_len: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(kind.magic().as_bytes());
    out.extend_from_slice(&[MAJOR, minor, ALGORITHM_BLAKE3, 0]);
    out.put_u32(0); // refuse mask
    out.put_u32(0); // ignore mask
    out.put_u32(0); // writer mask, reserved except in a store's header
    out.put_u64(body_len);
}

/// Begins an object; [`finish`] fills in its body length.
#[must_use]
pub fn begin(kind: Kind) -> Vec<u8> {
    begin_version(kind, 0)
}

/// Begins an object of a minor version.
#[must_use]
pub fn begin_version(kind: Kind, minor: u8) -> Vec<u8> {
    let mut out = Vec::new();
    encode_version(kind, minor, 0, &mut out);
    out
}

/// Fills in the body length of a complete object begun by [`begin`].
pub fn finish(object: &mut [u8]) {
    let body_len = (object.len() - HEADER_LEN) as u64;
    if let Some(field) = object.get_mut(24..HEADER_LEN) {
        field.copy_from_slice(&body_len.to_le_bytes());
    }
}

/// Completes an object begun by [`begin`] and appends the digest of all preceding bytes.
pub fn finish_checked(object: &mut Vec<u8>) {
    let end = object.len();
    object.put_digest(&Digest::ZERO);
    finish(object);
    object.truncate(end);
    let checksum = object_digest(object);
    object.put_digest(&checksum);
}

/// The fields of a header that decoding does not check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The writer mask: a writer must not write if it does not know a bit of it. Zero except in a store's
    /// header.
    pub writer_mask: u32,
    /// The number of bytes after the header; zero for a pack, which is written in one pass.
    pub body_len: u64,
}

/// Takes and checks a header.
pub fn decode(kind: Kind, cursor: &mut Cursor<'_>) -> Result<Header, RuleViolation> {
    let magic = cursor.bytes(8)?;
    if magic != kind.magic().as_bytes() {
        let found = magic.escape_ascii().to_string();
        return Err(RuleViolation::Magic { expected: kind.magic(), found });
    }
    let major = cursor.u8()?;
    if major != MAJOR {
        return Err(RuleViolation::Version { found: major, known: MAJOR });
    }
    let _minor = cursor.u8()?; // newer minor versions add only ignorable fields
    let algorithm = cursor.u8()?;
    if algorithm != ALGORITHM_BLAKE3 {
        return Err(RuleViolation::DigestAlgorithm { found: algorithm });
    }
    cursor.reserved(1)?;
    let refuse = cursor.u32()?;
    if refuse != 0 {
        return Err(RuleViolation::RefuseBit { found: refuse });
    }
    let _ignore = cursor.u32()?;
    let writer_mask = if kind == Kind::Store {
        cursor.u32()?
    } else {
        cursor.reserved(4)?;
        0
    };
    Ok(Header { writer_mask, body_len: cursor.u64()? })
}

/// Takes the header of a whole object, whose end must match the declared body length.
pub fn decode_whole<'a>(kind: Kind, bytes: &'a [u8]) -> Result<(Header, Cursor<'a>), RuleViolation> {
    let mut cursor = Cursor::new(bytes);
    let header = decode(kind, &mut cursor)?;
    let found = cursor.rest().len() as u64;
    if header.body_len == found {
        Ok((header, cursor))
    } else {
        Err(RuleViolation::BodyLength { declared: header.body_len, found })
    }
}
