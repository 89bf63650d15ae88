//! Writes a bundle in one forward pass, and collects its table.

use super::sink::BundleSink;
use crate::digest::{Digest, object_digest};
use crate::error::{BlockError, Result, StoreError};
use crate::limits::{BUNDLE_OBJECTS_MAX, BUNDLE_PIECES_MAX, BUNDLE_TABLE_LEN_MAX};
use crate::ondisk::bundle::{HEAD_LEN, Head, Object, ObjectKind, Piece, Table};
use crate::store::OPEN_LEN_MAX;

/// The pieces of an object, in the order written.
#[derive(Debug, Default, Clone)]
pub(super) struct Pieces(Vec<Piece>);

impl Pieces {
    /// Adds bytes at `at` in the object and at `offset` in the bundle.
    pub fn add(&mut self, at: u64, offset: u64, len: u64) {
        match self.0.last_mut() {
            Some(last) if last.at + last.len == at && last.offset + last.len == offset => last.len += len,
            _ if len == 0 => {}
            _ => self.0.push(Piece { at, offset, len }),
        }
    }

    /// Returns all pieces, in the order of the object.
    fn sorted(mut self) -> Vec<Piece> {
        self.0.sort_unstable_by_key(|piece| piece.at);
        self.0
    }
}

/// Writes a bundle.
pub(super) struct BundleWriter<'a> {
    sink: &'a mut dyn BundleSink,
    offset: u64,
    objects: Vec<Object>,
    /// Possible starts of the tail. `finish` picks the earliest from which the rest fits one read.
    tails: Vec<u64>,
}

impl<'a> BundleWriter<'a> {
    pub fn new(sink: &'a mut dyn BundleSink) -> Self {
        Self { sink, offset: HEAD_LEN, objects: Vec::new(), tails: Vec::new() }
    }

    /// Writes bytes and returns their offset.
    pub fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        self.sink.append(bytes)?;
        let offset = self.offset;
        self.offset += bytes.len() as u64;
        Ok(offset)
    }

    /// Marks a possible start of the tail. Later marks precede data that readers need sooner.
    pub fn mark_tail(&mut self) {
        self.tails.push(self.offset);
    }

    /// Registers an object after all its bytes in the bundle have been written.
    pub fn object(&mut self, kind: ObjectKind, id: Digest, len: u64, pieces: Pieces) {
        self.objects.push(Object { kind, id, len, pieces: pieces.sorted() });
    }

    /// Writes the table and then the head. Returns the length of the bundle in bytes. `names` maps names
    /// to ids.
    pub fn finish(mut self, mut bases: Vec<Digest>, names: Vec<(String, Digest)>) -> Result<u64> {
        self.objects.sort_unstable_by_key(|object| (object.kind, object.id));
        bases.sort_unstable();
        let mut table = Table { bases, objects: self.objects, names: Vec::new() };
        let images: Vec<Digest> = table.images().copied().collect();
        let number = |id: &Digest| images.binary_search(id).unwrap_or(usize::MAX) as u32;
        table.names = names.iter().map(|(name, id)| (name.clone(), number(id))).collect();
        table.names.sort_unstable();
        table.names.dedup();
        let pieces = table.objects.iter().map(|object| object.pieces.len() as u64).sum();
        check_limit("objects of a bundle", table.objects.len() as u64, BUNDLE_OBJECTS_MAX)?;
        check_limit("pieces of a bundle", pieces, BUNDLE_PIECES_MAX)?;
        let bytes = table.encode();
        check_limit("bytes of a bundle's table", bytes.len() as u64, BUNDLE_TABLE_LEN_MAX)?;
        // The bundle must be readable, so run the reader's checks.
        Table::decode(&bytes, self.offset)
            .map_err(|fault| StoreError::corrupt("the new bundle", self.offset, fault))?;
        self.sink.append(&bytes)?;
        let len = self.offset + bytes.len() as u64;
        let at_once = |tail: &&u64| len - **tail <= OPEN_LEN_MAX;
        let tail = self.tails.iter().find(at_once).or(self.tails.last()).copied();
        let head = Head {
            len,
            table_offset: self.offset,
            table_len: bytes.len() as u64,
            tail_offset: tail.unwrap_or(self.offset),
            table_digest: object_digest(&bytes),
        };
        self.sink.finish(&head.encode())?;
        Ok(head.len)
    }
}

fn check_limit(what: &'static str, found: u64, max: u64) -> Result<()> {
    if found <= max { Ok(()) } else { Err(BlockError::Limit { what, found, max }.into()) }
}
