//! A locator: the packs that hold a list's chunks (spec section 6.5).
//!
//! ```text
//! page 0 | page 1 | … | root | u64 length of the root
//! ```
//!
//! A page holds 1024 records of 24 bytes. Record *n* belongs to chunk *n*. Records beyond the last chunk's
//! are further frames, linked from the record of their chunk.

use super::cursor::{Cursor, Put};
use super::header::{self, Kind};
use super::pack::FRAMES_OFFSET;
use crate::digest::{DIGEST_LEN, Digest, ListId, PackId, object_digest};
use crate::fault::RuleViolation;
use crate::limits::{
    FRAME_LEN_MAX, LIST_CHUNKS_MAX, LOCATOR_PACKS_MAX, LOCATOR_RECORDS_MAX, TABLE_PAGE_RECORDS,
};

/// Bytes in a record.
pub const RECORD_LEN: usize = 24;
/// Bytes of the root's length at the end of the file.
pub const TRAILER_LEN: u64 = 8;
/// The pack number of a chunk that has no frame in this store.
pub const ABSENT: u32 = u32::MAX;
const TARGET_PACK: u32 = 0;
/// The bits of the length field: the length itself, and the flag of a partial frame.
const LEN_MASK: u32 = (1 << 24) - 1;
const PARTIAL: u32 = 1 << 24;
/// A flag of the root: some chunk is held in part or not at all.
const IN_PART: u32 = 1;
const TARGET_LEN: usize = 4 + DIGEST_LEN;

/// The position of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramePlace {
    /// The number of the pack in the locator, or [`ABSENT`].
    pub pack: u32,
    /// The first byte in the pack.
    pub offset: u32,
    /// The length, in bytes.
    pub len: u32,
    /// Whether the frame holds only some blocks of its chunk.
    pub partial: bool,
    /// The record of a further frame of the same chunk, or zero.
    pub next: u32,
    /// The guard of the frame's bytes.
    pub guard: u64,
}

impl FramePlace {
    /// The record of a chunk that has no frame.
    pub const NONE: Self = Self { pack: ABSENT, offset: 0, len: 0, partial: false, next: 0, guard: 0 };

    /// Whether this is the record of a chunk that has no frame.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.pack == ABSENT
    }

    /// Whether this single frame holds all of its chunk.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.is_absent() && !self.partial
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.pack);
        out.put_u32(self.offset);
        out.put_u32(self.len | if self.partial { PARTIAL } else { 0 });
        out.put_u32(self.next);
        out.put_u64(self.guard);
    }

    /// Decodes and checks record `number`, which lies in `page`, against the locator's root.
    pub fn decode(page: &[u8], number: u64, root: &LocatorRoot) -> Result<Self, RuleViolation> {
        let within = usize::try_from(number % TABLE_PAGE_RECORDS).unwrap_or(usize::MAX) * RECORD_LEN;
        let mut cursor = Cursor::new(page.get(within..).unwrap_or_default());
        let (pack, offset, len) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
        let (next, guard) = (cursor.u32()?, cursor.u64()?);
        if pack == ABSENT {
            return if (offset, len, next, guard) == (0, 0, 0, 0) {
                Ok(Self::NONE)
            } else {
                Err(RuleViolation::Reserved { offset: within as u64 + 4 })
            };
        }
        if len & !(PARTIAL | LEN_MASK) != 0 {
            return Err(RuleViolation::Reserved { offset: within as u64 + 11 });
        }
        let partial = len & PARTIAL != 0;
        let place = Self { pack, offset, len: len & LEN_MASK, partial, next, guard };
        if u64::from(place.offset) < FRAMES_OFFSET {
            return Err(RuleViolation::FramePlace { end: u64::from(place.offset), max: FRAMES_OFFSET });
        }
        let packs = u32::try_from(root.packs.len()).unwrap_or(u32::MAX);
        if place.pack >= packs {
            return Err(RuleViolation::LocatorPack { found: place.pack, max: packs });
        }
        if u64::from(place.len) > FRAME_LEN_MAX {
            return Err(RuleViolation::Limit {
                what: "frame length",
                found: u64::from(place.len),
                max: FRAME_LEN_MAX,
            });
        }
        let next = u64::from(place.next);
        let later = next > number && next >= root.chunks && next < root.records;
        if next != 0 && !later {
            return Err(RuleViolation::LocatorLink { found: next, max: root.records });
        }
        Ok(place)
    }
}

