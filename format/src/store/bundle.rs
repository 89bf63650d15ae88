//! A bundle as a source of objects: its table acts as the folder, its pieces as the files.
//!
//! Opening takes two reads: the head, and the end of the bundle from its tail on. The second read covers
//! at most 1 MiB, but always the whole table, and is kept. It contains the table, records, usually page
//! files, and the roots of lists and locators, so these need no further read.

use std::collections::VecDeque;
use std::io;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::images::Images;
use super::names::{self, RefName};
use super::objects::{Objects, read_range};
use super::open::StoreOptions;
use super::reader::{Base, Reader, VerifyMode};
use crate::digest::{ImageId, object_digest};
use crate::error::{Deferred, Error, Result, StoreError};
use crate::fault::RuleViolation;
use crate::ondisk::bundle::{HEAD_LEN, Head, Object, ObjectKind, Table};
use crate::ondisk::reference::Reference;
use crate::ondisk::store_header;
use crate::storage::{BytesObject, Listed, LocalFile, ObjectName, ObjectSource, ReadAt};

/// The maximum length read from the bundle's end on opening, unless the table is longer. It keeps the
/// cost of opening independent of the image size, in bytes.
pub(crate) const OPEN_LEN_MAX: u64 = (1 << 20) - READ_AHEAD_LEN;
/// The minimum length of a remote read, in bytes: a page of a list and the locator page behind it.
const READ_AHEAD_LEN: u64 = 64 << 10;
/// The number of read-ahead ranges kept.
const READ_AHEAD_KEPT: usize = 8;

/// Options of [`Bundle::open`].
#[derive(Debug, Clone, Default)]
pub struct BundleOptions {
    /// The cache size and other store options. Chunk ids are always checked.
    pub store: StoreOptions,
    /// The store or bundle with the base images that the bundle leaves out.
    pub base: Option<Images>,
}

impl From<Bundle> for Images {
    fn from(bundle: Bundle) -> Self {
        bundle.images
    }
}

/// An open bundle: images in one file, which never change. Clones are handles of the same bundle.
///
/// Everything that it can do, beyond opening, is a method of [`Images`]. Nothing can be written to it:
///
/// ```compile_fail
/// # fn refused(bundle: melv_format::Bundle, name: melv_format::RefName) {
/// bundle.untag(&name);
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Bundle {
    images: Images,
}

impl Deref for Bundle {
    type Target = Images;

    fn deref(&self) -> &Images {
        &self.images
    }
}

impl Bundle {
    /// Opens the bundle in the file or block device `path`.
    ///
    /// # Errors
    /// Damage of head or table; [`StoreError::BaseMissing`]; [`BlockError::Unsupported`](crate::BlockError::Unsupported) for a newer format.
    pub fn open(path: &Path, options: BundleOptions) -> Result<Self> {
        let name = path.display().to_string();
        let medium = LocalFile::open(path).map_err(|error| Error::io("open", &name, error))?;
        let exact = !medium.is_device();
        open(Arc::new(medium), name, exact, options)
    }

    /// Opens a bundle that is read by ranges. Every call of `reader` counts as a network request, so
    /// reads are slightly larger than needed. `name` is for messages.
    ///
    /// # Errors
    /// As [`Bundle::open`].
    pub fn open_reader(
        reader: impl ReadAt + 'static,
        name: impl Into<String>,
        options: BundleOptions,
    ) -> Result<Self> {
        open(Arc::new(ReadAhead::new(reader)), name.into(), true, options)
    }
}

fn open(reader: Arc<dyn ReadAt>, name: String, exact: bool, options: BundleOptions) -> Result<Bundle> {
    let corrupt = |offset| {
        let name = name.clone();
        move |fault| StoreError::corrupt(name, offset, fault)
    };
    let found = reader.len();
    let head = read_range(reader.as_ref(), &name, 0, found.min(HEAD_LEN))?;
    let head = Head::decode(&head).map_err(corrupt(0))?;
    head.check_len(found, exact).map_err(corrupt(0))?;
    let tail_len = head.len - head.tail_offset;
    let tail_len = if tail_len > OPEN_LEN_MAX { head.table_len.max(OPEN_LEN_MAX) } else { tail_len };
    let tail_offset = head.len - tail_len.min(head.len - HEAD_LEN);
    let tail = read_range(reader.as_ref(), &name, tail_offset, head.len - tail_offset)?;
    let table_bytes = tail.slice((head.table_offset - tail_offset) as usize..);
    let found = object_digest(&table_bytes);
    if found != head.table_digest {
        let (expected, found) = (head.table_digest.to_string(), found.to_string());
        return Err(corrupt(head.table_offset)(RuleViolation::PageDigest { expected, found }));
    }
    let table = Table::decode(&table_bytes, head.table_offset).map_err(corrupt(head.table_offset))?;
    let base = bases(&table, &name, options.base)?;
    let parts = Parts { reader, name, tail_offset, tail, table };
    let base_source = base.as_ref().map(|base| base.reader.source().clone());
    let source = BundleSource { parts: Arc::new(parts), base: base_source };
    let StoreOptions { cache, keep_whole_chunks, .. } = options.store;
    let objects = Objects::new(Arc::new(source), cache, true);
    let reader = Reader::new(objects, VerifyMode::Full, keep_whole_chunks, base);
    Ok(Bundle { images: Images::new(Arc::new(reader)) })
}

