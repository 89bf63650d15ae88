//! Brings files: from the cache, else from each address in turn.

use std::collections::BTreeSet;
use std::fs::File;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::cache::Cache;
use super::client::{Client, Fault, Times};
use super::error::{Attempt, FetchError};
use crate::lock::{ArchiveName, Lock, Package, Uri};
use crate::sha256::Sha256;

/// The address of Debian's snapshot archive.
pub const SNAPSHOT: &str = "https://snapshot.debian.org";

/// Files that are fetched at a time.
const AT_A_TIME: usize = 4;

/// Time before an address is asked for the second time.
const PAUSE: Duration = Duration::from_millis(300);

/// Options of fetching.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Address of the snapshot archive; none: it is not asked.
    pub snapshot: Option<Uri>,
    /// Mirrors to ask in place of those of the lock, by the archive's name in the lock.
    pub mirrors: Vec<(ArchiveName, Uri)>,
    /// Whether only the cache is asked.
    pub offline: bool,
    /// Time limit of a connection.
    pub connect_limit: Duration,
    /// Time limit of the wait for the next bytes.
    pub idle_limit: Duration,
    /// Time limit of a file.
    pub total_limit: Duration,
}

/// Bytes of the files that [`Fetcher::get_all`] was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are there. May become fewer, where an address was in vain.
    pub done: u64,
    /// All bytes.
    pub total: u64,
}

/// A file and its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Name in errors.
    pub name: String,
    /// Digest.
    pub sha256: Sha256,
    /// Length in bytes.
    pub size: u64,
    /// Addresses, in the order to ask them.
    pub urls: Vec<String>,
}

/// Brings files by their digests.
#[derive(Debug)]
pub struct Fetcher {
    cache: Cache,
    options: Options,
    client: Client,
}

impl Default for Options {
    /// Returns the usual options: Debian's snapshot archive; 15 s to connect, 30 s of silence, an hour for a file.
    fn default() -> Self {
        Self {
            snapshot: SNAPSHOT.parse().ok(),
            mirrors: Vec::new(),
            offline: false,
            connect_limit: Duration::from_secs(15),
            idle_limit: Duration::from_secs(30),
            total_limit: Duration::from_secs(3600),
        }
    }
}

impl Fetcher {
    /// Prepares to fetch. No server is asked yet.
    #[must_use]
    pub fn new(cache: Cache, options: Options) -> Self {
        let Options { connect_limit: connect, idle_limit: idle, total_limit: total, .. } = options;
        Self { cache, options, client: Client::new(Times { connect, idle, total }) }
    }

    /// Returns the cache.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Brings the file of a package, opened at its start. Its bytes are those of the lock's digest.
    ///
    /// # Errors
    ///
    /// See [`FetchError`].
    pub fn get(&self, package: &Package, lock: &Lock) -> Result<File, FetchError> {
        self.get_source(&self.source(package, lock))
    }

    /// Brings a file by its addresses, opened at its start.
    ///
    /// # Errors
    ///
    /// See [`FetchError`].
    pub fn get_source(&self, source: &Source) -> Result<File, FetchError> {
        self.bring(source, &mut |_| true)
    }

