//! Places of inodes and data.

use super::error::ErofsError;
use super::inode::{Form, Layout, MAX_HOLE_BYTES, NULL_ADDRESS, SLOT_BYTES};
use super::order::{Node, Order};
use super::{BLOCK_BYTES, directory, superblock, xattr};
use crate::tree::{Content, Kind, Timestamp, Tree};

/// Bytes of a label at most: 16 with a zero at the end.
const LABEL_BYTES: usize = 15;

/// Fields of the volume that no file has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Volume {
    /// The label: at most 15 bytes, without NUL.
    pub label: String,
    /// The time of inodes of 32 bytes. Inodes of another time take 64, so it best is the commonest one of the tree.
    pub epoch: Timestamp,
}

/// Place of an inode and its data.
#[derive(Debug)]
pub(super) struct Place {
    /// Byte of the inode's core.
    pub(super) offset: u64,
    /// Bytes of its data.
    pub(super) size: u64,
    /// First block of its data; 0 where no block is needed.
    pub(super) start: u32,
    pub(super) form: Form,
    pub(super) layout: Layout,
}

impl Place {
    /// Returns the bytes of data that lie on blocks.
    pub(super) fn bytes_on_blocks(&self) -> u64 {
        match self.layout {
            Layout::Plain => self.size,
            Layout::Inline => self.size - self.size % BLOCK_BYTES,
            Layout::Hole => 0,
        }
    }

    /// Returns the bytes behind core and attributes: the end of the data, or a chunk's address.
    fn bytes_behind(&self) -> u64 {
        match self.layout {
            Layout::Plain => 0,
            Layout::Inline => self.size % BLOCK_BYTES,
            Layout::Hole => size_of::<u32>() as u64,
        }
    }
}

/// An image with all places decided, ready to be written any number of times.
///
/// It takes up to 64 bytes of memory per inode beside the tree.
#[derive(Debug)]
pub struct Plan<'t> {
    pub(super) order: Order<'t>,
    pub(super) places: Vec<Place>,
    pub(super) label: [u8; 16],
    pub(super) epoch: Timestamp,
    /// Blocks of the image.
    pub(super) blocks: u32,
    pub(super) has_holes: bool,
}

impl<'t> Plan<'t> {
    /// Checks `tree` and places it.
    ///
    /// Equal trees give equal plans, whatever the order in which their inodes were added. Inodes that the root does
    /// not reach are left out.
    ///
    /// # Errors
    ///
    /// Fails where EROFS, or Linux reading it, has no room for a name, number or size: see [`ErofsError`].
    pub fn new(tree: &'t Tree, volume: &Volume) -> Result<Self, ErofsError> {
        let label = encode_label(&volume.label)?;
        let nanoseconds = volume.epoch.nanoseconds;
        if nanoseconds >= 1_000_000_000 {
            return Err(ErofsError::InvalidTime { path: String::new(), nanoseconds });
        }
        let order = Order::new(tree)?;
        let mut cursor = Cursor { at: superblock::OFFSET + superblock::BYTES };
        let mut places = Vec::with_capacity(order.len());
        for (index, node) in order.iter() {
            let place = place_inode(node, volume.epoch, &mut cursor, &|| order.path(index))?;
            places.push(place);
        }
        cursor.align(BLOCK_BYTES);
        let is_file = |kind: &Kind| matches!(kind, Kind::File(_));
        for files in [false, true] {
            for ((index, node), place) in order.iter().zip(&mut places) {
                if is_file(&node.inode.kind) == files {
                    place_data(place, &mut cursor, &|| order.path(index))?;
                }
            }
        }
        let has_holes = places.iter().any(|place| place.layout == Layout::Hole);
        let blocks = cursor.block().ok_or(ErofsError::TooManyBlocks { path: "/".to_owned() })?;
        Ok(Self { order, places, label, epoch: volume.epoch, blocks, has_holes })
    }

