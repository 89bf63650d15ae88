//! A cache entry, kept as small as possible: hot reads touch entries at random, and every entry outside the
//! CPU cache costs a miss.

use std::num::NonZeroU32;

use crate::buffer::{Buffer, Piece};

/// The decoded blocks of a chunk. The common case is a chunk of the default length with all blocks; any other
/// is boxed.
#[derive(Debug)]
pub(crate) enum Chunk {
    Usual { bytes: Piece, trust: Trust },
    Other(Box<Parts>),
}

#[derive(Debug)]
pub(crate) struct Parts {
    bytes: Buffer,
    held: Option<Vec<u8>>,
    trust: Trust,
}

/// The extent to which a cached chunk is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The blocks were checked against the chunk id: valid for every store.
    Proved,
    /// The frame was checked against the guard given by this store (its number in the process): valid for
    /// that store alone.
    Guarded(NonZeroU32),
}

impl Chunk {
    /// Creates a chunk from `bytes`, in which absent blocks are zero. `held` is the mask of the blocks
    /// present, or `None` if all are.
    pub fn new(bytes: Buffer, held: Option<Vec<u8>>, trust: Trust) -> Self {
        match (bytes, held) {
            (Buffer::Piece(bytes), None) => Self::Usual { bytes, trust },
            (bytes, held) => Self::Other(Box::new(Parts { bytes, held, trust })),
        }
    }

    /// Returns all bytes of the chunk.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Usual { bytes, .. } => bytes,
            Self::Other(parts) => &parts.bytes,
        }
    }

    /// Returns the mask of the blocks present, or `None` if all are.
    pub fn held(&self) -> Option<&[u8]> {
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
const _: () = assert!(size_of::<Option<Chunk>>() == 16);
