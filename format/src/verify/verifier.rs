//! The state of a verification.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::digest::{Digest, ImageId, ListId};
use crate::error::{BlockError, Error, Result};
use crate::index::Stamp;
use crate::store::list::List;
use crate::store::{Images, Reader, StoreInner};

use super::bad_chunks::{BadChunks, Lacking};
use super::damaged::Objects;
use super::ranges::Told;
use super::report::{Damage, VerifyOptions, VerifyReport};

pub(super) struct Verifier<'a> {
    pub images: &'a Images,
    /// The store, for notes in its index; `None` for a bundle.
    pub store: Option<&'a Arc<StoreInner>>,
    pub options: &'a VerifyOptions<'a>,
    pub report: VerifyReport,
    pub lists: BTreeMap<ListId, Option<Arc<List>>>,
    pub bad: BTreeMap<ListId, BadChunks>,
    pub lacking: BTreeMap<ListId, Lacking>,
    pub told: Told,
    pub objects: Objects,
    pub steps: AtomicU64,
    /// Packs and page files that are sound as objects, with their stamps.
    pub sound: Vec<(Digest, Stamp)>,
}

impl Verifier<'_> {
    pub(super) fn reader(&self) -> &Arc<Reader> {
        self.images.reader()
    }

    pub(super) fn check_cancel(&self) -> Result<()> {
        match self.options.cancel {
            Some(cancel) if cancel.load(Ordering::Relaxed) => Err(BlockError::Interrupted.into()),
            _ => Ok(()),
        }
    }

    pub(super) fn step(&self) -> Result<()> {
        self.check_cancel()?;
        let steps = self.steps.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(progress) = self.options.progress {
            progress(steps);
        }
        Ok(())
    }

    pub(super) fn damaged(&mut self, image: Option<ImageId>, start: u64, len: u64, error: Error) {
        self.objects.note_error(&error);
        self.hurt(image, start, len, error);
    }

    /// Reports an image affected by an object already recorded as damaged.
    pub(super) fn hurt(&mut self, image: Option<ImageId>, start: u64, len: u64, error: Error) {
        if let Some(image) = image {
            self.told.add(image, start, len);
        }
        self.report.damaged.push(Damage { image, start, len, error });
    }

    /// Reports an error that is usually a consequence of damage already reported.
    pub(super) fn damaged_unless_told(&mut self, image: ImageId, start: u64, len: u64, error: Error) {
        if !self.told.has(&image, start, len) {
            self.damaged(Some(image), start, len, error);
        }
    }
}
