//! Tars: headers, extension headers and sparse files to entries, from bytes that come once.
//!
//! The crate `tar` is not in use. It holds an extension header in memory, as long as the header claims and the stream
//! goes on, so that a small compressed file takes all memory; its errors are texts without the byte they tell of; and
//! it knows one of the four forms of sparse files. [`header`], [`pax`] and [`sparse`] are pure; [`reader`] alone reads.
//!
//! Where programs differ, the strict reading counts, since two readings of one archive hide a file from one of them:
//! a single zero block between headers, an unknown type, and an end without a zero block are errors.

mod error;
mod header;
mod number;
mod pax;
mod reader;
mod sparse;

pub use error::{TarError, TarFault};
pub(crate) use reader::{Entry, EntryKind, Reader};
pub(crate) use sparse::{Range, decimal};
