//! A bundle taken apart into head, bytes of its objects and table; and the sound bundles of the vectors.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use melv_format::digest::{ImageId, object_digest};
use melv_format::ondisk::bundle::{HEAD_LEN, Head, Object, Table};
use melv_format::storage::BytesObject;
use melv_format::{
    BlockDevice, Bundle, BundleOptions, Cache, Error, Image, Images, MemoryStorage, Store, StoreOptions,
};

/// Bytes per read.
const READ_LEN: u64 = 1 << 20;

/// A bundle in its parts.
#[derive(Debug, Clone)]
pub struct Model {
    pub head: Head,
    pub body: Vec<u8>,
    pub table: Table,
}

impl Model {
    pub fn of(bytes: &[u8]) -> Self {
        let head = Head::decode(&bytes[..HEAD_LEN as usize]).expect("a sound head");
        let (front, table) = bytes.split_at(head.table_offset as usize);
        let table = Table::decode(table, head.table_offset).expect("a sound table");
        Self { head, body: front[HEAD_LEN as usize..].to_vec(), table }
    }

    /// Returns the bundle with another table, and with the lengths and digests that lead to it.
    pub fn with_table(&self, table: &[u8]) -> Vec<u8> {
        let (table_offset, table_len) = (HEAD_LEN + self.body.len() as u64, table.len() as u64);
        let len = table_offset + table_len;
        let head = Head { len, table_offset, table_len, table_digest: object_digest(table), ..self.head };
        [&head.encode()[..], &self.body, table].concat()
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.with_table(&self.table.encode())
    }

    /// Returns bytes of an object, if the bundle has all of them.
    pub fn gather(&self, object: &Object, at: u64, len: u64) -> Option<Vec<u8>> {
        let mut found = Vec::new();
        for at in at..at.checked_add(len)? {
            found.push(*self.body.get(place_in(object, at)?)?);
        }
        Some(found)
    }

    /// Overwrites bytes of an object, as far as the bundle has them.
    pub fn scatter(&mut self, object: &Object, at: u64, bytes: &[u8]) {
        for (byte, at) in bytes.iter().zip(at..) {
            if let Some(place) = place_in(object, at).and_then(|place| self.body.get_mut(place)) {
                *place = *byte;
            }
        }
    }
}

/// Returns the offset in the body of byte `at` of an object.
fn place_in(object: &Object, at: u64) -> Option<usize> {
    let piece = object.piece_at(at)?;
    usize::try_from(piece.offset - HEAD_LEN + (at - piece.at)).ok()
}

/// A sound bundle, and the bytes of its images.
pub struct Sound {
    pub name: String,
    pub bytes: Vec<u8>,
    pub model: Model,
    pub base: Option<Images>,
    pub disks: BTreeMap<ImageId, Vec<u8>>,
}

/// Opens a bundle with an empty cache.
pub fn open(bytes: Vec<u8>, base: Option<&Images>) -> Result<Bundle, Error> {
    let store = StoreOptions { cache: Cache::new(1 << 20), ..StoreOptions::default() };
    Bundle::open_reader(BytesObject::from(bytes), "bundle", BundleOptions { store, base: base.cloned() })
}

/// Reads a disk's bytes; above 4 MiB, only its first and last MiB.
pub fn read(image: &Image) -> Result<Vec<u8>, Error> {
    let size = image.size();
    let ranges = if size <= 4 * READ_LEN {
        (0..size).step_by(READ_LEN as usize).map(|at| (at, READ_LEN.min(size - at))).collect()
    } else {
        vec![(0, READ_LEN), (size - READ_LEN, READ_LEN)]
    };
    let mut bytes = Vec::new();
    for (offset, len) in ranges {
        let from = bytes.len();
        bytes.resize(from + len as usize, 0);
        image.read_at(offset, &mut bytes[from..])?;
    }
    Ok(bytes)
}

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../spec/vectors")
}

fn put_folder(storage: &MemoryStorage, folder: &Path, name: &str) {
    for entry in fs::read_dir(folder).expect("a folder of the vectors") {
        let path = entry.expect("an entry").path();
        let part = path.file_name().and_then(|part| part.to_str()).expect("a name");
        let name = if name.is_empty() { part.to_owned() } else { format!("{name}/{part}") };
        if path.is_dir() {
            put_folder(storage, &path, &name);
        } else {
            storage.put(&name, fs::read(&path).expect("a file"));
        }
    }
}

/// Opens the store or bundle with the bases of a vector, according to the index.
fn base_of(index: &str, file: &str) -> Option<Images> {
    let vector =
        index.split("\n[[vector]]\n").find(|vector| vector.starts_with(&format!("file = {file:?}")))?;
    let (_, store) = vector.split_once("store = \"")?;
    let path = vectors().join(store.split('"').next()?);
    if path.is_file() {
        return Some(open(fs::read(path).expect("a bundle"), None).expect("a sound bundle").into());
    }
    let storage = MemoryStorage::new();
    put_folder(&storage, &path, "");
    Some(Store::open(storage, StoreOptions::default()).expect("a sound store").into())
}

/// Returns all sound bundles of the vectors.
pub fn sound() -> Vec<Sound> {
    let index = fs::read_to_string(vectors().join("index.toml")).expect("the index of the vectors");
    let mut names: Vec<String> = fs::read_dir(vectors().join("valid"))
        .expect("the vectors")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .filter(|name| name.ends_with(".bundle"))
        .collect();
    names.sort();
    let one = |name: String| {
        let bytes = fs::read(vectors().join("valid").join(&name)).expect("a bundle");
        let base = base_of(&index, &format!("valid/{name}"));
        let store = open(bytes.clone(), base.as_ref()).expect("a sound bundle");
        let images = store.image_refs().expect("its images");
        let disk = |image: &melv_format::ImageRef| {
            let image = store.image(image).expect("an image");
            (image.id(), read(&image).unwrap_or_else(|error| panic!("{name}: {error:?}")))
        };
        let disks = images.iter().map(disk).collect();
        Sound { model: Model::of(&bytes), name, bytes, base, disks }
    };
    names.into_iter().map(one).collect()
}
