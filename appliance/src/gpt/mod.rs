//! A writer of GPT, the partition table.
//!
//! [`Table`] takes partitions with their sizes and lays them one after the other, each from a multiple of the
//! alignment and with whole units of it. It gives two pieces of bytes: [`Table::head`] goes to the start of the disk,
//! [`Table::tail`] to its end, and the partitions' data between them.
//!
//! ```text
//! | protective MBR | header | entries | ... partitions ... | entries | header |
//!   sector 0         1        2 to 33                        the last 33 sectors
//! ```
//!
//! The boot code in the MBR is the caller's: that of syslinux (`gptmbr.bin`) starts the partition that has
//! [`LEGACY_BIOS_BOOTABLE`]. The layout is that of the UEFI specification 2.10, chapter 5; sectors are 512 bytes.

mod entries;
mod error;
mod guid;
mod header;
mod mbr;
mod table;

pub use error::GptError;
pub use guid::{Guid, InvalidGuid};
pub use mbr::BOOT_CODE_BYTES;
pub use table::{Alignment, Partition, Place, Table};

/// Bytes in a sector.
pub const SECTOR_BYTES: u64 = 512;

/// The attribute of a partition that a BIOS boots: bit 2.
pub const LEGACY_BIOS_BOOTABLE: u64 = 1 << 2;

/// The attribute of a partition that an operating system does not write to: bit 60, as Linux's tools read it.
pub const READ_ONLY: u64 = 1 << 60;
