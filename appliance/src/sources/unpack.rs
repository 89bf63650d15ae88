//! Entries of a tar into a tree, contents into a spool.

use std::io::Read;

use crate::tree::Content;

use super::{
    insert::{Attributes, InsertError, InsertFault, Inserter, Node},
    limits::BROUGHT_BYTES,
    spool::{Spool, SpoolError},
    tar::{Entry, EntryKind, Range, Reader, TarError},
};

/// Bytes of a content that are held at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Failure to unpack a tar into a tree.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The tar.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// An entry that the tree does not take.
    #[error("entry {entry}, byte {offset} of the tar: {error}")]
    Insert {
        /// Number of the entry, from 1.
        entry: u64,
        /// Byte of its header.
        offset: u64,
        /// The entry's path and fault.
        error: InsertError,
    },
    /// A content that does not fit.
    #[error("entry {entry} of the tar")]
    Spool {
        /// Number of the entry, from 1.
        entry: u64,
        /// The reason.
        source: SpoolError,
    },
}

/// The paths that a package brought, as far as they fit.
#[derive(Debug, Default)]
pub(crate) struct Brought {
    /// Absolute paths without links in their folders.
    pub(crate) paths: Vec<Vec<u8>>,
    bytes: u64,
}

/// Bytes that a list needs for an item beside its own.
const ITEM_BYTES: u64 = 40;

impl Brought {
    fn push(&mut self, path: Vec<u8>) -> Result<(), InsertFault> {
        self.bytes += path.len() as u64 + ITEM_BYTES;
        if self.bytes > BROUGHT_BYTES {
            return Err(InsertFault::Limit { of: "bytes of paths in one package", limit: BROUGHT_BYTES });
        }
        self.paths.push(path);
        Ok(())
    }
}

/// Unpacks all entries, and reads through to the end of the input.
pub(crate) fn unpack<R: Read>(
    input: R,
    spool: &mut Spool,
    inserter: &mut Inserter,
    mut brought: Option<&mut Brought>,
) -> Result<(), UnpackError> {
    let mut reader = Reader::new(input);
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Some(entry) = reader.next_entry()? {
        let (number, offset) = (entry.number, entry.offset);
        let Some(node) = node(&entry, &mut reader, spool, &mut buffer, inserter)? else { continue };
        let Entry { path, mode, uid, gid, mtime, xattrs, ignored, .. } = entry;
        inserter.report_mut().attributes += ignored;
        let placed = inserter.insert(&path, Attributes { mode, uid, gid, mtime, xattrs }, node, spool);
        let failed = |error| UnpackError::Insert { entry: number, offset, error };
        if let (Some(placed), Some(brought)) = (placed.map_err(failed)?, &mut brought) {
            brought.push(placed).map_err(|fault| failed(InsertError { path, fault }))?;
        }
    }
    Ok(reader.drain()?)
}

/// Returns an entry's own part, with its content in the spool. Devices and pipes are counted, and left out.
fn node<R: Read>(
    entry: &Entry,
    reader: &mut Reader<R>,
    spool: &mut Spool,
    buffer: &mut [u8],
    inserter: &mut Inserter,
) -> Result<Option<Node>, UnpackError> {
    Ok(Some(match &entry.kind {
        EntryKind::Directory => Node::Directory,
        EntryKind::Symlink(target) => Node::Symlink(target.clone()),
        EntryKind::HardLink(target) => Node::HardLink(target.clone()),
        EntryKind::File { size, ranges } => {
            let ranges = ranges.as_deref().unwrap_or(&[]);
            Node::File(copy(reader, *size, ranges, spool, buffer, entry.number)?)
        }
        EntryKind::CharacterDevice | EntryKind::BlockDevice => {
            inserter.report_mut().devices += 1;
            return Ok(None);
        }
        EntryKind::Fifo => {
            inserter.report_mut().fifos += 1;
            return Ok(None);
        }
    }))
}

/// Copies a content to the spool, with zeros in the place of holes.
fn copy<R: Read>(
    reader: &mut Reader<R>,
    size: u64,
    ranges: &[Range],
    spool: &mut Spool,
    buffer: &mut [u8],
    entry: u64,
) -> Result<Content, UnpackError> {
    let full = |source| UnpackError::Spool { entry, source };
    // The size is checked before a byte is written.
    spool.check_room(size).map_err(full)?;
    let offset = spool.position();
    let whole = [Range { offset: 0, len: reader.content_left() }];
    for range in if ranges.is_empty() { &whole } else { ranges } {
        let hole = range.offset.saturating_sub(spool.position() - offset);
        spool.append_zeros(hole).map_err(full)?;
        let mut left = range.len;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let count = reader.read_content(&mut buffer[..most])?;
            if count == 0 {
                break;
            }
            spool.append(&buffer[..count]).map_err(full)?;
            left -= count as u64;
        }
    }
    let hole = size.saturating_sub(spool.position() - offset);
    spool.append_zeros(hole).map_err(full)?;
    Ok(Content::Spooled { offset, len: size })
}
