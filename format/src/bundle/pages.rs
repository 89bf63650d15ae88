//! Writes the map and span pages of all images into one page file, each once, and the records.
//!
//! Map pages belong to the tail only if everything from them on fits one read: a full TiB has 50 MiB of
//! pages. The tail always contains the file's head and the records.

use std::collections::HashMap;

use super::writer::{BundleWriter, Pieces};
use crate::digest::{Digest, Hasher};
use crate::error::Result;
use crate::image::Image;
use crate::ondisk::bundle::ObjectKind;
use crate::ondisk::digest_table::Entry;
use crate::ondisk::header::{self, HEADER_LEN, Kind};
use crate::ondisk::record::{self, PagePlace, Places};
use crate::store::record::Tree;

/// Writes pages, then records.
pub(super) struct PageFile<'a> {
    bases: &'a [Image],
    bytes: Hasher,
    /// The length of the file so far, in bytes.
    len: u64,
    pieces: Pieces,
    known: HashMap<Digest, PagePlace>,
}

/// The places of the pages of each image.
pub(super) struct PlacedPages<'a> {
    file: PageFile<'a>,
    places: Vec<Places>,
}

fn file_head() -> Vec<u8> {
    let mut head = Vec::new();
    header::encode(Kind::PageFile, 0, &mut head);
    head
}

impl<'a> PageFile<'a> {
    pub fn new(bases: &'a [Image]) -> Self {
        let mut bytes = Hasher::object();
        bytes.update(&file_head());
        Self { bases, bytes, len: HEADER_LEN as u64, pieces: Pieces::default(), known: HashMap::new() }
    }

    /// Writes the pages of all images: span pages first, then map pages, which readers need first.
    pub fn write(mut self, images: &[Image], writer: &mut BundleWriter<'_>) -> Result<PlacedPages<'a>> {
        let mut places = Vec::new();
        for image in images {
            let span = self.tree(image, Tree::Span, image.record.span_root()?, writer)?;
            places.push(Places { span, ..Places::default() });
        }
        writer.mark_tail();
        for (image, places) in images.iter().zip(&mut places) {
            places.map = self.tree(image, Tree::Map, &image.record.map_root, writer)?;
        }
        Ok(PlacedPages { file: self, places })
    }

    /// Writes the missing pages of one tree of an image, and returns the places of all its pages.
    fn tree(
        &mut self,
        image: &Image,
        tree: Tree,
        root: &[Entry],
        writer: &mut BundleWriter<'_>,
    ) -> Result<Vec<PagePlace>> {
        let mut places = Vec::with_capacity(root.len());
        for entry in root {
            places.push(self.page(image, tree, *entry, writer)?);
        }
        Ok(places)
    }

    fn page(
        &mut self,
        image: &Image,
        tree: Tree,
        entry: Entry,
        writer: &mut BundleWriter<'_>,
    ) -> Result<PagePlace> {
        let leaf_bits = image.manifest().geometry.leaf_bits();
        for base in self.bases {
            if base.record.place_of(tree, entry, leaf_bits)?.is_some() {
                return Ok(PagePlace::OF_BASE);
            }
        }
        if let Some(place) = self.known.get(&entry.digest) {
            return Ok(*place);
        }
        let stored = image.record.stored_page(tree, entry)?;
        let (at, offset) = (self.len, writer.append(&stored)?);
        self.pieces.add(at, offset, stored.len() as u64);
        self.bytes.update(&stored);
        self.len += stored.len() as u64;
        let place = PagePlace { file: 0, offset: at, len: stored.len() as u32 };
        self.known.insert(entry.digest, place);
        Ok(place)
    }
}

impl PlacedPages<'_> {
    /// Writes the page file's head, which readers need before any page, and the images' records.
    pub fn finish(self, images: &[Image], writer: &mut BundleWriter<'_>) -> Result<()> {
        let PageFile { bytes, len, mut pieces, known, .. } = self.file;
        let file = (!known.is_empty()).then(|| bytes.finish());
        if let Some(id) = file {
            let head = file_head();
            pieces.add(0, writer.append(&head)?, head.len() as u64);
            writer.object(ObjectKind::PageFile, id, len, pieces);
        }
        for (image, mut places) in images.iter().zip(self.places) {
            let own = |place: &PagePlace| *place != PagePlace::OF_BASE;
            if places.map.iter().chain(&places.span).any(own) {
                places.files.extend(file);
            }
            let [manifest, map, span] = image.record.own_bytes()?;
            let bytes = record::encode(&manifest, &places, &map, &span);
            let mut pieces = Pieces::default();
            pieces.add(0, writer.append(&bytes)?, bytes.len() as u64);
            writer.object(ObjectKind::Record, image.id(), bytes.len() as u64, pieces);
        }
        Ok(())
    }
}
