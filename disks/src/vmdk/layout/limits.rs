//! The limits on reading a VMDK, with their reasons.

/// Maximum length of a descriptor, in bytes: enough for [`EXTENTS_MAX`] extents with long names.
/// Longer ones are refused without being read.
pub const DESCRIPTOR_LEN_MAX: u64 = 1 << 20;
/// Maximum number of extents of a disk: 8 TiB in pieces of 2 GiB.
pub const EXTENTS_MAX: usize = 4096;
/// Minimum grain length, in sectors: 4 KiB. The format's note demands more than 8; writers go down to 8.
pub const GRAIN_SECTORS_MIN: u64 = 8;
/// Maximum grain length, in sectors: 2 MiB. Each reading thread holds one decoded grain and up to
/// two grains of stored bytes, so a thread may hold three times this limit. Writers use 64 KiB.
pub const GRAIN_SECTORS_MAX: u64 = 1 << 12;
/// Minimum number of entries in a grain table.
pub const TABLE_ENTRIES_MIN: u32 = 128;
/// Maximum number of entries in a grain table; every writer uses it.
pub const TABLE_ENTRIES_MAX: u32 = 512;
/// Maximum number of grain tables in all sparse extents of a disk: 64 TiB in grains of 64 KiB.
/// Memory holds up to four copies of their sectors: 32 MiB.
pub const TABLES_MAX: u64 = 1 << 21;
/// Maximum number of surplus sectors in a directory read from a pipe: VMware's directories have an
/// extra entry for an empty table.
pub const DIRECTORY_SPARE_SECTORS: u64 = 8;
/// Exclusive limit on a disk's sectors, so that byte offsets fit a signed 64-bit number.
pub const DISK_SECTORS_MAX: u64 = (1 << 63) / 512;
/// Number of grain tables cached for all extents of a disk: 128 KiB.
pub const TABLES_CACHED: usize = 64;
/// Size of the cache of inflated grains for partial reads, in bytes; it holds at least two grains.
pub const GRAINS_CACHED_BYTES: u64 = 16 << 20;
/// Maximum memory for the maps of grain places, in bytes. They need one bit per grain that
/// fits the file, so this suffices for 2 TiB in grains of 4 KiB.
pub const OVERLAPS_BYTES_MAX: u64 = 64 << 20;
/// Length of the windows, in bytes, in which a file is searched backwards for its last non-zero
/// byte. The window before that byte is searched for a stream's footers.
pub const END_LEN: u64 = 1 << 20;
/// Maximum number of bytes before the first grain of a stream from a pipe, held in memory to read
/// the tables. Both copies of the tables of a 500 GiB disk take 64 MiB.
pub const FRONT_LEN_MAX: u64 = 64 << 20;
/// Number of extent files that a disk keeps open; each reading thread may hold one more. A process
/// may usually open 1024 files, and a disk may have more extents than that.
pub const FILES_OPEN: usize = 64;
/// Maximum number of VMDKs in a disk's folder that are searched for references to it.
pub const BESIDE_FILES_MAX: usize = 256;
/// Maximum number of bytes read from each. A descriptor usually has a few hundred; one of 8 TiB in
/// pieces has 300 KiB.
pub const BESIDE_LEN_MAX: u64 = 64 << 10;
/// Length of adjacent compressed grains that are read together, in bytes.
pub const GROUP_LEN_MAX: u64 = 1 << 20;
