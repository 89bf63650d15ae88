//! Every maximum of the format and of this implementation, with its reason.
//!
//! The "format" numbers are promises: changing one breaks files (spec section 3). The "implementation"
//! numbers bound memory and may change freely.

// ---- format ------------------------------------------------------------------------------

/// log2 of the block size; the only value of version 1.
pub const BLOCK_BITS: u8 = 12;
/// Bytes in a block: the alignment of file systems, hence the unit of sharing.
pub const BLOCK_LEN: usize = 1 << BLOCK_BITS;
/// Blocks in a span, the unit of the content id.
pub const SPAN_BLOCKS: u64 = 256;
/// Bytes in a span.
pub use melv_block::SPAN_LEN;
const _: () = assert!(SPAN_LEN == SPAN_BLOCKS as usize * BLOCK_LEN);
/// Most blocks in a chunk: 4 MiB, which a reader must be able to hold decoded.
pub const CHUNK_BLOCKS_MAX: u32 = 1024;
/// Disk sizes stay below this, so that offsets fit a signed 64-bit number.
pub const DISK_SIZE_MAX: u64 = 1 << 63;
/// log2 of the fewest blocks in a map leaf: 256 MiB of guest disk.
pub const LEAF_BITS_MIN: u8 = 16;
/// Most leaves under one root; larger disks have larger leaves, so the tree keeps two levels.
pub const LEAVES_MAX: u64 = 1 << 13;
/// Most bytes in one map or span page: a 32 TiB disk of single-block extents fits.
pub const PAGE_LEN_MAX: u64 = 8 << 20;
/// Most chunks in one chunk list: keeps its root at 512 KiB. A larger import starts another list.
pub const LIST_CHUNKS_MAX: u64 = 1 << 24;
/// Chunk ids, or locator records, in one page of their table.
pub const TABLE_PAGE_RECORDS: u64 = 1024;
/// Most blocks in one chunk list: its chunks hold at most 2^34 blocks, so 2^40 is never reached.
pub const LIST_BLOCKS_MAX: u64 = 1 << 40;
/// Most chunk lists in one image: sixty-four thousand generations.
pub const IMAGE_LISTS_MAX: u64 = 1 << 16;
/// Most bytes of metadata keys and values in a manifest.
pub const METADATA_LEN_MAX: u64 = 64 << 10;
/// Most bytes of a manifest: all its lists and its metadata.
pub const MANIFEST_LEN_MAX: u64 = 4 << 20;
/// Most page files that one manifest record may name.
pub const PAGE_FILES_MAX: u64 = 1 << 16;
/// Most packs that one locator may name.
pub const LOCATOR_PACKS_MAX: u64 = 1 << 20;
/// Most records in one locator: four frames for each chunk of the longest list.
pub const LOCATOR_RECORDS_MAX: u64 = 1 << 26;
/// Most bytes of a list's root: all its pages.
pub const LIST_ROOT_LEN_MAX: u64 = 48 + 32 * LIST_CHUNKS_MAX.div_ceil(TABLE_PAGE_RECORDS);
/// Most bytes of a locator's root: all its packs and pages.
pub const LOCATOR_ROOT_LEN_MAX: u64 =
    120 + 36 * LOCATOR_PACKS_MAX + 32 * LOCATOR_RECORDS_MAX.div_ceil(TABLE_PAGE_RECORDS);
/// Most bytes of a map or span root: an entry for each leaf.
pub const ROOT_LEN_MAX: u64 = 32 + 36 * LEAVES_MAX;
/// Most frames in one pack.
pub const PACK_FRAMES_MAX: u64 = 1 << 20;
/// Most bytes in one pack: frame offsets fit 32 bits.
pub const PACK_LEN_MAX: u64 = 1 << 32;
/// Most bytes in a frame: a full chunk stored raw with its head and mask, or the worst case of zstd on 4 MiB.
pub const FRAME_LEN_MAX: u64 = (CHUNK_BLOCKS_MAX as u64) * (BLOCK_LEN as u64 + 32) + 64 * 1024;
/// Most bases of a bundle.
pub const BUNDLE_BASES_MAX: u64 = 1 << 8;
/// Most names in a bundle.
pub const BUNDLE_NAMES_MAX: u64 = 1 << 16;
/// Most objects in a bundle.
pub const BUNDLE_OBJECTS_MAX: u64 = 1 << 20;
/// Most pieces of objects in a bundle.
pub const BUNDLE_PIECES_MAX: u64 = 1 << 21;
/// Most bytes of a bundle's table, which a reader holds in memory.
pub const BUNDLE_TABLE_LEN_MAX: u64 = 1 << 27;
/// Most bytes in a name or a tag.
pub const NAME_LEN_MAX: usize = 255;

// ---- implementation ----------------------------------------------------------------------

/// A pack is closed at this many bytes. A TiB of frames then takes 16,000 files, and finished packs reach the
/// disk while the next is written.
pub const PACK_LEN_TARGET: u64 = 64 << 20;
/// Default blocks in a chunk (32 KiB).
pub const CHUNK_BLOCKS_DEFAULT: u32 = 8;
/// Default zstd level.
pub const LEVEL_DEFAULT: i32 = 3;
/// Default limit of the cache of decoded chunks and pages, in bytes.
pub const CACHE_BYTES_DEFAULT: u64 = 64 << 20;
