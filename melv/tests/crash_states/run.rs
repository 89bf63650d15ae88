//! Workloads of three or more operations on a store, and the promise of each.

use std::collections::BTreeSet;
use std::sync::Arc;

use melv::storage::model::{ModelFs, Moment, Names};
use melv::{
    BlockDevice, Error, FileStorage, ImageRef, ImportOptions, LoadOptions, LocalFolder, Result, Source,
    Store, StoreOptions,
};

use crate::disks::Disks;
use crate::history::{History, Promise, Values};
use melv_testing::{Rng, VecDisk, name, options};

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    Import,
    Replace,
    Tag,
    Remove,
    Load,
    Damaged,
    Reopen,
    Two,
}

pub const STEPS: [Step; 8] = [
    Step::Import,
    Step::Replace,
    Step::Tag,
    Step::Remove,
    Step::Load,
    Step::Damaged,
    Step::Reopen,
    Step::Two,
];

/// Whether a repeated import heals packs that were damaged but not lost. If not, their images may stay
/// unreadable, but are never wrong.
const HEALS_EVERY_DAMAGE: bool = true;

/// A sequence of operations.
#[derive(Debug, Clone)]
pub struct Workload {
    pub names: Names,
    pub steps: Vec<Step>,
    /// The seed for the choice of disks, names and damage.
    pub seed: u64,
    /// Whether the store has images when it begins.
    pub is_filled: bool,
    /// The step whose process is killed, and the number of changes before that.
    pub kill: Option<(usize, u64)>,
}

/// A machine with a store, in the course of a workload.
struct Run<'a> {
    disks: &'a Disks,
    rng: Rng,
    fs: ModelFs,
    store: Option<Store>,
    history: Arc<History>,
    loads: usize,
}

/// Returns all objects but references, the index and work in progress.
pub fn objects(storage: &dyn LocalFolder) -> BTreeSet<String> {
    let is_committed =
        |name: &String| !["refs/", "index/", "tmp/", "lock"].iter().any(|other| name.starts_with(other));
    storage
        .list("")
        .expect("listed")
        .into_iter()
        .map(|object| object.name.into())
        .filter(is_committed)
        .collect()
}

pub fn open(storage: FileStorage<ModelFs>) -> Result<Store> {
    Store::create(storage, StoreOptions { lock_wait: std::time::Duration::ZERO, ..StoreOptions::default() })
}

/// Returns the bytes of an image.
pub fn read(store: &Store, reference: &str) -> Result<Vec<u8>> {
    let image = store.image(&reference.parse()?)?;
    let mut bytes = vec![0; image.size() as usize];
    image.read_at(0, &mut bytes)?;
    Ok(bytes)
}

impl Workload {
    /// Runs the workload on a machine that `broken` derives from a sound one; returns each moment with its
    /// promise.
    pub fn run(&self, disks: &Disks, broken: impl Fn(ModelFs) -> ModelFs) -> Vec<(Moment, Arc<Promise>)> {
        let machine = ModelFs::new(self.names);
        let mut promise = Promise::default();
        if self.is_filled {
            let store = open(machine.process().storage()).expect("a store");
            for (text, disk) in [("old", 0), ("web", 1)] {
                import(&store, disks, disk, &options(text)).expect("imported");
                promise.settled.insert(format!("{text}:latest"), Some(disk));
            }
            promise.is_made = true;
        }
        promise.objects = Some(Arc::new(objects(&machine.process().storage())));
        let fs = broken(machine.process());
        let history = Arc::new(History::new(&fs, promise));
        let rng = Rng::new(self.seed + 1);
        let mut run = Run { disks, rng, fs, store: None, history, loads: 0 };
        for (number, step) in self.steps.iter().enumerate() {
            if let Some((_, changes)) = self.kill.filter(|(at, _)| *at == number) {
                run.fs.kill_after(changes);
            }
            let done = run.step(*step);
            if run.fs.is_killed() {
                run.restart();
            } else {
                done.unwrap_or_else(|error| panic!("{self:?}, step {number}: {error:?}"));
                run.fs.kill_after(i64::MAX as u64);
            }
        }
        drop(run.store);
        Arc::into_inner(run.history).expect("the only one").into_moments()
    }
}

fn import(store: &Store, disks: &Disks, disk: usize, options: &ImportOptions<'_>) -> Result<()> {
    let disk = VecDisk(disks.get(disk).to_vec());
    store.import(Source::device(&disk), options).map(drop)
}

