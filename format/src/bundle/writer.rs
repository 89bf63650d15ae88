//! Writes a bundle in one forward pass, and collects its table.
//!
//! Pages of ids and places are written between the frames. Each page of ids is directly followed by its page
//! of places, for readers that fetch by requests. After 128 GiB of data, pages are written in groups that grow
//! with the bundle. This keeps the table short, and at most a sixty-fourth of the pages in memory.
//!
//! Heads and roots wait for the tail, which always contains them and the records. Map pages belong to the tail
//! only if everything from them on fits one read: a full TiB has 50 MiB of pages.

use std::cell::{RefCell, RefMut};

use super::sink::BundleSink;
use crate::digest::{Digest, ImageId, object_digest};
use crate::error::{BlockError, Result, StoreError};
use crate::limits::{BUNDLE_OBJECTS_MAX, BUNDLE_PIECES_MAX, BUNDLE_TABLE_LEN_MAX, PACK_LEN_MAX};
use crate::ondisk::bundle::{HEAD_LEN, Head, Object, ObjectKind, Piece, Table};
use crate::store::OPEN_LEN_MAX;
use crate::write::Sink;

/// The number of id pages written singly, each as a separate piece of its list.
const PAGES_SINGLE: u64 = 4096;
/// Later pages wait until they amount to this fraction (1/64) of the pages already written.
const PAGES_SHARE: u64 = 64;

/// Writes a bundle.
pub(super) struct BundleWriter<'a> {
    state: RefCell<State<'a>>,
}

struct State<'a> {
    sink: &'a mut dyn BundleSink,
    offset: u64,
    /// The objects, with their pieces in the order written. Id and length are set in the end.
    objects: Vec<Object>,
    /// Possible starts of the tail. `finish` picks the earliest from which the rest fits one read.
    tails: Vec<u64>,
    /// Pages of ids and places that wait for their group.
    waiting: Vec<Part>,
    /// The number of pages of places written so far.
    pages_written: u64,
    /// Heads and roots.
    tail: Vec<Part>,
}

/// Bytes of an object that are written later.
struct Part {
    /// The number of the object in the order of their beginnings.
    object: usize,
    kind: ObjectKind,
    at: u64,
    bytes: Vec<u8>,
}

impl State<'_> {
    /// Writes bytes at `at` of an object.
    fn append(&mut self, object: usize, at: u64, bytes: &[u8]) -> Result<()> {
        self.sink.append(bytes)?;
        let (offset, len) = (self.offset, bytes.len() as u64);
        self.offset += len;
        let pieces = &mut self.objects[object].pieces;
        match pieces.last_mut() {
            Some(last) if last.at + last.len == at && last.offset + last.len == offset => last.len += len,
            _ if len == 0 => {}
            _ => pieces.push(Piece { at, offset, len }),
        }
        Ok(())
    }

    fn append_parts(&mut self, parts: Vec<Part>) -> Result<()> {
        parts.iter().try_for_each(|part| self.append(part.object, part.at, &part.bytes))
    }

    /// Keeps a head or root for the tail.
    fn later(&mut self, part: Part) {
        if !part.bytes.is_empty() {
            self.tail.push(part);
        }
    }

    /// Queues a page of a table, and writes the group if it is complete. A page of ids comes before its page of
    /// places.
    fn page(&mut self, page: Part) -> Result<()> {
        let is_pair = page.kind == ObjectKind::Locator;
        self.waiting.push(page);
        let is_single = self.pages_written < PAGES_SINGLE;
        let enough = if is_single { 1 } else { self.pages_written / PAGES_SHARE };
        if is_pair && self.waiting.len() as u64 / 2 >= enough { self.flush_pages() } else { Ok(()) }
    }

    fn flush_pages(&mut self) -> Result<()> {
        let mut pages = std::mem::take(&mut self.waiting);
        pages.sort_by_key(|page| page.kind == ObjectKind::Locator);
        self.pages_written += pages.len() as u64 / 2;
        self.append_parts(pages)
    }
}

