//! The rules of the format, as faults that a reader reports when the bytes break one.
//!
//! Each variant is one rule of `spec/format.md`. [`RuleViolation::rule`] returns the name shared by the
//! specification, the error text and the file name of the test vector.

/// Declares each fault once, together with its rule's name, so that no fault lacks a name or a row in
/// [`RULES`].
macro_rules! rules {
    ($($(#[$doc:meta])* $variant:ident $({ $($field:ident : $type:ty),* $(,)? })? = $rule:literal, $text:literal;)*) => {
        /// One broken rule of the format, with the expected and the actual value.
        #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
        #[non_exhaustive]
        pub enum RuleViolation {
            $(
                $(#[$doc])*
                #[error($text)]
                $variant $({
                    $(
                        #[doc = "See the variant's text."]
                        $field: $type,
                    )*
                })?,
            )*
        }

        impl RuleViolation {
            /// Returns the rule's name in `spec/format.md`, for example `extent-range`.
            #[must_use]
            pub fn rule(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $rule,)*
                }
            }
        }

        /// The names of all rules, in the order of the enum.
        pub const RULES: &[&str] = &[$($rule),*];
    };
}

rules! {
    /// An object that a name or an id refers to does not exist.
    Missing = "missing", "another object needs it, but it does not exist";
    /// Fewer bytes than the structure needs.
    Truncated { needed: u64, found: u64 } = "truncated", "ends too early: {needed} bytes needed, {found} found";
    /// Bytes after the structure's end.
    TrailingBytes { extra: u64 } = "trailing-bytes", "{extra} bytes follow the end of the structure";
    /// The first eight bytes are not this kind of object's magic.
    Magic { expected: &'static str, found: String } = "magic", "magic is {found:?}, expected {expected:?}";
    /// A major version that this reader does not know.
    Version { found: u8, known: u8 } = "version", "major version {found}, this reader knows {known}";
    /// An unknown bit of the refuse mask is set.
    RefuseBit { found: u32 } = "refuse-bit", "refuse mask {found:#010x} has bits this reader does not know";
    /// An unknown bit of the store's writer mask is set, and the store was opened for writing.
    WriterBit { found: u32 } = "writer-bit", "writer mask {found:#010x} has bits this writer does not know";
    /// A digest algorithm other than BLAKE3-256.
    DigestAlgorithm { found: u8 } = "digest-algorithm", "digest algorithm {found}, this reader knows 1 (BLAKE3-256)";
    /// A bit or byte that must be zero is not.
    Reserved { offset: u64 } = "reserved", "a reserved byte at offset {offset} is not zero";
    /// The header's body length disagrees with the bytes present.
    BodyLength { declared: u64, found: u64 } = "body-length", "header declares a body of {declared} bytes, {found} are present";
    /// The digest over an object's own bytes is wrong.
    Checksum = "checksum", "the digest that ends this object does not match its bytes";
    /// The bytes stored under a digest have another digest.
    PageDigest { expected: String, found: String } = "page-digest", "digest is {found}, expected {expected}";
    /// A domain other than zero: digests keyed by it are not known to this reader.
    Domain = "domain", "the store's digest domain is not zero (keyed digests are reserved)";
    /// A key slot other than zero: encryption is reserved.
    KeySlot { found: u32 } = "key-slot", "key slot {found} (encryption is reserved)";

    /// A count or length is beyond the format's limit.
    Limit { what: &'static str, found: u64, max: u64 } = "limit", "{what} is {found}, the limit is {max}";
    /// A variable-length number uses more bytes than it needs.
    VarintOverlong = "varint-overlong", "a variable-length number is not in its shortest form";
    /// A variable-length number does not fit 64 bits.
    VarintOverflow = "varint-overflow", "a variable-length number does not fit 64 bits";
    /// Text that must be UTF-8 is not, or a name or key has characters outside its alphabet.
    Text { what: &'static str } = "text", "{what} is not well-formed";

    /// The manifest's image kind is not a disk.
    ImageKind { found: u8 } = "image-kind", "image kind {found}, this reader knows 0 (disk)";
    /// A block size other than 4096.
    BlockBits { found: u8 } = "block-bits", "block bits {found}, this reader knows 12 (4096 bytes)";
    /// Sector sizes out of range or out of order.
    SectorBits { logical: u8, physical: u8 } = "sector-bits", "sector bits {logical} and {physical}, expected 9..=12, logical not above physical";
    /// The disk size is no multiple of 512 or out of range.
    DiskSize { found: u64 } = "disk-size", "disk size {found} is not a multiple of 512 in 0..2^63";
    /// The leaf size does not match the disk size.
    LeafBits { found: u8, expected: u8 } = "leaf-bits", "leaf bits {found}, expected {expected} for this disk size";
    /// More data blocks than the disk has blocks, or data without a map, or a map without data.
    DataBlocks { found: u64, blocks: u64 } = "data-blocks", "{found} data blocks on a disk of {blocks} blocks disagree with the map";
    /// The manifest's chunk lists are not sorted or not unique.
    ListOrder = "list-order", "chunk lists are not in strictly ascending order";
    /// Metadata keys are not sorted or not unique.
    MetadataOrder = "metadata-order", "metadata keys are not in strictly ascending order";

    /// A table's indexes are not strictly ascending.
    TableOrder { index: u32 } = "table-order", "index {index} is not above the one before it";
    /// A table's index is outside the disk or the leaf.
    TableRange { index: u64, max: u64 } = "table-range", "index {index} is outside 0..{max}";
    /// A page's place is outside the page files.
    PagePlace { found: u64, max: u64 } = "page-place", "a page's place names file {found} of {max}";

    /// An extent ends beyond its leaf, its disk or 2^40 blocks of its list.
    ExtentRange { block: u64, max: u64 } = "extent-range", "an extent ends at {block}, beyond {max}";
    /// Two neighbouring extents could be one.
    ExtentUnmerged { block: u64 } = "extent-unmerged", "the extent at block {block} continues the one before it";
    /// An extent says that its list changes, but names the same list.
    ListUnchanged { block: u64 } = "list-unchanged", "the extent at block {block} names the list already in use";
    /// A leaf's lists are not numbered in the order of their first use.
    ListFirstUse { found: u64, max: u64 } = "list-first-use", "list {found} is used before list {max}";
    /// A leaf names a list that no extent uses, or an extent uses a list that its leaf does not name.
    ListUnused { lists: u64, used: u64 } = "list-unused", "the leaf names {lists} lists, but its extents use {used}";
    /// A leaf names one list twice.
    ListTwice = "list-twice", "a leaf names one chunk list twice";
    /// A page without a single entry, which must not exist.
    EmptyPage = "empty-page", "a page without entries must not exist";
    /// A map leaf names a chunk list that the manifest does not.
    ListUnknown { list: String } = "list-unknown", "the map uses chunk list {list}, which the manifest does not name";

    /// Chunk size out of range.
    ChunkBlocks { found: u32 } = "chunk-blocks", "{found} blocks per chunk, expected a power of two in 1..=1024";
    /// A chunk list without blocks.
    EmptyList = "empty-list", "a chunk list holds no block";
    /// A list's root disagrees with the object that refers to it.
    ListShape { expected: u64, found: u64 } = "list-shape", "the list holds {found} blocks or blocks per chunk, expected {expected}";

    /// A locator belongs to another list.
    LocatorList { expected: String, found: String } = "locator-list", "the locator is for list {found}, expected {expected}";
    /// A locator's target kind is unknown.
    TargetKind { found: u32 } = "target-kind", "locator target kind {found}, this reader knows 0 (pack)";
    /// A locator record names a pack that its table does not have.
    LocatorPack { found: u32, max: u32 } = "locator-pack", "the record names pack {found} of {max}";
    /// A locator record's link points backwards or out of the table.
    LocatorLink { found: u64, max: u64 } = "locator-link", "the record links to {found}, expected a later one below {max}";
    /// The chunk has no frame in this store.
    ChunkAbsent { chunk: u64 } = "chunk-absent", "chunk {chunk} has no frame here";
    /// A frame lies outside its pack.
    FramePlace { end: u64, max: u64 } = "frame-place", "a frame ends at byte {end}, beyond {max}";

    /// A pack's counts disagree with its length.
    PackLength { expected: u64, found: u64 } = "pack-length", "the pack has {found} bytes, expected {expected}";
    /// A pack's last bytes are not its end mark.
    PackEnd = "pack-end", "the pack does not end in its end mark";
    /// A frame's stored bytes do not match their guard.
    FrameGuard { expected: u64, found: u64 } = "frame-guard", "guard is {found:016x}, expected {expected:016x}";
    /// A codec that this reader does not know.
    Codec { found: u8 } = "codec", "codec {found}, this reader knows 0 (raw) and 1 (zstd)";
    /// A transform that this reader does not know.
    Transform { found: u8 } = "transform", "transform {found} (encryption is reserved)";
    /// A partial frame's mask is empty, full or reaches beyond the chunk, repeats blocks of another frame, or
    /// contradicts the locator.
    FrameMask = "frame-mask", "a partial frame's mask is empty or full, reaches beyond the chunk, repeats blocks, or disagrees with the locator";
    /// No frame here holds a wanted block.
    BlockAbsent { block: u32 } = "block-absent", "no frame here holds block {block} of the chunk";
    /// Stored bytes of the raw codec have the wrong length.
    RawLength { expected: u64, found: u64 } = "raw-length", "{found} raw bytes, expected {expected}";
    /// The zstd frame breaks the profile: one frame, sized, no dictionary, small window, nothing after it.
    ZstdProfile { reason: &'static str } = "zstd-profile", "the zstd frame is outside the profile: {reason}";
    /// The zstd decoder refused the frame.
    ZstdDecode { reason: String } = "zstd-decode", "cannot decode the zstd frame: {reason}";
    /// The decoder made fewer bytes than the chunk has.
    DecodedLength { expected: u64, found: u64 } = "decoded-length", "decoded to {found} bytes, expected {expected}";
    /// Decoded blocks have another chunk id.
    ChunkId { expected: crate::digest::ChunkId, found: crate::digest::ChunkId } = "chunk-id", "chunk id is {found}, expected {expected}";

    /// A reference record is stored under another name.
    ReferenceName { expected: String, found: String } = "reference-name", "the record is for {found:?}, expected {expected:?}";
    /// The map, the span table and the content id of an image disagree.
        ContentId { expected: String, found: String } = "content-id", "content id is {found}, expected {expected}";

    /// A bundle's head, pieces and table overlap, leave gaps or reach beyond its end.
    BundleLayout { offset: u64, expected: u64 } = "bundle-layout", "a part begins or ends at byte {offset} of the bundle, expected {expected}";
    /// A kind of object that this reader does not know.
    ObjectKind { found: u32 } = "object-kind", "object kind {found}, this reader knows 0 to 4";
    /// An object's pieces overlap, leave a gap or reach beyond the object.
    PieceOrder { offset: u64 } = "piece-order", "the object's pieces overlap, leave a gap or reach beyond it at its byte {offset}";
    /// The bundle lacks bytes of an object.
    PieceAbsent { offset: u64 } = "piece-absent", "the bundle does not hold the object's bytes from {offset} on";
}

impl RuleViolation {
    /// Whether the bytes may be sound but need a newer reader.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        matches!(
            self,
            Self::Version { .. }
                | Self::RefuseBit { .. }
                | Self::WriterBit { .. }
                | Self::DigestAlgorithm { .. }
                | Self::Domain
                | Self::KeySlot { .. }
                | Self::ImageKind { .. }
                | Self::BlockBits { .. }
                | Self::TargetKind { .. }
                | Self::Codec { .. }
                | Self::Transform { .. }
                | Self::ObjectKind { .. }
        )
    }
}
