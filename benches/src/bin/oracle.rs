//! Prints the result of exact sharing of 4 KiB blocks and of bare zstd, for disks in the order given.
//!
//! ```text
//! oracle CHUNK_BYTES LEVEL DISK...
//! ```
//!
//! Prints one line per disk: its path, bytes of data, bytes not seen before, bytes compressed; then a line
//! `total`.

use std::path::Path;

use melv_benches::{Brought, Oracle};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: oracle CHUNK_BYTES LEVEL DISK...";
    let chunk_len = arguments.next().ok_or(usage)?.parse()?;
    let level = arguments.next().ok_or(usage)?.parse()?;
    let mut oracle = Oracle::new(chunk_len, level);
    let mut total = Brought::default();
    for disk in arguments {
        let Brought { data_bytes, new_bytes, compressed_bytes } = oracle.disk(Path::new(&disk))?;
        println!("{disk} {data_bytes} {new_bytes} {compressed_bytes}");
        total.data_bytes += data_bytes;
        total.new_bytes += new_bytes;
        total.compressed_bytes += compressed_bytes;
    }
    println!("total {} {} {}", total.data_bytes, total.new_bytes, total.compressed_bytes);
    Ok(())
}
