//! The options and the result of a verification.

use super::damaged::DamagedObject;
use std::sync::atomic::AtomicBool;

use crate::digest::ImageId;
use crate::error::Error;

/// Options of [`Store::verify`](crate::Store::verify).
#[derive(Default)]
pub struct VerifyOptions<'a> {
    /// Whether to decode every frame, check it against its chunk id, and compute every content id.
    pub full: bool,
    /// Called with the number of images, objects, pages and chunks done.
    pub progress: Option<&'a (dyn Fn(u64) + Sync)>,
    /// Set from outside to cancel.
    pub cancel: Option<&'a AtomicBool>,
}

impl std::fmt::Debug for VerifyOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifyOptions").field("full", &self.full).finish_non_exhaustive()
    }
}

/// Damage that was found.
#[derive(Debug)]
pub struct Damage {
    /// The affected image; none for an object that no checked image needs.
    pub image: Option<ImageId>,
    /// The first affected byte of the image's disk.
    pub start: u64,
    /// The number of affected bytes; zero if the size of the disk is unknown.
    pub len: u64,
    /// The problem and its place.
    pub error: Error,
}

/// The result of a verify.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// The number of images checked.
    pub images: u64,
    /// The number of chunks checked.
    pub chunks: u64,
    /// The damage found. If one reason affects very many ranges of an image, those after the first few
    /// thousand are combined. The combined range extends from their first byte to their last.
    pub damaged: Vec<Damage>,
    /// The damaged objects, each once, in ascending order of names.
    pub objects: Vec<DamagedObject>,
}
