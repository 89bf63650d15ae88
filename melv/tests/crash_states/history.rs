//! The promises at each moment of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use melv::storage::model::{ModelFs, Moment};

/// Names and their disks; `None` for a name that does not exist.
pub type Values = BTreeMap<String, Option<usize>>;

/// The required and permitted findings at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Promise {
    /// Whether a store must exist.
    pub is_made: bool,
    /// The acknowledged names.
    pub settled: Values,
    /// Operations begun and not acknowledged: each is there as a whole or not at all.
    pub begun: Vec<Values>,
    /// Further permitted values of names, since a process died while removing them.
    pub unsettled: Values,
    /// Names that may be unreadable because of damage, but never wrong.
    pub doubtful: BTreeSet<String>,
    /// Whether anything was ever damaged: images without a name may need it.
    pub was_damaged: bool,
    /// The permitted objects besides those of begun operations, if known.
    pub objects: Option<Arc<BTreeSet<String>>>,
}

impl Promise {
    /// Returns the permitted disks of a name.
    pub fn permitted(&self, name: &str) -> Vec<Option<usize>> {
        let settled = self.settled.get(name).copied().flatten();
        let begun = self.begun.iter().filter_map(|values| values.get(name).copied());
        let unsettled = self.unsettled.get(name).copied();
        [settled].into_iter().chain(begun).chain(unsettled).collect()
    }

    /// Returns all names ever mentioned.
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
    /// Starts recording on the machine of `fs`.
    pub fn new(fs: &ModelFs, promise: Promise) -> Self {
        fs.record();
        Self { fs: fs.clone(), inner: Mutex::new(Inner { promise, moments: Vec::new() }) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no panic elsewhere")
    }

    /// Returns the current promise.
    pub fn promise(&self) -> Promise {
        self.inner().promise.clone()
    }

    /// Changes the promise from now on.
    pub fn change(&self, change: impl FnOnce(&mut Promise)) {
        let mut inner = self.inner();
        let promise = Arc::new(inner.promise.clone());
        inner.moments.extend(self.fs.moments().into_iter().map(|moment| (moment, promise.clone())));
        change(&mut inner.promise);
        let now = (self.fs.moment(), Arc::new(inner.promise.clone()));
        inner.moments.push(now);
    }

    /// Returns every moment with its promise.
    pub fn into_moments(self) -> Vec<(Moment, Arc<Promise>)> {
        self.change(|_| ());
        self.inner.into_inner().expect("no panic elsewhere").moments
    }
}
