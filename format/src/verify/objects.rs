//! Packs and page files as objects, apart from what images need of them.

use crate::error::Result;
use crate::store::{Shared, scrub};

/// Header and id of a page file.
pub(super) fn check_page_file(shared: &Shared, name: &str) -> Result<()> {
    scrub::check_page_file(scrub::open_anew(shared, name)?.as_ref(), name)
}

/// Head, index, trailer and id of a pack.
pub(super) fn check_pack(shared: &Shared, name: &str) -> Result<()> {
    scrub::check_pack(scrub::open_anew(shared, name)?.as_ref(), name).map(|_| ())
}
