//! A bundle's head and table: the objects it holds and their positions (spec section 10.1).
//!
//! ```text
//! head (512 bytes) | pieces of objects | table
//! ```
//!
//! The head is written last and ends in its own checksum. Its digest of the table covers all positions; the
//! objects' own ids cover the objects.

use super::cursor::{Cursor, Put};
use super::header::{self, HEADER_LEN, Kind};
use super::reference::is_name;
use crate::digest::{DIGEST_LEN, Digest, ImageId, object_digest};
use crate::fault::RuleViolation;
use crate::limits::{
    BUNDLE_BASES_MAX, BUNDLE_NAMES_MAX, BUNDLE_OBJECTS_MAX, BUNDLE_PIECES_MAX, BUNDLE_TABLE_LEN_MAX,
    NAME_LEN_MAX,
};

/// Bytes in the head: one sector, so that a device writes it atomically.
pub const HEAD_LEN: u64 = HEAD_BYTES as u64;
const HEAD_BYTES: usize = 512;
const CHECKSUM_OFFSET: usize = HEAD_BYTES - DIGEST_LEN;
const RESERVED_LEN: usize = 384;
const OBJECT_LEN: usize = 48;
const PIECE_LEN: usize = 24;
/// The minimum bytes of a name: its two numbers and `a:b`.
const NAME_LEN_MIN: usize = 8 + 3;

/// The contents of a bundle's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The length of the bundle, in bytes.
    pub len: u64,
    /// The offset of the table.
    pub table_offset: u64,
    /// The length of the table, in bytes.
    pub table_len: u64,
    /// The offset of the objects needed to open an image: a hint.
    pub tail_offset: u64,
    /// The table's object digest.
    pub table_digest: Digest,
}

impl Head {
    /// Encodes the head.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_BYTES);
        header::encode(Kind::Bundle, self.len - HEADER_LEN as u64, &mut out);
        out.put_u32(0); // key slot
        out.put_u32(0);
        out.put_u64(self.table_offset);
        out.put_u64(self.table_len);
        out.put_u64(self.tail_offset);
        out.put_digest(&self.table_digest);
        out.resize(CHECKSUM_OFFSET, 0);
        let checksum = object_digest(&out);
        out.put_digest(&checksum);
        out
    }

    /// Decodes and checks the first [`HEAD_LEN`] bytes of a bundle.
    pub fn decode(bytes: &[u8]) -> Result<Self, RuleViolation> {
        let mut cursor = Cursor::new(bytes);
        let header = header::decode(Kind::Bundle, &mut cursor)?;
        let mut end = cursor.clone();
        end.bytes(CHECKSUM_OFFSET - HEADER_LEN)?;
        let covered = bytes.get(..CHECKSUM_OFFSET).unwrap_or_default();
        if end.digest()? != object_digest(covered) {
            return Err(RuleViolation::Checksum);
        }
        let key_slot = cursor.u32()?;
        if key_slot != 0 {
            return Err(RuleViolation::KeySlot { found: key_slot });
        }
        cursor.reserved(4)?;
        let len = header.body_len.saturating_add(HEADER_LEN as u64);
        let (table_offset, table_len, tail_offset) = (cursor.u64()?, cursor.u64()?, cursor.u64()?);
        let table_digest = cursor.digest()?;
        cursor.reserved(RESERVED_LEN)?;
        if table_len > BUNDLE_TABLE_LEN_MAX {
            return Err(RuleViolation::Limit {
                what: "table length",
                found: table_len,
                max: BUNDLE_TABLE_LEN_MAX,
            });
        }
        if tail_offset < HEAD_LEN || tail_offset > table_offset {
            return Err(RuleViolation::BundleLayout { offset: tail_offset, expected: table_offset });
        }
        if table_offset.checked_add(table_len) != Some(len) {
            return Err(RuleViolation::BundleLayout {
                offset: table_offset.saturating_add(table_len),
                expected: len,
            });
        }
        Ok(Self { len, table_offset, table_len, tail_offset, table_digest })
    }

    /// Fails if `found`, the length of the file, is too short for the bundle; with `exact`, also if it is too
    /// long.
    pub fn check_len(&self, found: u64, exact: bool) -> Result<(), RuleViolation> {
        if found < self.len {
            Err(RuleViolation::Truncated { needed: self.len, found })
        } else if exact && found > self.len {
            Err(RuleViolation::TrailingBytes { extra: found - self.len })
        } else {
            Ok(())
        }
    }
}

/// The kind of an object in a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// A manifest record: an image.
    Record,
    /// A page file.
    PageFile,
    /// A chunk list.
    List,
    /// A locator.
    Locator,
    /// A pack.
    Pack,
}

impl ObjectKind {
    const ALL: [Self; 5] = [Self::Record, Self::PageFile, Self::List, Self::Locator, Self::Pack];

