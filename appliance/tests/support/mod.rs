//! Trees of real packages for tests: brought and extracted by `tests/fetch-packages`, loaded into a `Tree`.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, missing_docs, reason = "helpers of tests")]

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, MetadataExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    process::Command,
};

use melv_appliance::{
    closure::{Closure, Origin, Origins, Package},
    contents::Contents,
    tree::{Content, Inode, InodeId, Kind, Timestamp, Tree},
};

/// Folder of the packages.
pub fn packages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/packages")
}

/// Brings a set of packages; returns the folders that they are extracted to. Fails where that is not possible.
pub fn fetch(suite: &str, set: &str, names: &[&str]) -> Vec<PathBuf> {
    let list = packages().join(suite).join(format!("{set}.list"));
    if !list.exists() {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fetch-packages");
        let status = Command::new(script).arg(suite).arg(set).args(names).status().unwrap();
        assert!(status.success(), "the packages {names:?} of {suite} could not be brought");
    }
    let extracted = packages().join(suite).join("extracted");
    fs::read_to_string(list).unwrap().lines().map(|line| extracted.join(line)).collect()
}

/// Contents of files on this machine.
#[derive(Debug, Default)]
pub struct Spool {
    files: BTreeMap<u64, PathBuf>,
    end: u64,
}

impl Contents for Spool {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let (start, path) = self.files.range(..=offset).next_back().ok_or(io::ErrorKind::UnexpectedEof)?;
        fs::File::open(path)?.read_exact_at(buffer, offset - start)
    }
}

/// A tree with the origins of its paths.
#[derive(Debug, Default)]
pub struct Loaded {
    pub tree: Tree,
    pub spool: Spool,
    pub origins: Origins,
}

pub fn inode(kind: Kind, mode: u16) -> Inode {
    Inode { kind, mode, uid: 0, gid: 0, mtime: Timestamp::default(), xattrs: BTreeMap::new() }
}

impl Loaded {
    /// Loads packages, with merged `/usr`.
    pub fn of(folders: &[PathBuf]) -> Self {
        let mut loaded = Self::default();
        for name in ["bin", "sbin", "lib", "lib64"] {
            let target = format!("usr/{name}");
            loaded.insert(&format!("/usr/{name}"), inode(Kind::Directory(BTreeMap::new()), 0o755));
            loaded.insert(&format!("/{name}"), inode(Kind::Symlink(target.into_bytes()), 0o777));
        }
        for folder in folders {
            loaded.package(folder);
        }
        loaded
    }

    fn package(&mut self, folder: &Path) {
        let control = fs::read_to_string(folder.join("control")).unwrap();
        let field =
            |name: &str| control.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
        let name = field("Package:").unwrap().to_owned();
        let source = field("Source:").unwrap_or(&name).to_owned();
        let index = self.origins.add_package(Package { name, source });
        let base = folder.join("data");
        let mut left = vec![base.clone()];
        while let Some(host) = left.pop() {
            let mut entries: Vec<PathBuf> = fs::read_dir(&host).unwrap().map(|e| e.unwrap().path()).collect();
            entries.sort();
            for host in entries {
                let meta = fs::symlink_metadata(&host).unwrap();
                let path = merged(host.strip_prefix(&base).unwrap().to_str().unwrap());
                let kind = if meta.is_dir() {
                    left.push(host);
                    Kind::Directory(BTreeMap::new())
                } else if meta.is_symlink() {
                    Kind::Symlink(fs::read_link(&host).unwrap().as_os_str().as_bytes().to_vec())
                } else {
                    let offset = self.spool.end;
                    self.spool.files.insert(offset, host);
                    // One byte more, so that an empty file has a place of its own.
                    self.spool.end += meta.len() + 1;
                    Kind::File(Content::Spooled { offset, len: meta.len() })
                };
                self.insert(&path, inode(kind, (meta.mode() & 0o7777) as u16));
                self.origins.record(path.as_bytes(), Origin::Package(index));
            }
        }
    }

    /// Puts an inode at a path; a folder that is there stays.
    pub fn insert(&mut self, path: &str, inode: Inode) -> InodeId {
        insert(&mut self.tree, path, inode)
    }

