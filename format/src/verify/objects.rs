//! Checks packs as objects, independently of the images that need them.

use crate::error::Result;
use crate::storage::ReadAt;
use crate::store::scrub;

/// Checks head, index, trailer and id of a pack.
pub(super) fn check_pack(object: &dyn ReadAt, name: &str) -> Result<()> {
    scrub::check_pack(object, name).map(|_| ())
}
