//! The disk as the guest sees it.
//!
//! | module | content |
//! |---|---|
//! | `read` | an open image and its reads: map leaf, chunks, copy |
//! | `blocks` | the set of list blocks that images use |
//! | `walk` | an image's extents front to back, for code that needs sources rather than bytes |
//! | `lineage` | the generation that each extent comes from |

mod blocks;
mod lineage;
mod read;
mod walk;

pub(crate) use blocks::{BlockSet, ChunkBlocks, ListBlocks};
pub use lineage::Lineage;
pub use read::Image;
pub(crate) use walk::SourceCursor;
