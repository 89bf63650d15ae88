//! Stages pages and records of loaded images. Pages that the store already has are referenced in place.

use std::collections::HashMap;

use crate::digest::Digest;
use crate::error::Result;
use crate::image::Image;
use crate::ondisk::digest_table::Entry;
use crate::ondisk::record::{self, PagePlace, Places};
use crate::store::commit::Publication;
use crate::store::names;
use crate::store::page_writer::PageWriter;
use crate::store::record::Tree;
use crate::store::stage::Stage;

/// The file of a page: a page file of the store, or `None` for the file being written.
type File = Option<Digest>;

/// The places of the pages of an image's two trees.
type TreePlaces = (Vec<(File, PagePlace)>, Vec<(File, PagePlace)>);

/// Stages the pages of images.
pub(super) struct StagedPages<'a> {
    stage: &'a Stage,
    writer: PageWriter<'a>,
    /// Images of the store that may share pages.
    donors: Vec<Image>,
    known: HashMap<Digest, PagePlace>,
}

impl<'a> StagedPages<'a> {
    pub fn new(stage: &'a Stage, donors: Vec<Image>) -> Self {
        Self { stage, writer: PageWriter::new(stage), donors, known: HashMap::new() }
    }

    /// Stages pages and records. Returns the existing page files that they use.
    pub fn write(mut self, images: &[Image], publication: &mut Publication) -> Result<Vec<Digest>> {
        let mut placed: Vec<TreePlaces> = Vec::new();
        for image in images {
            let root = image.record.span_root()?;
            let map = self.tree(image, Tree::Map, &image.record.map_root)?;
            placed.push((map, self.tree(image, Tree::Span, root)?));
        }
        let new_file = self.writer.finish(&mut publication.objects);
        let mut used = Vec::new();
        for (image, places) in images.iter().zip(placed) {
            let places = resolve(places, new_file.unwrap_or_default(), &mut used);
            let [manifest, map, span] = image.record.own_bytes()?;
            let bytes = record::encode(&manifest, &places, &map, &span);
            let staged = format!("record-{}", image.id());
            self.stage.put(&staged, &bytes)?;
            publication
                .records
                .push((self.stage.staged(&staged), names::object(names::MANIFESTS, &image.id())));
        }
        Ok(used)
    }

    fn tree(&mut self, image: &Image, tree: Tree, root: &[Entry]) -> Result<Vec<(File, PagePlace)>> {
        let mut places = Vec::with_capacity(root.len());
        for entry in root {
            places.push(self.page(image, tree, *entry)?);
        }
        Ok(places)
    }

    fn page(&mut self, image: &Image, tree: Tree, entry: Entry) -> Result<(File, PagePlace)> {
        let leaf_bits = image.manifest().geometry.leaf_bits();
        for donor in &self.donors {
            if let Some(place) = donor.record.place_of(tree, entry, leaf_bits)? {
                let file = donor.record.places.files.get(place.file as usize);
                return Ok((file.copied(), place));
            }
        }
        if let Some(place) = self.known.get(&entry.digest) {
            return Ok((None, *place));
        }
        let stored = image.record.stored_page(tree, entry)?;
        let place = PagePlace { file: 0, offset: self.writer.page(&stored)?, len: stored.len() as u32 };
        self.known.insert(entry.digest, place);
        Ok((None, place))
    }
}

/// Numbers the files of a record. Adds files that the store already has to `used`.
fn resolve((map, span): TreePlaces, new_file: Digest, used: &mut Vec<Digest>) -> Places {
    let mut files: Vec<Digest> = Vec::new();
    let mut number = |(file, place): &(File, PagePlace)| {
        if let Some(known) = file.filter(|known| !used.contains(known)) {
            used.push(known);
        }
        let file = file.unwrap_or(new_file);
        let at = files.iter().position(|known| *known == file).unwrap_or_else(|| {
            files.push(file);
            files.len() - 1
        });
        PagePlace { file: at as u32, ..*place }
    };
    let map = map.iter().map(&mut number).collect();
    let span = span.iter().map(&mut number).collect();
    Places { files, map, span }
}
