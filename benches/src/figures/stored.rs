//! The stored size of the eight disks, and of the extent records of their maps.

use std::path::Path;

use melv::{Store, StoreOptions};

use crate::workload::{self, DISKS, Result};

const MIB: f64 = (1 << 20) as f64;

/// Stored sizes, in MiB.
#[derive(Debug, Clone, Copy)]
pub struct Stored {
    /// All files but the index.
    pub stored_mib: f64,
    /// Distinct blocks.
    pub unique_mib: f64,
    /// Blocks that are not zero.
    pub data_mib: f64,
}

/// Measures the space of a store.
///
/// # Errors
/// Any read error.
pub fn stored(folder: &Path) -> Result<Stored> {
    let space = Store::open_folder(folder, StoreOptions::default())?.usage()?;
    Ok(Stored {
        stored_mib: space.stored_bytes as f64 / MIB,
        unique_mib: space.unique_bytes as f64 / MIB,
        data_mib: space.data_bytes as f64 / MIB,
    })
}

/// Returns the MiB of map per TiB of data for every image: stored leaves and the root, slightly more than the
/// extent records alone.
///
/// # Errors
/// Any read error.
pub fn map_mib_per_tib(folder: &Path) -> Result<Vec<(String, f64)>> {
    let mut found = Vec::new();
    for name in DISKS {
        let image = workload::image(folder, name, 64 << 20, melv::VerifyMode::Guard)?;
        let data: u64 = workload::data_ranges(&image)?.iter().map(|range| range.1).sum();
        let records = image.map_bytes() as f64;
        found.push((name.to_owned(), records / MIB / (data as f64 / (1u64 << 40) as f64)));
    }
    Ok(found)
}
