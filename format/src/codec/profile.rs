//! The zstd profile, checked on the bytes alone before any decoder runs (spec section 6.4).
//!
//! One zstd frame fills the payload. It states its content size, which is the chunk's. It has no dictionary,
//! no content checksum, no skippable frame and no window beyond the content. RFC 8878, sections 3.1.1.1 and
//! 3.1.1.2, defines the frame and block headers.

use crate::fault::RuleViolation;

/// The magic number of a zstd frame.
pub(super) const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The smallest window that zstd uses, in bytes; a frame with less content may state it.
const WINDOW_LEN_MIN: u64 = 1 << 10;

/// Checks that `payload` is one zstd frame of `plain_len` bytes inside the profile.
pub fn check(payload: &[u8], plain_len: usize) -> Result<(), RuleViolation> {
    let body = check_header(payload, plain_len as u64)?;
    check_blocks(body)
}

fn fault(reason: &'static str) -> RuleViolation {
    RuleViolation::ZstdProfile { reason }
}

/// The parsed fields of a frame header.
struct Header<'a> {
    content_len: u64,
    window_len: u64,
    /// The bytes after the header.
    blocks: &'a [u8],
}

/// Returns the content size that a frame states.
pub(super) fn content_len(payload: &[u8]) -> Result<u64, RuleViolation> {
    Ok(header(payload)?.content_len)
}

/// Checks the frame header and returns the bytes after it.
fn check_header(payload: &[u8], plain_len: u64) -> Result<&[u8], RuleViolation> {
    let header = header(payload)?;
    if header.content_len != plain_len {
        return Err(fault("its content size is not the chunk's"));
    }
    if header.window_len > plain_len.max(WINDOW_LEN_MIN) {
        return Err(fault("its window is larger than the chunk"));
    }
    Ok(header.blocks)
}

fn header(payload: &[u8]) -> Result<Header<'_>, RuleViolation> {
    let rest = payload.strip_prefix(&MAGIC).ok_or(fault("it does not begin with zstd's magic number"))?;
    let (&descriptor, rest) = rest.split_first().ok_or(fault("its header is cut off"))?;
    let single_segment = descriptor & 0x20 != 0;
    if descriptor & 0x08 != 0 {
        return Err(fault("a reserved header bit is set"));
    }
    if descriptor & 0x04 != 0 {
        return Err(fault("it carries a content checksum"));
    }
    if descriptor & 0x03 != 0 {
        return Err(fault("it names a dictionary"));
    }
    let size_len = match (descriptor >> 6, single_segment) {
        (0, true) => 1,
        (0, false) => return Err(fault("it does not state its content size")),
        (1, _) => 2,
        (2, _) => 4,
        _ => 8,
    };
    let (window, rest) = if single_segment {
        (None, rest)
    } else {
        let (&byte, rest) = rest.split_first().ok_or(fault("its header is cut off"))?;
        (Some(window_len(byte)), rest)
    };
    let (size, rest) = rest.split_at_checked(size_len).ok_or(fault("its header is cut off"))?;
    let stated = size.iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
    let content_len = if size_len == 2 { stated + 256 } else { stated };
    // A single-segment frame uses its content as its window.
    Ok(Header { content_len, window_len: window.unwrap_or(content_len), blocks: rest })
}

/// Decodes the window size (RFC 8878 section 3.1.1.1.2).
fn window_len(descriptor: u8) -> u64 {
    let base = 1u64 << (10 + (descriptor >> 3));
    base + (base / 8) * u64::from(descriptor & 7)
}

/// Walks the block headers: the last block must end at the end of the payload.
fn check_blocks(mut rest: &[u8]) -> Result<(), RuleViolation> {
    loop {
        let (header, body) = rest.split_at_checked(3).ok_or(fault("a block header is cut off"))?;
        let header = u32::from_le_bytes([header[0], header[1], header[2], 0]);
        let (last, kind, size) = (header & 1 != 0, header >> 1 & 3, (header >> 3) as usize);
        let stored_len = match kind {
            0 | 2 => size,
            1 => 1,
            _ => return Err(fault("a block has the reserved type")),
        };
        rest = body.get(stored_len..).ok_or(fault("a block is cut off"))?;
        if last {
            break;
        }
    }
    if rest.is_empty() { Ok(()) } else { Err(fault("bytes follow the frame")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(plain: &[u8]) -> Vec<u8> {
        ::zstd::bulk::compress(plain, 3).unwrap()
    }

    #[test]
    fn what_the_encoder_makes_is_inside_the_profile() {
        for len in [4096, 8192, 32768, 65536, 1 << 20] {
            let plain: Vec<u8> = (0..len).map(|i| (i / 7 % 251) as u8).collect();
            assert_eq!(check(&frame(&plain), len), Ok(()));
        }
    }

    #[test]
    fn cut_extended_and_mislabelled_frames_are_refused() {
        let plain = vec![7u8; 32768];
        let good = frame(&plain);
        for cut in 0..good.len() {
            assert!(check(&good[..cut], plain.len()).is_err(), "cut at {cut}");
        }
        let mut two = good.clone();
        two.extend_from_slice(&good);
        assert_eq!(check(&two, plain.len()), Err(fault("bytes follow the frame")));
        assert_eq!(check(&good, plain.len() + 4096), Err(fault("its content size is not the chunk's")));
        let mut checksum = good.clone();
        checksum[4] |= 4;
        assert_eq!(check(&checksum, plain.len()), Err(fault("it carries a content checksum")));
    }
}
