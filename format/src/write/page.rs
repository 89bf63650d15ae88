//! Writes a page file: map and span pages of one commit or bundle, back to back.

use std::collections::HashMap;

use super::sink::{ObjectKind, Sink};
use crate::digest::{Hasher, PageFileId, PageId};
use crate::error::Result;
use crate::ondisk::header::{self, Kind};
use crate::ondisk::record::{PagePlace, Places};

/// A page's place. The id of the file being written is not known yet.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PlacedPage {
    /// In this file of the store, whatever file number the place has.
    Known(PageFileId, PagePlace),
    /// In the file being written.
    New(PagePlace),
    /// In a base of the bundle.
    OfBase,
}

/// Writes pages. The first page creates the file.
#[derive(Debug)]
pub(crate) struct PageWriter<'a, S: Sink> {
    sink: &'a S,
    object: Option<S::Object>,
    /// The length of the file so far, in bytes.
    len: u64,
    /// The hash of all bytes so far.
    bytes: Hasher,
    /// The pages added by `page_once`.
    known: HashMap<PageId, PagePlace>,
}

impl<'a, S: Sink> PageWriter<'a, S> {
    pub fn new(sink: &'a S) -> Self {
        Self { sink, object: None, len: 0, bytes: Hasher::object(), known: HashMap::new() }
    }

    /// Appends a page in its stored form.
    pub fn page(&mut self, stored: &[u8]) -> Result<PlacedPage> {
        self.append(stored).map(PlacedPage::New)
    }

    /// Appends the page of this digest, unless it was added before.
    pub fn page_once<B: AsRef<[u8]>>(
        &mut self,
        digest: &PageId,
        stored: impl FnOnce() -> Result<B>,
    ) -> Result<PlacedPage> {
        if let Some(place) = self.known.get(digest) {
            return Ok(PlacedPage::New(*place));
        }
        let place = self.append(stored()?.as_ref())?;
        self.known.insert(*digest, place);
        Ok(PlacedPage::New(place))
    }

    fn append(&mut self, stored: &[u8]) -> Result<PagePlace> {
        let object = match &mut self.object {
            Some(object) => object,
            none => {
                // Records give the places of pages, so the length need not be known here.
                let head = header::begin(Kind::PageFile);
                self.bytes.update(&head);
                self.len = head.len() as u64;
                none.insert(self.sink.begin(ObjectKind::PageFile, head)?)
            }
        };
        self.sink.write(object, self.len, stored)?;
        self.bytes.update(stored);
        let place = PagePlace { file: 0, offset: self.len, len: stored.len() as u32 };
        self.len += stored.len() as u64;
        Ok(place)
    }

    /// Finishes the file. Returns its id, the digest of its bytes, and the file; `None` without pages.
    pub fn finish(self) -> Result<Option<(PageFileId, S::Finished)>> {
        let Some(object) = self.object else { return Ok(None) };
        let id = PageFileId::new(self.bytes.finish());
        Ok(Some((id, self.sink.finish(object, &id.digest(), self.len, Vec::new())?)))
    }
}

/// Returns the places of an image's pages, with the files numbered in the order of their first use. `new_file`
/// is the file that was written.
pub(crate) fn number_files(map: &[PlacedPage], span: &[PlacedPage], new_file: PageFileId) -> Places {
    let mut files: Vec<PageFileId> = Vec::new();
    let mut number = |page: &PlacedPage| {
        let (file, place) = match *page {
            PlacedPage::Known(file, place) => (file, place),
            PlacedPage::New(place) => (new_file, place),
            PlacedPage::OfBase => return PagePlace::OF_BASE,
        };
        let at = files.iter().position(|known| *known == file).unwrap_or_else(|| {
            files.push(file);
            files.len() - 1
        });
        PagePlace { file: at as u32, ..place }
    };
    let map = map.iter().map(&mut number).collect();
    let span = span.iter().map(&mut number).collect();
    Places { files, map, span }
}
