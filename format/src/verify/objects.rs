//! Packs and page files as objects, apart from what images need of them.

use std::sync::Arc;

use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};
use crate::fault::Fault;
use crate::ondisk::header::HEADER_LEN;
use crate::ondisk::pack;
use crate::storage::ReadAt;
use crate::store::record::check_page_file_head;
use crate::store::{Shared, names, read_range};

/// Header and id of a page file. Its pages are checked by the images that place them; others may
/// lie between.
pub(super) fn check_page_file(shared: &Shared, name: &str) -> Result<()> {
    let object = open_anew(shared, name)?;
    let head = read_range(object.as_ref(), name, 0, HEADER_LEN as u64)?;
    let corrupt = |fault| Error::corrupt(name, 0, fault);
    check_page_file_head(&head).map_err(corrupt)?;
    let mut hasher = Hasher::object();
    let mut offset = 0;
    while offset < object.len() {
        let piece = read_range(object.as_ref(), name, offset, (object.len() - offset).min(1 << 20))?;
        hasher.update(&piece);
        offset += piece.len() as u64;
    }
    check_name(name, &hasher.finish())
}

/// Whether an object has the id in its name.
fn check_name(name: &str, found: &Digest) -> Result<()> {
    if names::digest_of(name) == Some(*found) {
        return Ok(());
    }
    let expected = names::digest_of(name).map(|id| id.to_string()).unwrap_or_default();
    Err(Error::corrupt(name, 0, Fault::PageDigest { expected, found: found.to_string() }))
}

/// Opens an object beside those that are kept open, which all had their heads checked.
fn open_anew(shared: &Shared, name: &str) -> Result<Arc<dyn ReadAt>> {
    shared.storage.open(name).map_err(|error| Error::io("open", name, error))
}

pub(super) fn check_pack(shared: &Shared, name: &str) -> Result<()> {
    let object = open_anew(shared, name)?;
    let len = object.len();
    let corrupt = |offset| move |fault| Error::corrupt(name, offset, fault);
    let head = read_range(object.as_ref(), name, 0, pack::FRAMES_OFFSET)?;
    pack::decode_head(&head).map_err(corrupt(0))?;
    let tail_len = pack::TRAILER_LEN.min(len);
    let tail = read_range(object.as_ref(), name, len - tail_len, tail_len)?;
    let trailer = pack::decode_trailer(&tail, len).map_err(corrupt(len - tail_len))?;
    let index = read_range(object.as_ref(), name, trailer.index_offset(), trailer.index_len())?;
    pack::decode_index(&head, &index, &trailer).map_err(corrupt(trailer.index_offset()))?;
    check_name(name, &trailer.id)
}
