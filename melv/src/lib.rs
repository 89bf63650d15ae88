//! # melv
//!
//! A content-addressed, layered, compressed disk image format for virtual appliances.
//!
//! A [`Store`] keeps many images in the space of a few. Each 4 KiB block that several images share is stored
//! once, whatever its position or origin. An [`Image`] is a disk that any number of threads read by position;
//! its data is decoded and verified on the way.
//!
//! ```
//! use melv::{BlockDevice, ImportOptions, MemoryStorage, Source, Store, StoreOptions};
//!
//! # fn main() -> melv::Result<()> {
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
//! This crate has no code of its own. It gives what tools need of three others:
//!
//! | crate | holds |
//! |---|---|
//! | `melv-block` | [`BlockDevice`], [`Error`], raw files and devices, outputs |
//! | `melv-format` | the format and the store: [`Store`], [`Image`], bundles, imports, verification |
//! | `melv-disks` | other programs' disks: [`export`] to raw files, [`vmdk`] |
//!
//! The format is specified in `spec/format.md`; the modules of [`ondisk`] follow its sections.

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing {
    //! Entry points for the harness in `fuzz/`. This API is not stable.
    pub use melv_disks::vmdk::fuzzing::{Descriptor, vmdk_descriptor, vmdk_extent, vmdk_name_fault};
    pub use melv_format::fuzzing::*;
}

pub use melv_block::{
    ArrivedSpan, BlockDevice, BlockError, Container, Deferred, DepthRun, Detail, DeviceState, Error,
    ErrorKind, Place, Position, RawFile, Result, ResultExt, Run, RunKind, SectorBits, Source, SpanStream,
    check_range, container, first_data, for_each_run, padded_size,
};
pub use melv_disks::raw::{ExportOptions, export, export_into, export_stream};
pub use melv_disks::{DiskError, vmdk};
pub use melv_format::{
    BundleOptions, BundleSink, Cache, Candidate, Codec, Comparison, Damage, DamagedObject, Digest, Fault,
    FileStorage, Image, ImageRef, ImportOptions, ImportReport, LEVELS, LoadOptions, LoadReport, LoadedImage,
    MemoryPages, MemoryStorage, NamedImage, Progress, RefName, SaveOptions, SaveReport, Space, Storage,
    Store, StoreError, StoreErrors, StoreOptions, VerifyMode, VerifyOptions, VerifyReport, bundle, compare,
    content, content_of, digest, fault, image, limits, ondisk, space, storage, store, verify,
};
