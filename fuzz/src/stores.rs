//! Whole stores in memory: a script of operations beside a map of names to disks, and a corrupted index.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use melv::storage::BytesObject;
use melv::{
    BlockDevice, Bundle, BundleOptions, Cache, Error, ErrorKind, ImageRef, Images, ImportOptions,
    ImportReport, LoadOptions, MemoryStorage, RefName, SaveOptions, Source, Store, StoreError, StoreOptions,
    VerifyOptions,
};

use melv_testing::seal;

use crate::input::Input;

const BLOCK: usize = 4096;
/// Names that a script uses.
const NAMES: [&str; 4] = ["a", "b:old", "c.1", "a:x"];
/// The number of distinct blocks in a script's disks: few, so that they share.
const POOL: u8 = 12;
/// The limit on operations per script: each costs about a millisecond.
const OPERATIONS_MAX: usize = 12;

fn options() -> StoreOptions {
    StoreOptions { cache: Cache::new(1 << 20), ..StoreOptions::default() }
}

fn opened(storage: &MemoryStorage) -> Store {
    Store::open(storage.clone(), options()).expect("a store that was made")
}

fn made(storage: &MemoryStorage) -> Store {
    Store::create(storage.clone(), options()).expect("a store in memory")
}

/// Returns a block of the pool: 0 is zeros, every third is noise, the others compress.
fn block(number: u8) -> Vec<u8> {
    match number {
        0 => vec![0; BLOCK],
        n if n % 3 == 0 => melv_testing::noise(n.into()),
        n => format!("{n:03} and so on\n").into_bytes().into_iter().cycle().take(BLOCK).collect(),
    }
}

/// Makes a disk of up to 16 runs of blocks, and perhaps a partial block at its end.
fn disk(input: &mut Input<'_>) -> Vec<u8> {
    let mut disk = Vec::new();
    let shape = input.u8();
    for _ in 0..shape % 16 {
        let run = input.u8();
        let block = block(run % POOL);
        (0..=run / POOL / 4).for_each(|_| disk.extend_from_slice(&block));
    }
    disk.extend_from_slice(&block(1)[..usize::from(shape / 32) * 512]);
    disk
}

fn name(input: &mut Input<'_>) -> RefName {
    NAMES[input.below(NAMES.len())].parse().expect("a name")
}

fn import(store: &Store, disk: &[u8], options: &ImportOptions<'_>) -> Result<ImportReport, Error> {
    store.import(Source::stream(disk, "script"), options)
}

/// A store under test and its expected content.
struct Shadowed {
    storage: MemoryStorage,
    store: Store,
    disks: BTreeMap<RefName, Vec<u8>>,
    /// The non-zero blocks imported so far.
    blocks: BTreeSet<Vec<u8>>,
}

/// Runs a script of imports, names, removals, bundles, restarts and power losses: the store behaves like a
/// map of names to disks.
pub fn store_ops(data: &[u8]) {
    let storage = MemoryStorage::new();
    let store = made(&storage);
    let mut shadowed = Shadowed { storage, store, disks: BTreeMap::new(), blocks: BTreeSet::new() };
    let mut input = Input(data);
    for _ in 0..OPERATIONS_MAX {
        if input.is_empty() {
            break;
        }
        shadowed.step(&mut input);
    }
    shadowed.check();
}

impl Shadowed {
    fn step(&mut self, input: &mut Input<'_>) {
        match input.u8() % 10 {
            0..=3 => self.import(input),
            4 => self.tag(input),
            5 => self.remove(input),
            6 => self.through_a_bundle(input),
            7 => self.store = opened(&self.storage),
            8 => {
                // Everything acknowledged survives; no writer is at work.
                self.storage = self.storage.power_loss(input.u64());
                self.store = opened(&self.storage);
            }
            _ => self.check(),
        }
    }

    fn import(&mut self, input: &mut Input<'_>) {
        let choice = input.u8();
        let name = name(input);
        let disk = disk(input);
        let parent = (choice & 2 != 0).then(|| self.disks.keys().next().cloned()).flatten();
        let options = ImportOptions {
            replace: choice & 1 != 0,
            parent: parent.map(ImageRef::Name),
            chunk_blocks: 1 << (choice >> 2 & 3),
            level: 1 + i32::from(choice >> 4 & 3),
            ..ImportOptions::named(name.clone())
        };
        let taken = self.disks.contains_key(&name) && !options.replace;
        match import(&self.store, &disk, &options) {
            Ok(report) => {
                assert!(!taken, "{name} was taken");
                let blocks: Vec<Vec<u8>> = disk
                    .chunks(BLOCK)
                    .map(|block| [block, &vec![0; BLOCK - block.len()]].concat())
                    .filter(|block| block.iter().any(|&byte| byte != 0))
                    .collect();
                assert_eq!(report.data_bytes, (blocks.len() * BLOCK) as u64);
                let before = self.blocks.len();
                self.blocks.extend(blocks);
                assert_eq!(
                    report.new_bytes,
                    ((self.blocks.len() - before) * BLOCK) as u64,
                    "sharing is exact"
                );
                self.disks.insert(name, disk);
            }
            Err(error) if matches!(error.detail(), Some(StoreError::Exists { .. })) => assert!(taken),
            Err(error) => panic!("{error:?}"),
        }
    }

