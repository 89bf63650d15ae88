//! Writes a page file: map and span pages of one commit, back to back.

use std::sync::Arc;

use super::names;
use super::stage::{Moves, Stage};
use crate::digest::{Digest, Hasher};
use crate::error::Result;
use crate::ondisk::header::{self, HEADER_LEN, Kind};
use crate::storage::Append;

const NAME: &str = "pages";

/// Writes pages. The first page creates the file.
#[derive(Debug)]
pub(crate) struct PageWriter<'a> {
    stage: &'a Stage,
    object: Option<Arc<dyn Append>>,
    offset: u64,
    /// The hash of all bytes so far.
    bytes: Hasher,
}

impl<'a> PageWriter<'a> {
    pub fn new(stage: &'a Stage) -> Self {
        Self { stage, object: None, offset: HEADER_LEN as u64, bytes: Hasher::object() }
    }

    /// Appends a page in its stored form and returns its offset in the file.
    pub fn page(&mut self, bytes: &[u8]) -> Result<u64> {
        let object = match &self.object {
            Some(object) => object,
            None => {
                let object = self.stage.create(NAME)?;
                let mut head = Vec::new();
                // Manifests give the places of pages, so the length need not be known here.
                header::encode(Kind::PageFile, 0, &mut head);
                self.stage.append(object.as_ref(), NAME, &head)?;
                self.bytes.update(&head);
                self.object.insert(object)
            }
        };
        self.stage.append(object.as_ref(), NAME, bytes)?;
        self.bytes.update(bytes);
        let offset = self.offset;
        self.offset += bytes.len() as u64;
        Ok(offset)
    }

    /// Finishes the file and returns its id, the digest of its bytes; `None` without pages.
    pub fn finish(self, moves: &mut Moves) -> Option<Digest> {
        self.object?;
        let id = self.bytes.finish();
        moves.push((self.stage.staged(NAME), names::object(names::PAGES, &id)));
        Some(id)
    }
}
