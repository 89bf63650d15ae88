//! Names of a disk and its parts, derived from the digest of its root.

use crate::gpt::Guid;

/// Names of a disk and its parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity {
    pub(super) disk: Guid,
    pub(super) esp: Guid,
    pub(super) root: Guid,
    /// UUID of the root file system.
    pub(super) erofs: [u8; 16],
    /// Serial number of the EFI system partition.
    pub(super) fat: u32,
}

impl Identity {
    /// Derives the names from the BLAKE3 digest of a root that was written with zeros for its UUID.
    pub(super) fn of(root: &blake3::Hash) -> Self {
        let derive = |part: &str| {
            let mut hasher = blake3::Hasher::new_derive_key(part);
            hasher.update(root.as_bytes());
            let mut bytes = [0; 16];
            hasher.finalize_xof().fill(&mut bytes);
            bytes
        };
        let [a, b, c, d, ..] = derive("melv 2026 appliance EFI system partition serial number");
        Self {
            disk: Guid::from_digest(derive("melv 2026 appliance disk GUID")),
            esp: Guid::from_digest(derive("melv 2026 appliance EFI system partition GUID")),
            root: Guid::from_digest(derive("melv 2026 appliance root partition GUID")),
            erofs: Guid::from_digest(derive("melv 2026 appliance root file system UUID")).0,
            fat: u32::from_le_bytes([a, b, c, d]),
        }
    }
}