    /// Brings the files of packages into the cache, four at a time. `on_progress` may be called from any thread, and
    /// stops it all with [`ControlFlow::Break`].
    ///
    /// # Errors
    ///
    /// The failure of the first package, in the order of `packages`, that failed; see [`FetchError`]. The others are
    /// stopped then.
    pub fn get_all(
        &self,
        packages: &[&Package],
        lock: &Lock,
        on_progress: &(dyn Fn(Progress) -> ControlFlow<()> + Sync),
    ) -> Result<(), FetchError> {
        let mut seen = BTreeSet::new();
        let new = packages.iter().filter(|package| seen.insert(package.sha256));
        let sources: Vec<Source> = new.map(|package| self.source(package, lock)).collect();
        let total = sources.iter().fold(0_u64, |sum, source| sum.saturating_add(source.size));
        let work = Work {
            next: AtomicUsize::new(0),
            done: AtomicU64::new(0),
            total,
            stop: AtomicBool::new(false),
            on_progress,
        };
        let failures = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..AT_A_TIME.min(sources.len()) {
                scope.spawn(|| {
                    while let Some((index, source)) = work.take(&sources) {
                        if let Err(error) = self.bring_counted(source, &work) {
                            work.stop.store(true, Ordering::Relaxed);
                            let mut failures =
                                failures.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                            failures.push((matches!(error, FetchError::Interrupted), index, error));
                        }
                    }
                });
            }
        });
        let failures = failures.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        // A file that was stopped since another failed is not the reason.
        let first = failures.into_iter().min_by_key(|(stopped, index, _)| (*stopped, *index));
        first.map_or(Ok(()), |(_, _, error)| Err(error))
    }

    fn bring_counted(&self, source: &Source, work: &Work<'_>) -> Result<(), FetchError> {
        let counted = AtomicU64::new(0);
        self.bring(source, &mut |step| match step {
            Step::Bytes(count) => {
                counted.fetch_add(count, Ordering::Relaxed);
                work.add(count)
            }
            Step::InVain => {
                work.done.fetch_sub(counted.swap(0, Ordering::Relaxed), Ordering::Relaxed);
                !work.stop.load(Ordering::Relaxed)
            }
        })
        .map(drop)
    }

    fn source(&self, package: &Package, lock: &Lock) -> Source {
        let mut mirrors = self.options.mirrors.iter();
        let mirror = mirrors.find(|(name, _)| *name == package.archive).map(|(_, uri)| uri);
        let mut urls = Vec::new();
        urls.extend(match mirror {
            Some(mirror) => Some(package.url_below(mirror)),
            None => lock.mirror_url(package),
        });
        if let Some(snapshot) = &self.options.snapshot {
            urls.extend(lock.snapshot_urls(snapshot, package));
        }
        let name = format!("{} {}", package.name, package.version);
        Source { name, sha256: package.sha256, size: package.size, urls }
    }

    fn bring(&self, source: &Source, on_step: &mut dyn FnMut(Step) -> bool) -> Result<File, FetchError> {
        if let Some(file) = self.cache.get(&source.sha256)? {
            return if on_step(Step::Bytes(source.size)) { Ok(file) } else { Err(FetchError::Interrupted) };
        }
        let name = || source.name.clone();
        if self.options.offline {
            return Err(FetchError::Offline { name: name() });
        }
        let mut attempts: Vec<Attempt> = Vec::new();
        for url in &source.urls {
            for last in [false, true] {
                let reason = match self.attempt(url, source, on_step)? {
                    Ok(file) => return Ok(file),
                    Err(reason) => reason,
                };
                if !on_step(Step::InVain) {
                    return Err(FetchError::Interrupted);
                }
                if last || !reason.is_transient() {
                    attempts.push(Attempt { url: url.clone(), reason });
                    break;
                }
                thread::sleep(PAUSE);
            }
        }
        Err(FetchError::Unavailable { name: name(), attempts })
    }

    fn attempt(
        &self,
        url: &str,
        source: &Source,
        on_step: &mut dyn FnMut(Step) -> bool,
    ) -> Result<Result<File, super::Reason>, FetchError> {
        let mut file = self.cache.start()?;
        let mut on_bytes = |count| on_step(Step::Bytes(count));
        match self.client.download(url, &source.sha256, source.size, file.as_file_mut(), &mut on_bytes) {
            Ok(()) => self.cache.finish(file, &source.sha256).map(Ok),
            Err(Fault::Address(reason)) => Ok(Err(reason)),
            Err(Fault::Stopped) => Err(FetchError::Interrupted),
            Err(Fault::Write(error)) => Err(FetchError::io(file.path())(error)),
        }
    }
}

/// A step on the way to a file.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// So many bytes have come.
    Bytes(u64),
    /// All bytes of this file were in vain.
    InVain,
}

/// The work of several threads.
struct Work<'a> {
    next: AtomicUsize,
    done: AtomicU64,
    total: u64,
    stop: AtomicBool,
    on_progress: &'a (dyn Fn(Progress) -> ControlFlow<()> + Sync),
}

impl Work<'_> {
    fn take<'s>(&self, sources: &'s [Source]) -> Option<(usize, &'s Source)> {
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        sources.get(index).map(|source| (index, source))
    }

    fn add(&self, count: u64) -> bool {
        let done = self.done.fetch_add(count, Ordering::Relaxed).saturating_add(count);
        if (self.on_progress)(Progress { done, total: self.total }).is_break() {
            self.stop.store(true, Ordering::Relaxed);
        }
        !self.stop.load(Ordering::Relaxed)
    }
}
