//! A cache entry, kept as small as possible: hot reads touch entries at random, and every entry outside the
//! CPU cache costs a miss.

use std::num::NonZeroU32;

use crate::buffer::{Memory, Piece, Pool};

/// The decoded blocks of a chunk. The common case is a chunk of the default length with all blocks; any other
/// is boxed.
#[derive(Debug)]
pub(crate) enum Chunk<'a> {
    Usual { bytes: Piece<'a>, trust: Trust },
    Other(Box<Parts<'a>>),
}

#[derive(Debug)]
pub(crate) struct Parts<'a> {
    bytes: Memory<'a>,
    held: Option<Vec<u8>>,
    trust: Trust,
}

/// The extent to which a cached chunk is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The blocks were checked against the chunk id: valid for every store.
    Proved,
    /// The frame was checked against the guard given by this store (its number in the cache): valid for that
    /// store alone.
    Guarded(NonZeroU32),
}

/// The description of the bytes that were loaded for a chunk. Absent blocks are zero.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The mask of the blocks present, or `None` if all are.
    pub held: Option<Vec<u8>>,
    pub trust: Trust,
}

impl<'a> Chunk<'a> {
    /// Creates a chunk of `bytes`.
    pub fn new(bytes: Memory<'a>, loaded: Loaded) -> Self {
        let Loaded { held, trust } = loaded;
        match (bytes, held) {
            (Memory::Piece(bytes), None) => Self::Usual { bytes, trust },
            (bytes, held) => Self::Other(Box::new(Parts { bytes, held, trust })),
        }
    }

    /// Gives the memory back to the pool that it came from.
    pub fn give_back(self, pool: &Pool<'a>) {
        pool.give_back(match self {
            Self::Usual { bytes, .. } => Memory::Piece(bytes),
            Self::Other(parts) => parts.bytes,
        });
    }

    /// Returns all bytes of the chunk.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Usual { bytes, .. } => bytes.as_slice(),
            Self::Other(parts) => &parts.bytes,
        }
    }

    /// Returns the mask of the blocks present, or `None` if all are.
    pub fn present(&self) -> Option<&[u8]> {
        match self {
            Self::Usual { .. } => None,
            Self::Other(parts) => parts.held.as_deref(),
        }
    }

    /// Returns the trust in the blocks.
    pub fn trust(&self) -> Trust {
        match self {
            Self::Usual { trust, .. } => *trust,
            Self::Other(parts) => parts.trust,
        }
    }
}

// Four entries fit one line of the CPU cache.
const _: () = assert!(size_of::<Option<Chunk<'static>>>() == 16);
