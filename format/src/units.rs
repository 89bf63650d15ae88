//! Units: positions of blocks and bytes, where several kinds of them meet.
//!
//! | type | counts |
//! |---|---|
//! | [`GuestBlock`] | blocks of an image's disk |
//! | [`LeafBlock`] | blocks of the disk from the start of a map leaf on |
//! | [`ListBlock`] | blocks of a chunk list |
//! | [`ByteOffset`] | bytes of a chunk list, before compression |
//!
//! Lengths are plain numbers. So are the bytes of a disk: they belong to `BlockDevice`.

use std::ops::{Add, AddAssign, Sub};

use crate::limits::BLOCK_LEN;

macro_rules! units {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) struct $name(pub u64);

        impl Add<u64> for $name {
            type Output = Self;

            #[inline]
            fn add(self, count: u64) -> Self {
                Self(self.0 + count)
            }
        }

        impl AddAssign<u64> for $name {
            #[inline]
            fn add_assign(&mut self, count: u64) {
                self.0 += count;
            }
        }

        impl Sub for $name {
            type Output = u64;

            #[inline]
            fn sub(self, other: Self) -> u64 {
                self.0 - other.0
            }
        }
    )*};
}

units! {
    /// The number of a block of an image's disk.
    GuestBlock;
    /// The number of a block of a map leaf.
    LeafBlock;
    /// The number of a block of a chunk list.
    ListBlock;
    /// The offset of a byte in the blocks of a chunk list.
    ByteOffset;
}

impl GuestBlock {
    /// Returns the block that holds byte `offset` of the disk.
    #[inline]
    pub fn at(offset: u64) -> Self {
        Self(offset / BLOCK_LEN as u64)
    }

    /// Returns the offset in the disk of its first byte.
    #[inline]
    pub fn start(self) -> u64 {
        self.0 * BLOCK_LEN as u64
    }

    /// Returns the number of the leaf that holds the block, and the block in it. A leaf has
    /// 2^`leaf_bits` blocks.
    #[inline]
    pub fn in_leaf(self, leaf_bits: u8) -> (u64, LeafBlock) {
        (self.0 >> leaf_bits, LeafBlock(self.0 & ((1 << leaf_bits) - 1)))
    }
}

impl ListBlock {
    /// Returns the offset of its first byte.
    #[inline]
    pub fn start(self) -> ByteOffset {
        ByteOffset(self.0 * BLOCK_LEN as u64)
    }
}

impl ByteOffset {
    /// Returns the block that holds the byte.
    #[inline]
    pub fn block(self) -> ListBlock {
        ListBlock(self.0 / BLOCK_LEN as u64)
    }

    /// Returns the chunk that holds the byte, and the byte's offset in it, for chunks of `chunk_len` bytes.
    #[inline]
    pub fn in_chunk(self, chunk_len: u64) -> (u64, usize) {
        (self.0 / chunk_len, (self.0 % chunk_len) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_and_its_block_belong_together() {
        assert_eq!((GuestBlock::at(8191), GuestBlock(2).start()), (GuestBlock(1), 8192));
        assert_eq!(GuestBlock(0x12345).in_leaf(16), (1, LeafBlock(0x2345)));
        assert_eq!(ListBlock(3).start(), ByteOffset(3 * 4096));
        assert_eq!((ByteOffset(8191).block(), ByteOffset(8191).in_chunk(4096)), (ListBlock(1), (1, 4095)));
        assert_eq!((ListBlock(3) + 4) - ListBlock(5), 2);
    }
}
