//! # melv-block
//!
//! A disk as everybody in melv sees it: read by position from any number of threads, described by runs of
//! data and zeros, with one error type for all crates. Formats implement [`BlockDevice`]; front ends and
//! tools use it. Nothing here knows a format, a store or a network.
//!
//! | module | idea |
//! |---|---|
//! | `error` | [`Error`]: a kind for the caller's next step, a place, and the finder's own [`Detail`] |
//! | `failure` | [`BlockError`]: failures of disks, files and devices |

mod error;
mod failure;

pub use error::{Deferred, Detail, Error, ErrorKind, Place, Position, Result, ResultExt};
pub use failure::{BlockError, DeviceState};
