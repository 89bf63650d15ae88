//! Heals damage with the data that an import or a load brings. After the commit, chunks found damaged are
//! rebuilt from sound blocks anywhere in the store. Locators that refer to damaged frames are replaced by
//! locators that refer to sound ones (spec section 9.4). So every image that uses such a chunk can read
//! it again, regardless of the image that brought the data.
//!
//! The commit itself depends on none of this: it stored anew every chunk it found damaged. No journal is
//! needed either: each object is replaced in one step, and everything readable before stays readable.
//!
//! | module | idea |
//! |---|---|
//! | `after_commit` | the steps after a commit; one warning for all damage |
//! | `tables` | damaged lists and locators, before a commit that needs them |
//! | `replace` | the one step that puts sound objects in place |
//! | `chunks` | finds sound frames for damaged chunks of a list |
//! | `list_table` | rebuilds a damaged list from the block index |
//! | `locator_table` | rebuilds a damaged locator from the indexes of packs |

mod after_commit;
mod chunks;
mod list_table;
mod locator_table;
mod replace;
mod tables;

pub(crate) use crate::index::Health;
pub(crate) use after_commit::after_commit;
pub(crate) use replace::remember;
pub(crate) use tables::tables;
