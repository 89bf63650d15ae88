//! The store: which names, manifests, pages, lists and frames are committed, and where they lie.
//!
//! ```text
//! melv.store            what makes the folder a store
//! refs/NAME/TAG         a name of an image
//! manifests/ID          an image: manifest, roots, places of its pages
//! pages/ID              map and span pages that one import brought
//! lists/ID              chunk ids, in the order in which an import met new blocks
//! locators/ID           per list, the pack and place of each chunk; rewritten when frames move
//! packs/ID              frames
//! index/                the block index: a cache, see the `index` room
//! lock, tmp/N/          the kernel lock, and what writers have not committed yet
//! ```
//!
//! | module | idea |
//! |---|---|
//! | [`open`](Store) | opening, creating, and what all handles of a store share |
//! | `names` | names of objects, of images, as people write them |
//! | `refs` | references: resolve, list, set, remove |
//! | `stage` | a writer's folder |
//! | `commit`, `plan`, `merge` | the commit that is all or nothing; what it still has to bring; a list that the store has and gets more of |
//! | `journal` | what a commit is about to do, and how it is undone if its writer dies |
//! | `writer` | whose a stage is, where its lock alone does not tell |
//! | `pack_writer`, `list_writer`, `page_writer` | making packs; lists with locators; page files |
//! | `list` | a list opened for reading: chunk ids and places |
//! | `frames` | from a chunk's place to its checked, decoded bytes |
//! | `carry` | blocks of a chunk as a frame for another store or a bundle |
//! | [`bundle`](BundleOptions) | a bundle as a store that is only read |
//! | `place` | errors about objects, told with the place of the store |
//! | `pin` | objects held open while an image is served |
//! | `scrub` | whether a pack or page file is sound |
//! | `runs` | numbers as runs |
//! | `record` | manifest records: opening one, reading its pages |
//!
//! The store does not know what an extent or a guest is beyond the pages it hands out.

mod bundle;
pub(crate) mod carry;
pub(crate) mod commit;
mod errors;
pub(crate) mod frames;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub(crate) mod journal;
pub(crate) mod list;
pub(crate) mod list_writer;
pub(crate) mod merge;
pub(crate) mod names;
mod neighbours;
mod open;
pub(crate) mod pack_writer;
pub(crate) mod page_writer;
mod pin;
mod plan;
pub(crate) mod record;
mod refs;
pub(crate) mod runs;
pub(crate) mod scrub;
pub(crate) mod stage;
mod writer;

pub use bundle::BundleOptions;
pub(crate) use bundle::OPEN_LEN_MAX;
pub(crate) use errors::InStore;
pub use errors::StoreErrors;
pub use names::{ImageRef, RefName};
pub(crate) use open::{Shared, read_range};
pub use open::{Store, StoreOptions, VerifyMode};
pub use pin::Pin;
pub use refs::NamedImage;
