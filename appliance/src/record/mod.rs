//! Records of an appliance: what its image says of the machine that it wants, of its boot and of its inputs.
//!
//! They are metadata of the image (`melv.appliance`, `melv.boot`, `melv.lock`; the format's registry assigns the
//! keys), so that a store, a bundle and a served disk tell them alike, and no reader needs the file systems inside.
//! Each is one line of JSON whose keys have one order: equal appliances have equal records.
//!
//! Whoever made an image wrote them, so they are checked when they are read: versions, ranges, lengths. A key that is
//! not known is passed over, since a later version may add some; a version that is not known is refused.

mod appliance;
mod boot;
mod error;

pub use self::{
    appliance::{ApplianceRecord, DataDiskRecord, Firmware, NetworkKind, PackageRecord, ServiceRecord},
    boot::{BootRecord, FilePlace},
    error::RecordError,
};

/// Key of the machine that the appliance wants.
pub const APPLIANCE_KEY: &str = "melv.appliance";
/// Key of the places of kernel and initrd, and of the command line.
pub const BOOT_KEY: &str = "melv.boot";
/// Key of the SHA-256 digest of the lock.
pub const LOCK_KEY: &str = "melv.lock";

/// Returns the BLAKE3 digest of bytes, as records tell it: 64 hexadecimal digits.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_string()
}
