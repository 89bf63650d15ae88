//! Imports of a disk that is all new, and of one that the store already has.

use std::fs::File;
use std::path::Path;

use melv::limits::{CHUNK_BLOCKS_DEFAULT, LEVEL_DEFAULT};
use melv::{ImportOptions, Source, Store, StoreError, StoreOptions};

use crate::BLOCK_LEN;
use crate::floor::{self, Compression};
use crate::paired::{Pairs, seconds};
use crate::workload::{self, Result};

fn import(folder: &Path, disk: &Path, name: &str) -> Result<f64> {
    let store = match Store::open_folder(folder, StoreOptions::default()) {
        Err(error) if matches!(error.detail(), Some(StoreError::NoStore { .. })) => {
            Store::create_folder(folder, StoreOptions::default())?
        }
        other => other?,
    };
    let disk = melv::RawFile::open(disk, false)?;
    let options = ImportOptions { replace: true, ..ImportOptions::named(name.parse()?) };
    Ok(seconds(|| store.import(Source::device(&disk), &options).map(drop))?)
}

/// Times imports of `disk` against bare reading, hashing and compressing: all new, then all shared. `folder`
/// should be in memory, so that storage speed does not count.
///
/// # Errors
/// Any import error.
pub fn measure(folder: &Path, disk: &Path, threads: usize, runs: usize) -> Result<[(Pairs, u64); 2]> {
    let spans = workload::spans(disk, &mut Default::default())?;
    let file = File::open(disk)?;
    let bytes: u64 = spans.iter().map(|span| span.len as u64).sum();
    let how = Compression { chunk_len: CHUNK_BLOCKS_DEFAULT as usize * BLOCK_LEN, level: LEVEL_DEFAULT };
    let store = folder.join("store");
    let bare = |how| Ok(seconds(|| floor::import(&file, &spans, how, threads))?);
    let unique = Pairs::time(
        runs,
        || bare(Some(how)),
        || {
            let _ = std::fs::remove_dir_all(&store);
            import(&store, disk, "one")
        },
    )?;
    let shared = Pairs::time(runs, || bare(None), || import(&store, disk, "two"))?;
    std::fs::remove_dir_all(&store)?;
    Ok([(unique, bytes), (shared, bytes)])
}
