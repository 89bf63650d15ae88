//! The store: committed names, manifests, pages, lists and frames, and their places.
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
//! | [`open`](Store) | opens and creates stores; the state that writers share |
//! | `objects` | objects that are open, kept open, or held open; the cache |
//! | `lists` | lists that are open |
//! | `reader` | the read side that stores and bundles have in common |
//! | [`images`](Images) | the images of a store or a bundle |
//! | `names` | names of objects; names of images as users write them |
//! | `refs` | references: resolve, list, set, remove |
//! | `stage`, `syncer` | a writer's folder, where the writers of `write` put a store's objects; syncs in the background |
//! | `commit`, `plan`, `merge` | the atomic commit; its remaining work; merging lists |
//! | `journal` | the intended changes of a commit, and their rollback if its writer dies |
//! | `writer` | the owner of a stage, if its lock alone is not conclusive |
//! | `list` | a list opened for reading: chunk ids and places |
//! | `frames` | from a chunk's place to its checked, decoded bytes |
//! | `reframe` | blocks of a chunk as a frame for another store or a bundle |
//! | [`bundle`](Bundle) | a bundle as a source of objects |
//! | `place` | adds the store's location to errors about objects |
//! | `pin` | objects held open while an image is served |
//! | `scrub` | checks whether a pack or page file is sound |
//! | `runs` | sets of numbers as runs |
//! | `record` | manifest records: opening one, reading its pages |
//!
//! The store knows nothing about extents or guests beyond the pages it hands out.

mod adjacent;
mod bundle;
pub(crate) mod commit;
mod errors;
pub(crate) mod frames;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod images;
pub(crate) mod journal;
pub(crate) mod list;
mod lists;
pub(crate) mod merge;
pub(crate) mod names;
mod objects;
mod open;
mod pin;
mod plan;
mod reader;
pub(crate) mod record;
pub(crate) mod reframe;
mod refs;
pub(crate) mod runs;
pub(crate) mod scrub;
pub(crate) mod stage;
mod syncer;
mod writer;

pub(crate) use bundle::OPEN_LEN_MAX;
pub use bundle::{Bundle, BundleOptions};
pub(crate) use errors::InStore;
pub use errors::StoreErrors;
pub use images::Images;
pub use names::{ImageRef, RefName};
pub(crate) use objects::read_range;
pub(crate) use open::StoreInner;
pub use open::{Store, StoreOptions};
pub use pin::Pin;
pub(crate) use reader::Reader;
pub use reader::VerifyMode;
pub use refs::NamedImage;
