//! Parsers for any bytes. Each either succeeds or fails, within bounded memory.

use std::path::Path;

use super::{
    Limits, Replaces, Unpacker,
    compression::Decoder,
    insert::{Inserter, Rules},
    spool::Spool,
    unpack,
};

/// Bounds that keep one input quick.
const LIMITS: Limits =
    Limits { inodes: 2000, metadata_bytes: 4 << 20, content_bytes: 4 << 20, archive_bytes: 16 << 20 };

/// Reads bytes as a Debian package.
pub fn fuzz_deb(bytes: &[u8]) {
    if let Ok(mut unpacker) = Unpacker::new(folder(), LIMITS) {
        let _ = unpacker.add_package(bytes, Replaces::default());
    }
}

/// Reads bytes as two layers: the second meets what the first one left.
pub fn fuzz_layer(bytes: &[u8]) {
    let (Ok(mut spool), mut inserter) = (Spool::new(folder(), LIMITS.content_bytes), Inserter::new(LIMITS))
    else {
        return;
    };
    for part in [bytes, bytes] {
        inserter.begin("layer", Rules::Layer);
        if let Ok(decoder) = Decoder::new(part, LIMITS.archive_bytes) {
            let _ = unpack::unpack(decoder, &mut spool, &mut inserter, None);
        }
    }
}

/// A folder in memory, where there is one.
fn folder() -> &'static Path {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory } else { Path::new("/tmp") }
}