    fn number(self) -> u32 {
        Self::ALL.iter().zip(0..).find(|(kind, _)| **kind == self).map_or(u32::MAX, |(_, number)| number)
    }

    /// Whether the bundle may omit some of its bytes.
    fn may_lack_bytes(self) -> bool {
        matches!(self, Self::List | Self::Locator)
    }
}

/// A contiguous part of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// The first byte, as an offset in the object.
    pub at: u64,
    /// The first byte, as an offset in the bundle.
    pub offset: u64,
    /// The length, in bytes.
    pub len: u64,
}

/// An object of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The kind.
    pub kind: ObjectKind,
    /// The id, whose type is that of the kind.
    pub id: Digest,
    /// The length in bytes, absent bytes included.
    pub len: u64,
    /// The pieces, in ascending order.
    pub pieces: Vec<Piece>,
}

impl Object {
    /// Returns the piece that holds byte `at` of the object, if there is one.
    #[must_use]
    pub fn piece_at(&self, at: u64) -> Option<&Piece> {
        let next = self.pieces.partition_point(|piece| piece.at + piece.len <= at);
        self.pieces.get(next).filter(|piece| piece.at <= at)
    }

    /// Returns the object offset of the first piece that begins after byte `at`.
    #[must_use]
    pub fn next_piece(&self, at: u64) -> Option<u64> {
        let next = self.pieces.partition_point(|piece| piece.at <= at);
        self.pieces.get(next).map(|piece| piece.at)
    }

    fn check(&self) -> Result<(), RuleViolation> {
        let mut end = 0;
        for piece in &self.pieces {
            let piece_end = piece.at.checked_add(piece.len).filter(|_| piece.len > 0);
            let gap = piece.at > end && !self.kind.may_lack_bytes();
            match piece_end {
                Some(piece_end) if piece.at >= end && !gap && piece_end <= self.len => end = piece_end,
                _ => return Err(RuleViolation::PieceOrder { offset: piece.at }),
            }
        }
        if end == self.len || self.kind.may_lack_bytes() {
            Ok(())
        } else {
            Err(RuleViolation::PieceOrder { offset: end })
        }
    }
}

/// A bundle's table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// The images that the bundle depends on, in ascending order.
    pub bases: Vec<ImageId>,
    /// The objects, in ascending order of kind and id. The records come first; each is an image.
    pub objects: Vec<Object>,
    /// The names, in ascending order, each with the number of its image.
    pub names: Vec<(String, u32)>,
}

impl Table {
    /// Encodes the table.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let len32 = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let mut out = header::begin(Kind::BundleTable);
        out.put_u32(len32(self.bases.len()));
        out.put_u32(len32(self.names.len()));
        out.put_u32(len32(self.objects.len()));
        out.put_u32(len32(self.objects.iter().map(|object| object.pieces.len()).sum()));
        for base in &self.bases {
            out.put_id(base);
        }
        for object in &self.objects {
            out.put_u32(object.kind.number());
            out.put_u32(len32(object.pieces.len()));
            out.put_digest(&object.id);
            out.put_u64(object.len);
        }
        for piece in self.objects.iter().flat_map(|object| &object.pieces) {
            out.put_u64(piece.at);
            out.put_u64(piece.offset);
            out.put_u64(piece.len);
        }
        for (name, image) in &self.names {
            out.put_u32(*image);
            out.put_u32(len32(name.len()));
            out.extend_from_slice(name.as_bytes());
        }
        header::finish(&mut out);
        out
    }

    /// Decodes and checks a table that begins at `table_offset` of its bundle.
    pub fn decode(bytes: &[u8], table_offset: u64) -> Result<Self, RuleViolation> {
        let (_, mut cursor) = header::decode_whole(Kind::BundleTable, bytes)?;
        let mut count = |what, max: u64| match u64::from(cursor.u32()?) {
            found if found > max => Err(RuleViolation::Limit { what, found, max }),
            found => Ok(found),
        };
        let bases = count("bases of a bundle", BUNDLE_BASES_MAX)?;
        let names = count("names of a bundle", BUNDLE_NAMES_MAX)?;
        let objects = count("objects of a bundle", BUNDLE_OBJECTS_MAX)?;
        let pieces = count("pieces of a bundle", BUNDLE_PIECES_MAX)?;
        let bases = cursor.count("bases of a bundle", bases, DIGEST_LEN)?;
        let bases: Vec<ImageId> = (0..bases).map(|_| cursor.id()).collect::<Result<_, _>>()?;
        check_ascending(bases.iter())?;
        let objects = decode_objects(&mut cursor, objects, pieces)?;
        check_ascending(objects.iter().map(|object| (object.kind, object.id)))?;
        objects.iter().try_for_each(Object::check)?;
        check_layout(&objects, table_offset)?;
        let images = objects.iter().take_while(|object| object.kind == ObjectKind::Record).count() as u64;
        if images == 0 {
            return Err(RuleViolation::EmptyPage);
        }
        let own = |(object, _): &(&Object, u64)| {
            object.kind == ObjectKind::Record && bases.contains(&ImageId::new(object.id))
        };
        if let Some((_, index)) = objects.iter().zip(0..).find(own) {
            return Err(RuleViolation::TableRange { index, max: images });
        }
        let names = decode_names(&mut cursor, names, images)?;
        cursor.end()?;
        Ok(Self { bases, objects, names })
    }

    /// Returns the number of the object with this kind and id.
    #[must_use]
    pub fn find(&self, kind: ObjectKind, id: &Digest) -> Option<usize> {
        self.objects.binary_search_by(|object| (object.kind, object.id).cmp(&(kind, *id))).ok()
    }

    /// Returns the ids of the images, in ascending order.
    pub fn images(&self) -> impl Iterator<Item = ImageId> {
        self.objects
            .iter()
            .take_while(|object| object.kind == ObjectKind::Record)
            .map(|object| ImageId::new(object.id))
    }
}

