//! A manifest record: a manifest as a store or bundle holds it (spec section 7.2).
//!
//! ```text
//! header | lengths | checksum | manifest | places of the pages | map root | span root
//! ```
//!
//! No id covers the places, so moving pages rewrites only them. The parts needed to begin reading lie in one
//! piece at the front.

use super::cursor::{Cursor, Put};
use super::header::{self, HEADER_LEN, Kind};
use crate::digest::{DIGEST_LEN, Digest, Hasher, PageFileId};
use crate::fault::RuleViolation;
use crate::limits::{LEAVES_MAX, MANIFEST_LEN_MAX, PAGE_FILES_MAX, PAGE_LEN_MAX, ROOT_LEN_MAX};

/// Bytes before the manifest.
pub const HEAD_LEN: u64 = HEADER_LEN as u64 + 32 + DIGEST_LEN as u64;
const PLACE_LEN: usize = 16;
/// The file number of a page that a bundle leaves to its base.
pub const FILE_OF_BASE: u32 = u32::MAX;

/// The position of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PagePlace {
    /// The number of the page file in the record.
    pub file: u32,
    /// The first byte in the file.
    pub offset: u64,
    /// The length, in bytes.
    pub len: u32,
}

/// The lengths at the front of a record, which determine all positions in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHead {
    /// The length of the manifest, in bytes.
    pub manifest_len: u32,
    /// The length of the map root in bytes, or zero.
    pub map_root_len: u32,
    /// The length of the span root in bytes, or zero.
    pub span_root_len: u32,
    /// The number of page files.
    pub files: u32,
    /// The number of map leaves with a place.
    pub map_pages: u32,
    /// The number of span pages with a place.
    pub span_pages: u32,
    checksum: Digest,
}

impl PagePlace {
    /// The place of a page that a bundle leaves to its base.
    pub const OF_BASE: Self = Self { file: FILE_OF_BASE, offset: 0, len: 0 };
}

impl RecordHead {
    /// Decodes and checks the first [`HEAD_LEN`] bytes of a record of `record_len` bytes.
    pub fn decode(bytes: &[u8], record_len: u64) -> Result<Self, RuleViolation> {
        let mut cursor = Cursor::new(bytes);
        let header = header::decode(Kind::Record, &mut cursor)?;
        let found = record_len.saturating_sub(HEADER_LEN as u64);
        if header.body_len != found {
            return Err(RuleViolation::BodyLength { declared: header.body_len, found });
        }
        let head = Self {
            manifest_len: cursor.u32()?,
            map_root_len: cursor.u32()?,
            span_root_len: cursor.u32()?,
            files: cursor.u32()?,
            map_pages: cursor.u32()?,
            span_pages: cursor.u32()?,
            checksum: {
                cursor.reserved(8)?;
                cursor.digest()?
            },
        };
        let limit = |what, found: u32, max: u64| {
            if u64::from(found) <= max {
                Ok(())
            } else {
                Err(RuleViolation::Limit { what, found: u64::from(found), max })
            }
        };
        limit("manifest length", head.manifest_len, MANIFEST_LEN_MAX)?;
        limit("map root length", head.map_root_len, ROOT_LEN_MAX)?;
        limit("span root length", head.span_root_len, ROOT_LEN_MAX)?;
        limit("page files", head.files, PAGE_FILES_MAX)?;
        limit("map pages", head.map_pages, LEAVES_MAX)?;
        limit("span pages", head.span_pages, LEAVES_MAX)?;
        let expected = head.span_root_offset() + u64::from(head.span_root_len);
        if expected == record_len {
            Ok(head)
        } else {
            Err(RuleViolation::BodyLength { declared: expected.saturating_sub(HEADER_LEN as u64), found })
        }
    }

    /// Returns the offset of the places.
    #[must_use]
    pub fn places_offset(&self) -> u64 {
        HEAD_LEN + u64::from(self.manifest_len)
    }

