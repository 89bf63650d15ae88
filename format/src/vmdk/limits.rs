//! The most of everything that a VMDK is read with, and why.

/// Most bytes of a descriptor: one with all the extents below and long names fits. Longer ones are
/// refused by their length, unread.
pub const DESCRIPTOR_LEN_MAX: u64 = 1 << 20;
/// Most extents of a disk: 8 TiB in pieces of 2 GiB.
pub const EXTENTS_MAX: usize = 4096;
/// Fewest sectors in a grain: 4 KiB. The format's note wants more than 8; writers stop at 8.
pub const GRAIN_SECTORS_MIN: u64 = 8;
/// Most sectors in a grain: 2 MiB. Each thread that reads holds a grain decoded and up to two of
/// stored bytes, so this times three times the threads is memory that a file can claim. Writers use
/// 64 KiB.
pub const GRAIN_SECTORS_MAX: u64 = 1 << 12;
/// Fewest entries in a grain table.
pub const TABLE_ENTRIES_MIN: u32 = 128;
/// Most entries in a grain table: what every writer uses.
pub const TABLE_ENTRIES_MAX: u32 = 512;
/// Most grain tables of all the sparse extents of a disk: 64 TiB in grains of 64 KiB. Their places
/// are held in memory, at worst four times: 32 MiB.
pub const TABLES_MAX: u64 = 1 << 21;
/// Most sectors that a directory in a pipe has beyond those that its disk needs: VMware's have an entry
/// more, for an empty table.
pub const DIRECTORY_SPARE_SECTORS: u64 = 8;
/// Sectors of a disk stay below this, so that byte offsets fit a signed 64-bit number.
pub const DISK_SECTORS_MAX: u64 = (1 << 63) / 512;
/// Grain tables kept at hand for all extents of a disk: 128 KiB.
pub const TABLES_CACHED: usize = 64;
/// Inflated grains kept at hand, for reads of parts of them: bytes, and two grains at least.
pub const GRAINS_CACHED_BYTES: u64 = 16 << 20;
/// Most bytes for knowing which places of the files hold a grain already: a bit for each grain
/// that fits the file, so enough for 2 TiB in grains of 4 KiB.
pub const CLAIMS_BYTES_MAX: u64 = 64 << 20;
/// Bytes of the end of a file that are held at once while its last byte that is not zero is looked for,
/// and those in front of that which are looked through for the footers of a stream.
pub const END_LEN: u64 = 1 << 20;
/// Most bytes in front of the first grain of a stream from a pipe: they are held while its tables
/// are taken in. 64 MiB are both copies of the tables of a 500 GiB disk.
pub const FRONT_LEN_MAX: u64 = 64 << 20;
/// Files of extents that a disk keeps open, and each reading thread one more: a process is allowed
/// 1024 as a rule, and a disk may have more extents than that.
pub const FILES_OPEN: usize = 64;
/// Most VMDKs in a disk's folder that are asked whether they speak of it.
pub const BESIDE_FILES_MAX: usize = 256;
/// Bytes of each that are read: descriptors have some hundred, one of 8 TiB in pieces 300 KiB.
pub const BESIDE_LEN_MAX: u64 = 64 << 10;
/// Bytes of neighbouring compressed grains that are read at once.
pub const GROUP_LEN_MAX: u64 = 1 << 20;
