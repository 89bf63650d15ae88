//! The machine restarts after a power loss at a moment of a run: checks that all required data is there.

use std::collections::BTreeSet;
use std::fmt;

use melv::digest::ImageId;
use melv::storage::model::{ModelFs, Moment};
use melv::{ErrorKind, ObjectSource, Store, StoreError, VerifyOptions};

use crate::disks::Disks;
use crate::history::Promise;
use crate::run::{objects, open, read};
use melv_testing::{VecDisk, name, options};

/// The kind of fault in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Acknowledged data is gone or changed.
    Lost,
    /// An unacknowledged operation is there in part.
    Half,
    /// The store cannot be used, or litter stays.
    Unusable,
}

/// A fault.
#[derive(Debug)]
pub struct RuleViolation {
    pub kind: Kind,
    pub text: String,
}

impl fmt::Display for RuleViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.text)
    }
}

fn lost(text: impl Into<String>) -> RuleViolation {
    RuleViolation { kind: Kind::Lost, text: text.into() }
}

fn half(text: impl Into<String>) -> RuleViolation {
    RuleViolation { kind: Kind::Half, text: text.into() }
}

fn unusable(text: impl Into<String>) -> RuleViolation {
    RuleViolation { kind: Kind::Unusable, text: text.into() }
}

/// Whether the content of an object differs between runs of the same workload: it holds the time.
pub fn holds_time(path: &str) -> bool {
    path.contains("/refs/") || path.contains("/journal") || path.contains("/reference-")
}

/// Checks the state after a crash against the promise.
pub fn check(machine: &ModelFs, promise: &Promise, disks: &Disks, writes: bool) -> Result<(), RuleViolation> {
    let store = match Store::open(machine.process().storage(), Default::default()) {
        Ok(store) => store,
        Err(error) if error.kind() == ErrorKind::NoStore && !promise.is_made => return write(machine, disks),
        Err(error) => return Err(lost(format!("the store: {error:?}"))),
    };
    check_names(&store, promise, disks)?;
    drop(store);
    let fs = machine.process();
    let store = open(fs.storage()).map_err(|error| unusable(format!("opened again: {error:?}")))?;
    // The next writer removes the remains of dead ones.
    match store.untag(&name("nobody")) {
        Err(error) if matches!(error.detail(), Some(StoreError::NotFound { .. })) => {}
        other => return Err(unusable(format!("the next writer: {other:?}"))),
    }
    let left = fs.storage().list("tmp").map_err(|error| unusable(format!("listing tmp: {error}")))?;
    if !left.is_empty() {
        return Err(unusable(format!("left in tmp: {left:?}")));
    }
    check_names(&store, promise, disks)?;
    check_whole(&store, promise, disks)?;
    check_verify(&store, promise)?;
    if writes { write(machine, disks) } else { Ok(()) }
}

/// Checks that every name has a permitted disk and every required name exists.
fn check_names(store: &Store, promise: &Promise, disks: &Disks) -> Result<(), RuleViolation> {
    let found = store.names().map_err(|error| lost(format!("the names: {error:?}")))?;
    let found: BTreeSet<String> = found.into_iter().map(|(name, _)| name.to_string()).collect();
    let spoken = promise.names();
    if let Some(name) = found.iter().find(|name| !spoken.contains(name.as_str())) {
        return Err(half(format!("{name}, of which nobody spoke")));
    }
    for name in spoken {
        let permitted = promise.permitted(name);
        let is_doubtful = promise.doubtful.contains(name);
        if !found.contains(name) {
            if permitted.contains(&None) {
                continue;
            }
            return Err(lost(format!("{name} is gone")));
        }
        match read(store, name) {
            Ok(bytes) => match disks.which(&bytes) {
                Some(disk) if permitted.contains(&Some(disk)) => {}
                disk => return Err(lost(format!("{name} is disk {disk:?}, not one of {permitted:?}"))),
            },
            Err(_) if is_doubtful => {}
            Err(error) => return Err(lost(format!("{name} cannot be read: {error:?}"))),
        }
    }
    Ok(())
}

/// Checks that verify finds nothing; after damage, only for images that must be whole.
fn check_verify(store: &Store, promise: &Promise) -> Result<(), RuleViolation> {
    let named = store.names().map_err(|error| unusable(format!("the names: {error:?}")))?;
    let is_sound = |name: &String| !promise.doubtful.contains(name);
    let sound = named.into_iter().filter(|(name, _)| is_sound(&name.to_string()));
    let sound: Vec<ImageId> = sound.filter_map(|(_, named)| Some(named.ok()?.image)).collect();
    let images = if promise.was_damaged { sound.as_slice() } else { &[] };
    if images.is_empty() && promise.was_damaged {
        return Ok(());
    }
    let full = VerifyOptions { full: true, ..Default::default() };
    let report = store.verify(images, &full).map_err(|error| unusable(format!("verify: {error:?}")))?;
    if report.damaged.is_empty() { Ok(()) } else { Err(lost(format!("verify finds {:?}", report.damaged))) }
}

/// Checks that each begun operation is there as a whole or not at all, with its objects.
fn check_whole(store: &Store, promise: &Promise, disks: &Disks) -> Result<(), RuleViolation> {
    let mut happened = 0;
    for begun in &promise.begun {
        let others =
            |name: &String| promise.begun.iter().filter(|values| values.contains_key(name)).count() > 1;
        let mut is_new = BTreeSet::new();
        for (name, disk) in begun {
            let old = promise.settled.get(name).copied().flatten();
            if old == *disk || others(name) || promise.doubtful.contains(name) {
                continue;
            }
            let now = read(store, name).ok().and_then(|bytes| disks.which(&bytes));
            is_new.insert(now == *disk);
        }
        if is_new.len() > 1 {
            return Err(half(format!("of {begun:?} some names are there and some are not")));
        }
        happened += usize::from(!is_new.contains(&false));
    }
    if let Some(allowed) = &promise.objects
        && happened == 0
    {
        let found = objects(store.storage().as_ref());
        let more: Vec<_> = found.difference(allowed).filter(|name| *name != "melv.store").collect();
        if !more.is_empty() {
            return Err(half(format!("an operation was undone, and left {more:?}")));
        }
    }
    Ok(())
}

/// Checks that the next import works.
fn write(machine: &ModelFs, disks: &Disks) -> Result<(), RuleViolation> {
    let store = open(machine.process().storage()).map_err(|error| unusable(format!("made: {error:?}")))?;
    let disk = VecDisk(disks.get(3).to_vec());
    let options = melv::ImportOptions { replace: true, ..options("next") };
    store
        .import(melv::Source::device(&disk), &options)
        .map_err(|error| unusable(format!("the next import: {error:?}")))?;
    match read(&store, "next") {
        Ok(bytes) if disks.which(&bytes) == Some(3) => Ok(()),
        other => Err(unusable(format!("the next import reads as {:?}", other.map(|bytes| bytes.len())))),
    }
}

/// Returns a hash of the state in which a machine started, to count distinct states.
pub fn hash_of(moment: &Moment) -> u64 {
    moment.hash(|path| !holds_time(path))
}