/// Opens the records of the bases in the given store or bundle.
fn bases(table: &Table, name: &str, base: Option<Images>) -> Result<Option<Base>> {
    let Some(first) = table.bases.first() else { return Ok(None) };
    let missing = |base: &ImageId| Error::from(StoreError::BaseMissing { bundle: name.into(), base: *base });
    let Some(base) = base else { return Err(missing(first)) };
    let reader = base.reader().clone();
    let open = |base: &ImageId| match reader.record(*base) {
        Err(error) if error.is_not_found() => Err(missing(base)),
        other => other,
    };
    let records = table.bases.iter().map(open).collect::<Result<_>>()?;
    Ok(Some(Base { reader, records }))
}

/// A bundle's table and the source of its bytes.
#[derive(Debug)]
struct Parts {
    reader: Arc<dyn ReadAt>,
    name: String,
    /// The end of the bundle, read when it was opened.
    tail_offset: u64,
    tail: Bytes,
    table: Table,
}

impl Parts {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let within = offset.checked_sub(self.tail_offset).and_then(|within| usize::try_from(within).ok());
        let kept = within.and_then(|within| self.tail.get(within..)?.get(..buf.len()));
        match kept {
            Some(kept) => {
                buf.copy_from_slice(kept);
                Ok(())
            }
            None => self.reader.read_exact_at(buf, offset),
        }
    }
}

/// Presents the objects of a bundle under the names of a store's folder.
#[derive(Debug)]
struct BundleSource {
    parts: Arc<Parts>,
    base: Option<Arc<dyn ObjectSource>>,
}

const FOLDERS: [(ObjectKind, &str); 5] = [
    (ObjectKind::Record, names::MANIFESTS),
    (ObjectKind::PageFile, names::PAGES),
    (ObjectKind::List, names::LISTS),
    (ObjectKind::Locator, names::LOCATORS),
    (ObjectKind::Pack, names::PACKS),
];

impl BundleSource {
    /// Synthesizes objects without bytes in the bundle: the store's header, and a reference for each
    /// name.
    fn made_up(&self, name: &ObjectName) -> Option<Vec<u8>> {
        if *name == names::STORE {
            return Some(store_header::encode());
        }
        let reference = RefName::from_object(name)?.to_string();
        let table = &self.parts.table;
        let at = table.names.binary_search_by(|(known, _)| known.as_str().cmp(&reference)).ok()?;
        // Records come first.
        let image = ImageId::new(table.objects.get(table.names.get(at)?.1 as usize)?.id);
        Some(Reference { name: reference, image, created_seconds: 0 }.encode())
    }

    fn find(&self, name: &ObjectName) -> Option<usize> {
        let id = names::digest_of(name)?;
        let folder = name.split('/').next()?;
        let (kind, _) = FOLDERS.iter().find(|(_, known)| *known == folder)?;
        self.parts.table.find(*kind, &id).filter(|_| names::object(folder, &id) == *name)
    }

    fn names(&self) -> impl Iterator<Item = Listed> {
        let table = &self.parts.table;
        let objects = table.objects.iter().filter_map(|object| {
            let (_, folder) = FOLDERS.iter().find(|(kind, _)| *kind == object.kind)?;
            Some(Listed { name: names::object(folder, &object.id), len: object.len })
        });
        let references = table.names.iter().filter_map(|(name, _)| {
            let name = name.parse::<RefName>().ok()?.object();
            Some(Listed { len: self.made_up(&name)?.len() as u64, name })
        });
        objects.chain(references)
    }
}

