//! The block index: does the store hold this block already? A cache for writing, in `index/`;
//! nothing here is part of the format, nothing here is needed for reading.
//!
//! ```text
//! index/logs/KEY        the digests of a list's blocks, in the list's order
//! index/segments/NAME   for some lists: (first 6 bytes of a digest, list, block), sorted, with a filter
//! index/stamps/ID       how long a pack or page file was, and when it had changed last, when it was good
//! index/damaged         which chunks and objects were found damaged
//! ```
//!
//! A block is found in three steps: the filter says whether it can be in a segment (no: it is
//! new); the segment gives where it may be; the log gives the digest there. **The log proves
//! itself**: the digests of a chunk's blocks hash to its chunk id, which the list's id binds. So
//! whatever happens to these files, a block is never taken for another one. What a damaged file
//! costs is time: it is made again from the list or from the frames.
//!
//! A list that is held in part, as after loading a bundle, has no log: chunk ids do not say which
//! blocks are here. Its digests are made from the frames, page by page as they are asked for, so a
//! block is never shared that the store does not hold. What the index has of such a list is entries
//! in a segment, as many as it has blocks here. Its key is made from its id and its locator: where
//! more of it is loaded, it is another list to the index.
//!
//! Logs and entries of keys that no list has any more are removed: logs, and segments of which at
//! least half the lists are such, when the index is opened; the rest when segments are merged.
//! Another import may have them open: it goes on with the files that it has, or makes the digests
//! again.
//!
//! Most blocks never get that far: the block after one just found is mostly the next one of the
//! same list, and the log's page is at hand.
//!
//! Which of several equal blocks is chosen depends on the store's content alone, never on how the
//! index is laid out: the parent's own, else the one that follows the last one chosen, else the
//! one in the list of the lowest id, and there the first.
//!
//! | module | idea |
//! |---|---|
//! | `entry` | what a segment says of a block |
//! | `filter` | is it worth looking? less than seven bits a block in memory |
//! | `segment` | sorted entries on disk |
//! | `log` | digests on disk, proved by chunk ids |
//! | `committed` | all committed lists together |
//! | `pending` | the blocks that the import under way has brought so far |
//! | `health` | what may be built on; looked at before it is shared with |
//! | `stamps`, `notes` | what was good when; what was found damaged |
//! | `update` | after a commit: a new segment, and fewer, larger ones; tidying |

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
