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
//! | `melv-disks` | other programs' disks: [`open_disk`], [`export`] to raw files, `vmdk` |
//!
//! The format is specified in `spec/format.md`; the modules of [`ondisk`] follow its sections.

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing {
    //! Entry points for the harness in `fuzz/`. This API is not stable.
    pub use melv_disks::vmdk::fuzzing::{DescriptorFacts, vmdk_descriptor, vmdk_extent, vmdk_name_refusal};
    pub use melv_format::fuzzing::*;
}

pub use melv_block::{
    ArrivedSpan, BlockDevice, BlockError, Container, Deferred, DepthRun, Detail, DeviceState, Error,
    ErrorKind, Place, Position, RawFile, Result, ResultExt, Run, RunKind, SectorBits, Source, SpanStream,
    check_range, container, first_data, for_each_run, padded_size,
};
#[cfg(feature = "ova")]
pub use melv_disks::ova;
pub use melv_disks::raw::{ExportOptions, PeekedReader, RawStream, export, export_into, export_stream};
#[cfg(feature = "vmdk")]
pub use melv_disks::vmdk;
pub use melv_disks::{
    DiskError, DiskFormat, ForeignDisk, Gate, Oddity, OpenOptions, PeekedStream, StreamedDisk, Warning,
    open as open_disk,
};
pub use melv_format::{
    Bundle, BundleOptions, BundleSink, Cache, Candidate, Codec, Comparison, ContentId, Damage, DamagedObject,
    Digest, FileStorage, Image, ImageId, ImageRef, Images, ImportOptions, ImportReport, LEVELS, LoadOptions,
    LoadReport, LoadedImage, LocalFolder, MemoryPages, MemoryStorage, NamedImage, ObjectSource, ObjectStore,
    Progress, RefName, RuleViolation, SaveOptions, SaveReport, Scratch, Store, StoreError, StoreErrors,
    StoreOptions, Usage, VerifyMode, VerifyOptions, VerifyReport, bundle, compare, content, content_of,
    digest, fault, image, limits, ondisk, storage, store, usage, verify,
};