impl ObjectSource for BundleSource {
    fn place(&self) -> String {
        self.parts.name.clone()
    }

    fn open(&self, name: &ObjectName) -> io::Result<Arc<dyn ReadAt>> {
        if let Some(bytes) = self.made_up(name) {
            return Ok(Arc::new(BytesObject::from(bytes)));
        }
        // Equal ids mean equal lists, so the base can provide the parts missing in the bundle.
        let is_list = name.starts_with(names::LISTS);
        let base = self.base.as_ref().filter(|_| is_list).map(|base| base.open(name));
        match (self.find(name), base) {
            (Some(object), base) => Ok(Arc::new(Pieced {
                parts: self.parts.clone(),
                object,
                base: base.and_then(io::Result::ok),
            })),
            (None, Some(base)) => base,
            // A missing image, or an object that a base may have, is not damage.
            _ if name.starts_with(names::MANIFESTS) || self.base.is_some() => {
                Err(io::ErrorKind::NotFound.into())
            }
            _ if names::digest_of(name).is_some() && !name.starts_with(names::INDEX) => {
                Err(deferred(RuleViolation::Missing))
            }
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<Listed>> {
        let within = |name: &str| {
            prefix.is_empty() || name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
        };
        let mut found: Vec<_> = self.names().filter(|object| within(&object.name)).collect();
        found.sort_unstable();
        Ok(found)
    }
}

/// An object stored in pieces.
#[derive(Debug)]
struct Pieced {
    parts: Arc<Parts>,
    /// The number of the object in the table.
    object: usize,
    /// The base's copy of the object, for missing pieces.
    base: Option<Arc<dyn ReadAt>>,
}

impl Pieced {
    fn object(&self) -> Option<&Object> {
        self.parts.table.objects.get(self.object)
    }
}

impl ReadAt for Pieced {
    fn len(&self) -> u64 {
        self.object().map_or(0, |object| object.len)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let Some(object) = self.object() else { return Err(io::ErrorKind::NotFound.into()) };
        let (mut at, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let (len, piece) = match object.piece_at(at) {
                Some(piece) => (piece.at + piece.len - at, Some(piece)),
                None => (object.next_piece(at).unwrap_or(object.len).saturating_sub(at), None),
            };
            if len == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let now = usize::try_from(len).unwrap_or(usize::MAX).min(rest.len());
            let (part, left) = rest.split_at_mut(now);
            match (piece, &self.base) {
                (Some(piece), _) => self.parts.read_exact_at(part, piece.offset + (at - piece.at))?,
                (None, Some(base)) => base.read_exact_at(part, at)?,
                (None, None) => return Err(deferred(RuleViolation::PieceAbsent { offset: at })),
            }
            at += now as u64;
            rest = left;
        }
        Ok(())
    }
}

/// A remote reader with read-ahead: a small read also fetches the bytes behind it, and the last few
/// ranges are kept.
#[derive(Debug)]
struct ReadAhead<R> {
    reader: R,
    kept: Mutex<VecDeque<(u64, Bytes)>>,
}

impl<R: ReadAt> ReadAhead<R> {
    fn new(reader: R) -> Self {
        Self { reader, kept: Mutex::default() }
    }
}

impl<R: ReadAt> ReadAt for ReadAhead<R> {
    fn len(&self) -> u64 {
        self.reader.len()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let wanted = buf.len() as u64;
        if wanted >= READ_AHEAD_LEN {
            return self.reader.read_exact_at(buf, offset);
        }
        let kept = |(start, bytes): &(u64, Bytes)| {
            let within = usize::try_from(offset.checked_sub(*start)?).ok()?;
            (within.checked_add(buf.len())? <= bytes.len()).then(|| bytes.slice(within..within + buf.len()))
        };
        let found = self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().find_map(kept);
        if let Some(found) = found {
            buf.copy_from_slice(&found);
            return Ok(());
        }
        let len = READ_AHEAD_LEN.min(self.len().saturating_sub(offset)).max(wanted);
        let mut bytes = vec![0; len as usize];
        self.reader.read_exact_at(&mut bytes, offset)?;
        buf.copy_from_slice(&bytes[..buf.len()]);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == READ_AHEAD_KEPT {
            kept.pop_front();
        }
        kept.push_back((offset, bytes.into()));
        Ok(())
    }
}

/// A broken rule, whose object the caller names.
fn deferred(fault: RuleViolation) -> io::Error {
    Deferred::io_error(move |object| StoreError::corrupt(object, 0, fault.clone()))
}
