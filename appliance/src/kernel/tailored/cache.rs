//! Built kernels by the digest of all that decides about their bytes.
//!
//! A kernel is a folder that appears by one rename: `bzImage`, `config` and `sha256sum`, the digests of both. Who
//! builds holds a lock on a file beside it, so that a second builder waits and takes the first one's kernel. Locks end
//! with their process.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use crate::{
    declaration::Profile,
    sha256::{Hasher, Sha256},
};

use super::{
    error::TailoredError,
    fragments::{Fragment, candidates},
    setting::Setting,
};

/// Number of the recipe: of everything here that decides about the kernel's bytes and is no input.
const RECIPE: u32 = 1;
/// Largest kernel and configuration in bytes.
pub(super) const MAX_KERNEL: u64 = 128 << 20;
pub(super) const MAX_CONFIG: u64 = 4 << 20;
const PAUSE: Duration = Duration::from_millis(100);
const IMAGE: &str = "bzImage";
const CONFIG: &str = "config";
const SUMS: &str = "sha256sum";

/// Everything that decides about a kernel's bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub(super) source: Sha256,
    pub(super) profile: Profile,
    pub(super) insecure: bool,
    pub(super) declared: &'a [Setting],
    pub(super) versions: &'a [String],
}

impl Inputs<'_> {
    /// Returns the digest of all inputs. Each part has its length before it.
    pub(super) fn key(&self) -> Sha256 {
        let mut hasher = Hasher::default();
        let mut add = |part: &[u8]| {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        };
        add(b"melv kernel");
        add(&RECIPE.to_le_bytes());
        add(self.source.as_bytes());
        let fragments = candidates(self.profile, self.insecure);
        add(&(fragments.len() as u64).to_le_bytes());
        for Fragment { name, text } in fragments {
            add(name.as_bytes());
            add(text.as_bytes());
        }
        add(&(self.declared.len() as u64).to_le_bytes());
        self.declared.iter().for_each(|line| add(line.to_string().as_bytes()));
        self.versions.iter().for_each(|version| add(version.as_bytes()));
        hasher.finish().0
    }
}

/// A kernel and its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) image: Vec<u8>,
    pub(super) config: String,
}

/// The place of one kernel in the cache.
#[derive(Debug)]
pub(super) struct Slot {
    folder: PathBuf,
    place: PathBuf,
    lock: PathBuf,
}

impl Slot {
    /// Makes the folder of kernels in a cache.
    pub(super) fn new(cache: &Path, key: Sha256) -> Result<Self, TailoredError> {
        let folder = cache.join("kernels");
        fs::create_dir_all(&folder).map_err(TailoredError::io(&folder))?;
        let (place, lock) = (folder.join(key.to_string()), folder.join(format!("{key}.lock")));
        Ok(Self { folder, place, lock })
    }

    /// Returns the kernel, if it is there. One with other bytes is removed.
    pub(super) fn get(&self) -> Result<Option<Entry>, TailoredError> {
        let read = |name: &str, limit| {
            let place = self.place.join(name);
            read(&place, limit).map_err(TailoredError::io(&place))
        };
        let (image, config, sums) =
            match (read(IMAGE, MAX_KERNEL)?, read(CONFIG, MAX_CONFIG)?, read(SUMS, 1024)?) {
                (Some(image), Some(config), Some(sums)) => (image, config, sums),
                _ => return self.remove(),
            };
        match String::from_utf8(config) {
            Ok(config) if sums == self::sums(&image, &config).as_bytes() => Ok(Some(Entry { image, config })),
            _ => self.remove(),
        }
    }

    /// Removes an entry that is not whole.
    fn remove(&self) -> Result<Option<Entry>, TailoredError> {
        match fs::remove_dir_all(&self.place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(TailoredError::io(&self.place)(error))
            }
            _ => Ok(None),
        }
    }

    /// Waits for the lock. `watch` returns whether to go on.
    ///
    /// None where the file system has no locks: then two may build, and one of two equal kernels is kept.
    pub(super) fn lock(&self, watch: &mut dyn FnMut() -> bool) -> Result<Option<File>, TailoredError> {
        let fault = || TailoredError::io(&self.lock);
        let file =
            File::options().write(true).create(true).truncate(false).open(&self.lock).map_err(fault())?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(TryLockError::WouldBlock) if !watch() => return Err(TailoredError::Interrupted),
                Err(TryLockError::WouldBlock) => thread::sleep(PAUSE),
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                    return Ok(None);
                }
                Err(TryLockError::Error(error)) => return Err(fault()(error)),
            }
        }
    }

    /// Publishes a kernel.
    pub(super) fn put(&self, entry: &Entry) -> Result<(), TailoredError> {
        let at = TailoredError::io;
        let partial = tempfile::Builder::new().prefix("partial-").tempdir_in(&self.folder);
        let partial = partial.map_err(at(&self.folder))?;
        let sums = sums(&entry.image, &entry.config);
        let files: [(&str, &[u8]); 3] =
            [(IMAGE, &entry.image), (CONFIG, entry.config.as_bytes()), (SUMS, sums.as_bytes())];
        for (name, bytes) in files {
            let place = partial.path().join(name);
            let written =
                File::create_new(&place).and_then(|mut file| file.write_all(bytes).and(file.sync_all()));
            written.map_err(at(&place))?;
        }
        File::open(partial.path()).and_then(|folder| folder.sync_all()).map_err(at(partial.path()))?;
        match fs::rename(partial.path(), &self.place) {
            Ok(()) => {}
            // Somebody else has published the same kernel.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                ) =>
            {
                return Ok(());
            }
            Err(error) => return Err(at(&self.place)(error)),
        }
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(at(&self.folder))
    }
}