impl Sink for BundleWriter<'_> {
    type Object = usize;
    type Finished = ();

    const IS_SPARSE: bool = true;
    const PACK_LEN_TARGET: u64 = PACK_LEN_MAX;

    fn begin(&self, kind: ObjectKind, head: Vec<u8>) -> Result<usize> {
        let mut state = self.state();
        let object = state.objects.len();
        state.objects.push(Object { kind, id: Digest::ZERO, len: 0, pieces: Vec::new() });
        state.later(Part { object, kind, at: 0, bytes: head });
        Ok(object)
    }

    fn write(&self, object: &mut usize, at: u64, bytes: &[u8]) -> Result<()> {
        let mut state = self.state();
        let (object, kind) = (*object, state.objects[*object].kind);
        match kind {
            ObjectKind::List | ObjectKind::Locator => {
                state.page(Part { object, kind, at, bytes: bytes.to_vec() })
            }
            _ => state.append(object, at, bytes),
        }
    }

    fn finish(&self, object: usize, id: &Digest, at: u64, root: Vec<u8>) -> Result<()> {
        let mut state = self.state();
        let finished = &mut state.objects[object];
        (finished.id, finished.len) = (*id, at + root.len() as u64);
        let kind = finished.kind;
        state.later(Part { object, kind, at, bytes: root });
        Ok(())
    }
}

impl<'a> BundleWriter<'a> {
    pub fn new(sink: &'a mut dyn BundleSink) -> Self {
        let state = State {
            sink,
            offset: HEAD_LEN,
            objects: Vec::new(),
            tails: Vec::new(),
            waiting: Vec::new(),
            pages_written: 0,
            tail: Vec::new(),
        };
        Self { state: RefCell::new(state) }
    }

    fn state(&self) -> RefMut<'_, State<'a>> {
        self.state.borrow_mut()
    }

    /// Marks a possible start of the tail. Later marks precede data that readers need sooner.
    pub fn mark_tail(&self) {
        let mut state = self.state();
        let offset = state.offset;
        state.tails.push(offset);
    }

    /// Writes the pages of a list that still wait for their group.
    pub fn flush_pages(&self) -> Result<()> {
        self.state().flush_pages()
    }

    /// Writes the roots of lists and locators, then the heads of packs and of the page file.
    pub fn write_tail(&self) -> Result<()> {
        let mut state = self.state();
        let mut parts = std::mem::take(&mut state.tail);
        parts.sort_by_key(|part| match part.kind {
            ObjectKind::List | ObjectKind::Locator => 0,
            ObjectKind::Pack => 1,
            ObjectKind::PageFile | ObjectKind::Record => 2,
        });
        state.append_parts(parts)
    }

    /// Writes the table and then the head. Returns the length of the bundle in bytes. `names` maps names
    /// to ids.
    pub fn finish(self, mut bases: Vec<ImageId>, names: Vec<(String, ImageId)>) -> Result<u64> {
        let State { sink, offset, mut objects, tails, .. } = self.state.into_inner();
        objects.sort_unstable_by_key(|object| (object.kind, object.id));
        objects.iter_mut().for_each(|object| object.pieces.sort_unstable_by_key(|piece| piece.at));
        bases.sort_unstable();
        let mut table = Table { bases, objects, names: Vec::new() };
        let images: Vec<ImageId> = table.images().collect();
        let number = |id: &ImageId| images.binary_search(id).unwrap_or(usize::MAX) as u32;
        table.names = names.iter().map(|(name, id)| (name.clone(), number(id))).collect();
        table.names.sort_unstable();
        table.names.dedup();
        let pieces = table.objects.iter().map(|object| object.pieces.len() as u64).sum();
        check_limit("objects of a bundle", table.objects.len() as u64, BUNDLE_OBJECTS_MAX)?;
        check_limit("pieces of a bundle", pieces, BUNDLE_PIECES_MAX)?;
        let bytes = table.encode();
        check_limit("bytes of a bundle's table", bytes.len() as u64, BUNDLE_TABLE_LEN_MAX)?;
        // The bundle must be readable, so run the reader's checks.
        Table::decode(&bytes, offset)
            .map_err(|fault| StoreError::corrupt("the new bundle", offset, fault))?;
        sink.append(&bytes)?;
        let len = offset + bytes.len() as u64;
        let at_once = |tail: &&u64| len - **tail <= OPEN_LEN_MAX;
        let tail = tails.iter().find(at_once).or(tails.last()).copied();
        let head = Head {
            len,
            table_offset: offset,
            table_len: bytes.len() as u64,
            tail_offset: tail.unwrap_or(offset),
            table_digest: object_digest(&bytes),
        };
        sink.finish(&head.encode())?;
        Ok(head.len)
    }
}

fn check_limit(what: &'static str, found: u64, max: u64) -> Result<()> {
    if found <= max { Ok(()) } else { Err(BlockError::Limit { what, found, max }.into()) }
}
