//! When packs and page files were last known to be good: their length and the time of their last change.
//!
//! ```text
//! index/stamps/ID       of the pack or page file with this id
//! ```
//!
//! An object that has another length or stamp than is remembered here was changed, or put there, by
//! something else than this library. That is no verdict but a reason to read it before a writer builds
//! on it. Nothing is remembered of back ends that know no time of change.

use crate::digest::{DIGEST_LEN, Digest, object_digest};
use crate::storage::ReadAt;
use crate::store::{Shared, names};

/// Length, stamp, and a digest of both and of the object's id.
const RECORD_LEN: usize = 8 + 8 + DIGEST_LEN;

fn object_name(id: &Digest) -> String {
    format!("{}/stamps/{id}", names::INDEX)
}

/// How long an object is, and when its content changed last, in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    len: u64,
    nanos: u64,
}

impl Stamp {
    /// The stamp of an object as it was when it was opened; `None` where the back end has none.
    pub fn of(object: &dyn ReadAt) -> Option<Self> {
        Some(Self { len: object.len(), nanos: object.modified_nanos()? })
    }

    fn record(&self, id: &Digest) -> Vec<u8> {
        let mut bytes = [self.len.to_le_bytes(), self.nanos.to_le_bytes()].concat();
        let digest = object_digest(&[&id.0[..], &bytes].concat());
        bytes.extend_from_slice(&digest.0);
        bytes
    }

    fn is_remembered(&self, shared: &Shared, id: &Digest) -> bool {
        let mut found = [0; RECORD_LEN];
        let remembered = shared.storage.open(&object_name(id));
        let read = remembered.and_then(|remembered| remembered.read_exact_at(&mut found, 0));
        read.is_ok() && found[..] == self.record(id)
    }

    /// Remembers that the object was good with this stamp. A failure costs that it is read once more.
    pub fn remember(&self, shared: &Shared, id: &Digest) {
        if self.is_remembered(shared, id) {
            return;
        }
        let name = object_name(id);
        // Neither synced nor moved into its place: what is torn has another digest.
        let put = || shared.storage.create(&name).and_then(|made| made.append(&self.record(id)));
        let done = match put() {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                shared.storage.remove(std::slice::from_ref(&name)).and_then(|()| put())
            }
            done => done,
        };
        if let Err(error) = done {
            tracing::debug!(name, %error, "not remembered as good; it is read again by the next import");
        }
    }
}

/// Whether `object`, opened by the name that has `id`, is as it was when it was last known to be good.
/// `None` where the back end cannot say.
pub(crate) fn is_unchanged(shared: &Shared, id: &Digest, object: &dyn ReadAt) -> Option<bool> {
    Stamp::of(object).map(|stamp| stamp.is_remembered(shared, id))
}

/// Remembers that `object` is good.
pub(crate) fn remember(shared: &Shared, id: &Digest, object: &dyn ReadAt) {
    if let Some(stamp) = Stamp::of(object) {
        stamp.remember(shared, id);
    }
}

/// Remembers packs and page files that a commit has just given these names.
pub(crate) fn remember_new(shared: &Shared, names: impl Iterator<Item = String>) {
    for name in names {
        if let (Some(id), Ok(object)) = (names::digest_of(&name), shared.storage.open(&name)) {
            remember(shared, &id, object.as_ref());
        }
    }
}

/// Forgets an object that is no more.
pub(crate) fn forget(shared: &Shared, id: &Digest) {
    let _ = shared.storage.remove(&[object_name(id)]);
}
