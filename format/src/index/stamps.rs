//! Records of the last check of packs and page files: the length and modification time at that check. For
//! packs they include the offsets of bad frames.
//!
//! ```text
//! index/stamps/ID       of the pack or page file with this id
//! ```
//!
//! If an object's length or stamp differs from the record, something other than this library changed or
//! added it. That is no verdict, only a reason to read the object before a writer reuses it. Back ends
//! without modification times have no records.

use std::collections::BTreeSet;

use crate::digest::{DIGEST_LEN, Digest, object_digest};
use crate::limits::PACK_FRAMES_MAX;
use crate::storage::{ObjectName, ReadAt};
use crate::store::{StoreInner, names, read_range};

/// The lengths of length and stamp, in bytes.
const FIXED_LEN: usize = 8 + 8;
/// The length of the longest record, in bytes: a pack in which all frames are bad.
const LEN_MAX: u64 = FIXED_LEN as u64 + 4 * PACK_FRAMES_MAX + DIGEST_LEN as u64;

/// The recorded state of an object.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Recalled {
    /// The back end has no stamps.
    NoStamp,
    /// The object has changed since it was read, or was never read.
    Changed,
    /// The object was read unchanged, and is sound except for frames at these offsets.
    Read(BTreeSet<u32>),
}

fn object_name(id: &Digest) -> ObjectName {
    ObjectName::made(format!("{}/stamps/{id}", names::INDEX))
}

/// An object's length, and the time of its last change in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    len: u64,
    nanos: u64,
}

impl Stamp {
    /// Returns the stamp of an object at the time it was opened; `None` if the back end has none.
    pub fn of(object: &dyn ReadAt) -> Option<Self> {
        Some(Self { len: object.len(), nanos: object.modified_nanos()? })
    }

    /// Encodes the record: length, stamp, bad offsets, and a digest of these and the object's id.
    fn record(&self, id: &Digest, bad: &BTreeSet<u32>) -> Vec<u8> {
        let mut bytes = [self.len.to_le_bytes(), self.nanos.to_le_bytes()].concat();
        bytes.extend(bad.iter().flat_map(|offset| offset.to_le_bytes()));
        let digest = object_digest(&[&id.0[..], &bytes].concat());
        bytes.extend_from_slice(&digest.0);
        bytes
    }

    fn recall(&self, shared: &StoreInner, id: &Digest) -> Recalled {
        let name = object_name(id);
        let read = || {
            let object = shared.storage.open(&name).ok()?;
            let len = Some(object.len()).filter(|len| *len <= LEN_MAX)?;
            let bytes = read_range(object.as_ref(), &name, 0, len).ok()?;
            let offsets = bytes.get(FIXED_LEN..bytes.len().checked_sub(DIGEST_LEN)?)?;
            let bad = offsets.as_chunks().0.iter().copied().map(u32::from_le_bytes).collect();
            (self.record(id, &bad) == bytes).then_some(bad)
        };
        read().map_or(Recalled::Changed, Recalled::Read)
    }

    /// Records that the object was read with this stamp, and was sound except for frames at `bad`
    /// offsets. A failure only means that it is read once more.
    pub fn remember(&self, shared: &StoreInner, id: &Digest, bad: &BTreeSet<u32>) {
        let record = self.record(id, bad);
        let name = object_name(id);
        // Neither synced nor renamed into place: the digest detects a torn record.
        let put = || shared.storage.create(&name).and_then(|made| made.append(&record));
        let done = match put() {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                if matches!(self.recall(shared, id), Recalled::Read(known) if known == *bad) {
                    return;
                }
                shared.storage.remove(std::slice::from_ref(&name)).and_then(|()| put())
            }
            done => done,
        };
        if let Err(error) = done {
            tracing::debug!(%name, %error, "cannot record this object as sound; the next import reads it again");
        }
    }
}

/// Returns the recorded state of `object`, opened by the name that has `id`.
pub(crate) fn recall(shared: &StoreInner, id: &Digest, object: &dyn ReadAt) -> Recalled {
    Stamp::of(object).map_or(Recalled::NoStamp, |stamp| stamp.recall(shared, id))
}

/// Records that `object` is sound except for frames at `bad` offsets.
pub(crate) fn remember(shared: &StoreInner, id: &Digest, object: &dyn ReadAt, bad: &BTreeSet<u32>) {
    if let Some(stamp) = Stamp::of(object) {
        stamp.remember(shared, id, bad);
    }
}

/// Records packs and page files that a commit has just given these names.
pub(crate) fn remember_new(shared: &StoreInner, names: impl Iterator<Item = ObjectName>) {
    for name in names {
        if let (Some(id), Ok(object)) = (names::digest_of(&name), shared.storage.open(&name)) {
            remember(shared, &id, object.as_ref(), &BTreeSet::new());
        }
    }
}

/// Removes the record of a deleted object.
pub(crate) fn forget(shared: &StoreInner, id: &Digest) {
    let _ = shared.storage.remove(&[object_name(id)]);
}