impl Run<'_> {
    /// Replaces the process by another.
    fn restart(&mut self) {
        self.store = None;
        self.fs.kill();
        self.fs = self.fs.process();
    }

    fn store(&mut self) -> Result<Store> {
        if self.store.is_none() {
            self.store = Some(open(self.fs.storage())?);
        }
        Ok(self.store.clone().expect("it was just opened"))
    }

    /// Returns an existing name.
    fn some_name(&mut self) -> Option<String> {
        let settled = self.history.promise().settled;
        let names: Vec<_> = settled.iter().filter(|(_, disk)| disk.is_some()).map(|(name, _)| name).collect();
        (!names.is_empty()).then(|| names[self.rng.below(names.len() as u64) as usize].clone())
    }

    fn some_disk(&mut self) -> usize {
        self.rng.below(20) as usize
    }

    fn new_name(&mut self) -> String {
        format!("n{}:t{}", self.rng.below(3), self.rng.below(1000))
    }

    fn step(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Reopen => {
                self.restart();
                Ok(())
            }
            Step::Import => {
                let (name, disk) = (self.new_name(), self.some_disk());
                self.import(&name, disk, None)
            }
            Step::Replace => {
                let (name, disk) = (self.some_name(), self.some_disk());
                self.import(&name.unwrap_or("first:latest".into()), disk, None)
            }
            Step::Two => {
                let (name, disk) = (self.new_name(), self.some_disk());
                // Often the same disk: then both bring the same objects.
                let other = if self.rng.below(2) == 0 { disk } else { self.some_disk() };
                let second = format!("second:t{}", self.rng.below(1000));
                self.import(&name, disk, Some((&second, other)))
            }
            Step::Tag => self.tag(),
            Step::Remove => self.remove(),
            Step::Load => self.load(),
            Step::Damaged => self.damaged(),
        }
    }

    fn begin(&self, values: &Values) {
        self.history.change(|promise| promise.begun.push(values.clone()));
    }

    /// Records that `values` is done. Its writer has also settled the operations of dead writers.
    fn done(&self, store: &Store, values: &Values, is_doubtful: bool) {
        if self.fs.is_killed() {
            // The process died before it could acknowledge.
            return;
        }
        let objects = objects(store.storage().as_ref());
        let found = |name: &String| read(store, name).ok().and_then(|bytes| self.disks.which(&bytes));
        self.history.change(|promise| {
            if let Some(at) = promise.begun.iter().position(|begun| begun == values) {
                promise.begun.remove(at);
            }
            promise.settled.extend(values.clone());
            promise.unsettled.retain(|name, _| !values.contains_key(name));
            if !is_doubtful {
                promise.doubtful.retain(|name| !values.contains_key(name));
            }
            promise.is_made |= !values.is_empty();
            for (name, disk) in promise.begun.drain(..).flatten().collect::<Vec<_>>() {
                let now = found(&name);
                let before = promise.settled.insert(name.clone(), now).flatten();
                // A removal has no journal: whether seen as done or not, that may still change.
                if disk.is_none() && !values.contains_key(&name) {
                    promise.unsettled.insert(name, if now.is_none() { before } else { None });
                }
            }
            promise.objects = Some(Arc::new(objects));
        });
    }

    /// Imports a disk while another process imports another one.
    fn import(&mut self, text: &str, disk: usize, second: Option<(&str, usize)>) -> Result<()> {
        let store = self.store()?;
        let values: Values = [(text.to_owned(), Some(disk))].into();
        self.begin(&values);
        let other = || {
            let Some((text, disk)) = second else { return Ok(()) };
            let values: Values = [(text.to_owned(), Some(disk))].into();
            self.begin(&values);
            let store = open(self.fs.process().storage())?;
            import(&store, self.disks, disk, &ImportOptions { replace: true, ..options(text) })?;
            self.history.change(|promise| {
                promise.begun.retain(|begun| *begun != values);
                promise.settled.extend(values);
                promise.is_made = true;
                // Some of the objects there belong to the unfinished first import.
                promise.objects = None;
            });
            Ok(())
        };
        let with = ImportOptions { replace: true, before_commit: Some(&other), ..options(text) };
        let imported = import(&store, self.disks, disk, &with);
        imported.map(|()| self.done(&store, &values, false))
    }

    /// Settles the operations of dead writers, by a writer that changes nothing.
    fn settle(&mut self) -> Result<()> {
        let store = self.store()?;
        let _ = store.untag(&name("nobody"));
        self.done(&store, &Values::new(), false);
        Ok(())
    }

    fn tag(&mut self) -> Result<()> {
        // The next writer settles the image of a name that a dead writer was setting.
        if !self.history.promise().begun.is_empty() {
            self.settle()?;
        }
        let Some(source) = self.some_name() else { return self.step(Step::Import) };
        let disk = self.history.promise().settled[&source];
        let text = if self.rng.below(2) == 0 { self.new_name() } else { "tagged:latest".into() };
        let store = self.store()?;
        let values: Values = [(text.clone(), disk)].into();
        self.begin(&values);
        let is_doubtful = self.history.promise().doubtful.contains(&source);
        if is_doubtful {
            self.history.change(|promise| promise.doubtful.extend([text.clone()]));
        }
        store.tag(&source.parse::<ImageRef>()?, &name(&text), true)?;
        self.done(&store, &values, is_doubtful);
        Ok(())
    }

    fn remove(&mut self) -> Result<()> {
        // A dead writer may have removed a name without acknowledging it.
        if self.history.promise().begun.iter().any(|values| values.values().any(Option::is_none)) {
            self.settle()?;
        }
        let Some(text) = self.some_name() else { return self.step(Step::Import) };
        let store = self.store()?;
        let values: Values = [(text.clone(), None)].into();
        self.begin(&values);
        store.untag(&name(&text))?;
        self.done(&store, &values, false);
        Ok(())
    }

    fn load(&mut self) -> Result<()> {
        let store = self.store()?;
        let (bundle, images) = &self.disks.bundles[self.loads % self.disks.bundles.len()];
        self.loads += 1;
        let values: Values =
            images.iter().map(|(name, disk)| (format!("{name}:latest"), Some(*disk))).collect();
        self.begin(&values);
        store.load(bundle, &LoadOptions { replace: true, ..LoadOptions::default() })?;
        self.done(&store, &values, false);
        Ok(())
    }

    /// Damages a pack, then imports a disk that needs it again.
    fn damaged(&mut self) -> Result<()> {
        let store = self.store()?;
        let packs: Vec<_> =
            objects(store.storage().as_ref()).into_iter().filter(|name| name.starts_with("packs/")).collect();
        if packs.is_empty() {
            return self.step(Step::Import);
        }
        let pack = packs[self.rng.below(packs.len() as u64) as usize].clone();
        let is_lost = !HEALS_EVERY_DAMAGE || self.rng.below(4) == 0;
        let bytes = self.fs.contents()[&pack].clone();
        // Until the damage is done, any name may be affected.
        let settled = self.history.promise().settled;
        self.history.change(|promise| {
            let names = promise.settled.keys().chain(promise.begun.iter().flat_map(|values| values.keys()));
            promise.doubtful = names.cloned().collect();
            promise.was_damaged = true;
        });
        if is_lost {
            self.fs.lose(&pack).map_err(|error| Error::io("remove", &pack, error))?;
        } else {
            let mut bytes = bytes;
            let at = self.rng.below(bytes.len() as u64) as usize;
            if self.rng.below(2) == 0 {
                bytes.truncate(at)
            } else {
                bytes[at] ^= 0x55
            }
            self.fs.put(&pack, bytes).map_err(|error| Error::io("write", &pack, error))?;
        }
        // A process that had already checked the pack could rightly trust it.
        self.restart();
        let store = self.store()?;
        let is_hurt = |text: &String| read(&store, text).is_err();
        let hurt: Vec<_> = settled.iter().filter(|(text, disk)| disk.is_some() && is_hurt(text)).collect();
        self.history.change(|promise| promise.doubtful.retain(|text| read(&store, text).is_err()));
        let Some((text, Some(disk))) = hurt.first().map(|(text, disk)| ((*text).clone(), **disk)) else {
            return self.step(Step::Import);
        };
        self.import(&text, disk, None)?;
        if self.fs.is_killed() {
            return Ok(());
        }
        let healed = read(&store, &text)?;
        assert_eq!(self.disks.which(&healed), Some(disk), "imported again, it reads again");
        self.history.change(|promise| promise.doubtful.retain(|text| read(&store, text).is_err()));
        Ok(())
    }
}
