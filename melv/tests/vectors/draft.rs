//! A bundle before its layout, open to deliberate errors.

use melv::digest::object_digest;
use melv::ondisk::bundle::{HEAD_LEN, Head, Object, ObjectKind, Piece, Table};
use melv::{Digest, ImageId};

use super::build::{patch, seal};
use super::images::{Image, List, Located};

/// Contiguous bytes of an object.
#[derive(Clone)]
pub struct Part {
    pub at: u64,
    pub bytes: Vec<u8>,
    /// The position in the bundle: parts of lower rank come first.
    pub rank: u8,
}

/// An object and its parts.
#[derive(Clone)]
pub struct Drafted {
    pub kind: ObjectKind,
    pub id: Digest,
    pub len: u64,
    pub parts: Vec<Part>,
}

/// The lowest rank of the parts needed to open an image.
const TAIL_RANK: u8 = 3;

/// A bundle's objects, bases and names.
#[derive(Clone, Default)]
pub struct Draft {
    pub objects: Vec<Drafted>,
    pub bases: Vec<ImageId>,
    pub names: Vec<(String, u32)>,
}

/// A bundle in its three parts.
#[derive(Clone)]
pub struct Bundle {
    pub head: Head,
    pub body: Vec<u8>,
    pub table: Table,
}

impl Draft {
    fn add(mut self, kind: ObjectKind, id: Digest, parts: Vec<Part>) -> Self {
        let len = parts.last().map_or(0, |part| part.at + part.bytes.len() as u64);
        self.objects.push(Drafted { kind, id, len, parts });
        self
    }

    /// Adds an image and its page file.
    pub fn image(self, image: &Image) -> Self {
        let part = |bytes: &[u8], rank| vec![Part { at: 0, bytes: bytes.to_vec(), rank }];
        let with = self.add(ObjectKind::Record, image.id.digest(), part(&image.record, 6));
        match &image.page_file {
            Some((id, bytes)) => with.add(ObjectKind::PageFile, id.digest(), part(bytes, 5)),
            None => with,
        }
    }

    /// Adds a list with its locator and its pack.
    pub fn list(self, list: &List, located: &Located) -> Self {
        let parts = |pages: &[u8], root: &[u8], rank| {
            let pages = Part { at: 0, bytes: pages.to_vec(), rank };
            vec![pages.clone(), Part { at: pages.bytes.len() as u64, bytes: root.to_vec(), rank: rank + 2 }]
        };
        self.add(ObjectKind::List, list.id.digest(), parts(&list.pages, &list.root, 1))
            .add(ObjectKind::Locator, list.id.digest(), parts(&located.pages, &located.root, 2))
            .add(
                ObjectKind::Pack,
                located.pack.1.digest(),
                vec![Part { at: 0, bytes: located.pack.0.clone(), rank: 0 }],
            )
    }

    pub fn base(mut self, base: ImageId) -> Self {
        self.bases.push(base);
        self
    }

    /// Adds names of an image that is already there.
    pub fn names(mut self, image: &Image, names: &[&str]) -> Self {
        self.sort();
        let number = self.objects.iter().position(|object| object.id == image.id.digest()).unwrap();
        self.names.extend(names.iter().map(|name| ((*name).to_owned(), u32::try_from(number).unwrap())));
        self.names.sort();
        self
    }

    /// Changes the only object of this kind.
    pub fn change(mut self, kind: ObjectKind, change: impl FnOnce(&mut Drafted)) -> Self {
        change(self.objects.iter_mut().find(|object| object.kind == kind).unwrap());
        self
    }

    fn sort(&mut self) {
        self.objects.sort_by_key(|object| (object.kind, object.id));
    }

    /// Lays the bundle out, in the order that the specification advises.
    pub fn bundle(mut self) -> Bundle {
        self.sort();
        let mut order: Vec<(u8, usize, usize)> = Vec::new();
        for (number, object) in self.objects.iter().enumerate() {
            order.extend(object.parts.iter().enumerate().map(|(part, found)| (found.rank, number, part)));
        }
        order.sort_unstable();
        let object = |drafted: &Drafted| {
            let piece = |part: &Part| Piece { at: part.at, offset: 0, len: part.bytes.len() as u64 };
            let pieces = drafted.parts.iter().map(piece).collect();
            Object { kind: drafted.kind, id: drafted.id, len: drafted.len, pieces }
        };
        let mut objects: Vec<_> = self.objects.iter().map(object).collect();
        let mut body = Vec::new();
        let mut tail_offset = None;
        for (rank, number, part) in order {
            let offset = HEAD_LEN + body.len() as u64;
            if rank >= TAIL_RANK {
                tail_offset.get_or_insert(offset);
            }
            objects[number].pieces[part].offset = offset;
            body.extend_from_slice(&self.objects[number].parts[part].bytes);
        }
        let table = Table { bases: self.bases, objects, names: self.names };
        let tail_offset = tail_offset.unwrap_or(HEAD_LEN + body.len() as u64);
        Bundle { head: head(body.len() as u64, &table.encode(), tail_offset), body, table }
    }

    pub fn bytes(self) -> Vec<u8> {
        self.bundle().bytes()
    }
}

/// Makes the head of a bundle with `body_len` bytes of pieces before this table.
fn head(body_len: u64, table: &[u8], tail_offset: u64) -> Head {
    let (table_offset, table_len) = (HEAD_LEN + body_len, table.len() as u64);
    let len = table_offset + table_len;
    Head { len, table_offset, table_len, tail_offset, table_digest: object_digest(table) }
}

impl Bundle {
    pub fn bytes(&self) -> Vec<u8> {
        [&self.head.encode()[..], &self.body, &self.table.encode()].concat()
    }

    /// Changes the head.
    pub fn with_head(mut self, change: fn(&mut Head)) -> Self {
        change(&mut self.head);
        self
    }

    /// Returns the bundle with other bytes of the table, under a valid head.
    pub fn with_table(&self, table: &[u8]) -> Vec<u8> {
        let head = head(self.body.len() as u64, table, self.head.tail_offset);
        [&head.encode()[..], &self.body, table].concat()
    }
}

/// Replaces bytes in the head of a head or bundle, with a valid checksum.
pub fn patch_head(bytes: &[u8], at: usize, new: &[u8]) -> Vec<u8> {
    let (head, rest) = bytes.split_at(512);
    [&seal(&patch(head, at, new))[..], rest].concat()
}
