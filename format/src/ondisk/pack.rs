//! A pack: header, frames back to back, then the index and the trailer (spec section 6.2).

use super::cursor::{Cursor, Put};
use super::header::{self, HEADER_LEN, Kind};
use crate::digest::{DIGEST_LEN, Hasher, PackId};
use crate::fault::RuleViolation;
use crate::limits::{FRAME_LEN_MAX, PACK_FRAMES_MAX, PACK_LEN_MAX};

/// The offset of the first frame.
pub const FRAMES_OFFSET: u64 = HEADER_LEN as u64 + 16;
/// Bytes in one record of the index.
pub const RECORD_LEN: usize = 20;
/// Bytes in the trailer.
pub const TRAILER_LEN: u64 = 8 + 8 + DIGEST_LEN as u64 + 8;
const END_MARK: &[u8; 8] = b"melvpend";

/// The index's record of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRecord {
    /// The first eight bytes of the chunk's id: the seed of the guard.
    pub key: u64,
    /// The length, in bytes.
    pub len: u32,
    /// The guard.
    pub guard: u64,
}

/// Encodes the first bytes of a pack.
#[must_use]
pub fn encode_head() -> Vec<u8> {
    let mut out = Vec::new();
    header::encode(Kind::Pack, 0, &mut out);
    out.put_u32(0); // key slot
    out.extend_from_slice(&[0; 12]);
    out
}

/// Checks the first bytes of a pack.
pub fn decode_head(bytes: &[u8]) -> Result<(), RuleViolation> {
    let mut cursor = Cursor::new(bytes);
    let header = header::decode(Kind::Pack, &mut cursor)?;
    if header.body_len != 0 {
        return Err(RuleViolation::BodyLength { declared: header.body_len, found: 0 });
    }
    let key_slot = cursor.u32()?;
    if key_slot != 0 {
        return Err(RuleViolation::KeySlot { found: key_slot });
    }
    cursor.reserved(12)
}

/// Encodes the last bytes of a pack, and computes its id.
#[must_use]
pub fn encode_tail(records: &[FrameRecord]) -> (Vec<u8>, PackId) {
    let mut out = Vec::with_capacity(records.len() * RECORD_LEN + 64);
    for record in records {
        out.put_u64(record.key);
        out.put_u32(record.len);
        out.put_u64(record.guard);
    }
    let frames_len: u64 = records.iter().map(|record| u64::from(record.len)).sum();
    let id = pack_id(&encode_head(), &out, records.len() as u64, frames_len);
    out.put_u64(records.len() as u64);
    out.put_u64(frames_len);
    out.put_id(&id);
    out.extend_from_slice(END_MARK);
    (out, id)
}

/// Computes the id from the header, index and counts. It covers the frames against accidents through their
/// guards; the chunk ids cover their content.
fn pack_id(head: &[u8], index: &[u8], frames: u64, frames_len: u64) -> PackId {
    let mut hasher = Hasher::object();
    hasher.update(head);
    hasher.update(index);
    hasher.update(&frames.to_le_bytes());
    hasher.update(&frames_len.to_le_bytes());
    PackId::new(hasher.finish())
}

/// The contents of a trailer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer {
    /// The number of frames in the pack.
    pub frames: u64,
    /// The total length of the frames, in bytes.
    pub frames_len: u64,
    /// The pack's id.
    pub id: PackId,
}

impl Trailer {
    /// Returns the offset of the index.
    #[must_use]
    pub fn index_offset(&self) -> u64 {
        FRAMES_OFFSET + self.frames_len
    }

    /// Returns the length of the index, in bytes.
    #[must_use]
    pub fn index_len(&self) -> u64 {
        self.frames * RECORD_LEN as u64
    }
}

/// Decodes and checks the last bytes of a pack of `pack_len` bytes.
pub fn decode_trailer(bytes: &[u8], pack_len: u64) -> Result<Trailer, RuleViolation> {
    let mut cursor = Cursor::new(bytes);
    let trailer = Trailer { frames: cursor.u64()?, frames_len: cursor.u64()?, id: cursor.id()? };
    if cursor.bytes(END_MARK.len())? != END_MARK {
        return Err(RuleViolation::PackEnd);
    }
    if trailer.frames == 0 || trailer.frames > PACK_FRAMES_MAX {
        return Err(RuleViolation::Limit {
            what: "frames of a pack",
            found: trailer.frames,
            max: PACK_FRAMES_MAX,
        });
    }
    if pack_len > PACK_LEN_MAX {
        return Err(RuleViolation::Limit { what: "pack length", found: pack_len, max: PACK_LEN_MAX });
    }
    let expected = trailer.frames_len.checked_add(FRAMES_OFFSET + trailer.index_len() + TRAILER_LEN);
    if expected != Some(pack_len) {
        return Err(RuleViolation::PackLength { expected: expected.unwrap_or(u64::MAX), found: pack_len });
    }
    Ok(trailer)
}

/// Decodes an index and checks it against its pack's head and trailer.
pub fn decode_index(head: &[u8], index: &[u8], trailer: &Trailer) -> Result<Vec<FrameRecord>, RuleViolation> {
    if pack_id(head, index, trailer.frames, trailer.frames_len) != trailer.id {
        return Err(RuleViolation::Checksum);
    }
    let mut cursor = Cursor::new(index);
    let count = cursor.count("frames of a pack", trailer.frames, RECORD_LEN)?;
    let mut records = Vec::with_capacity(count);
    let mut frames_len = 0;
    for _ in 0..count {
        let record = FrameRecord { key: cursor.u64()?, len: cursor.u32()?, guard: cursor.u64()? };
        if u64::from(record.len) > FRAME_LEN_MAX {
            return Err(RuleViolation::Limit {
                what: "frame length",
                found: u64::from(record.len),
                max: FRAME_LEN_MAX,
            });
        }
        frames_len += u64::from(record.len);
        records.push(record);
    }
    cursor.end()?;
    if frames_len == trailer.frames_len {
        Ok(records)
    } else {
        Err(RuleViolation::PackLength { expected: frames_len, found: trailer.frames_len })
    }
}
