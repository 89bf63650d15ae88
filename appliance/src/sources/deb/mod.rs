//! Debian packages: an `ar` archive with the version of its format, the package's facts and its files, in this order.
//!
//! [`ar`] and [`control`] are pure, [`members`] reads, [`read`] goes through the parts, [`data`] through
//! the last alone. Scripts are never run, and not
//! even kept: an appliance declares what they would have done. The list of check sums is ignored, since the digest of
//! the whole package is known before it is read.

mod ar;
mod control;
mod data;
mod error;
mod members;
mod read;

pub use control::{Control, ControlFault};
pub(crate) use data::with_data;
pub use error::DebError;
pub use read::Package;
pub(crate) use read::read;
