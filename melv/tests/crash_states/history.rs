//! What was promised at each moment of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use melv::storage::model::{ModelFs, Moment};

/// Names and the disks that they stand for; `None` where a name is not there.
pub type Values = BTreeMap<String, Option<usize>>;

/// What must be found at a moment, and what may be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Promise {
    /// Whether a store must be there.
    pub is_made: bool,
    /// What was acknowledged.
    pub settled: Values,
    /// Operations that were begun and not acknowledged: each is there as a whole or not at all.
    pub begun: Vec<Values>,
    /// What else names may stand for, since a process died that was removing them.
    pub unsettled: Values,
    /// Names that may not be readable, since something was damaged: but never are they wrong.
    pub doubtful: BTreeSet<String>,
    /// Whether something was ever damaged: images without a name may need it.
    pub was_damaged: bool,
    /// Objects that there may be, beside those of operations that were begun; where it is known.
    pub objects: Option<Arc<BTreeSet<String>>>,
}

impl Promise {
    /// The disks that a name may stand for.
    pub fn permitted(&self, name: &str) -> Vec<Option<usize>> {
        let settled = self.settled.get(name).copied().flatten();
        let begun = self.begun.iter().filter_map(|values| values.get(name).copied());
        let unsettled = self.unsettled.get(name).copied();
        [settled].into_iter().chain(begun).chain(unsettled).collect()
    }

    /// All names that were ever spoken of.
    pub fn names(&self) -> BTreeSet<&str> {
        self.settled
            .keys()
            .chain(self.begun.iter().flat_map(|values| values.keys()))
            .map(String::as_str)
            .collect()
    }
}

/// A run so far.
#[derive(Debug)]
pub struct History {
    fs: ModelFs,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    promise: Promise,
    moments: Vec<(Moment, Arc<Promise>)>,
}

impl History {
    /// Begins to remember what happens on the machine of `fs`.
    pub fn new(fs: &ModelFs, promise: Promise) -> Self {
        fs.record();
        Self { fs: fs.clone(), inner: Mutex::new(Inner { promise, moments: Vec::new() }) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no panic elsewhere")
    }

    /// What is promised now.
    pub fn promise(&self) -> Promise {
        self.inner().promise.clone()
    }

    /// Changes what is promised from now on.
    pub fn change(&self, change: impl FnOnce(&mut Promise)) {
        let mut inner = self.inner();
        let promise = Arc::new(inner.promise.clone());
        inner.moments.extend(self.fs.moments().into_iter().map(|moment| (moment, promise.clone())));
        change(&mut inner.promise);
        let now = (self.fs.moment(), Arc::new(inner.promise.clone()));
        inner.moments.push(now);
    }

    /// Everything that happened, with what was promised then.
    pub fn into_moments(self) -> Vec<(Moment, Arc<Promise>)> {
        self.change(|_| ());
        self.inner.into_inner().expect("no panic elsewhere").moments
    }
}
