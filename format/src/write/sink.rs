//! The destination of the writers.

use crate::digest::Digest;
use crate::error::Result;
pub(crate) use crate::ondisk::bundle::ObjectKind;

/// A destination of objects: the stage of a store, or a bundle.
///
/// Several objects may be open at a time. Errors are those of the medium.
pub(crate) trait Sink {
    /// An object that is being written.
    type Object;
    /// A finished object: the names that a stage needs to publish it.
    type Finished;

    /// Whether tables may lack pages that no frame needs.
    const IS_SPARSE: bool;
    /// The length in bytes at which a pack is closed.
    const PACK_LEN_TARGET: u64;

    /// Begins an object with its first bytes, `head`. Readers need a head before the other bytes.
    fn begin(&self, kind: ObjectKind, head: Vec<u8>) -> Result<Self::Object>;

    /// Writes bytes at offset `at` of the object. Offsets ascend, and only a sparse sink is given gaps.
    fn write(&self, object: &mut Self::Object, at: u64, bytes: &[u8]) -> Result<()>;

    /// Finishes an object under its id, with its last bytes, `root`, at offset `at`. Readers need a root
    /// before the other bytes.
    fn finish(&self, object: Self::Object, id: &Digest, at: u64, root: Vec<u8>) -> Result<Self::Finished>;
}

/// Writes an object whose bytes are all known.
pub(crate) fn write_whole<S: Sink>(
    sink: &S,
    kind: ObjectKind,
    id: &Digest,
    bytes: &[u8],
) -> Result<S::Finished> {
    let mut object = sink.begin(kind, Vec::new())?;
    sink.write(&mut object, 0, bytes)?;
    sink.finish(object, id, bytes.len() as u64, Vec::new())
}
