//! The folder of apt's state, and the turns that processes take at it.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::config;
use super::error::AptError;
use crate::sha256::Sha256;

/// Folders that apt expects.
const FOLDERS: [&str; 5] = ["lists/partial", "cache", "archives/partial", "etc", "log"];

/// The file whose time says when the lists were last known to be new.
const FRESH: &str = "fresh";

/// Time between two attempts to get the lock.
const STEP: Duration = Duration::from_millis(20);

/// A folder with a state of apt: `$XDG_CACHE_HOME/melv/apt/SUITE-HASH`, with a hash of the list of sources.
#[derive(Debug)]
pub(super) struct State {
    folder: PathBuf,
}

impl State {
    /// Makes the folder where it is not there. It is usable by this user alone.
    pub(super) fn open(
        cache: &Path,
        suite: &str,
        sources: &str,
        accept_expired: bool,
        proxies: &[(String, String)],
    ) -> Result<Self, AptError> {
        let cache = std::path::absolute(cache).map_err(AptError::io(cache))?;
        let hash = Sha256::of(format!("{sources}{accept_expired}").as_bytes()).to_string();
        let folder = cache.join("apt").join(format!("{}-{}", suite.replace('/', "_"), &hash[..16]));
        for name in FOLDERS {
            fs::create_dir_all(folder.join(name)).map_err(AptError::io(folder.join(name)))?;
        }
        let text = config::config(&folder, accept_expired, proxies).ok_or_else(|| {
            AptError::form(
                "cache folder",
                &folder.to_string_lossy(),
                "a path without quotes and control signs",
            )
        })?;
        write(&folder, "apt.sources", sources)?;
        write(&folder, "status", "")?;
        write(&folder, "apt.conf", &text)?;
        Ok(Self { folder })
    }

    /// Waits until nobody uses the lists. The lock ends with the file, and with each program that has it.
    pub(super) fn lock_alone(&self, limit: Duration) -> Result<File, AptError> {
        self.turn(limit, File::try_lock)
    }

    /// Waits until nobody changes the lists.
    pub(super) fn lock_shared(&self, limit: Duration) -> Result<File, AptError> {
        self.turn(limit, File::try_lock_shared)
    }

    fn turn(
        &self,
        limit: Duration,
        attempt: fn(&File) -> Result<(), TryLockError>,
    ) -> Result<File, AptError> {
        let path = self.folder.join("lock");
        let lock = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let lock = lock.map_err(AptError::io(&path))?;
        let start = Instant::now();
        loop {
            match attempt(&lock) {
                Ok(()) => return Ok(lock),
                Err(TryLockError::WouldBlock) if start.elapsed() < limit => thread::sleep(STEP),
                Err(TryLockError::WouldBlock) => {
                    return Err(AptError::Busy { folder: self.folder.clone(), limit });
                }
                Err(TryLockError::Error(source)) => return Err(AptError::Io { path, source }),
            }
        }
    }

    /// Whether the lists are there, and were new `age` ago or later.
    pub(super) fn is_fresh(&self, age: Duration) -> bool {
        let time = fs::metadata(self.folder.join(FRESH)).and_then(|data| data.modified());
        let since = time.ok().and_then(|time| SystemTime::now().duration_since(time).ok());
        since.is_some_and(|since| since < age) && self.has_lists()
    }

    /// Whether there are lists of any age.
    pub(super) fn has_lists(&self) -> bool {
        self.releases().is_ok_and(|releases| !releases.is_empty())
    }

    /// Notes that the lists are new.
    pub(super) fn mark_fresh(&self) -> Result<(), AptError> {
        write(&self.folder, FRESH, "")
    }

    /// Returns the files of the lists that are signed.
    pub(super) fn releases(&self) -> Result<Vec<PathBuf>, AptError> {
        let lists = self.folder.join("lists");
        let entries = fs::read_dir(&lists).map_err(AptError::io(&lists))?;
        let mut releases = Vec::new();
        for entry in entries {
            let entry = entry.map_err(AptError::io(&lists))?;
            let name = entry.file_name();
            let name = name.as_encoded_bytes();
            if name.ends_with(b"_InRelease") || name.ends_with(b"_Release") {
                releases.push(entry.path());
            }
        }
        releases.sort();
        Ok(releases)
    }

    pub(super) fn config(&self) -> PathBuf {
        self.folder.join("apt.conf")
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Writes a file so that others see the old one or the new one.
fn write(folder: &Path, name: &str, text: &str) -> Result<(), AptError> {
    let path = folder.join(name);
    let attempt = || -> io::Result<()> {
        if !text.is_empty() && fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
            return Ok(());
        }
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.persist(&path).map(drop).map_err(|error| error.error)
    };
    attempt().map_err(AptError::io(&path))
}
