//! Blocks of folders.
//!
//! A block holds entries of 12 bytes, then their names in the same order without separators: `struct erofs_dirent`.
//! Names increase by byte through all blocks, `.` and `..` among them, so that a reader bisects blocks and then
//! entries. A zero ends the last name of a block, except where the block or the folder ends.

use std::collections::BTreeMap;
use std::iter;
use std::ops::Bound::{Excluded, Unbounded};

use super::BLOCK_BYTES;
use crate::tree::InodeId;

/// Bytes of an entry without its name.
const ENTRY_BYTES: usize = 12;

/// The inode behind a name of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// The folder itself: `.`.
    Own,
    /// The folder above: `..`.
    Parent,
    /// An entry.
    Child(InodeId),
}

/// Returns all names of a folder by byte, `.` and `..` at their places: `-` comes before both, `.-` between them.
fn names(entries: &BTreeMap<Vec<u8>, InodeId>) -> impl Iterator<Item = (&[u8], Target)> {
    let range = |from, to| {
        entries.range::<[u8], _>((from, to)).map(|(name, &id)| (name.as_slice(), Target::Child(id)))
    };
    let (own, parent): (&[u8], &[u8]) = (b".", b"..");
    range(Unbounded, Excluded(own))
        .chain(iter::once((own, Target::Own)))
        .chain(range(Excluded(own), Excluded(parent)))
        .chain(iter::once((parent, Target::Parent)))
        .chain(range(Excluded(parent), Unbounded))
}

/// Entries that lie in one block.
#[derive(Debug, Default)]
pub(super) struct Block<'t> {
    entries: Vec<(&'t [u8], Target)>,
    bytes: usize,
}

impl Block<'_> {
    /// Returns the block's bytes without padding. `resolve` gives the inode number and the type of a target.
    pub(super) fn encode(&self, resolve: &dyn Fn(Target) -> (u64, u8)) -> Vec<u8> {
        let mut output = Vec::with_capacity(BLOCK_BYTES as usize);
        let mut name_offset = self.entries.len() * ENTRY_BYTES;
        for (name, target) in &self.entries {
            let (number, file_type) = resolve(*target);
            output.extend_from_slice(&number.to_le_bytes());
            output.extend_from_slice(&(name_offset as u16).to_le_bytes());
            output.extend_from_slice(&[file_type, 0]);
            name_offset += name.len();
        }
        for (name, _) in &self.entries {
            output.extend_from_slice(name);
        }
        debug_assert_eq!(output.len(), self.bytes);
        output
    }
}

/// Returns the blocks of a folder. Each takes as many entries as fit. Memory: one block.
pub(super) fn blocks(entries: &BTreeMap<Vec<u8>, InodeId>) -> impl Iterator<Item = Block<'_>> {
    let mut names = names(entries).peekable();
    iter::from_fn(move || {
        let mut block = Block::default();
        while let Some((name, _)) = names.peek() {
            let end = block.bytes + ENTRY_BYTES + name.len();
            if end > BLOCK_BYTES as usize {
                break;
            }
            block.bytes = end;
            block.entries.extend(names.next());
        }
        (!block.entries.is_empty()).then_some(block)
    })
}

/// Returns a folder's size in bytes: full blocks and the used part of the last one.
pub(super) fn size_bytes(entries: &BTreeMap<Vec<u8>, InodeId>) -> u64 {
    let mut before = 0;
    let mut used = 0;
    for (name, _) in names(entries) {
        let bytes = (ENTRY_BYTES + name.len()) as u64;
        if used + bytes > BLOCK_BYTES {
            before += BLOCK_BYTES;
            used = 0;
        }
        used += bytes;
    }
    before + used
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(names: &[&[u8]]) -> BTreeMap<Vec<u8>, InodeId> {
        names.iter().map(|name| (name.to_vec(), InodeId(7))).collect()
    }

    #[test]
    fn dots_lie_among_the_names_by_byte() {
        let entries = folder(&[b"a", b"-", b".-", b"..a", b".a", b"\xff", b"\x01"]);
        let order: Vec<&[u8]> = names(&entries).map(|(name, _)| name).collect();
        assert_eq!(order, [&b"\x01"[..], b"-", b".", b".-", b"..", b"..a", b".a", b"a", b"\xff"]);
        assert!(order.is_sorted());
    }

    #[test]
    fn a_block_is_entries_then_names() {
        let entries = folder(&[b"bin"]);
        let block = blocks(&entries).next().unwrap();
        let bytes = block.encode(&|target| match target {
            Target::Own => (1, 2),
            Target::Parent => (2, 2),
            Target::Child(id) => (u64::from(id.0), 1),
        });
        let expected = [
            &[1, 0, 0, 0, 0, 0, 0, 0, 36, 0, 2, 0][..],
            &[2, 0, 0, 0, 0, 0, 0, 0, 37, 0, 2, 0],
            &[7, 0, 0, 0, 0, 0, 0, 0, 39, 0, 1, 0],
            b"...bin",
        ];
        assert_eq!(bytes, expected.concat());
    }

    #[test]
    fn size_counts_the_blocks_that_are_made() {
        for (count, length) in [(0, 1), (1, 255), (14, 255), (15, 255), (16, 255), (400, 5), (5000, 17)] {
            let names: Vec<Vec<u8>> = (0..count).map(|at| format!("{at:0>length$}").into_bytes()).collect();
            let entries = folder(&names.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let made: Vec<usize> = blocks(&entries).map(|block| block.bytes).collect();
            let (last, full) = made.split_last().unwrap();
            assert_eq!(size_bytes(&entries), full.len() as u64 * BLOCK_BYTES + *last as u64);
        }
    }
}
