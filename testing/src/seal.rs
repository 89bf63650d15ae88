//! Lengths and digests recomputed, as by a forger, so that inputs reach the checks behind them.

use melv_format::digest::object_digest;
use melv_format::ondisk::header::HEADER_LEN;
use melv_format::ondisk::pack;
use melv_format::ondisk::record::{HEAD_LEN, RecordHead};

/// The offset of the checksum in a bundle's head.
const BUNDLE_CHECKSUM_AT: usize = 480;

/// Recomputes body length and digests of any object, according to its magic.
#[must_use]
pub fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if bytes.len() < HEADER_LEN {
        return bytes;
    }
    match bytes.first_chunk::<8>() {
        Some(b"melvpack") => pack_id(&mut bytes),
        Some(b"melvbndl") => bundle_head(&mut bytes),
        Some(magic) => {
            let magic = *magic;
            let body_len = (bytes.len() - HEADER_LEN) as u64;
            bytes[24..HEADER_LEN].copy_from_slice(&body_len.to_le_bytes());
            match &magic {
                b"melvstor" | b"melvrefr" | b"melvloca" => checksum_at_end(&mut bytes),
                b"melvrecd" => record(&mut bytes),
                _ => {}
            }
        }
        None => {}
    }
    bytes
}

/// Replaces the last 32 bytes with the digest of the bytes before them.
pub fn checksum_at_end(bytes: &mut [u8]) {
    if let Some(end) = bytes.len().checked_sub(32) {
        let checksum = object_digest(&bytes[..end]);
        bytes[end..].copy_from_slice(&checksum.0);
    }
}

fn bundle_head(bytes: &mut [u8]) {
    if let Some(checksum) = bytes.get(..BUNDLE_CHECKSUM_AT).map(object_digest) {
        bytes.iter_mut().skip(BUNDLE_CHECKSUM_AT).zip(checksum.0).for_each(|(byte, digest)| *byte = digest);
    }
}

fn record(bytes: &mut [u8]) {
    let len = bytes.len() as u64;
    let Ok(head) = RecordHead::decode(bytes, len) else { return };
    let places = head.places_offset() as usize..head.map_root_offset() as usize;
    let Some(places) = bytes.get(places) else { return };
    let checksum = object_digest(&[&bytes[..HEADER_LEN + 32], places].concat());
    bytes[HEADER_LEN + 32..HEAD_LEN as usize].copy_from_slice(&checksum.0);
}

fn pack_id(bytes: &mut [u8]) {
    let len = bytes.len();
    let Some(at) = len.checked_sub(pack::TRAILER_LEN as usize) else { return };
    if let Ok(trailer) = pack::decode_trailer(&bytes[at..], len as u64) {
        let index = trailer.index_offset() as usize..at;
        let head = &bytes[..pack::FRAMES_OFFSET as usize];
        let id = object_digest(&[head, &bytes[index], &bytes[at..at + 16]].concat());
        bytes[at + 16..at + 48].copy_from_slice(&id.0);
    }
}

/// Recomputes the digests of head and fences and the page checksums of a block index segment, by the layout
/// in `format/src/index/segment.rs`. Handles one stripe, the most an input can have.
pub fn segment(bytes: &mut [u8]) {
    const PAGE_LEN: usize = 4096;
    const CHECKSUM_AT: usize = 340 * 12;
    let field = |bytes: &[u8], at: usize| -> Option<usize> {
        usize::try_from(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?)).ok()
    };
    let (Some(lists), Some(entries)) = (field(bytes, 16), field(bytes, 24)) else { return };
    let Some(head_end) = lists.checked_mul(32).and_then(|len| len.checked_add(32)) else { return };
    if head_end.checked_add(32).is_none_or(|end| end > bytes.len()) {
        return;
    }
    checksum_at_end(&mut bytes[..head_end + 32]);
    let pages = entries.div_ceil(340);
    for (number, page) in bytes[head_end + 32..].chunks_exact_mut(PAGE_LEN).take(pages).enumerate() {
        let checksum = xxhash_rust::xxh3::xxh3_64_with_seed(&page[..CHECKSUM_AT], number as u64);
        page[CHECKSUM_AT..CHECKSUM_AT + 8].copy_from_slice(&checksum.to_le_bytes());
        page[CHECKSUM_AT + 8..].fill(0);
    }
    let fences_len = pages.saturating_mul(8).saturating_add(32);
    if let Some(start) = bytes.len().checked_sub(fences_len).filter(|start| *start >= head_end + 32) {
        checksum_at_end(&mut bytes[start..]);
    }
}
