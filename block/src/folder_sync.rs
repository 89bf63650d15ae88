//! Folders that cannot be synced.
//!
//! Some network and user-space file systems cannot sync a folder and persist names at their own pace. They
//! are accepted; only a failing medium is an error.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;

/// Whether this process has already logged the warning about a folder that cannot be synced. It is not per
/// store, because outputs, which are no part of a store, sync folders too.
static IS_TOLD: AtomicBool = AtomicBool::new(false);

/// Converts the result of syncing the folder `name`: a file system without folder sync is not an error.
///
/// # Errors
/// Any other error of the sync.
pub fn folder_synced(result: io::Result<()>, name: impl FnOnce() -> String) -> io::Result<()> {
    let Err(error) = result else { return Ok(()) };
    if !cannot_sync(&error) {
        let text = format!("cannot sync the folder {}: {error}", name());
        return Err(io::Error::new(error.kind(), text));
    }
    if !IS_TOLD.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            folder = name(),
            %error,
            "this file system cannot sync folders: a power failure may undo the latest changes"
        );
    }
    Ok(())
}

fn cannot_sync(error: &io::Error) -> bool {
    let errors = [Errno::INVAL, Errno::NOTSUP, Errno::OPNOTSUPP, Errno::NOSYS, Errno::NOTTY];
    Errno::from_io_error(error).is_some_and(|errno| errors.contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_synced_is_used_and_one_whose_medium_fails_is_not() {
        let synced = |code| folder_synced(Err(io::Error::from_raw_os_error(code)), || "refs".into());
        for code in [22, 95, 38, 25] {
            assert!(synced(code).is_ok(), "error {code}");
        }
        for code in [5, 28, 30, 13] {
            let error = synced(code).expect_err("a failure");
            assert!(error.to_string().starts_with("cannot sync the folder refs: "), "{error}");
            assert_eq!(error.kind(), io::Error::from_raw_os_error(code).kind());
        }
    }
}
