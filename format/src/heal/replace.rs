//! Puts sound objects in the places of damaged ones, and remembers them as good.

use crate::digest::{Digest, ListId};
use crate::error::Result;
use crate::index::{self};
use crate::ondisk::list::ListShape;
use crate::store::StoreInner;
use crate::store::stage::{Moves, Stage};

/// Records the packs and page files of a commit as good.
pub(crate) fn remember(shared: &StoreInner, objects: &Moves) {
    index::remember_new(shared, objects.iter().map(|(_, name)| name.clone()));
}

/// Replaces unsound objects in the given order. Does nothing and returns `None` if the list's locator in
/// the store is no longer `over`. Otherwise returns the growth of the store in bytes.
pub(super) fn replace(
    stage: &Stage,
    list: &ListId,
    shape: ListShape,
    over: Option<Digest>,
    groups: &[&Moves],
) -> Result<Option<u64>> {
    let shared = &stage.shared;
    stage.sync_all()?;
    let _lock = shared.lock()?;
    let grown = stage.replace(list, shape, over, groups)?;
    shared.reader.lists.forget(list);
    Ok(grown)
}
