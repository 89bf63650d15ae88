//! The installation of syslinux on a volume, as a list of changed bytes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::error::BootError;
use super::files::Files;
use super::patch::{self, Patch};
use super::{program, root};
use crate::fat;

/// Bytes of the volume that syslinux needs free: its two files take 184,320 on Debian 12.
pub const FREE_BYTES: u64 = 256 << 10;

/// Time that syslinux may take. It takes a fifth of a second; a machine under load may need a hundred times that.
const LIMIT: Duration = Duration::from_secs(60);

/// Programs of mtools that syslinux calls. They are one program, which acts by the name that it is called by.
const TOOLS: [&str; 2] = ["mcopy", "mattrib"];

/// Programs, unpacked from Debian's packages.
#[derive(Debug, Clone, Copy)]
pub struct Programs<'a> {
    /// `usr/bin/syslinux` of the package `syslinux`.
    pub syslinux: &'a Path,
    /// `usr/bin/mtools` of the package `mtools`: the program, not one of its links.
    pub mtools: &'a Path,
    /// The folder of the package `libc6` that has `libc.so.6` and `ld-linux-x86-64.so.2`. Without it the programs run
    /// with the C library of this machine, which then must be as new as their suite.
    pub libraries: Option<&'a Path>,
}

/// Installs syslinux on the volume of `files`, and returns what it changes.
///
/// syslinux sees a volume on which all files hold zeros: it needs none of them, and cannot have changed one. It works in
/// a new folder below `temporary`, which is removed again.
///
/// # Errors
///
/// Fails where the volume has no room for the files and for [`FREE_BYTES`] more, where syslinux fails or is not done within a minute, and where it
/// changes anything but the boot sector's code, free clusters and free entries of the root.
pub fn install(
    volume: &fat::Volume,
    files: &Files<'_>,
    programs: &Programs<'_>,
    temporary: &Path,
) -> Result<Vec<Patch>, BootError> {
    let files = files.hollow();
    let plan = fat::Plan::new(volume, &files.as_fat())?;
    let free = plan.free_bytes();
    if free < FREE_BYTES {
        return Err(BootError::NoRoom { free, needed: FREE_BYTES });
    }
    let folder = tempfile::Builder::new().prefix("melv-syslinux-").tempdir_in(temporary);
    let folder = folder.map_err(|source| BootError::Temporary { path: temporary.to_owned(), source })?;
    let path = folder.path().join("volume");
    let failed = |source| BootError::Temporary { path: path.clone(), source };
    let file = File::options().read(true).write(true).create_new(true).open(&path).map_err(failed)?;
    plan.write(&Vec::new(), &mut Sparse { file: &file, position: 0 })?;
    file.set_len(plan.size_bytes()).map_err(failed)?;
    let command = command(folder.path(), programs)?;
    let said = program::run(command, &folder.path().join("log"), LIMIT)?;
    let unexpected = |(offset, fault)| BootError::Unexpected { offset, fault, said: said.clone() };
    let root = root::Root::read(&file).map_err(failed)?;
    root.stamp(&file).map_err(failed)?.map_err(unexpected)?;
    patch::compare(&plan, &files, &file)?.map_err(unexpected)
}

/// Returns the command, to run in `folder`, where it finds all that it needs by relative paths.
fn command(folder: &Path, programs: &Programs<'_>) -> Result<Command, BootError> {
    let make = |name: &str, make: &dyn Fn(&Path) -> io::Result<()>| {
        let path = folder.join(name);
        make(&path).map_err(|source| BootError::Temporary { path, source })
    };
    let link =
        |name: &str, target: &Path| make(name, &|path: &Path| symlink(std::path::absolute(target)?, path));
    make("bin", &|path: &Path| fs::create_dir(path))?;
    link("mtools", programs.mtools)?;
    link("syslinux", programs.syslinux)?;
    if let Some(libraries) = programs.libraries {
        link("lib", libraries)?;
    }
    for tool in TOOLS {
        make(&format!("bin/{tool}"), &|path: &Path| {
            if programs.libraries.is_none() {
                return symlink("../mtools", path);
            }
            let script =
                format!("#!/bin/sh\nexec {LOADER} --library-path lib --argv0 {tool} ./mtools \"$@\"\n");
            fs::write(path, script)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o700))
        })?;
    }
    let mut command = match programs.libraries {
        None => {
            Command::new(std::path::absolute(programs.syslinux).unwrap_or_else(|_| PathBuf::from("syslinux")))
        }
        Some(_) => {
            let mut command = Command::new(folder.join(LOADER));
            command.args(["--library-path", "lib", "./syslinux"]);
            command
        }
    };
    // mtools reads `.mtoolsrc` of the home, and syslinux puts a file of its own where `TMPDIR` says. Relative paths:
    // those of the folder may have characters that a shell or `PATH` takes for something else.
    command.args(["--install", "volume"]).current_dir(folder).env_clear();
    command.envs([("PATH", "bin"), ("TMPDIR", "."), ("HOME", "."), ("LC_ALL", "C")]);
    Ok(command)
}

/// The program that starts others with a C library of its own.
const LOADER: &str = "lib/ld-linux-x86-64.so.2";

/// Writes what is not zero; the rest of the file stays a hole.
struct Sparse<'f> {
    file: &'f File,
    position: u64,
}

impl Write for Sparse<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.iter().any(|byte| *byte != 0) {
            self.file.write_all_at(bytes, self.position)?;
        }
        self.position = self.position.saturating_add(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
