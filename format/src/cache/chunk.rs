//! What the cache holds of a chunk, in as few bytes as can be: a hot read passes by the entries of all
//! chunks, and what of them is not in the processor's caches it waits for.

use std::num::NonZeroU32;

use crate::buffer::{Buffer, Piece};

/// A chunk's blocks as decoded. Mostly it has the default length and all its blocks are held; all else
/// lies apart.
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

/// How far a cached chunk can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Its blocks were checked against the chunk id: for everybody.
    Proved,
    /// Its frame was checked against the guard that this store (by number in the process) gives:
    /// for that store alone.
    Guarded(NonZeroU32),
}

impl Chunk {
    /// A chunk of `bytes`, those of absent blocks zero; `held` is the mask of the blocks that are held
    /// where they are not all of them.
    pub fn new(bytes: Buffer, held: Option<Vec<u8>>, trust: Trust) -> Self {
        match (bytes, held) {
            (Buffer::Piece(bytes), None) => Self::Usual { bytes, trust },
            (bytes, held) => Self::Other(Box::new(Parts { bytes, held, trust })),
        }
    }

    /// All the chunk's bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Usual { bytes, .. } => bytes,
            Self::Other(parts) => &parts.bytes,
        }
    }

    /// The mask of the blocks that are held where they are not all of them.
    pub fn held(&self) -> Option<&[u8]> {
        match self {
            Self::Usual { .. } => None,
            Self::Other(parts) => parts.held.as_deref(),
        }
    }

    /// How far the blocks can be trusted.
    pub fn trust(&self) -> Trust {
        match self {
            Self::Usual { trust, .. } => *trust,
            Self::Other(parts) => parts.trust,
        }
    }
}

// What one line of the processor's caches has of chunks.
const _: () = assert!(size_of::<Option<Chunk>>() == 16);
