//! Writing of a planned image, front to back.

use std::io::{self, Write};

use super::error::ErofsError;
use super::inode::{Core, Layout, NULL_ADDRESS, SLOT_BYTES, entry_type};
use super::plan::Plan;
use super::superblock::Superblock;
use super::{BLOCK_BYTES, directory, xattr};
use crate::contents::{self, Contents, CopyError, Counted};
use crate::tree::Kind;

impl Plan<'_> {
    /// Returns the first block, the only one that `uuid` is in.
    ///
    /// So an identity can be derived from an image: write it with zeros, digest it, then write this block again.
    #[must_use]
    pub fn first_block(&self, uuid: [u8; 16]) -> [u8; BLOCK_BYTES as usize] {
        let mut block = [0; BLOCK_BYTES as usize];
        for (index, place) in (0..).zip(&self.places) {
            if place.offset >= BLOCK_BYTES {
                break;
            }
            let start = place.offset as usize;
            for (to, from) in block[start..].iter_mut().zip(self.encode_inode(index)) {
                *to = from;
            }
        }
        let superblock = Superblock {
            root_number: self.number(0) as u16,
            inodes: self.places.len() as u64,
            epoch: self.epoch,
            blocks: self.blocks,
            uuid,
            label: self.label,
            has_holes: self.has_holes,
        };
        superblock.seal(&mut block);
        block
    }

    /// Writes the image, [`size_bytes`](Self::size_bytes) bytes.
    ///
    /// Contents are read in the order of the image, each once. Memory: 256 KiB and the largest inode with its
    /// attributes (at most 260 KiB).
    ///
    /// # Errors
    ///
    /// Fails when a content cannot be read or the output does not take the bytes.
    pub fn write(
        &self,
        uuid: [u8; 16],
        contents: &dyn Contents,
        output: &mut dyn Write,
    ) -> Result<(), ErofsError> {
        let mut output = Counted::new(output);
        let result = output.write_all(&self.first_block(uuid)).and_then(|()| self.write_inodes(&mut output));
        let result = result.and_then(|()| self.write_folders_and_links(&mut output));
        result.map_err(|source| ErofsError::Write { offset: output.position(), source })?;
        self.write_files(contents, &mut output)?;
        debug_assert_eq!(output.position(), self.size_bytes());
        Ok(())
    }

    /// Writes the inodes behind the first block, and the end of one that starts in it.
    fn write_inodes<W: Write>(&self, output: &mut Counted<W>) -> io::Result<()> {
        for (index, place) in (0..).zip(&self.places) {
            let bytes = self.encode_inode(index);
            let written = BLOCK_BYTES.saturating_sub(place.offset) as usize;
            if let Some(rest) = bytes.get(written..) {
                output.pad_to(place.offset)?;
                output.write_all(rest)?;
            }
        }
        output.pad_to(output.position().next_multiple_of(BLOCK_BYTES))
    }

    /// Writes blocks of folders, and of links that do not fit their inodes.
    fn write_folders_and_links<W: Write>(&self, output: &mut Counted<W>) -> io::Result<()> {
        for ((index, node), place) in self.order.iter().zip(&self.places) {
            let full = place.bytes_on_blocks().div_ceil(BLOCK_BYTES) as usize;
            if full == 0 {
                continue;
            }
            match &node.inode.kind {
                Kind::File(_) => continue,
                Kind::Directory(entries) => {
                    for block in directory::blocks(entries).take(full) {
                        output.write_all(&block.encode(&|target| self.resolve(index, target)))?;
                        output.pad_to(output.position().next_multiple_of(BLOCK_BYTES))?;
                    }
                }
                Kind::Symlink(target) => {
                    output.write_all(target)?;
                    output.pad_to(output.position().next_multiple_of(BLOCK_BYTES))?;
                }
            }
        }
        Ok(())
    }

    /// Writes the data of files, each padded to a block.
    fn write_files<W: Write>(
        &self,
        contents: &dyn Contents,
        output: &mut Counted<W>,
    ) -> Result<(), ErofsError> {
        let mut buffer = Vec::new();
        for ((index, node), place) in self.order.iter().zip(&self.places) {
            let Kind::File(content) = &node.inode.kind else { continue };
            if place.bytes_on_blocks() == 0 {
                continue;
            }
            debug_assert_eq!(output.position(), u64::from(place.start) * BLOCK_BYTES);
            let copied = contents::copy(content, contents, &mut buffer, output).and_then(|()| {
                output.pad_to(output.position().next_multiple_of(BLOCK_BYTES)).map_err(CopyError::Write)
            });
            copied.map_err(|fault| match fault {
                CopyError::Read { offset, source } => {
                    ErofsError::Read { path: self.order.path(index), offset, source }
                }
                CopyError::Write(source) => ErofsError::Write { offset: output.position(), source },
            })?;
        }
        Ok(())
    }

    /// Returns an inode with its attributes and the end of its data.
    fn encode_inode(&self, index: u32) -> Vec<u8> {
        let node = self.order.node(index);
        let place = &self.places[index as usize];
        let core = Core {
            inode: node.inode,
            form: place.form,
            layout: place.layout,
            links: node.links,
            size: place.size,
            start: place.start,
            serial: index + 1,
            xattr_count: xattr::count(xattr::bytes(&node.inode.xattrs)),
        };
        let mut output = Vec::new();
        core.encode(&mut output);
        xattr::encode(&node.inode.xattrs, &mut output);
        match (&node.inode.kind, place.layout) {
            (Kind::File(_), Layout::Hole) => output.extend_from_slice(&NULL_ADDRESS.to_le_bytes()),
            (Kind::Symlink(target), Layout::Inline) => output.extend_from_slice(target),
            (Kind::Directory(entries), Layout::Inline) => {
                if let Some(block) = directory::blocks(entries).last() {
                    output.extend_from_slice(&block.encode(&|target| self.resolve(index, target)));
                }
            }
            _ => {}
        }
        output
    }

    /// Returns inode number and type behind a name of folder `index`.
    fn resolve(&self, index: u32, target: directory::Target) -> (u64, u8) {
        let at = match target {
            directory::Target::Own => index,
            directory::Target::Parent => self.order.node(index).parent,
            // The walk has seen each child of each folder; the root would stand for one that it had not.
            directory::Target::Child(id) => self.order.index_of(id).unwrap_or(0),
        };
        (self.number(at), entry_type(&self.order.node(at).inode.kind))
    }

    fn number(&self, index: u32) -> u64 {
        self.places[index as usize].offset / SLOT_BYTES
    }
}
