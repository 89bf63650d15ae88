//! Copies the map and span pages of images into one page file, each once, and the records.

use crate::digest::{PageFileId, PageId};
use crate::error::Result;
use crate::image::Image;
use crate::ondisk::record::{self, PagePlace};
use crate::store::record::Tree;
use crate::write::{ObjectKind, PageWriter, PlacedPage, Sink, number_files, write_whole};

/// Copies pages that other images do not have.
pub(super) struct PageCopier<'a, S: Sink> {
    writer: PageWriter<'a, S>,
    others: &'a [Image],
    /// Returns the place of a page that another image has.
    place_of_other: fn(&Image, PagePlace) -> PlacedPage,
}

impl<'a, S: Sink> PageCopier<'a, S> {
    pub fn new(
        sink: &'a S,
        others: &'a [Image],
        place_of_other: fn(&Image, PagePlace) -> PlacedPage,
    ) -> Self {
        Self { writer: PageWriter::new(sink), others, place_of_other }
    }

    /// Copies the missing pages of one tree of an image. Returns the places of all its pages.
    pub fn tree(&mut self, image: &Image, tree: Tree) -> Result<Vec<PlacedPage>> {
        let record = &image.record;
        let root = match tree {
            Tree::Map => &record.map_root,
            Tree::Span => record.span_root()?,
        };
        let leaf_bits = image.manifest().geometry.leaf_bits();
        let mut places = Vec::with_capacity(root.len());
        'pages: for entry in root {
            for other in self.others {
                if let Some(place) = other.record.place_of(tree, *entry, leaf_bits)? {
                    places.push((self.place_of_other)(other, place));
                    continue 'pages;
                }
            }
            places.push(
                self.writer.page_once(&PageId::new(entry.digest), || record.stored_page(tree, *entry))?,
            );
        }
        Ok(places)
    }

    /// Finishes the page file; `None` without pages.
    pub fn finish(self) -> Result<Option<(PageFileId, S::Finished)>> {
        self.writer.finish()
    }
}

/// Writes the record of an image. `new_file` is the page file that was written.
pub(super) fn write_record<S: Sink>(
    sink: &S,
    image: &Image,
    map: &[PlacedPage],
    span: &[PlacedPage],
    new_file: Option<PageFileId>,
) -> Result<S::Finished> {
    let places = number_files(map, span, new_file.unwrap_or_default());
    let [manifest, map, span] = image.record.own_bytes()?;
    let bytes = record::encode(&manifest, &places, &map, &span);
    write_whole(sink, ObjectKind::Record, &image.id().digest(), &bytes)
}