/// A locator's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocatorRoot {
    /// The list whose chunks are located.
    pub list: ListId,
    /// The number of chunks in the list.
    pub chunks: u64,
    /// The number of records; those beyond `chunks` are further frames.
    pub records: u64,
    /// Whether some chunk is held only in part, or not at all.
    pub in_part: bool,
    /// The packs that records refer to by number.
    pub packs: Vec<PackId>,
    /// The digest of each page of records.
    pub pages: Vec<Digest>,
}

impl LocatorRoot {
    /// Encodes the root, which ends in its own digest.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = header::begin(Kind::Locator);
        out.put_id(&self.list);
        out.put_u64(self.chunks);
        out.put_u64(self.records);
        out.put_u32(u32::try_from(self.packs.len()).unwrap_or(u32::MAX));
        out.put_u32(if self.in_part { IN_PART } else { 0 });
        for pack in &self.packs {
            out.put_u32(TARGET_PACK);
            out.put_id(pack);
        }
        for page in &self.pages {
            out.put_digest(page);
        }
        header::finish_checked(&mut out);
        out
    }

    /// Decodes and checks a root.
    pub fn decode(bytes: &[u8]) -> Result<Self, RuleViolation> {
        let (_, mut cursor) = header::decode_whole(Kind::Locator, bytes)?;
        let (list, chunks, records) = (cursor.id()?, cursor.u64()?, cursor.u64()?);
        if chunks > LIST_CHUNKS_MAX {
            return Err(RuleViolation::Limit {
                what: "chunks of a locator",
                found: chunks,
                max: LIST_CHUNKS_MAX,
            });
        }
        if records < chunks || records > LOCATOR_RECORDS_MAX {
            return Err(RuleViolation::Limit {
                what: "records of a locator",
                found: records,
                max: LOCATOR_RECORDS_MAX,
            });
        }
        let pack_count = u64::from(cursor.u32()?);
        let flags = cursor.u32()?;
        if flags & !IN_PART != 0 {
            return Err(RuleViolation::Reserved { offset: cursor.position() as u64 - 4 });
        }
        if pack_count > LOCATOR_PACKS_MAX {
            return Err(RuleViolation::Limit {
                what: "packs of a locator",
                found: pack_count,
                max: LOCATOR_PACKS_MAX,
            });
        }
        let pack_count = cursor.count("packs of a locator", pack_count, TARGET_LEN)?;
        let mut targets = Cursor::new(cursor.bytes(pack_count * TARGET_LEN)?);
        let page_count =
            cursor.count("pages of a locator", records.div_ceil(TABLE_PAGE_RECORDS), DIGEST_LEN)?;
        let pages = (0..page_count).map(|_| cursor.digest()).collect::<Result<_, _>>()?;
        let covered = bytes.get(..cursor.position()).unwrap_or_default();
        let checksum = cursor.digest()?;
        cursor.end()?;
        if object_digest(covered) != checksum {
            return Err(RuleViolation::Checksum);
        }
        // Only after the checksum: a damaged target must not be reported as an unsupported kind.
        let packs = (0..pack_count).map(|_| target(&mut targets)).collect::<Result<_, _>>()?;
        Ok(Self { list, chunks, records, in_part: flags & IN_PART != 0, packs, pages })
    }
}

fn target(cursor: &mut Cursor<'_>) -> Result<PackId, RuleViolation> {
    match cursor.u32()? {
        TARGET_PACK => cursor.id(),
        found => Err(RuleViolation::TargetKind { found }),
    }
}
