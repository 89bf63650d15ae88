//! A manifest: the description of an image (spec section 7.1). Its object digest is the image id.

use std::collections::BTreeMap;

use super::cursor::{Cursor, Put};
use super::header::{self, HEADER_LEN, Kind};
use super::list::ListShape;
use crate::digest::{ContentId, Digest, ImageId, ListId};
use crate::fault::RuleViolation;
use crate::limits::{
    BLOCK_BITS, BLOCK_LEN, DISK_SIZE_MAX, IMAGE_LISTS_MAX, LEAF_BITS_MIN, LEAVES_MAX, MANIFEST_LEN_MAX,
    METADATA_LEN_MAX, SPAN_BLOCKS,
};

const KIND_DISK: u8 = 0;
const LIST_LEN: usize = 48;
const METADATA_LEN_MIN: usize = 8;

/// The shape of a disk, which determines the shape of its trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// The size in bytes, a multiple of 512.
    pub size_bytes: u64,
    /// log2 of the logical sector size that the disk was made for: 9 to 12.
    pub logical_bits: u8,
    /// log2 of the physical sector size, at least `logical_bits`.
    pub physical_bits: u8,
}

impl Geometry {
    /// Describes a disk of `size_bytes` with logical sectors of 512 bytes on physical sectors of 4096.
    #[must_use]
    pub fn of_size(size_bytes: u64) -> Self {
        Self { size_bytes, logical_bits: 9, physical_bits: 12 }
    }

    /// Returns the number of blocks; the last may be short.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.size_bytes.div_ceil(BLOCK_LEN as u64)
    }

    /// Returns the number of spans; the last may be short.
    #[must_use]
    pub fn spans(&self) -> u64 {
        self.blocks().div_ceil(SPAN_BLOCKS)
    }

    /// Returns log2 of the blocks in a map leaf: the smallest that keeps the root at [`LEAVES_MAX`] leaves.
    #[must_use]
    pub fn leaf_bits(&self) -> u8 {
        (LEAF_BITS_MIN..52).find(|&bits| self.blocks().div_ceil(1 << bits) <= LEAVES_MAX).unwrap_or(52)
    }

    /// Returns the number of blocks in a map leaf.
    #[must_use]
    pub fn leaf_blocks(&self) -> u64 {
        1 << self.leaf_bits()
    }

    /// Returns the number of leaves.
    #[must_use]
    pub fn leaves(&self) -> u64 {
        self.blocks().div_ceil(self.leaf_blocks())
    }

    /// Checks the limits.
    pub fn check(&self) -> Result<(), RuleViolation> {
        if !self.size_bytes.is_multiple_of(512) || self.size_bytes >= DISK_SIZE_MAX {
            return Err(RuleViolation::DiskSize { found: self.size_bytes });
        }
        let (logical, physical) = (self.logical_bits, self.physical_bits);
        if !(9..=12).contains(&logical) || !(logical..=12).contains(&physical) {
            return Err(RuleViolation::SectorBits { logical, physical });
        }
        Ok(())
    }
}

/// A chunk list that an image uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListUse {
    /// The list.
    pub id: ListId,
    /// Its shape, so that its pages can be located before its root is read.
    pub shape: ListShape,
}

/// The description of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The shape of the disk.
    pub geometry: Geometry,
    /// The number of non-zero blocks.
    pub data_blocks: u64,
    /// The content id: the digest of the bytes a guest reads.
    pub content: ContentId,
    /// The digest of the map root; zero if the whole disk is zero.
    pub map_root: Digest,
    /// The digest of the span root; zero if the whole disk is zero.
    pub span_root: Digest,
    /// The image that this one was made from, or zero. Lineage only; no data is read through it.
    pub parent: ImageId,
    /// The lists that the map uses, in ascending order of their ids.
    pub lists: Vec<ListUse>,
    /// Keys and values; keys of this project begin with `melv.`.
    pub metadata: BTreeMap<String, String>,
}

/// The metadata keys of version 1.1.
const KEYS_OF_1_1: [&str; 3] = ["melv.appliance", "melv.boot", "melv.lock"];

