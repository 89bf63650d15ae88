//! Imports raw disks into a store, one after the other, and prints the savings from sharing.
//!
//! ```text
//! cargo run --release --example import_with_progress -- STORE DISK...
//! ```

use std::path::Path;
use std::time::Instant;

use melv::RawFile;
use melv::{ImportOptions, Progress, RefName, Source, Store, StoreOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let folder = arguments.next().ok_or("usage: import_with_progress STORE DISK...")?;
    let store = Store::create_folder(folder, StoreOptions::default())?;
    for disk in arguments {
        let path = Path::new(&disk);
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let name = RefName::from_stem(&stem).ok_or("cannot make a name from the file name")?;
        let raw = RawFile::open(path, false)?;
        let progress = |progress: Progress| eprint!("\r{} MiB", progress.done_bytes >> 20);
        let unchanged = || raw.check_unchanged();
        let options = ImportOptions {
            progress: Some(&progress),
            before_commit: Some(&unchanged),
            ..ImportOptions::named(name)
        };
        let begun = Instant::now();
        let report = store.import(Source::device(&raw), &options)?;
        eprintln!();
        println!(
            "{} {}: {} MiB of data, {} MiB new, stored in {} KiB, {:.2} s",
            report.name,
            report.image,
            report.data_bytes >> 20,
            report.new_bytes >> 20,
            report.stored_bytes >> 10,
            begun.elapsed().as_secs_f64()
        );
    }
    Ok(())
}
