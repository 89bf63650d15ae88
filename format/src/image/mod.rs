//! The disk as the guest sees it.
//!
//! | module | idea |
//! |---|---|
//! | `read` | an image opened, and its bytes: map leaf, chunks, copy |
//! | `blocks` | which blocks of which lists images are made of |
//! | `walk` | an image's extents front to back, for those who look at sources, not bytes |
//! | `lineage` | which generation each extent comes from |

mod blocks;
mod lineage;
mod read;
mod walk;

pub use crate::device::DepthRun;
pub(crate) use blocks::{BlockSet, ChunkBlocks, ListBlocks};
pub use lineage::Lineage;
pub use read::Image;
pub(crate) use walk::SourceCursor;
