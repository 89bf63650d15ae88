//! The block index, which finds blocks that the store already holds. It is a cache for writing, in
//! `index/`. It is not part of the format, and reading never needs it.
//!
//! ```text
//! index/logs/KEY        the digests of a list's blocks, in the list's order
//! index/segments/NAME   for some lists: (first 6 bytes of a digest, list, block), sorted, with a filter
//! index/stamps/ID       how long a pack or page file was, and when it had changed last, when it was good
//! index/damaged         which chunks and objects were found damaged
//! ```
//!
//! A lookup takes three steps. The filter tells whether a block can be in a segment; if not, it is new.
//! The segment gives a candidate place. The log gives the digest there. **The log proves itself**: the
//! digests of a chunk's blocks hash to its chunk id, which the list's id binds. So no damage to these
//! files can make a block match a different one. A damaged file only costs time: it is rebuilt from the
//! list or from the frames.
//!
//! A list held in part, as after loading a bundle, has no log: chunk ids do not tell which blocks are
//! present. Its digests are computed from the frames, page by page on demand, so an absent block is never
//! shared. The index has only segment entries for such a list, one for each block present. Its key
//! depends on its id and its locator. After more of it is loaded, the index treats it as another list.
//!
//! Logs and entries whose keys belong to no list are removed. Opening the index removes such logs, and
//! tidies segments in which at least half the lists are gone. Merging segments removes the rest. Another
//! import may have them open: it continues with its open files, or recomputes the digests.
//!
//! Most blocks need no lookup: the block after a match is usually the next one of the same list. Its log
//! page is already in memory.
//!
//! The choice among equal blocks depends only on the store's content, never on the layout of the index.
//! The parent's own block comes first, then the successor of the block chosen last. Otherwise it is the
//! first block in the list with the lowest id.
//!
//! | module | idea |
//! |---|---|
//! | `entry` | a segment's entry for one block |
//! | `filter` | rejects absent blocks with less than seven bits a block in memory |
//! | `segment` | sorted entries on disk |
//! | `log` | digests on disk, proved by chunk ids |
//! | `committed` | all committed lists together |
//! | `pending` | the blocks added so far by the current import |
//! | `health` | checks objects before they are shared |
//! | `stamps`, `notes` | objects known to be good; damage found |
//! | `update` | after a commit: adds a segment, merges segments, tidies |

mod committed;
mod entry;
mod filter;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod health;
mod log;
mod notes;
mod pending;
mod segment;
mod stamps;
mod update;

pub(crate) use committed::CommittedIndex;
pub(crate) use health::Health;
pub(crate) use log::{Digests, object_name as log_name, remove as remove_log};
pub(crate) use notes::{Notes, update as update_notes};
pub(crate) use pending::PendingIndex;
pub(crate) use stamps::{Stamp, forget as forget_stamp, remember_new};
pub(crate) use update::add_lists;
