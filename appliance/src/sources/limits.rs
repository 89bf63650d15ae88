//! Maxima of archives, each with its reason.

/// Depth of a path: folders deeper than this are in no package of Debian; walks of the tree may recurse.
pub const DEPTH: usize = 128;
/// Bytes of a path, Linux's `PATH_MAX`.
pub const PATH_BYTES: usize = 4096;
/// Bytes of a name in a folder, Linux's `NAME_MAX`.
pub const NAME_BYTES: usize = 255;
/// Bytes of the names and values of one inode's extended attributes, Linux's `XATTR_SIZE_MAX`.
pub const XATTR_BYTES: usize = 64 << 10;
/// Bytes of the name of an extended attribute, Linux's `XATTR_NAME_MAX`.
pub const XATTR_NAME_BYTES: usize = 255;
/// Links that one path may lead through, Linux's `MAXSYMLINKS`.
pub const LINK_HOPS: usize = 40;
/// Names that one path may lead through, links included: without it, 40 links of 2000 `.` each cost milliseconds.
pub const PATH_STEPS: usize = 1024;
/// Bytes of an extension header of a tar: 64 KiB of attributes and two paths, sixteen times over.
pub const TAR_EXTENSION_BYTES: u64 = 1 << 20;
/// Ranges of a sparse file: 1 MiB as text, as long as one extension header.
pub const SPARSE_RANGES: usize = 1 << 16;
/// Memory that a decoder of xz may take: level 9 needs 65 MiB.
pub const XZ_MEMORY_BYTES: u64 = 128 << 20;
/// Window of zstd as a power of two, 128 MiB: the most that `zstd` itself decodes unasked.
pub const ZSTD_WINDOW_LOG: u32 = 27;
/// Bytes of a JSON document of an image.
pub const JSON_BYTES: u64 = 4 << 20;
/// Layers of an image: Docker stops at 127.
pub const LAYERS: usize = 512;
/// Entries of an archive that holds images.
pub const ARCHIVE_ENTRIES: usize = 1 << 16;
/// Bytes of the file `control` of a package, and of its list of configuration files.
pub const CONTROL_BYTES: u64 = 1 << 20;
/// Bytes that the control archive of a package may unpack to: maintainer scripts and check sums included.
pub const CONTROL_ARCHIVE_BYTES: u64 = 256 << 20;
/// Bytes of the paths that one package brings.
pub const BROUGHT_BYTES: u64 = 32 << 20;

/// Maxima of a whole tree.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Inodes, those that a later archive replaced included.
    pub inodes: usize,
    /// Bytes of names, targets of links and extended attributes, with what the tree needs to hold each.
    pub metadata_bytes: u64,
    /// Bytes of contents, those that a later archive replaced included.
    pub content_bytes: u64,
    /// Bytes that one compressed archive may unpack to.
    pub archive_bytes: u64,
}

impl Default for Limits {
    /// One million inodes, 96 MiB of metadata, 16 GiB of contents, 20 GiB of an archive.
    fn default() -> Self {
        Self { inodes: 1_000_000, metadata_bytes: 96 << 20, content_bytes: 16 << 30, archive_bytes: 20 << 30 }
    }
}
