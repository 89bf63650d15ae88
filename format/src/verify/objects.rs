//! Packs as objects, apart from what images need of them.

use crate::error::Result;
use crate::storage::ReadAt;
use crate::store::scrub;

/// Head, index, trailer and id of a pack.
pub(super) fn check_pack(object: &dyn ReadAt, name: &str) -> Result<()> {
    scrub::check_pack(object, name).map(|_| ())
}
