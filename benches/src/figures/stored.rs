//! What the eight disks take in a store, and the extent records of their maps.

use std::path::Path;

use melv::{Store, StoreOptions};

use crate::workload::{self, DISKS, Result};

const MIB: f64 = (1 << 20) as f64;

/// What is stored, in MiB.
#[derive(Debug, Clone, Copy)]
pub struct Stored {
    /// All files but the index.
    pub stored_mib: f64,
    /// Different blocks.
    pub unique_mib: f64,
    /// Blocks that are not zero.
    pub data_mib: f64,
}

/// Takes stock of a store.
///
/// # Errors
/// Those of reading it.
pub fn stored(folder: &Path) -> Result<Stored> {
    let space = Store::open_folder(folder, StoreOptions::default())?.space()?;
    Ok(Stored {
        stored_mib: space.stored_bytes as f64 / MIB,
        unique_mib: space.unique_bytes as f64 / MIB,
        data_mib: space.data_bytes as f64 / MIB,
    })
}

/// MiB of map for each TiB of data of every image: its leaves as stored and its root, which is a little
/// more than their extent records alone.
///
/// # Errors
/// Those of reading.
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
