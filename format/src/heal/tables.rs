//! Rebuilds damaged lists and locators.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::digest::ListId;
use crate::error::Result;
use crate::store::StoreInner;

use super::{list_table, locator_table};

/// Rebuilds damaged lists and locators. Returns those rebuilt in whole or in part. Leaves sound ones
/// alone.
///
/// # Errors
/// Errors of the medium.
pub(crate) fn tables(
    shared: &Arc<StoreInner>,
    lists: impl IntoIterator<Item = ListId>,
) -> Result<BTreeSet<ListId>> {
    let mut healed = BTreeSet::new();
    for id in lists {
        for heal in [list_table::heal, locator_table::heal] {
            match heal(shared, &id) {
                Ok(true) => drop(healed.insert(id)),
                Ok(false) => {}
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => tracing::debug!(list = %id, %error, "not healed"),
            }
        }
    }
    Ok(healed)
}