    /// Returns the length of the places, in bytes.
    #[must_use]
    pub fn places_len(&self) -> u64 {
        u64::from(self.files) * DIGEST_LEN as u64
            + (u64::from(self.map_pages) + u64::from(self.span_pages)) * PLACE_LEN as u64
    }

    /// Returns the offset of the map root.
    #[must_use]
    pub fn map_root_offset(&self) -> u64 {
        self.places_offset() + self.places_len()
    }

    /// Returns the offset of the span root.
    #[must_use]
    pub fn span_root_offset(&self) -> u64 {
        self.map_root_offset() + u64::from(self.map_root_len)
    }
}

/// The positions of an image's pages in a store or bundle.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places {
    /// The page files.
    pub files: Vec<PageFileId>,
    /// The place of each map leaf, in the map root's order.
    pub map: Vec<PagePlace>,
    /// The place of each span page, in the span root's order.
    pub span: Vec<PagePlace>,
}

impl Places {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for file in &self.files {
            out.put_id(file);
        }
        for place in self.map.iter().chain(&self.span) {
            out.put_u32(place.file);
            out.put_u32(place.len);
            out.put_u64(place.offset);
        }
        out
    }

    /// Decodes and checks the places that follow the manifest; `head_bytes` are the record's first bytes.
    /// With `has_base`, a base may hold some of the pages.
    pub fn decode(
        bytes: &[u8],
        head_bytes: &[u8],
        head: &RecordHead,
        has_base: bool,
    ) -> Result<Self, RuleViolation> {
        let covered = head_bytes.get(..HEADER_LEN + 32).unwrap_or_default();
        if places_checksum(covered, bytes) != head.checksum {
            return Err(RuleViolation::Checksum);
        }
        let mut cursor = Cursor::new(bytes);
        let files = (0..head.files).map(|_| cursor.id()).collect::<Result<_, _>>()?;
        let mut places = |count: u32| {
            (0..count).map(|_| decode_place(&mut cursor, head.files, has_base)).collect::<Result<_, _>>()
        };
        let places = Self { files, map: places(head.map_pages)?, span: places(head.span_pages)? };
        cursor.end()?;
        Ok(places)
    }
}

fn decode_place(cursor: &mut Cursor<'_>, files: u32, has_base: bool) -> Result<PagePlace, RuleViolation> {
    let place = PagePlace { file: cursor.u32()?, len: cursor.u32()?, offset: cursor.u64()? };
    if has_base && place == PagePlace::OF_BASE {
        return Ok(place);
    }
    if place.file >= files {
        return Err(RuleViolation::PagePlace { found: u64::from(place.file), max: u64::from(files) });
    }
    if u64::from(place.len) > PAGE_LEN_MAX {
        return Err(RuleViolation::Limit {
            what: "page length",
            found: u64::from(place.len),
            max: PAGE_LEN_MAX,
        });
    }
    Ok(place)
}

fn places_checksum(head: &[u8], places: &[u8]) -> Digest {
    let mut hasher = Hasher::object();
    hasher.update(head);
    hasher.update(places);
    hasher.finish()
}

/// Encodes a record.
#[must_use]
pub fn encode(manifest: &[u8], places: &Places, map_root: &[u8], span_root: &[u8]) -> Vec<u8> {
    let len32 = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
    let coded = places.encode();
    let body_len = 64 + manifest.len() + coded.len() + map_root.len() + span_root.len();
    let mut out = Vec::with_capacity(HEADER_LEN + body_len);
    header::encode(Kind::Record, body_len as u64, &mut out);
    for len in [manifest.len(), map_root.len(), span_root.len()] {
        out.put_u32(len32(len));
    }
    for count in [places.files.len(), places.map.len(), places.span.len()] {
        out.put_u32(len32(count));
    }
    out.put_u64(0);
    let checksum = places_checksum(&out, &coded);
    out.put_digest(&checksum);
    for part in [manifest, &coded, map_root, span_root] {
        out.extend_from_slice(part);
    }
    out
}
