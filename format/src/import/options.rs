//! What to import and how, and what came of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::digest::Digest;
use crate::error::{BlockError, Result, StoreError};
use crate::limits::{BLOCK_LEN, CHUNK_BLOCKS_DEFAULT, CHUNK_BLOCKS_MAX, LEVEL_DEFAULT};
use crate::store::{ImageRef, RefName};

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the disk passed, holes included.
    pub done_bytes: u64,
    /// Bytes of the disk; `None` for a stream.
    pub size_bytes: Option<u64>,
}

/// How to import.
pub struct ImportOptions<'a> {
    /// The name to give the image.
    pub name: RefName,
    /// Take the name from another image that has it.
    pub replace: bool,
    /// The image that this disk is a later version of: recorded as lineage, and its pages are
    /// used again where they are the same.
    pub parent: Option<ImageRef>,
    /// zstd level, one of [`LEVELS`](crate::LEVELS).
    pub level: i32,
    /// Blocks to a chunk: a power of two up to 1024.
    pub chunk_blocks: u32,
    /// Decode every chunk of the store that the image comes to share, once, and check its id. Chunks that
    /// are damaged are not shared with: their blocks are stored anew.
    pub check_shared: bool,
    /// Accept a size that is no multiple of 512, adding zeros.
    pub pad: bool,
    /// The bytes that the disk must have, those that `pad` adds to a stream not counted.
    pub size_bytes: Option<u64>,
    /// The content id that the disk must have.
    pub content: Option<Digest>,
    /// Keys and values for the manifest; keys that begin with `melv.` are this library's.
    pub metadata: BTreeMap<String, String>,
    /// Called now and then.
    pub progress: Option<&'a (dyn Fn(Progress) + Sync)>,
    /// Set from outside to stop; nothing is stored then.
    pub cancel: Option<&'a AtomicBool>,
    /// Called once before the commit: the last word on whether the input was sound.
    pub before_commit: Option<&'a (dyn Fn() -> Result<()> + Sync)>,
}

impl std::fmt::Debug for ImportOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImportOptions")
            .field("name", &self.name)
            .field("parent", &self.parent)
            .field("level", &self.level)
            .field("chunk_blocks", &self.chunk_blocks)
            .finish_non_exhaustive()
    }
}

impl ImportOptions<'_> {
    /// The defaults, under this name.
    #[must_use]
    pub fn named(name: RefName) -> Self {
        Self {
            name,
            replace: false,
            parent: None,
            level: LEVEL_DEFAULT,
            chunk_blocks: CHUNK_BLOCKS_DEFAULT,
            check_shared: false,
            pad: false,
            size_bytes: None,
            content: None,
            metadata: BTreeMap::new(),
            progress: None,
            cancel: None,
            before_commit: None,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        if !crate::LEVELS.contains(&self.level) {
            return Err(BlockError::Invalid {
                what: "level",
                found: self.level.to_string(),
                expected: "1 to 19",
            }
            .into());
        }
        if !self.chunk_blocks.is_power_of_two() || self.chunk_blocks > CHUNK_BLOCKS_MAX {
            let found = format!("{} bytes", u64::from(self.chunk_blocks) * BLOCK_LEN as u64);
            return Err(BlockError::Invalid {
                what: "chunk size",
                found,
                expected: "a power of two from 4 KiB to 4 MiB",
            }
            .into());
        }
        Ok(())
    }

    /// Fails where the disk `name` has another size than it must have.
    pub(super) fn check_size(&self, name: &str, found: u64) -> Result<()> {
        match self.size_bytes {
            Some(expected) if expected != found => {
                Err(StoreError::SizeMismatch { object: name.into(), expected, found: Some(found) }.into())
            }
            _ => Ok(()),
        }
    }

    /// Fails where the disk `name` has another content id than it must have.
    pub(super) fn check_content(&self, name: &str, found: Digest) -> Result<()> {
        match self.content {
            Some(expected) if expected != found => {
                Err(StoreError::ContentMismatch { object: name.into(), expected, found }.into())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn check_cancel(&self) -> Result<()> {
        match self.cancel {
            Some(cancel) if cancel.load(Ordering::Relaxed) => Err(BlockError::Interrupted.into()),
            _ => Ok(()),
        }
    }
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportReport {
    /// The image id.
    pub image: Digest,
    /// The content id.
    pub content: Digest,
    /// The name given.
    pub name: RefName,
    /// Bytes of the disk.
    pub size_bytes: u64,
    /// Bytes in blocks that are not zero.
    pub data_bytes: u64,
    /// Those of them that the store did not have.
    pub new_bytes: u64,
    /// Bytes by which the store's files grew, the index apart.
    pub stored_bytes: u64,
}
