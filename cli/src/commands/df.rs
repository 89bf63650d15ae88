//! `melv df`: shows the size of the images and the space the store takes.

use serde_json::json;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::table;
use crate::units::human;

pub const HELP: &str = "\
Examples:
  $ melv df
  $ melv df --json

Dead bytes belong to frames, pages, lists, locators and records that no image with a name needs. If
nothing in a pack or page file is needed, the whole file counts. Otherwise its unneeded frames or pages
count, but not its head, index and trailer. A frame counts once, even if several lists place it.";

pub fn run(session: &Session<'_>) -> Result<Exit, Failure> {
    let space = session.store()?.usage()?;
    let json = json!({
        "images": space.images,
        "logical_bytes": space.logical_bytes,
        "data_bytes": space.data_bytes,
        "unique_bytes": space.unique_bytes,
        "stored_bytes": space.stored_bytes,
        "metadata_bytes": space.metadata_bytes,
        "index_bytes": space.index_bytes,
        "dead_bytes": space.dead_bytes,
        "reclaimable_bytes": space.reclaimable_bytes,
    });
    let factor =
        if space.stored_bytes == 0 { 0.0 } else { space.data_bytes as f64 / space.stored_bytes as f64 };
    let row = |label: &str, value: String, note: &str| vec![label.to_owned(), value, note.to_owned()];
    let bytes = |label: &str, bytes: u64, note: &str| row(label, human(bytes), note);
    let rows = [
        row("images", space.images.to_string(), "with a name"),
        bytes("disks", space.logical_bytes, "their sizes together"),
        bytes("data", space.data_bytes, "what is not zeros"),
        bytes("unique", space.unique_bytes, "different blocks in the store"),
        bytes("stored", space.stored_bytes, "all files of the store but the index"),
        bytes("metadata", space.metadata_bytes, "the part of it that is not disks' data"),
        bytes("index", space.index_bytes, "a cache"),
        bytes("dead", space.dead_bytes, "what no image with a name needs; nothing frees it yet"),
        row("saving", format!("{factor:.2} x"), "data to stored"),
    ];
    session.out().data(&json, &table(&rows, &[1]))?;
    Ok(Exit::Done)
}
