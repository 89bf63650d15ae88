//! What the global options come to: the store, the threads, the wish to stop.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use melv::limits::CACHE_BYTES_DEFAULT;
use melv::{Cache, Error, ErrorKind, Store, StoreErrors, StoreOptions, VerifyMode};

use crate::args::Globals;
use crate::exit::{Exit, Failure};
use crate::progress::{Progress, Unit};
use crate::report::{Out, note};
use crate::{memory, producer};

static CANCEL: AtomicBool = AtomicBool::new(false);
/// The folder of the store, once it was to be opened.
static OPENED: OnceLock<PathBuf> = OnceLock::new();

/// The store, or why there is none: a file at its place cannot become one.
fn opened(path: &Path, store: melv::Result<Store>) -> Result<Store, Failure> {
    store.map_err(|error| match std::fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => Failure::StoreNotFolder { path: path.into() },
        _ => error.into(),
    })
}

/// Why no store was made in a folder: it holds something else than a store that is being made.
fn not_made(path: &Path) -> Option<Failure> {
    let names = std::fs::read_dir(path).ok()?.flatten().map(|entry| entry.file_name());
    let mut names = names.map(|name| name.to_string_lossy().into_owned());
    let entry = names.find(|name| !["lock", "tmp"].contains(&name.as_str()))?;
    Some(Failure::FolderNotEmpty { path: path.into(), entry })
}

/// An error, which names the store where it is about an object of it: that of the store which this process has
/// opened. A file that the command line names is never an object, whatever it is called.
pub fn in_store(error: Error) -> Error {
    let is_argument = |object: &str| {
        std::env::args_os().any(|argument| {
            let rest = object.strip_prefix(&*argument.to_string_lossy());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        })
    };
    match OPENED.get() {
        Some(path) if !error.store_object().is_some_and(is_argument) => {
            error.in_store(&path.display().to_string())
        }
        _ => error,
    }
}
/// Whether signals set it.
static IS_CAUGHT: AtomicBool = AtomicBool::new(false);

/// One run of the command.
#[derive(Debug)]
pub struct Session<'a> {
    /// The global options.
    pub globals: &'a Globals,
    /// One for the store and all bundles.
    cache: Cache,
    /// Whether others may read what one has read.
    is_serving: bool,
}

impl<'a> Session<'a> {
    /// A run with these options.
    pub fn new(globals: &'a Globals) -> Self {
        Self { globals, cache: Cache::new(memory::cache_bytes(CACHE_BYTES_DEFAULT)), is_serving: false }
    }

    /// The same for a front end, with this cache.
    pub fn for_serving(&self, cache: Cache) -> Self {
        Self { globals: self.globals, cache, is_serving: true }
    }

    /// The cache of all that is opened.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The folder of the store: `--store`, the environment, the user's data folder. Absolute, so that
    /// messages name the place wherever they are read.
    fn store_path(&self) -> Result<&'static Path, Failure> {
        let from = |variable| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
        let path = (self.globals.store.clone())
            .or_else(|| from("MELV_STORE"))
            .or_else(|| from("XDG_DATA_HOME").map(|data| data.join("melv")))
            .or_else(|| from("HOME").map(|home| home.join(".local/share/melv")))
            .ok_or_else(|| Failure::Usage("no store is named; give --store DIR or set MELV_STORE".into()))?;
        let path =
            std::path::absolute(&path).map_err(|_| Failure::Usage("--store \"\" names no folder".into()))?;
        Ok(OPENED.get_or_init(|| path))
    }

    /// How the store is opened: this user's own is read under guards alone.
    fn store_options(&self) -> StoreOptions {
        StoreOptions {
            verify: VerifyMode::Guard,
            trust_owner: self.globals.trust_owner,
            ..self.bundle_options()
        }
    }

    /// How a bundle is opened: somebody else wrote it, so everything is checked.
    pub fn bundle_options(&self) -> StoreOptions {
        StoreOptions {
            cache: self.cache.clone(),
            lock_wait: Duration::from_secs(self.globals.wait),
            verify: VerifyMode::Full,
            keep_whole_chunks: self.is_serving,
            break_locks: self.globals.break_locks,
            trust_owner: false,
        }
    }

    /// The store, which must be there.
    pub fn store(&self) -> Result<Store, Failure> {
        let path = self.store_path()?;
        tracing::info!(store = %path.display(), "opening");
        opened(path, Store::open_folder(path, self.store_options()))
    }

    /// The store, made where there is none.
    pub fn store_or_new(&self) -> Result<Store, Failure> {
        let path = self.store_path()?;
        tracing::info!(store = %path.display(), "opening or making");
        opened(path, Store::create_folder(path, self.store_options())).map_err(|failure| match failure {
            Failure::Melv(ref error) if error.kind() == ErrorKind::NoStore => {
                not_made(path).unwrap_or(failure)
            }
            other => other,
        })
    }

    /// The flag that a signal sets from the first call on: a second signal ends the process at once.
    ///
    /// A command that does not ask for the flag is ended by the first.
    pub fn cancel(&self) -> Result<&'static AtomicBool, Failure> {
        if IS_CAUGHT.swap(true, Ordering::Relaxed) {
            return Ok(&CANCEL);
        }
        let told = !self.globals.quiet && !self.globals.json;
        let handler = move || {
            if CANCEL.swap(true, Ordering::Relaxed) {
                producer::kill_all();
                std::process::exit(Exit::Interrupted as i32);
            }
            if told {
                // After the ^C that the terminal shows.
                let begin = if std::io::stderr().is_terminal() { "\n" } else { "" };
                note(&format!("{begin}melv: stopping (once more to stop at once)"));
            }
        };
        match ctrlc::set_handler(handler) {
            Ok(()) => Ok(&CANCEL),
            Err(error) => {
                let source = match error {
                    ctrlc::Error::System(source) => source,
                    other => std::io::Error::other(other),
                };
                Err(Failure::Start { what: "the thread that waits for signals", source })
            }
        }
    }

    /// Standard output.
    pub fn out(&self) -> Out {
        Out::new(self.globals)
    }

    /// Progress of work called `label`, in bytes or objects.
    pub fn progress(&self, label: impl Into<String>, unit: Unit) -> Progress {
        Progress::new(self.globals, label.into(), unit)
    }
}