/// Returns the digests as `sha256sum` writes them.
fn sums(image: &[u8], config: &str) -> String {
    format!("{}  {IMAGE}\n{}  {CONFIG}\n", Sha256::of(image), Sha256::of(config.as_bytes()))
}

/// Reads a file up to a limit. None where it is not there, or longer.
pub(super) fn read(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(lines: &[&str]) -> Vec<Setting> {
        lines.iter().map(|line| Setting::parse(line).unwrap()).collect()
    }

    #[test]
    fn every_input_changes_the_key_and_equal_inputs_do_not() {
        let versions = ["gcc 12".to_owned(), "ld 2.40".to_owned()];
        let declared = settings(&["CONFIG_A=y", "CONFIG_B=y"]);
        let base = Inputs {
            source: Sha256::of(b"a"),
            profile: Profile::Portable,
            insecure: false,
            declared: &declared,
            versions: &versions,
        };
        let changed = [
            Inputs { source: Sha256::of(b"b"), ..base },
            Inputs { profile: Profile::Micro, ..base },
            Inputs { insecure: true, ..base },
            Inputs { declared: &declared[..1], ..base },
            Inputs { declared: &settings(&["CONFIG_A=y", "CONFIG_B=n"]), ..base },
            Inputs { declared: &settings(&["CONFIG_B=y", "CONFIG_A=y"]), ..base },
            Inputs { versions: &versions[..1], ..base },
            Inputs { versions: &["gcc 12l".to_owned(), "d 2.40".to_owned()], ..base },
        ];
        let mut keys: Vec<String> = changed.iter().map(|inputs| inputs.key().to_string()).collect();
        keys.push(base.key().to_string());
        let count = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), count);
        assert_eq!(base.key(), base.key());
    }

    fn slot(cache: &Path) -> Slot {
        Slot::new(cache, Sha256::of(b"key")).unwrap()
    }

    fn entry() -> Entry {
        Entry { image: b"kernel".to_vec(), config: "CONFIG_A=y\n".into() }
    }

    #[test]
    fn a_kernel_comes_back_as_it_was_put() {
        let cache = tempfile::tempdir().unwrap();
        let slot = slot(cache.path());
        assert_eq!(slot.get().unwrap(), None);
        slot.put(&entry()).unwrap();
        slot.put(&entry()).unwrap();
        assert_eq!(slot.get().unwrap(), Some(entry()));
        let left: Vec<_> = fs::read_dir(&slot.folder).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn a_kernel_that_changed_or_is_not_whole_is_none() {
        let cache = tempfile::tempdir().unwrap();
        let slot = slot(cache.path());
        for name in [IMAGE, CONFIG, SUMS] {
            slot.put(&entry()).unwrap();
            fs::write(slot.place.join(name), "other").unwrap();
            assert_eq!(slot.get().unwrap(), None);
            slot.put(&entry()).unwrap();
            fs::remove_file(slot.place.join(name)).unwrap();
            assert_eq!(slot.get().unwrap(), None);
            assert!(!slot.place.exists());
        }
    }

    #[test]
    fn a_second_builder_waits_for_the_first() {
        let cache = tempfile::tempdir().unwrap();
        let slot = slot(cache.path());
        let lock = slot.lock(&mut || true).unwrap();
        let second = Slot::new(cache.path(), Sha256::of(b"key")).unwrap();
        assert!(matches!(second.lock(&mut || false), Err(TailoredError::Interrupted)));
        let waiting = thread::spawn(move || {
            let _lock = second.lock(&mut || true).unwrap();
            second.get().unwrap()
        });
        thread::sleep(Duration::from_millis(200));
        slot.put(&entry()).unwrap();
        drop(lock);
        assert_eq!(waiting.join().unwrap(), Some(entry()));
    }
}