    fn tag(&mut self, input: &mut Input<'_>) {
        let (from, to, replace) = (name(input), name(input), input.u8().is_multiple_of(2));
        let done = self.store.tag(&ImageRef::Name(from.clone()), &to, replace);
        let disk = self.disks.get(&from).cloned();
        match (done, disk) {
            (Ok(_), Some(disk)) => {
                let before = self.disks.insert(to, disk.clone());
                assert!(replace || before.is_none_or(|before| before == disk), "a name was taken away");
            }
            (Err(error), None) if error.is_not_found() => {}
            (Err(error), Some(_)) if error.kind() == ErrorKind::Exists => {
                assert!(!replace && self.disks.contains_key(&to))
            }
            (done, disk) => panic!("{from} to {to}: {done:?}, there: {}", disk.is_some()),
        }
    }

    fn remove(&mut self, input: &mut Input<'_>) {
        let name = name(input);
        match (self.store.untag(&name), self.disks.remove(&name)) {
            (Ok(_), Some(_)) => {}
            (Err(error), None) if error.is_not_found() => {}
            (done, was) => panic!("{name}: {done:?}, was there: {}", was.is_some()),
        }
    }

    /// Saves all images to a bundle and loads it into another store.
    fn through_a_bundle(&mut self, input: &mut Input<'_>) {
        let images: Vec<ImageRef> = self.disks.keys().cloned().map(ImageRef::Name).collect();
        if images.is_empty() {
            return;
        }
        let mut bytes = Vec::new();
        self.store.save(&images, &mut bytes, &SaveOptions::default()).expect("a save");
        let bundle_options = BundleOptions { store: options(), base: None };
        let bundle =
            Bundle::open_reader(BytesObject::from(bytes), "bundle", bundle_options).expect("a bundle");
        for (name, disk) in &self.disks {
            assert_reads(&bundle, name, disk);
        }
        let storage = MemoryStorage::new();
        let store = made(&storage);
        if input.u8().is_multiple_of(2) {
            // Some blocks are there already.
            import(&store, &disk(input), &ImportOptions::named("before".parse().expect("a name")))
                .expect("an import");
            store.untag(&"before".parse().expect("a name")).expect("a removal");
        }
        store.load(&bundle, &LoadOptions::default()).expect("a load");
        (self.storage, self.store) = (storage, store);
        // The names carry over to the other store, but its blocks are unknown.
        self.blocks.clear();
        self.forget_sharing();
    }

    /// Rebuilds the set of the store's blocks.
    fn forget_sharing(&mut self) {
        let report = self.store.usage().expect("space");
        for disk in self.disks.values() {
            let blocks = disk.chunks(BLOCK).map(|block| [block, &vec![0; BLOCK - block.len()]].concat());
            self.blocks.extend(blocks.filter(|block| block.iter().any(|&byte| byte != 0)));
        }
        assert!(report.unique_bytes >= (self.blocks.len() * BLOCK) as u64, "{report:?}");
        // Only the store knows its blocks beyond those of the images, so import the whole pool.
        let mut whole: Vec<u8> = (1..POOL).flat_map(block).collect();
        whole
            .extend((1..8).flat_map(|part| [&block(1)[..part * 512], &vec![0; BLOCK - part * 512]].concat()));
        let options = ImportOptions::named("pool".parse().expect("a name"));
        import(&self.store, &whole, &options).expect("an import");
        self.store.untag(&options.name).expect("a removal");
        self.blocks.extend(whole.chunks(BLOCK).map(<[u8]>::to_vec));
    }

    fn check(&self) {
        let found: BTreeSet<RefName> =
            self.store.names().expect("the names").into_iter().map(|(name, _)| name).collect();
        assert!(found.iter().eq(self.disks.keys()), "{found:?}");
        for (name, disk) in &self.disks {
            assert_reads(&self.store, name, disk);
        }
        let report = self.store.verify(&[], &VerifyOptions { full: true, ..Default::default() });
        assert!(report.as_ref().is_ok_and(|report| report.damaged.is_empty()), "{report:?}");
    }
}

fn assert_reads(store: &Images, name: &RefName, disk: &[u8]) {
    let image = store.image(&ImageRef::Name(name.clone())).expect("an image that is there");
    let mut bytes = vec![0x5a; disk.len()];
    assert_eq!(image.size(), disk.len() as u64);
    image.read_at(0, &mut bytes).expect("a read");
    assert!(bytes == disk, "{name} reads other bytes");
}