fn check_ascending<T: Ord>(items: impl Iterator<Item = T>) -> Result<(), RuleViolation> {
    let mut last = None;
    for (item, index) in items.zip(0..) {
        if last.as_ref().is_some_and(|last| *last >= item) {
            return Err(RuleViolation::TableOrder { index });
        }
        last = Some(item);
    }
    Ok(())
}

fn decode_objects(cursor: &mut Cursor<'_>, objects: u64, pieces: u64) -> Result<Vec<Object>, RuleViolation> {
    let count = cursor.count("objects of a bundle", objects, OBJECT_LEN)?;
    let mut heads = Cursor::new(cursor.bytes(count * OBJECT_LEN)?);
    let mut left = cursor.count("pieces of a bundle", pieces, PIECE_LEN)?;
    let mut found = Vec::with_capacity(count);
    for _ in 0..count {
        let number = heads.u32()?;
        let pieces = heads.u32()? as usize;
        let (id, len) = (heads.digest()?, heads.u64()?);
        let kind = ObjectKind::ALL.get(number as usize).ok_or(RuleViolation::ObjectKind { found: number })?;
        left = match left.checked_sub(pieces) {
            Some(left) if pieces > 0 => left,
            _ => return Err(RuleViolation::BundleLayout { offset: pieces as u64, expected: left as u64 }),
        };
        let mut piece = || Ok(Piece { at: cursor.u64()?, offset: cursor.u64()?, len: cursor.u64()? });
        let pieces = (0..pieces).map(|_| piece()).collect::<Result<_, _>>()?;
        found.push(Object { kind: *kind, id, len, pieces });
    }
    match left {
        0 => Ok(found),
        _ => Err(RuleViolation::BundleLayout { offset: left as u64, expected: 0 }),
    }
}

/// Checks that the pieces cover the range between head and table exactly once.
fn check_layout(objects: &[Object], table_offset: u64) -> Result<(), RuleViolation> {
    let mut pieces: Vec<(u64, u64)> = objects
        .iter()
        .flat_map(|object| object.pieces.iter().map(|piece| (piece.offset, piece.len)))
        .collect();
    pieces.sort_unstable();
    let mut end = HEAD_LEN;
    for (offset, len) in pieces {
        if offset != end {
            return Err(RuleViolation::BundleLayout { offset, expected: end });
        }
        end = end.saturating_add(len);
    }
    if end == table_offset {
        Ok(())
    } else {
        Err(RuleViolation::BundleLayout { offset: end, expected: table_offset })
    }
}

fn decode_names(
    cursor: &mut Cursor<'_>,
    names: u64,
    images: u64,
) -> Result<Vec<(String, u32)>, RuleViolation> {
    let count = cursor.count("names of a bundle", names, NAME_LEN_MIN)?;
    let mut found: Vec<(String, u32)> = Vec::with_capacity(count);
    for _ in 0..count {
        let (image, len) = (cursor.u32()?, cursor.u32()? as usize);
        let max = 2 * NAME_LEN_MAX + 1;
        if len > max {
            return Err(RuleViolation::Limit { what: "name length", found: len as u64, max: max as u64 });
        }
        let name =
            std::str::from_utf8(cursor.bytes(len)?).map_err(|_| RuleViolation::Text { what: "name" })?;
        if u64::from(image) >= images {
            return Err(RuleViolation::TableRange { index: u64::from(image), max: images });
        }
        found.push((name.into(), image));
    }
    check_ascending(found.iter().map(|(name, _)| name.as_bytes()))?;
    let is_reference =
        |text: &str| text.split_once(':').is_some_and(|(name, tag)| is_name(name) && is_name(tag));
    match found.iter().find(|(name, _)| !is_reference(name)) {
        Some((name, _)) => {
            Err(RuleViolation::ReferenceName { expected: "NAME:TAG".into(), found: name.clone() })
        }
        None => Ok(found),
    }
}
