//! Copies the image's content of a mount point to a fresh disk.

use std::{
    fs::{self, File, FileTimes},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink},
    path::Path,
};

use crate::sys::copy_xattrs;

/// Copies all that is in `from` into `to`: folders, files and links, with owners, modes, times and attributes.
///
/// Both folders are there. The image's own file system is the source, so that its depth is known to be small.
pub fn copy_content(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let metadata = entry.metadata()?;
        let kind = metadata.file_type();
        if kind.is_symlink() {
            symlink(fs::read_link(&source)?, &target)?;
            lchown(&target, Some(metadata.uid()), Some(metadata.gid()))?;
            continue;
        }
        if kind.is_dir() {
            fs::create_dir(&target)?;
            copy_content(&source, &target)?;
        } else if kind.is_file() {
            io::copy(&mut File::open(&source)?, &mut File::create_new(&target)?)?;
        } else {
            continue;
        }
        // The owner first: a change of it takes setuid bits and capabilities away.
        chown(&target, Some(metadata.uid()), Some(metadata.gid()))?;
        fs::set_permissions(&target, fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
        copy_xattrs(&source, &target)?;
        let times = FileTimes::new().set_modified(metadata.modified()?).set_accessed(metadata.modified()?);
        File::open(&target)?.set_times(times)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_the_same_names_contents_modes_and_times() {
        let base = std::env::temp_dir().join(format!("melv-init-copy-{}", std::process::id()));
        let (from, to) = (base.join("from"), base.join("to"));
        fs::create_dir_all(from.join("sub")).unwrap();
        fs::create_dir_all(&to).unwrap();
        fs::write(from.join("sub/file"), "text").unwrap();
        fs::set_permissions(from.join("sub/file"), fs::Permissions::from_mode(0o4641)).unwrap();
        fs::set_permissions(from.join("sub"), fs::Permissions::from_mode(0o2711)).unwrap();
        symlink("nowhere", from.join("link")).unwrap();
        copy_content(&from, &to).unwrap();
        assert_eq!(fs::read(to.join("sub/file")).unwrap(), b"text");
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("nowhere"));
        for name in ["sub", "sub/file"] {
            let (a, b) = (fs::metadata(from.join(name)).unwrap(), fs::metadata(to.join(name)).unwrap());
            assert_eq!(
                (a.mode(), a.mtime(), a.mtime_nsec()),
                (b.mode(), b.mtime(), b.mtime_nsec()),
                "{name}"
            );
        }
        fs::remove_dir_all(base).unwrap();
    }
}
