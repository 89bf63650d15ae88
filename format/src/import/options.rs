//! The options and the report of an import.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::digest::{ContentId, ImageId};
use crate::error::{BlockError, Result, StoreError};
use crate::limits::{BLOCK_LEN, CHUNK_BLOCKS_DEFAULT, CHUNK_BLOCKS_MAX, LEVEL_DEFAULT};
use crate::store::{ImageRef, RefName};

/// The progress of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The bytes of the disk processed so far, holes included.
    pub done_bytes: u64,
    /// The size of the disk in bytes; `None` for a stream.
    pub size_bytes: Option<u64>,
}

/// The options of an import.
pub struct ImportOptions<'a> {
    /// The name for the image.
    pub name: RefName,
    /// Whether to move the name if another image has it.
    pub replace: bool,
    /// The image that this disk is a later version of. It is recorded as lineage, and its pages are reused if
    /// they are unchanged.
    pub parent: Option<ImageRef>,
    /// The zstd level, one of [`LEVELS`](crate::LEVELS).
    pub level: i32,
    /// The number of blocks in a chunk: a power of two up to 1024.
    pub chunk_blocks: u32,
    /// Whether to decode every stored chunk that the image shares, once, and check its id. Damaged chunks are
    /// not shared; their blocks are stored again.
    pub check_shared: bool,
    /// Whether to accept a size that is not a multiple of 512, adding zeros.
    pub pad: bool,
    /// The required size of the disk in bytes, without the zeros that `pad` adds to a stream.
    pub size_bytes: Option<u64>,
    /// The required content id of the disk.
    pub content: Option<ContentId>,
    /// Keys and values for the manifest; keys that begin with `melv.` are reserved for this library.
    pub metadata: BTreeMap<String, String>,
    /// Called from time to time.
    pub progress: Option<&'a (dyn Fn(Progress) + Sync)>,
    /// Set by the caller to stop the import; nothing is stored then.
    pub cancel: Option<&'a AtomicBool>,
    /// Called once before the commit, for a final check of the input.
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
    /// Returns the default options, with this name.
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

    /// Fails if the disk `name` does not have the required size.
    pub(super) fn check_size(&self, name: &str, found: u64) -> Result<()> {
        match self.size_bytes {
            Some(expected) if expected != found => {
                Err(StoreError::SizeMismatch { object: name.into(), expected, found: Some(found) }.into())
            }
            _ => Ok(()),
        }
    }

    /// Fails if the disk `name` does not have the required content id.
    pub(super) fn check_content(&self, name: &str, found: ContentId) -> Result<()> {
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

/// The result of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportReport {
    /// The image id.
    pub image: ImageId,
    /// The content id.
    pub content: ContentId,
    /// The image's name.
    pub name: RefName,
    /// The size of the disk, in bytes.
    pub size_bytes: u64,
    /// The bytes in non-zero blocks.
    pub data_bytes: u64,
    /// The bytes of those blocks that the store did not have.
    pub new_bytes: u64,
    /// The growth of the store's files in bytes, without the index.
    pub stored_bytes: u64,
}