impl Manifest {
    /// Encodes the manifest; its object digest is the image id.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let has_later_key = KEYS_OF_1_1.iter().any(|key| self.metadata.contains_key(*key));
        let mut out = header::begin_version(Kind::Manifest, u8::from(has_later_key));
        let geometry = &self.geometry;
        out.extend_from_slice(&[KIND_DISK, BLOCK_BITS, geometry.logical_bits, geometry.physical_bits]);
        out.extend_from_slice(&[geometry.leaf_bits(), 0, 0, 0]);
        out.put_u64(geometry.size_bytes);
        out.put_u64(self.data_blocks);
        out.put_id(&self.content);
        out.put_digest(&self.map_root);
        out.put_digest(&self.span_root);
        out.put_id(&self.parent);
        out.put_u32(u32::try_from(self.lists.len()).unwrap_or(u32::MAX));
        out.put_u32(u32::try_from(self.metadata.len()).unwrap_or(u32::MAX));
        for list in &self.lists {
            out.put_id(&list.id);
            out.put_u32(list.shape.chunk_blocks);
            out.put_u32(0);
            out.put_u64(list.shape.blocks);
        }
        for (key, value) in &self.metadata {
            out.put_u32(u32::try_from(key.len()).unwrap_or(u32::MAX));
            out.put_u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(value.as_bytes());
        }
        header::finish(&mut out);
        out
    }

    /// Decodes and checks a manifest.
    pub fn decode(bytes: &[u8]) -> Result<Self, RuleViolation> {
        if bytes.len() as u64 > MANIFEST_LEN_MAX {
            return Err(RuleViolation::Limit {
                what: "manifest length",
                found: bytes.len() as u64,
                max: MANIFEST_LEN_MAX,
            });
        }
        let (_, mut cursor) = header::decode_whole(Kind::Manifest, bytes)?;
        debug_assert_eq!(cursor.position(), HEADER_LEN);
        let geometry = decode_geometry(&mut cursor)?;
        let data_blocks = cursor.u64()?;
        let (content, map_root, span_root) = (cursor.id()?, cursor.digest()?, cursor.digest()?);
        let parent = cursor.id()?;
        let (lists, keys) = (u64::from(cursor.u32()?), u64::from(cursor.u32()?));
        if lists > IMAGE_LISTS_MAX {
            return Err(RuleViolation::Limit {
                what: "lists of an image",
                found: lists,
                max: IMAGE_LISTS_MAX,
            });
        }
        let lists = decode_lists(lists, &mut cursor)?;
        let metadata = decode_metadata(keys, &mut cursor)?;
        cursor.end()?;
        let empty = data_blocks == 0;
        if data_blocks > geometry.blocks()
            || [map_root.is_zero(), span_root.is_zero(), lists.is_empty()].iter().any(|&none| none != empty)
        {
            return Err(RuleViolation::DataBlocks { found: data_blocks, blocks: geometry.blocks() });
        }
        Ok(Self { geometry, data_blocks, content, map_root, span_root, parent, lists, metadata })
    }
}

fn decode_geometry(cursor: &mut Cursor<'_>) -> Result<Geometry, RuleViolation> {
    let kind = cursor.u8()?;
    if kind != KIND_DISK {
        return Err(RuleViolation::ImageKind { found: kind });
    }
    let block_bits = cursor.u8()?;
    if block_bits != BLOCK_BITS {
        return Err(RuleViolation::BlockBits { found: block_bits });
    }
    let (logical_bits, physical_bits, leaf_bits) = (cursor.u8()?, cursor.u8()?, cursor.u8()?);
    cursor.reserved(3)?;
    let geometry = Geometry { size_bytes: cursor.u64()?, logical_bits, physical_bits };
    geometry.check()?;
    if leaf_bits != geometry.leaf_bits() {
        return Err(RuleViolation::LeafBits { found: leaf_bits, expected: geometry.leaf_bits() });
    }
    Ok(geometry)
}

fn decode_lists(count: u64, cursor: &mut Cursor<'_>) -> Result<Vec<ListUse>, RuleViolation> {
    let count = cursor.count("lists of an image", count, LIST_LEN)?;
    let mut lists: Vec<ListUse> = Vec::with_capacity(count);
    for _ in 0..count {
        let id = cursor.id()?;
        let chunk_blocks = cursor.u32()?;
        cursor.reserved(4)?;
        let shape = ListShape { chunk_blocks, blocks: cursor.u64()? };
        shape.check()?;
        if lists.last().is_some_and(|last| last.id >= id) {
            return Err(RuleViolation::ListOrder);
        }
        lists.push(ListUse { id, shape });
    }
    Ok(lists)
}

fn decode_metadata(count: u64, cursor: &mut Cursor<'_>) -> Result<BTreeMap<String, String>, RuleViolation> {
    let count = cursor.count("metadata keys", count, METADATA_LEN_MIN)?;
    let mut metadata = BTreeMap::new();
    let mut total = 0;
    for _ in 0..count {
        let (key_len, value_len) = (cursor.u32()?, cursor.u32()?);
        total += u64::from(key_len) + u64::from(value_len);
        if total > METADATA_LEN_MAX {
            return Err(RuleViolation::Limit {
                what: "metadata length",
                found: total,
                max: METADATA_LEN_MAX,
            });
        }
        let text =
            |bytes: &[u8], what| String::from_utf8(bytes.to_vec()).map_err(|_| RuleViolation::Text { what });
        let key = text(cursor.bytes(key_len as usize)?, "a metadata key")?;
        let value = text(cursor.bytes(value_len as usize)?, "a metadata value")?;
        if !is_key(&key) {
            return Err(RuleViolation::Text { what: "a metadata key" });
        }
        if metadata.last_key_value().is_some_and(|(last, _)| *last >= key) {
            return Err(RuleViolation::MetadataOrder);
        }
        metadata.insert(key, value);
    }
    Ok(metadata)
}

/// Whether `key` is a non-empty string of lower-case letters, digits, dots, dashes and underscores.
fn is_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_'))
}
