//! The global options in effect: the store, threads, and cancellation.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use melv::limits::CACHE_BYTES_DEFAULT;
use melv::{Cache, ErrorKind, Store, StoreOptions, VerifyMode};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::globals::Globals;
use crate::log::note;
use crate::progress::{Progress, Unit};
use crate::stdout::Out;
use crate::{memory, producer, store_path};

/// Whether a signal has come.
static CANCEL: AtomicBool = AtomicBool::new(false);
/// Whether the signal handler is installed.
static IS_CAUGHT: AtomicBool = AtomicBool::new(false);

/// Returns the store, or the reason that there is none: a file in its place cannot become one.
fn opened(path: &Path, store: melv::Result<Store>) -> Result<Store, Failure> {
    store.map_err(|error| match std::fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => Failure::StoreNotFolder { path: path.into() },
        _ => error.into(),
    })
}

/// Returns the reason that no store was created: the folder holds something other than a store in creation.
fn not_made(path: &Path) -> Option<Failure> {
    let names = std::fs::read_dir(path).ok()?.flatten().map(|entry| entry.file_name());
    let mut names = names.map(|name| name.to_string_lossy().into_owned());
    let entry = names.find(|name| !["lock", "tmp"].contains(&name.as_str()))?;
    Some(Failure::FolderNotEmpty { path: path.into(), entry })
}

/// A run of the command.
#[derive(Debug)]
pub struct Session<'a> {
    /// The global options.
    pub globals: &'a Globals,
    /// The cache of the store and all bundles.
    cache: Cache,
    /// Whether a front end serves several readers, so that one may reuse data read for another.
    is_serving: bool,
}

impl<'a> Session<'a> {
    /// Creates a session with these options.
    pub fn new(globals: &'a Globals) -> Self {
        Self { globals, cache: Cache::new(memory::cache_bytes(CACHE_BYTES_DEFAULT)), is_serving: false }
    }

    /// Returns a session for a front end, with this cache.
    pub fn for_serving(&self, cache: Cache) -> Self {
        Self { globals: self.globals, cache, is_serving: true }
    }

    /// Returns the cache of the store and all bundles.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Returns the options for the store. Its owner is this user, so reads check guards only.
    fn store_options(&self) -> StoreOptions {
        StoreOptions {
            verify: VerifyMode::Guard,
            trust_owner: self.globals.trust_owner,
            ..self.bundle_options()
        }
    }

    /// Returns the options for bundles. Others may have written them, so reads check everything.
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

    /// Opens the store, which must exist.
    pub fn store(&self) -> Result<Store, Failure> {
        let path = store_path::of(self.globals)?;
        tracing::info!(store = %path.display(), "opening");
        opened(path, Store::open_folder(path, self.store_options()))
    }

    /// Opens the store, or creates it.
    pub fn store_or_new(&self) -> Result<Store, Failure> {
        let path = store_path::of(self.globals)?;
        tracing::info!(store = %path.display(), "opening or creating");
        opened(path, Store::create_folder(path, self.store_options())).map_err(|failure| match failure {
            Failure::Melv(ref error) if error.kind() == ErrorKind::NoStore => {
                not_made(path).unwrap_or(failure)
            }
            other => other,
        })
    }

    /// Returns the flag set by signals from the first call on; a second signal ends the process at once.
    ///
    /// A command that does not ask for the flag is ended by the first signal.
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
                // Start a new line after the ^C on the terminal.
                let begin = if std::io::stderr().is_terminal() { "\n" } else { "" };
                note(&format!("{begin}melv: stopping (interrupt again to stop at once)"));
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

    /// Opens standard output.
    pub fn out(&self) -> Out {
        Out::new(self.globals)
    }

    /// Creates the progress of work called `label`, in bytes or objects.
    pub fn progress(&self, label: impl Into<String>, unit: Unit) -> Progress {
        Progress::new(self.globals, label.into(), unit)
    }
}