    /// Returns the size of the image in bytes, a multiple of [`BLOCK_BYTES`].
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        u64::from(self.blocks) * BLOCK_BYTES
    }

    /// Returns the number of inodes.
    #[must_use]
    pub fn inode_count(&self) -> usize {
        self.places.len()
    }
}

/// The next free byte of the image.
///
/// It never passes 2^63: each step is checked against the last block before the next one is added.
struct Cursor {
    at: u64,
}

impl Cursor {
    fn align(&mut self, unit: u64) {
        self.at = self.at.next_multiple_of(unit);
    }

    /// Moves to the next block where `bytes` bytes do not fit the rest of this one.
    fn keep_in_block(&mut self, bytes: u64) {
        if self.at % BLOCK_BYTES + bytes > BLOCK_BYTES {
            self.align(BLOCK_BYTES);
        }
    }

    /// Takes `bytes` bytes; returns their place, or nothing where they pass the last block.
    fn take(&mut self, bytes: u64) -> Option<u64> {
        let place = self.at;
        self.at = place.checked_add(bytes).filter(|&end| end <= u64::from(NULL_ADDRESS) * BLOCK_BYTES)?;
        Some(place)
    }

    /// Returns the number of the block that starts here.
    fn block(&self) -> Option<u32> {
        u32::try_from(self.at / BLOCK_BYTES).ok()
    }
}

/// Decides form and layout of an inode and takes its bytes.
fn place_inode(
    node: &Node<'_>,
    epoch: Timestamp,
    cursor: &mut Cursor,
    path: &dyn Fn() -> String,
) -> Result<Place, ErofsError> {
    let (size, layout) = match &node.inode.kind {
        Kind::Directory(entries) => (directory::size_bytes(entries), Layout::Inline),
        Kind::Symlink(target) => (target.len() as u64, Layout::Inline),
        Kind::File(Content::Zeros { len: length @ 1.. }) => {
            let max = MAX_HOLE_BYTES;
            if *length > max {
                return Err(ErofsError::HoleTooLong { path: path(), length: *length, max });
            }
            (*length, Layout::Hole)
        }
        Kind::File(content) => (content.len(), Layout::Plain),
    };
    let form = Form::of(node.inode, node.links, size, epoch);
    let mut place = Place { offset: 0, size, start: 0, form, layout };
    let before = form.bytes() + xattr::bytes(&node.inode.xattrs);
    if layout == Layout::Inline {
        // Linux wants the end of data, and everything of the inode before it, within one block.
        if size.is_multiple_of(BLOCK_BYTES) || before + place.bytes_behind() > BLOCK_BYTES {
            place.layout = Layout::Plain;
        } else {
            cursor.keep_in_block(before + place.bytes_behind());
        }
    }
    cursor.keep_in_block(form.bytes());
    let bytes = before + place.bytes_behind();
    place.offset = cursor.take(bytes).ok_or_else(|| ErofsError::TooManyBlocks { path: path() })?;
    cursor.align(SLOT_BYTES);
    Ok(place)
}

/// Takes the blocks of an inode's data.
fn place_data(place: &mut Place, cursor: &mut Cursor, path: &dyn Fn() -> String) -> Result<(), ErofsError> {
    let bytes = place.bytes_on_blocks();
    if bytes == 0 {
        return Ok(());
    }
    let too_many = || ErofsError::TooManyBlocks { path: path() };
    place.start = cursor.block().ok_or_else(too_many)?;
    cursor.take(bytes).ok_or_else(too_many)?;
    cursor.align(BLOCK_BYTES);
    Ok(())
}

fn encode_label(label: &str) -> Result<[u8; 16], ErofsError> {
    let bytes = label.as_bytes();
    if bytes.len() > LABEL_BYTES || bytes.contains(&0) {
        return Err(ErofsError::InvalidLabel { length: bytes.len() });
    }
    let mut padded = [0; 16];
    padded[..bytes.len()].copy_from_slice(bytes);
    Ok(padded)
}
