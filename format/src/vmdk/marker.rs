//! Markers: what stands in front of everything in a stream.
//!
//! Source of the layout: VMware, *Virtual Disk Format 5.0*, "Stream-Optimized Compressed Sparse
//! Extents"; type 4 from the headers of VMware's open-vmdk.

use super::Fault;
use super::layout::{GRAIN_HEAD_LEN, Layout, Placed};

/// What comes next in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    /// A grain: its first sector in the disk, and its bytes right behind these two numbers.
    Grain { lba: u64, len: u32 },
    /// Nothing more.
    End,
    /// A grain table of so many sectors.
    Table { sectors: u64 },
    /// A grain directory of so many sectors.
    Directory { sectors: u64 },
    /// The header again, of so many sectors.
    Footer { sectors: u64 },
    /// How far the writer was: its number is none of sectors, nothing follows.
    Progress,
}

/// Checks that what follows the end of a stream, from `place` on, is zeros: other bytes are another
/// stream perhaps, and no reader would see them.
///
/// # Errors
/// [`Fault::Value`], at the first other byte.
pub(super) fn check_padding(bytes: &[u8], place: u64) -> Result<(), Placed> {
    let Some(at) = bytes.iter().position(|&byte| byte != 0) else {
        return Ok(());
    };
    let what = "a byte after the end of the stream";
    Err((place + at as u64, Fault::Value { what, found: u64::from(bytes[at]), expected: "0" }))
}

impl Marker {
    /// The marker at the start of `bytes`: 16 of them at least.
    pub fn decode(bytes: &[u8; 16]) -> Result<Self, Fault> {
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
            (0, found) => Err(Fault::Value {
                what: "the type of a marker",
                found: u64::from(found),
                expected: "0 to 4",
            }),
        }
    }

    /// Whether a sector where a table might go on is a marker: of a grain that can be, or of metadata and
    /// then with nothing behind it. A sector of zeros is none: it may be anything.
    pub fn stands_in(sector: &[u8], layout: &Layout) -> bool {
        let Some(head) = sector.first_chunk::<16>() else {
            return false;
        };
        match Self::decode(head) {
            Ok(Self::Grain { lba, len }) => {
                // The header of a zlib stream: deflate, and a sum that 31 divides.
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

    /// The sector in the disk and the length that stand in front of a marked grain.
    pub fn grain_head(bytes: &[u8]) -> Option<(u64, u32)> {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *bytes.first_chunk::<{ GRAIN_HEAD_LEN as usize }>()?;
        Some((u64::from_le_bytes([a, b, c, d, e, f, g, h]), u32::from_le_bytes([i, j, k, l])))
    }
}
