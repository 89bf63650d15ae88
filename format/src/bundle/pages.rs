//! Map and span pages of all images into one page file, each once, and the records beside it.

use std::collections::HashMap;

use super::writer::{BundleWriter, Pieces};
use crate::codec;
use crate::digest::{Digest, Hasher, object_digest};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::ondisk::bundle::ObjectKind;
use crate::ondisk::digest_table::{self, Entry};
use crate::ondisk::header::{self, HEADER_LEN, Kind};
use crate::ondisk::record::{self, PagePlace, Places};
use crate::store::record::Tree;

/// Writes pages, then records.
pub(super) struct PageFile<'a, 'b> {
    writer: &'a mut BundleWriter<'b>,
    bases: &'a [Image],
    bytes: Hasher,
    /// Bytes of the file so far; zero before the first page.
    len: u64,
    pieces: Pieces,
    known: HashMap<Digest, PagePlace>,
}

impl<'a, 'b> PageFile<'a, 'b> {
    pub fn new(writer: &'a mut BundleWriter<'b>, bases: &'a [Image]) -> Self {
        let known = HashMap::new();
        Self { writer, bases, bytes: Hasher::object(), len: 0, pieces: Pieces::default(), known }
    }

    /// Writes the pages of all images, then their records. Span pages come first: the nearer to the
    /// end, the more likely something is read when the bundle is opened.
    pub fn write(mut self, images: &[Image]) -> Result<()> {
        let spans = images.iter().map(|image| image.record.span_root()).collect::<Result<Vec<_>>>()?;
        let mut places = Vec::new();
        for (image, spans) in images.iter().zip(&spans) {
            places.push(Places { span: self.tree(image, Tree::Span, spans)?, ..Places::default() });
        }
        for (image, places) in images.iter().zip(&mut places) {
            places.map = self.tree(image, Tree::Map, &image.record.map_root)?;
        }
        let file = (self.len > 0).then(|| self.bytes.finish());
        if let Some(id) = file {
            self.writer.object(ObjectKind::PageFile, id, self.len, self.pieces);
        }
        for ((image, spans), mut places) in images.iter().zip(&spans).zip(places) {
            let own = |place: &PagePlace| *place != PagePlace::OF_BASE;
            if places.map.iter().chain(&places.span).any(own) {
                places.files.extend(file);
            }
            let root = |kind, entries: &[Entry]| {
                if entries.is_empty() { Vec::new() } else { digest_table::encode(kind, entries) }
            };
            let (map, span) = (root(Kind::MapRoot, &image.record.map_root), root(Kind::SpanRoot, spans));
            let bytes = record::encode(&image.manifest().encode(), &places, &map, &span);
            let mut pieces = Pieces::default();
            pieces.add(0, self.writer.append(&bytes)?, bytes.len() as u64);
            self.writer.object(ObjectKind::Record, image.id(), bytes.len() as u64, pieces);
        }
        Ok(())
    }

    /// The places of the pages of one tree of an image; those not yet written are.
    fn tree(&mut self, image: &Image, tree: Tree, root: &[Entry]) -> Result<Vec<PagePlace>> {
        let mut places = Vec::with_capacity(root.len());
        for entry in root {
            places.push(self.page(image, tree, *entry)?);
        }
        Ok(places)
    }

    fn page(&mut self, image: &Image, tree: Tree, entry: Entry) -> Result<PagePlace> {
        let leaf_bits = image.manifest().geometry.leaf_bits();
        for base in self.bases {
            if base.record.place_of(tree, entry, leaf_bits)?.is_some() {
                return Ok(PagePlace::OF_BASE);
            }
        }
        if let Some(place) = self.known.get(&entry.digest) {
            return Ok(*place);
        }
        let corrupt = |fault| Error::corrupt("the image's record", 0, fault);
        let own = image.record.place_of(tree, entry, leaf_bits)?;
        let own = own.ok_or_else(|| corrupt(crate::fault::Fault::Missing))?;
        let (page, _) = image.record.page(tree, entry, own)?;
        debug_assert_eq!(object_digest(&page), entry.digest);
        let stored = codec::page::encode(&page)
            .map_err(|error| Error::io("compress", format!("page {}", entry.digest), error))?;
        if self.len == 0 {
            let mut head = Vec::new();
            header::encode(Kind::PageFile, 0, &mut head);
            self.append(&head)?;
        }
        let offset = self.append(&stored)?;
        let place = PagePlace { file: 0, offset, len: stored.len() as u32 };
        self.known.insert(entry.digest, place);
        Ok(place)
    }

    /// Appends to the page file; gives where in it.
    fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        let at = self.len;
        let offset = self.writer.append(bytes)?;
        self.pieces.add(at, offset, bytes.len() as u64);
        self.bytes.update(bytes);
        self.len += bytes.len() as u64;
        debug_assert!(self.len >= HEADER_LEN as u64);
        Ok(at)
    }
}
