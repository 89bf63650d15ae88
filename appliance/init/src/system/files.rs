//! Folders made at every start.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
};

use crate::{config::Directory, report::Problem};

/// Makes the folders of the configuration where they are not there.
pub fn directories(wanted: &[Directory]) -> Result<(), Problem> {
    for directory in wanted {
        let path = Path::new(&directory.path);
        if !path.is_dir() {
            folder(path, directory.mode, directory.owner.uid, directory.owner.gid)
                .map_err(|error| Problem::new("folder", path, error))?;
        }
    }
    Ok(())
}

/// Makes a folder with its owner and mode.
pub(super) fn folder(path: &Path, mode: u16, uid: u32, gid: u32) -> io::Result<()> {
    fs::create_dir_all(path)?;
    chown(path, Some(uid), Some(gid))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode.into()))
}
