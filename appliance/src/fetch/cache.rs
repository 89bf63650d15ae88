//! The folder of files by digest.

use std::env;
use std::fs::{self, File};
use std::io::{self, Seek as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::{Builder, NamedTempFile};

use super::error::FetchError;
use crate::sha256::Sha256;

/// Age from which on a temporary file is nobody's: longer than the time limit of any file.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// A folder of files by digest.
#[derive(Debug, Clone)]
pub struct Cache {
    files: PathBuf,
    partial: PathBuf,
}

/// Returns the folder of all caches of melv: `$XDG_CACHE_HOME/melv`, else `$HOME/.cache/melv`; none where neither is an
/// absolute path (XDG Base Directory Specification).
#[must_use]
pub fn default_folder() -> Option<PathBuf> {
    let variable = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    base.map(|base| base.join("melv"))
}

impl Cache {
    /// Opens the cache of files in the folder of all caches of melv, and makes it where it is not there.
    ///
    /// # Errors
    ///
    /// A folder that cannot be made.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, FetchError> {
        let files = folder.as_ref().join("files");
        let cache = Self { partial: files.join("partial"), files: files.join("sha256") };
        cache.make(&cache.partial)?;
        cache.make(&cache.files)?;
        cache.remove_stale();
        Ok(cache)
    }

    fn make(&self, folder: &Path) -> Result<(), FetchError> {
        fs::create_dir_all(folder).map_err(FetchError::io(folder))
    }

    /// Removes temporary files of processes that were killed.
    fn remove_stale(&self) {
        // A file that cannot be removed now is there at the next time, too.
        for entry in fs::read_dir(&self.partial).into_iter().flatten().flatten() {
            let time = entry.metadata().and_then(|data| data.modified()).ok();
            if time
                .and_then(|time| SystemTime::now().duration_since(time).ok())
                .is_some_and(|age| age > STALE)
            {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Returns the place of a file: `files/sha256/AB/REST`.
    #[must_use]
    pub fn path(&self, sha256: &Sha256) -> PathBuf {
        let digits = sha256.to_string();
        self.files.join(&digits[..2]).join(&digits[2..])
    }

    /// Opens a file, at its start, after its bytes were hashed. None where it is not there; a file with other bytes is
    /// removed.
    ///
    /// # Errors
    ///
    /// A file that cannot be read.
    pub fn get(&self, sha256: &Sha256) -> Result<Option<File>, FetchError> {
        let path = self.path(sha256);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(FetchError::Io { path, source: error }),
        };
        let (found, _) = Sha256::of_reader(&mut file).map_err(FetchError::io(&path))?;
        if found != *sha256 {
            fs::remove_file(&path).map_err(FetchError::io(&path))?;
            return Ok(None);
        }
        file.rewind().map_err(FetchError::io(&path))?;
        Ok(Some(file))
    }

    /// Makes a file to write to.
    pub(super) fn start(&self) -> Result<NamedTempFile, FetchError> {
        // Somebody may have deleted the folder since it was opened.
        self.make(&self.partial)?;
        Builder::new().prefix("file-").tempfile_in(&self.partial).map_err(FetchError::io(&self.partial))
    }

    /// Gives a file that was checked its name, and returns it at its start.
    pub(super) fn finish(&self, file: NamedTempFile, sha256: &Sha256) -> Result<File, FetchError> {
        let path = self.path(sha256);
        let folder = path.parent().unwrap_or(&self.files);
        self.make(folder)?;
        file.as_file().sync_all().map_err(FetchError::io(&path))?;
        let mut file = file
            .persist(&path)
            .map_err(|error| FetchError::Io { path: path.clone(), source: error.error })?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(FetchError::io(folder))?;
        file.rewind().map_err(FetchError::io(&path))?;
        Ok(file)
    }
}