    /// Sums the sizes of all files in bytes.
    pub fn bytes(&self) -> u64 {
        let mut left = vec![self.tree.root()];
        let mut sum = 0;
        while let Some(id) = left.pop() {
            match &self.tree.get(id).kind {
                Kind::Directory(entries) => left.extend(entries.values()),
                Kind::File(content) => sum += content.len(),
                Kind::Symlink(_) => {}
            }
        }
        sum
    }

    /// Writes the kept files to a folder of this machine.
    pub fn write(&self, closure: &Closure, to: &Path) {
        for path in closure.paths() {
            let host = to.join(std::str::from_utf8(&path[1..]).unwrap());
            let id = walk(&self.tree, path);
            let inode = self.tree.get(id);
            match &inode.kind {
                Kind::Directory(_) => fs::create_dir_all(&host).unwrap(),
                Kind::Symlink(target) => symlink(std::ffi::OsStr::from_bytes(target), &host).unwrap(),
                Kind::File(content) => {
                    fs::create_dir_all(host.parent().unwrap()).unwrap();
                    let mut bytes = vec![0; content.len() as usize];
                    match content {
                        Content::Spooled { offset, .. } if !bytes.is_empty() => {
                            self.spool.read_at(*offset, &mut bytes).unwrap();
                        }
                        Content::Bytes(own) => bytes.clone_from(own),
                        _ => {}
                    }
                    fs::write(&host, bytes).unwrap();
                    fs::set_permissions(&host, fs::Permissions::from_mode(u32::from(inode.mode))).unwrap();
                }
            }
        }
    }
}

fn walk(tree: &Tree, path: &[u8]) -> InodeId {
    let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty());
    parts.fold(tree.root(), |id, part| tree.child(id, part).unwrap())
}

pub fn insert(tree: &mut Tree, path: &str, inode: Inode) -> InodeId {
    let mut at = tree.root();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (last, above) = parts.split_last().unwrap();
    let enter = |tree: &mut Tree, at: InodeId, name: &str, new: Inode| {
        let id = tree.add(new);
        let Kind::Directory(entries) = &mut tree.get_mut(at).kind else {
            panic!("{path}: {name} lies in no folder")
        };
        entries.insert(name.as_bytes().to_vec(), id);
        id
    };
    for part in above {
        at = match tree.child(at, part.as_bytes()) {
            Some(id) => id,
            None => enter(tree, at, part, super::support::inode(Kind::Directory(BTreeMap::new()), 0o755)),
        };
    }
    match (tree.child(at, last.as_bytes()), &inode.kind) {
        (Some(id), Kind::Directory(_)) if matches!(tree.get(id).kind, Kind::Directory(_)) => id,
        _ => enter(tree, at, last, inode),
    }
}

fn merged(path: &str) -> String {
    let first = path.split('/').next().unwrap();
    let moved = ["bin", "sbin", "lib", "lib64"].contains(&first);
    if moved { format!("/usr/{path}") } else { format!("/{path}") }
}

/// Numbers by a seed (xorshift64*).
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// Changes bytes, cuts, or repeats a part: a damaged file.
    pub fn mutate(&mut self, bytes: &mut Vec<u8>, first: usize) {
        for _ in 0..=self.below(6) {
            let range = if self.below(4) == 0 { bytes.len() } else { first.min(bytes.len()) };
            let at = self.below(range);
            match self.below(8) {
                0 => bytes.truncate(at),
                1 => {
                    let value = [0, 1, 0x7f, 0x80, 0xff][self.below(5)];
                    let end = (at + 8).min(bytes.len());
                    bytes[at.min(end)..end].fill(value);
                }
                _ => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = self.next() as u8;
                    }
                }
            }
        }
    }
}

/// Puts an inode at a path, unless something that is no folder is in the way.
pub fn try_insert(tree: &mut Tree, path: &str, inode: Inode) {
    let mut at = tree.root();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        if !matches!(tree.get(at).kind, Kind::Directory(_)) {
            return;
        }
        match tree.child(at, part.as_bytes()) {
            Some(id) => at = id,
            None => break,
        }
    }
    if matches!(tree.get(at).kind, Kind::Directory(_)) {
        insert(tree, path, inode);
    }
}
