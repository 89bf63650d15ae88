//! A store in a folder, and ways to harm its files.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use melv::{FileStorage, Image, ObjectSource, Store, StoreOptions};
use tempfile::TempDir;

use melv_testing::{Rng, Watched};

/// The harm to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    Flipped,
    Cut,
    Emptied,
    Removed,
}

impl Harm {
    pub const ALL: [Self; 4] = [Self::Flipped, Self::Cut, Self::Emptied, Self::Removed];
}

/// A store in a folder of its own.
pub struct Place(TempDir);

/// A store with the log of its storage.
pub type WatchedPlace = (Store, Watched<FileStorage>);

/// Returns a distinct time for each change: a clock may be coarser than a test is quick.
fn later() -> SystemTime {
    static CHANGES: AtomicU64 = AtomicU64::new(1);
    SystemTime::now() + Duration::from_secs(CHANGES.fetch_add(1, Ordering::Relaxed))
}

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn root(&self) -> &Path {
        self.0.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn storage(&self) -> FileStorage {
        FileStorage::new(self.root())
    }

    pub fn open(&self) -> Store {
        Store::create(self.storage(), StoreOptions::default()).unwrap()
    }

    pub fn watched(&self) -> WatchedPlace {
        let watched = Watched::new(self.storage());
        (Store::open(watched.clone(), StoreOptions::default()).unwrap(), watched)
    }

    /// Returns the names of the objects in a folder.
    pub fn list(&self, folder: &str) -> Vec<String> {
        self.storage().list(folder).unwrap().into_iter().map(|object| object.name.into()).collect()
    }

    pub fn only(&self, folder: &str) -> String {
        let listed = self.list(folder);
        assert_eq!(listed.len(), 1, "{folder}: {listed:?}");
        listed[0].clone()
    }

    pub fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Returns all objects but the index and `tmp/`.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let listed = self.storage().list("").unwrap().into_iter().map(|object| object.name);
        let kept = listed.filter(|name| !name.starts_with("index/") && !name.starts_with("tmp/"));
        kept.map(|name| (String::from(&name), self.bytes(&name))).collect()
    }

    /// Replaces a file, as a backup does.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
        self.touch(name, later());
    }

    fn touch(&self, name: &str, time: SystemTime) {
        let file = std::fs::File::options().write(true).open(self.path(name)).unwrap();
        file.set_modified(time).unwrap();
    }

    /// Overwrites bytes, as a program does.
    pub fn write_at(&self, name: &str, at: u64, bytes: &[u8]) {
        let file = std::fs::File::options().write(true).open(self.path(name)).unwrap();
        file.write_all_at(bytes, at).unwrap();
        file.set_modified(later()).unwrap();
    }

    /// Changes a byte, as a failing medium does: without a trace in the metadata.
    pub fn rot(&self, name: &str, at: u64) {
        let time = std::fs::metadata(self.path(name)).unwrap().modified().unwrap();
        let mut byte = [0];
        let file = std::fs::File::options().read(true).write(true).open(self.path(name)).unwrap();
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
        file.set_modified(time).unwrap();
    }

    pub fn harm(&self, name: &str, harm: Harm, rng: &mut Rng) {
        let mut bytes = self.bytes(name);
        match harm {
            Harm::Removed => return std::fs::remove_file(self.path(name)).unwrap(),
            Harm::Emptied => bytes.clear(),
            Harm::Cut => bytes.truncate(rng.below(bytes.len() as u64) as usize),
            Harm::Flipped => {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << rng.below(8);
            }
        }
        self.put(name, &bytes);
    }

    pub fn remove_index(&self) {
        if self.has("index") {
            std::fs::remove_dir_all(self.path("index")).unwrap();
        }
    }

    /// Removes the objects of a folder that an image does not need.
    pub fn remove_but(&self, folder: &str, image: &Image) {
        let lists: Vec<String> = image.manifest().lists.iter().map(|list| list.id.to_string()).collect();
        let manifest = image.id().to_string();
        let packs: Vec<String> = lists
            .iter()
            .flat_map(|list| {
                let bytes = self.bytes(&format!("locators/{list}"));
                self.list("packs").into_iter().filter(move |pack| {
                    let id = pack.strip_prefix("packs/").unwrap();
                    let raw: Vec<u8> =
                        (0..32).map(|at| u8::from_str_radix(&id[2 * at..2 * at + 2], 16).unwrap()).collect();
                    bytes.windows(32).any(|window| window == raw)
                })
            })
            .collect();
        for name in self.list(folder) {
            let id = name.rsplit('/').next().unwrap();
            let is_needed = match folder {
                "packs" => packs.contains(&name),
                "manifests" => id == manifest,
                _ => lists.iter().any(|list| list == id),
            };
            if !is_needed {
                std::fs::remove_file(self.path(&name)).unwrap();
            }
        }
    }

    /// Copies the store to another folder, modification times included.
    pub fn copy(&self) -> Self {
        let copy = Self::new();
        for object in self.storage().list("").unwrap() {
            let (from, to) = (self.path(&object.name), copy.path(&object.name));
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(&from, &to).unwrap();
            copy.touch(&object.name, std::fs::metadata(&from).unwrap().modified().unwrap());
        }
        copy
    }
}