// ---- the index ----------------------------------------------------------------------------

/// A store with an index, a disk to import next, and the expected result.
struct Indexed {
    contents: BTreeMap<String, Vec<u8>>,
    index: Vec<String>,
    next: Vec<u8>,
    new_bytes: u64,
    expected: BTreeMap<String, Vec<u8>>,
}

fn committed(storage: &MemoryStorage) -> BTreeMap<String, Vec<u8>> {
    let mut contents = storage.contents();
    contents.retain(|name, _| !name.starts_with("refs/") && !name.starts_with("index/"));
    contents
}

fn next_options() -> ImportOptions<'static> {
    ImportOptions::named("next".parse().expect("a name"))
}

fn indexed() -> &'static Indexed {
    static INDEXED: OnceLock<Indexed> = OnceLock::new();
    INDEXED.get_or_init(|| {
        let storage = MemoryStorage::new();
        let store = made(&storage);
        // The second list has many blocks, so that keys fill more than a page.
        let disks = [(1..8).flat_map(block).collect::<Vec<u8>>(), numbered(0..400)];
        for (number, disk) in disks.iter().enumerate() {
            let name = format!("disk-{number}").parse().expect("a name");
            import(&store, disk, &ImportOptions::named(name)).expect("an import");
        }
        let next = [numbered(20..30), (3..POOL).flat_map(block).collect(), numbered(396..404)].concat();
        let contents = storage.contents();
        let report = import(&store, &next, &next_options()).expect("an import");
        let index = contents.keys().filter(|name| name.starts_with("index/")).cloned().collect();
        Indexed { contents, index, next, new_bytes: report.new_bytes, expected: committed(&storage) }
    })
}

/// Returns distinct, compressible blocks.
fn numbered(numbers: std::ops::Range<u32>) -> Vec<u8> {
    let block = |n: u32| format!("{n:08} of many\n").into_bytes().into_iter().cycle().take(BLOCK);
    numbers.flat_map(block).collect()
}

/// Corrupts the index and imports: neither the stored bytes nor the count of new bytes change. A forged index
/// with valid digests may cost sharing, but never a byte of a disk.
///
/// Input: changes, each a file and an operation: remove, replace by another, cut, extend, seal, or overwrite.
pub fn index(data: &[u8]) {
    let indexed = indexed();
    let storage = MemoryStorage::new();
    indexed.contents.iter().for_each(|(name, bytes)| storage.put(name, bytes.clone()));
    let mut files: BTreeMap<&String, Option<Vec<u8>>> =
        indexed.index.iter().map(|name| (name, Some(indexed.contents[name].clone()))).collect();
    let mut input = Input(data);
    let mut is_forged = false;
    while !input.is_empty() {
        let name = &indexed.index[input.below(indexed.index.len())];
        let choice = input.u8();
        let other = indexed.contents[&indexed.index[usize::from(choice) % indexed.index.len()]].clone();
        let Some(file) = files.get_mut(name) else { continue };
        match (choice % 8, file.as_mut()) {
            (0, _) => *file = None,
            (1, _) => *file = Some(other),
            (2, Some(bytes)) => bytes.truncate(usize::from(input.u16()) % (bytes.len() + 1)),
            (3, Some(bytes)) => bytes.extend_from_slice(input.bytes(usize::from(choice))),
            (4, Some(bytes)) if name.contains("segments") => {
                seal::segment(bytes);
                is_forged = true;
            }
            (_, Some(bytes)) if !bytes.is_empty() => {
                let at = usize::from(input.u16()) % bytes.len();
                let len = 1 + usize::from(choice / 8 % 8);
                bytes[at..].iter_mut().zip(input.bytes(len)).for_each(|(byte, new)| *byte = *new);
            }
            _ => {}
        }
    }
    let mut gone = Vec::new();
    for (name, file) in files {
        match file {
            Some(bytes) => storage.put(name, bytes),
            None => gone.push(name.parse().expect("the name of an object")),
        }
    }
    melv::ObjectStore::remove(&storage, &gone).expect("a removal");
    let store = opened(&storage);
    let report = import(&store, &indexed.next, &next_options()).expect("an import beside a bad index");
    if is_forged {
        assert!(report.new_bytes >= indexed.new_bytes, "shared with what is not there");
    } else {
        assert_eq!(report.new_bytes, indexed.new_bytes, "sharing depends on the index");
        let found = committed(&storage);
        let differs = |name: &&String| found.get(*name) != indexed.expected.get(*name);
        let different: Vec<&String> = found.keys().chain(indexed.expected.keys()).filter(differs).collect();
        assert!(different.is_empty(), "{different:?}");
    }
    assert_reads(&store, &"next".parse().expect("a name"), &indexed.next);
    let verified = store.verify(&[], &VerifyOptions { full: true, ..Default::default() });
    assert!(verified.as_ref().is_ok_and(|report| report.damaged.is_empty()), "{verified:?}");
}
