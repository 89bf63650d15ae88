//! The path of the store: its origin, and its place in errors about the store.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use melv::{Error, StoreErrors};

use crate::failure::Failure;
use crate::globals::Globals;

/// The folder of the store, once a command uses it.
static OPENED: OnceLock<PathBuf> = OnceLock::new();

/// Returns the folder of the store: from `--store`, the environment, or the user's data folder. The path is
/// absolute, so that messages are clear in any context.
pub fn of(globals: &Globals) -> Result<&'static Path, Failure> {
    let from = |variable| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let path = (globals.store.clone())
        .or_else(|| from("MELV_STORE"))
        .or_else(|| from("XDG_DATA_HOME").map(|data| data.join("melv")))
        .or_else(|| from("HOME").map(|home| home.join(".local/share/melv")))
        .ok_or_else(|| Failure::Usage("no store is named; give --store DIR or set MELV_STORE".into()))?;
    let path =
        std::path::absolute(&path).map_err(|_| Failure::Usage("--store \"\" names no folder".into()))?;
    Ok(OPENED.get_or_init(|| path))
}

/// Adds the path of the opened store to an error about one of its objects. A file named on the command line
/// is never taken for an object.
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

/// As [`in_store`], for a failure.
pub fn failure_in_store(failure: Failure) -> Failure {
    match failure {
        Failure::Melv(error) => in_store(error).into(),
        other => other,
    }
}
