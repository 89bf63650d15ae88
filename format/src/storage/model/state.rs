//! The current and the durable state of files, folders and names.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, ErrorKind};
use std::sync::{Arc, OnceLock};

use crate::storage::fs::{Kind, Stat};

/// The order in which names reach the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Names {
    /// In one sequence: a name becomes durable together with all earlier ones.
    Ordered,
    /// Independently, when their folder is synced.
    Loose,
}

/// The number of a file or folder.
pub(super) type Ino = u64;

/// The top folder of the machine.
pub(super) const TOP: Ino = 1;

/// The bytes of a file, shared between states.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub bytes: Vec<u8>,
    hash: OnceLock<u64>,
}

impl Content {
    pub fn new(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self { bytes, hash: OnceLock::new() })
    }

    pub fn hash(&self) -> u64 {
        *self.hash.get_or_init(|| {
            let mut hasher = DefaultHasher::new();
            hasher.write(&self.bytes);
            hasher.finish()
        })
    }
}

#[derive(Debug, Clone)]
pub(super) enum Body {
    File { live: Arc<Content>, durable: Arc<Content> },
    Folder { above: Ino, live: BTreeMap<String, Ino>, durable: BTreeMap<String, Ino> },
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub body: Body,
    /// The number of its current names.
    pub links: u64,
    pub modified_nanos: u64,
}

/// A name that was given or, with `None`, removed.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub folder: Ino,
    pub name: String,
    pub ino: Option<Ino>,
}

/// A machine's disk.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub names: Names,
    pub nodes: BTreeMap<Ino, Arc<Node>>,
    /// Nondurable changes of names, in order, each with one or two entries.
    pub pending: Vec<Vec<Entry>>,
    pub next_ino: Ino,
    pub clock: u64,
}

impl State {
    /// Creates a disk with an empty folder `disk`.
    pub fn new(names: Names) -> Self {
        let mut state =
            Self { names, nodes: BTreeMap::new(), pending: Vec::new(), next_ino: TOP, clock: 1_000_000_000 };
        let top = state.add(Body::Folder { above: TOP, live: BTreeMap::new(), durable: BTreeMap::new() });
        let disk = state.add(Body::Folder { above: TOP, live: BTreeMap::new(), durable: BTreeMap::new() });
        state.change(vec![Entry { folder: top, name: "disk".into(), ino: Some(disk) }]);
        state.sync_names(top);
        state
    }

    fn add(&mut self, body: Body) -> Ino {
        let ino = self.next_ino;
        self.next_ino += 1;
        self.clock += 1_000;
        self.nodes.insert(ino, Arc::new(Node { body, links: 0, modified_nanos: self.clock }));
        ino
    }

