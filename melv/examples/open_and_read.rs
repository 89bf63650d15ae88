//! Opens an image, writes it to a raw file, and prints the share of zeros.
//!
//! ```text
//! cargo run --release --example open_and_read -- STORE NAME OUT
//! ```

use std::path::Path;

use melv::for_each_run;
use melv::{ExportOptions, RunKind, Store, StoreOptions, export};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [folder, name, out] = arguments.as_slice() else {
        return Err("usage: open_and_read STORE NAME OUT".into());
    };
    let store = Store::open_folder(folder, StoreOptions::default())?;
    let image = store.image(&name.parse()?)?;

    let mut zero_bytes = 0;
    for_each_run(&image, |_, run| {
        zero_bytes += if run.kind == RunKind::Zero { run.len } else { 0 };
        Ok(())
    })?;
    let bytes = export(&image, Path::new(out), &ExportOptions { force: true, ..Default::default() })?;
    println!("{bytes} bytes, {zero_bytes} of them zeros, content id {}", image.manifest().content);
    Ok(())
}
