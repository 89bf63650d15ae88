//! # melv-format
//!
//! A content-addressed, layered, compressed disk image format for virtual appliances.
//!
//! A [`Store`] keeps many images in the space of a few. Each 4 KiB block that several images share is stored
//! once, whatever its position or origin. An [`Image`] is a disk that any number of threads read by position;
//! its data is decoded and verified on the way.
//!
//! ```
//! use melv_format::{BlockDevice, ImportOptions, MemoryStorage, Source, Store, StoreOptions};
//!
//! # fn main() -> melv_format::Result<()> {
//! let store = Store::create(MemoryStorage::new(), StoreOptions::default())?;
//! let disk = vec![7u8; 1 << 20];
//! let report = store.import(Source::stream(&disk[..], "disk"), &ImportOptions::named("web".parse()?))?;
//! assert_eq!(report.data_bytes, 1 << 20);
//! assert_eq!(report.new_bytes, 4096, "256 equal blocks are one");
//!
//! let image = store.image(&"web".parse()?)?;
//! let mut block = [0; 4096];
//! image.read_at(8192, &mut block)?;
//! assert_eq!(block, [7; 4096]);
//! # Ok(())
//! # }
//! ```
//!
//! ## Architecture
//!
//! Each layer calls only the layers below it; a test of the crate enforces this.
//!
//! | layer | responsibility |
//! |---|---|
//! | [`verify`], [`usage`], `import`, [`mod@compare`], [`bundle`] | the user's operations |
//! | `heal` | repair of damaged objects |
//! | [`image`] | the data a guest reads at a position |
//! | `index` | finding a block the store already holds (a cache: never needed for reading) |
//! | [`store`] | the location of a chunk, page or name; the committed state |
//! | `write` | data objects written, to a store or a bundle |
//! | [`storage`] | objects by name, bytes by position |
//! | [`ondisk`], `codec`, [`digest`], [`content`], [`limits`], [`fault`] | pure: bytes to values |
//!
//! The format is specified in `spec/format.md`; the modules of [`ondisk`] follow its sections.

mod buffer;
pub mod bundle;
mod cache;
mod codec;
pub mod compare;
pub mod content;
pub mod digest;
mod error;
pub mod fault;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod guard;
mod heal;
pub mod image;
mod import;
mod index;
pub mod limits;
mod map;
pub mod ondisk;
pub mod storage;
pub mod store;
mod units;
pub mod usage;
pub mod verify;
mod write;

pub use bundle::{BundleSink, LoadOptions, LoadReport, LoadedImage, SaveOptions, SaveReport};
pub use cache::{Cache, MemoryPages};
pub use codec::Codec;
pub use codec::zstd::LEVELS;
pub use compare::{Comparison, compare, content_of};
pub use digest::{ContentId, Digest, ImageId};
pub use error::{Candidate, StoreError};
pub use fault::RuleViolation;
pub use image::Image;
pub use import::{ImportOptions, ImportReport, Progress};
pub use melv_block::{
    ArrivedSpan, BlockDevice, BlockError, DepthRun, Error, ErrorKind, Result, ResultExt, Run, RunKind,
    SectorBits, Source, SpanStream,
};
pub use storage::{FileStorage, LocalFolder, MemoryStorage, ObjectSource, ObjectStore, Scratch};
pub use store::{
    Bundle, BundleOptions, ImageRef, Images, NamedImage, RefName, Store, StoreErrors, StoreOptions,
    VerifyMode,
};
pub use usage::Usage;
pub use verify::{Damage, DamagedObject, VerifyOptions, VerifyReport};
