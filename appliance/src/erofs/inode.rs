//! Cores of inodes: `struct erofs_inode_compact` of 32 bytes, `struct erofs_inode_extended` of 64.

use crate::tree::{Inode, Kind, Timestamp};

/// Bytes of the unit that inode numbers count.
pub(super) const SLOT_BYTES: u64 = 32;

/// Block shift of the largest chunk: 5 bits, so 8 TiB.
const MAX_CHUNK_SHIFT: u32 = 31;

/// Bytes of the largest chunk, and so of the longest hole.
pub(super) const MAX_HOLE_BYTES: u64 = super::BLOCK_BYTES << MAX_CHUNK_SHIFT;

/// The address of a chunk that is a hole: `EROFS_NULL_ADDR`.
pub(super) const NULL_ADDRESS: u32 = u32::MAX;

/// Size of an inode's core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// 16 bits for owners and names, 32 for the size, the volume's epoch for the time.
    Compact,
    /// Everything in full.
    Extended,
}

impl Form {
    /// Chooses the smallest form that holds an inode.
    pub(super) fn of(inode: &Inode, links: u32, size: u64, epoch: Timestamp) -> Self {
        let short = |number: u32| u16::try_from(number).is_ok();
        let fits = short(inode.uid) && short(inode.gid) && short(links) && u32::try_from(size).is_ok();
        if fits && inode.mtime == epoch { Self::Compact } else { Self::Extended }
    }

    /// Returns the bytes of the core.
    pub(super) fn bytes(self) -> u64 {
        match self {
            Self::Compact => 32,
            Self::Extended => 64,
        }
    }
}

/// Place of an inode's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// All on blocks: `EROFS_INODE_FLAT_PLAIN`.
    Plain,
    /// Full blocks, and the rest behind the inode: `EROFS_INODE_FLAT_INLINE`.
    Inline,
    /// One chunk at no address: `EROFS_INODE_CHUNK_BASED`.
    Hole,
}

/// An inode's core before it is bytes.
#[derive(Debug)]
pub(super) struct Core<'t> {
    pub(super) inode: &'t Inode,
    pub(super) form: Form,
    pub(super) layout: Layout,
    pub(super) links: u32,
    /// Bytes of the data.
    pub(super) size: u64,
    /// First block of the data.
    pub(super) start: u32,
    /// The number that 32-bit programs see.
    pub(super) serial: u32,
    pub(super) xattr_count: u16,
}

impl Core<'_> {
    /// Appends the core.
    pub(super) fn encode(&self, output: &mut Vec<u8>) {
        let layout = match self.layout {
            Layout::Plain => 0,
            Layout::Inline => 2,
            Layout::Hole => 4,
        };
        let format = u16::from(self.form == Form::Extended) | layout << 1;
        output.extend_from_slice(&format.to_le_bytes());
        output.extend_from_slice(&self.xattr_count.to_le_bytes());
        output.extend_from_slice(&(self.inode.mode | type_bits(&self.inode.kind)).to_le_bytes());
        let place = if self.layout == Layout::Hole { chunk_shift(self.size) } else { self.start };
        match self.form {
            Form::Compact => {
                output.extend_from_slice(&(self.links as u16).to_le_bytes());
                output.extend_from_slice(&(self.size as u32).to_le_bytes());
                output.extend_from_slice(&[0; 4]);
                output.extend_from_slice(&place.to_le_bytes());
                output.extend_from_slice(&self.serial.to_le_bytes());
                output.extend_from_slice(&(self.inode.uid as u16).to_le_bytes());
                output.extend_from_slice(&(self.inode.gid as u16).to_le_bytes());
                output.extend_from_slice(&[0; 4]);
            }
            Form::Extended => {
                output.extend_from_slice(&[0; 2]);
                output.extend_from_slice(&self.size.to_le_bytes());
                output.extend_from_slice(&place.to_le_bytes());
                output.extend_from_slice(&self.serial.to_le_bytes());
                output.extend_from_slice(&self.inode.uid.to_le_bytes());
                output.extend_from_slice(&self.inode.gid.to_le_bytes());
                output.extend_from_slice(&self.inode.mtime.seconds.to_le_bytes());
                output.extend_from_slice(&self.inode.mtime.nanoseconds.to_le_bytes());
                output.extend_from_slice(&self.links.to_le_bytes());
                output.extend_from_slice(&[0; 16]);
            }
        }
    }
}

/// Returns the type part of a mode.
fn type_bits(kind: &Kind) -> u16 {
    match kind {
        Kind::Directory(_) => 0o040_000,
        Kind::File(_) => 0o100_000,
        Kind::Symlink(_) => 0o120_000,
    }
}

/// Returns the type of an entry of a folder: Linux's `FT_REG_FILE`, `FT_DIR`, `FT_SYMLINK`.
pub(super) fn entry_type(kind: &Kind) -> u8 {
    match kind {
        Kind::File(_) => 1,
        Kind::Directory(_) => 2,
        Kind::Symlink(_) => 7,
    }
}

/// Returns the shift over a block of the smallest chunk that covers `size` bytes.
fn chunk_shift(size: u64) -> u32 {
    let blocks = size.div_ceil(super::BLOCK_BYTES).max(1);
    blocks.next_power_of_two().trailing_zeros().min(MAX_CHUNK_SHIFT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_chunk_covers_a_hole() {
        for (size, shift) in
            [(1, 0), (4096, 0), (4097, 1), (5 << 30, 21), (MAX_HOLE_BYTES - 1, 31), (MAX_HOLE_BYTES, 31)]
        {
            assert_eq!(chunk_shift(size), shift, "{size}");
            assert!(super::super::BLOCK_BYTES << shift >= size);
        }
    }
}
