//! The markers of a stream, which precede every structure in it.
//!
//! Source of the layout: VMware, *Virtual Disk Format 5.0*, "Stream-Optimized Compressed Sparse
//! Extents"; type 4 from the headers of VMware's open-vmdk.

use crate::vmdk::VmdkViolation;
use crate::vmdk::layout::extent_layout::{ExtentLayout, GRAIN_HEAD_LEN, ViolationAt};

/// The next item of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marker {
    /// A grain with its first disk sector; its `len` bytes follow these two numbers directly.
    Grain { lba: u64, len: u32 },
    /// The end of the stream.
    End,
    /// A grain table of `sectors` sectors.
    Table { sectors: u64 },
    /// A grain directory of `sectors` sectors.
    Directory { sectors: u64 },
    /// A copy of the header, of `sectors` sectors.
    Footer { sectors: u64 },
    /// The writer's progress. Its number does not count sectors, and no data follows.
    Progress,
}

/// Checks that only zeros follow the end of a stream, from file offset `place` on. Other bytes
/// could be a second stream, which no reader would see.
///
/// # Errors
/// [`VmdkViolation::Value`], at the first non-zero byte.
pub(crate) fn check_padding(bytes: &[u8], place: u64) -> Result<(), ViolationAt> {
    let Some(at) = bytes.iter().position(|&byte| byte != 0) else {
        return Ok(());
    };
    let what = "a byte after the end of the stream";
    Err((place + at as u64, VmdkViolation::Value { what, found: u64::from(bytes[at]), expected: "0" }))
}

impl Marker {
    /// Decodes the marker in `bytes`.
    pub fn decode(bytes: &[u8; 16]) -> Result<Self, VmdkViolation> {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *bytes;
        let value = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let len = u32::from_le_bytes([i, j, k, l]);
        let kind = u32::from_le_bytes([m, n, o, p]);
        match (len, kind) {
            (1.., _) => Ok(Self::Grain { lba: value, len }),
            (0, 0) => Ok(Self::End),
            (0, 1) => Ok(Self::Table { sectors: value }),
            (0, 2) => Ok(Self::Directory { sectors: value }),
            (0, 3) => Ok(Self::Footer { sectors: value }),
            (0, 4) => Ok(Self::Progress),
            (0, found) => Err(VmdkViolation::Value {
                what: "the type of a marker",
                found: u64::from(found),
                expected: "0 to 4",
            }),
        }
    }

    /// Encodes the marker, as it stands at the start of its sector.
    pub fn encode(self) -> [u8; 16] {
        let (value, len, kind) = match self {
            Self::Grain { lba, len } => (lba, len, 0),
            Self::End => (0, 0, 0),
            Self::Table { sectors } => (sectors, 0, 1),
            Self::Directory { sectors } => (sectors, 0, 2),
            Self::Footer { sectors } => (sectors, 0, 3),
            Self::Progress => (0, 0, 4u32),
        };
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&value.to_le_bytes());
        bytes[8..12].copy_from_slice(&len.to_le_bytes());
        bytes[12..].copy_from_slice(&kind.to_le_bytes());
        bytes
    }

    /// Whether a sector inside a table's range is really a marker: of a plausible grain, or of
    /// metadata followed by zeros only. A sector of zeros is ambiguous and does not count.
    pub fn stands_in(sector: &[u8], layout: &ExtentLayout) -> bool {
        let Some(head) = sector.first_chunk::<16>() else {
            return false;
        };
        match Self::decode(head) {
            Ok(Self::Grain { lba, len }) => {
                // A zlib header: method deflate, and a checksum divisible by 31.
                let zlib = [sector[12], sector[13]];
                lba.is_multiple_of(layout.grain_sectors)
                    && lba < layout.capacity_sectors
                    && GRAIN_HEAD_LEN + u64::from(len) <= layout.stored_bytes_max()
                    && zlib[0] & 0xf == 8
                    && (u32::from(zlib[0]) * 256 + u32::from(zlib[1])).is_multiple_of(31)
            }
            Ok(Self::End) | Err(_) => false,
            Ok(_) => sector[16..].iter().all(|&byte| byte == 0),
        }
    }

    /// Returns the disk sector and the length in the head of a marked grain.
    pub fn grain_head(bytes: &[u8]) -> Option<(u64, u32)> {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *bytes.first_chunk::<{ GRAIN_HEAD_LEN as usize }>()?;
        Some((u64::from_le_bytes([a, b, c, d, e, f, g, h]), u32::from_le_bytes([i, j, k, l])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_decoded_as_they_were_encoded() {
        for marker in [
            Marker::Grain { lba: 1 << 40, len: 7 },
            Marker::End,
            Marker::Table { sectors: 4 },
            Marker::Directory { sectors: 1 },
            Marker::Footer { sectors: 1 },
            Marker::Progress,
        ] {
            assert_eq!(Marker::decode(&marker.encode()), Ok(marker));
        }
    }
}