    fn node(&self, ino: Ino) -> io::Result<&Node> {
        self.nodes.get(&ino).map(Arc::as_ref).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn node_mut(&mut self, ino: Ino) -> io::Result<&mut Node> {
        self.nodes.get_mut(&ino).map(Arc::make_mut).ok_or_else(|| ErrorKind::NotFound.into())
    }

    pub fn entries(&self, ino: Ino) -> io::Result<&BTreeMap<String, Ino>> {
        match &self.node(ino)?.body {
            Body::Folder { live, .. } => Ok(live),
            Body::File { .. } => Err(ErrorKind::NotADirectory.into()),
        }
    }

    pub fn above(&self, ino: Ino) -> io::Result<Ino> {
        match &self.node(ino)?.body {
            Body::Folder { above, .. } => Ok(*above),
            Body::File { .. } => Err(ErrorKind::NotADirectory.into()),
        }
    }

    pub fn find(&self, mut ino: Ino, path: &str) -> io::Result<Ino> {
        for part in path.split('/').filter(|part| !part.is_empty()) {
            ino = *self.entries(ino)?.get(part).ok_or(ErrorKind::NotFound)?;
        }
        Ok(ino)
    }

    pub fn stat(&self, ino: Ino) -> io::Result<Stat> {
        let node = self.node(ino)?;
        let (kind, len) = match &node.body {
            Body::File { live, .. } => (Kind::File, live.bytes.len() as u64),
            Body::Folder { .. } => (Kind::Folder, 0),
        };
        let modified_nanos = Some(node.modified_nanos);
        Ok(Stat { kind, len, links: node.links, modified_nanos, foreign_owner: None })
    }

    pub fn content(&self, ino: Ino) -> io::Result<&Arc<Content>> {
        match &self.node(ino)?.body {
            Body::File { live, .. } => Ok(live),
            Body::Folder { .. } => Err(ErrorKind::IsADirectory.into()),
        }
    }

    /// Changes names, all at once.
    fn change(&mut self, entries: Vec<Entry>) {
        for Entry { folder, name, ino } in &entries {
            let Some(Node { body: Body::Folder { live, .. }, .. }) =
                self.nodes.get_mut(folder).map(Arc::make_mut)
            else {
                continue;
            };
            let old = match ino {
                Some(ino) => live.insert(name.clone(), *ino),
                None => live.remove(name),
            };
            let mut count = |ino: Option<Ino>, by: i64| {
                if let Some(node) = ino.and_then(|ino| self.nodes.get_mut(&ino)).map(Arc::make_mut) {
                    node.links = node.links.saturating_add_signed(by);
                }
            };
            count(old, -1);
            count(*ino, 1);
        }
        self.pending.push(entries);
    }

    /// Fails if the folder was removed.
    fn check_folder(&self, folder: Ino) -> io::Result<()> {
        let is_gone = folder != TOP && self.node(folder)?.links == 0;
        if is_gone { Err(ErrorKind::NotFound.into()) } else { Ok(()) }
    }

    fn give(&mut self, folder: Ino, name: &str, body: Body) -> io::Result<Ino> {
        self.check_folder(folder)?;
        if self.entries(folder)?.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let ino = self.add(body);
        self.change(vec![Entry { folder, name: name.into(), ino: Some(ino) }]);
        Ok(ino)
    }

    pub fn make_file(&mut self, folder: Ino, name: &str) -> io::Result<Ino> {
        self.give(folder, name, Body::File { live: Arc::default(), durable: Arc::default() })
    }

    pub fn make_folder(&mut self, folder: Ino, name: &str) -> io::Result<Ino> {
        let (live, durable) = (BTreeMap::new(), BTreeMap::new());
        self.give(folder, name, Body::Folder { above: folder, live, durable })
    }

    pub fn remove(&mut self, folder: Ino, name: &str, kind: Kind) -> io::Result<()> {
        let ino = *self.entries(folder)?.get(name).ok_or(ErrorKind::NotFound)?;
        match (&self.node(ino)?.body, kind) {
            (Body::Folder { live, .. }, Kind::Folder) if !live.is_empty() => {
                return Err(ErrorKind::DirectoryNotEmpty.into());
            }
            (Body::Folder { .. }, Kind::Folder) | (Body::File { .. }, Kind::File) => {}
            (Body::Folder { .. }, _) => return Err(ErrorKind::IsADirectory.into()),
            (Body::File { .. }, _) => return Err(ErrorKind::NotADirectory.into()),
        }
        self.change(vec![Entry { folder, name: name.into(), ino: None }]);
        Ok(())
    }

    pub fn rename(&mut self, from: (Ino, &str), to: (Ino, &str)) -> io::Result<()> {
        let ino = *self.entries(from.0)?.get(from.1).ok_or(ErrorKind::NotFound)?;
        self.check_folder(to.0)?;
        // Both names belong to one file: POSIX requires that nothing happens.
        if self.entries(to.0)?.get(to.1) == Some(&ino) {
            return Ok(());
        }
        self.change(vec![
            Entry { folder: to.0, name: to.1.into(), ino: Some(ino) },
            Entry { folder: from.0, name: from.1.into(), ino: None },
        ]);
        Ok(())
    }

    pub fn link(&mut self, from: (Ino, &str), to: (Ino, &str)) -> io::Result<()> {
        let ino = *self.entries(from.0)?.get(from.1).ok_or(ErrorKind::NotFound)?;
        self.check_folder(to.0)?;
        if self.entries(to.0)?.contains_key(to.1) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.change(vec![Entry { folder: to.0, name: to.1.into(), ino: Some(ino) }]);
        Ok(())
    }

    /// Replaces a file's bytes by the result of `made`.
    pub fn write(&mut self, ino: Ino, made: impl FnOnce(&[u8]) -> Vec<u8>) -> io::Result<()> {
        self.clock += 1_000;
        let clock = self.clock;
        let node = self.node_mut(ino)?;
        node.modified_nanos = clock;
        match &mut node.body {
            Body::File { live, .. } => *live = Content::new(made(&live.bytes)),
            Body::Folder { .. } => return Err(ErrorKind::IsADirectory.into()),
        }
        Ok(())
    }

    /// Replaces a file's bytes durably, for tests that inject damage.
    pub fn put(&mut self, ino: Ino, bytes: Vec<u8>) -> io::Result<()> {
        self.write(ino, |_| bytes)?;
        self.sync(ino)
    }

    pub fn sync(&mut self, ino: Ino) -> io::Result<()> {
        match &mut self.node_mut(ino)?.body {
            Body::File { live, durable } => *durable = live.clone(),
            Body::Folder { .. } => return Err(ErrorKind::IsADirectory.into()),
        }
        Ok(())
    }

    pub fn sync_names(&mut self, folder: Ino) {
        let is_of = |entry: &Entry| entry.folder == folder;
        match self.names {
            Names::Ordered => {
                let last = self.pending.iter().rposition(|change| change.iter().any(is_of));
                let done: Vec<Entry> =
                    self.pending.drain(..last.map_or(0, |last| last + 1)).flatten().collect();
                done.into_iter().for_each(|entry| self.keep(entry));
            }
            Names::Loose => {
                let done: Vec<Entry> = self
                    .pending
                    .iter_mut()
                    .flat_map(|change| change.extract_if(.., |entry| is_of(entry)))
                    .collect();
                self.pending.retain(|change| !change.is_empty());
                done.into_iter().for_each(|entry| self.keep(entry));
            }
        }
    }

    /// Makes an entry durable.
    fn keep(&mut self, Entry { folder, name, ino }: Entry) {
        if let Some(Node { body: Body::Folder { durable, .. }, .. }) =
            self.nodes.get_mut(&folder).map(Arc::make_mut)
        {
            match ino {
                Some(ino) => durable.insert(name, ino),
                None => durable.remove(&name),
            };
        }
    }
}
