//! The source of Linux, from a package of Debian into a folder.
//!
//! The package has one file, a tar of the source. Its entries are written with plain names below one folder. Symbolic
//! links are made after all files, so that no path can lead through one; a target must stay in the source.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read, Write as _},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{OpenOptionsExt as _, symlink},
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use crate::{
    sha256::{Hasher, Sha256},
    sources::{Decoder, Entry, EntryKind, Reader, with_data},
};

use super::error::{EntryFault, SourceError};

/// Most entries of a source: Linux 6.12 has 92,000.
const MAX_ENTRIES: u64 = 500_000;
/// Most bytes of a source: Linux 6.12 has 1.6 GB.
const MAX_BYTES: u64 = 8 << 30;
const MAX_PATH: usize = 1024;
const MAX_DEPTH: usize = 32;
const BUFFER: usize = 64 << 10;
const PACKAGE_TAR: &str = "data.tar of the package";
const SOURCE_TAR: &str = "the tar of the source";

/// Reads a package, and writes its source below `target`, a folder that is there and empty. `watch` gets the bytes of
/// the package that were read, and returns whether to go on.
///
/// Returns the digest of the package; none where `watch` ended it.
pub(super) fn unpack(
    package: &File,
    target: &Path,
    watch: &mut dyn FnMut(u64) -> bool,
) -> Result<Option<Sha256>, SourceError> {
    let mut input = Watched { file: package, hasher: Hasher::default(), read: 0, watch, stopped: false };
    let unpacked = with_data(&mut input, |data| {
        let stream = |source| SourceError::Stream { archive: PACKAGE_TAR, source };
        let mut files = Reader::new(Decoder::new(data, MAX_BYTES).map_err(stream)?);
        let tar = |source| SourceError::Tar { archive: PACKAGE_TAR, source };
        while let Some(entry) = files.next_entry().map_err(tar)? {
            if is_source(&entry) {
                unpack_source(&mut files, target)?;
                return files.drain().map_err(tar);
            }
        }
        Err(SourceError::NoSource)
    });
    if input.stopped {
        return Ok(None);
    }
    unpacked?;
    let read = io::copy(&mut input, &mut io::sink());
    read.map_err(|source| SourceError::Stream { archive: "the package", source })?;
    Ok(Some(input.hasher.finish().0))
}

/// The package, hashed and counted as it is read.
struct Watched<'a> {
    file: &'a File,
    hasher: Hasher,
    read: u64,
    watch: &'a mut dyn FnMut(u64) -> bool,
    stopped: bool,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stopped || !(self.watch)(self.read) {
            self.stopped = true;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let count = self.file.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.read += count as u64;
        Ok(count)
    }
}

fn is_source(entry: &Entry) -> bool {
    let path = entry.path.strip_prefix(b"./").unwrap_or(&entry.path);
    let name = path.strip_prefix(b"usr/src/linux-source-");
    let is_tar =
        name.is_some_and(|name| !name.contains(&b'/') && name.windows(5).any(|part| part == b".tar."));
    is_tar && matches!(entry.kind, EntryKind::File { ranges: None, .. })
}

/// The content of the entry at hand.
struct Content<'a, R>(&'a mut Reader<R>);

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_content(buffer).map_err(io::Error::other)
    }
}

fn unpack_source<R: Read>(files: &mut Reader<R>, target: &Path) -> Result<(), SourceError> {
    let stream = |source| SourceError::Stream { archive: SOURCE_TAR, source };
    let mut reader = Reader::new(Decoder::new(Content(files), MAX_BYTES).map_err(stream)?);
    let tar = |source| SourceError::Tar { archive: SOURCE_TAR, source };
    let mut writer =
        Writer { target, folder: None, links: Vec::new(), left: MAX_BYTES, buffer: vec![0; BUFFER] };
    while let Some(entry) = reader.next_entry().map_err(tar)? {
        writer.entry(&entry, &mut reader)?;
    }
    reader.drain().map_err(tar)?;
    writer.finish()
}

/// Writes entries.
struct Writer<'a> {
    target: &'a Path,
    folder: Option<Vec<u8>>,
    links: Vec<(u64, Vec<u8>, Vec<u8>)>,
    left: u64,
    buffer: Vec<u8>,
}

impl Writer<'_> {
    fn entry<R: Read>(&mut self, entry: &Entry, reader: &mut Reader<R>) -> Result<(), SourceError> {
        let fault = |fault| SourceError::Entry { number: entry.number, path: entry.path.clone(), fault };
        if entry.number > MAX_ENTRIES {
            return Err(fault(EntryFault::Limit(MAX_ENTRIES)));
        }
        let Some(path) = self.path(&entry.path).map_err(fault)? else {
            let is_folder = entry.kind == EntryKind::Directory;
            return if is_folder { Ok(()) } else { Err(fault(EntryFault::Kind)) };
        };
        match &entry.kind {
            EntryKind::Directory if is_needed(&path) => self.folder(&path),
            EntryKind::File { size, ranges: None } => {
                self.left = self.left.checked_sub(*size).ok_or(fault(EntryFault::Limit(MAX_BYTES)))?;
                if is_needed(&path) { self.file(entry, &path, reader) } else { Ok(()) }
            }
            EntryKind::Symlink(to) => {
                if !stays(&path, to) {
                    return Err(fault(EntryFault::Link));
                }
                if is_needed(&path) {
                    self.links.push((entry.number, path, to.clone()));
                }
                Ok(())
            }
            EntryKind::Directory => Ok(()),
            _ => Err(fault(EntryFault::Kind)),
        }
    }

    /// Returns a path below the one folder of the source; none is the folder itself.
    fn path(&mut self, path: &[u8]) -> Result<Option<Vec<u8>>, EntryFault> {
        if path.len() > MAX_PATH || path.starts_with(b"/") || path.contains(&0) {
            return Err(EntryFault::Path);
        }
        let mut names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".");
        let Some(first) = names.next() else { return Ok(None) };
        let rest: Vec<&[u8]> = names.collect();
        if first == b".."
            || rest.len() > MAX_DEPTH
            || rest.iter().any(|name| *name == b".." || name.len() > 255)
        {
            return Err(EntryFault::Path);
        }
        if self.folder.get_or_insert_with(|| first.to_vec()) != first {
            return Err(EntryFault::Folder);
        }
        Ok((!rest.is_empty()).then(|| rest.join(&b'/')))
    }

    fn place(&self, path: &[u8]) -> PathBuf {
        self.target.join(OsStr::from_bytes(path))
    }

    fn folder(&self, path: &[u8]) -> Result<(), SourceError> {
        let place = self.place(path);
        fs::create_dir_all(&place).map_err(|source| SourceError::Write { path: place, source })
    }

    fn file<R: Read>(
        &mut self,
        entry: &Entry,
        path: &[u8],
        reader: &mut Reader<R>,
    ) -> Result<(), SourceError> {
        let place = self.place(path);
        if let Some(slash) = path.iter().rposition(|byte| *byte == b'/') {
            self.folder(&path[..slash])?;
        }
        let mode = if entry.mode & 0o100 == 0 { 0o644 } else { 0o755 };
        let mut file = match File::options().write(true).create_new(true).mode(mode).open(&place) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let fault = EntryFault::Twice;
                return Err(SourceError::Entry { number: entry.number, path: entry.path.clone(), fault });
            }
            Err(source) => return Err(SourceError::Write { path: place, source }),
        };
        loop {
            let tar = |source| SourceError::Tar { archive: SOURCE_TAR, source };
            let count = reader.read_content(&mut self.buffer).map_err(tar)?;
            if count == 0 {
                break;
            }
            let written = file.write_all(&self.buffer[..count]);
            written.map_err(|source| SourceError::Write { path: place.clone(), source })?;
        }
        // Makefiles compare times, and those of the package are in order.
        let seconds = Duration::from_secs(u64::try_from(entry.mtime.seconds).unwrap_or_default());
        if let Some(time) = SystemTime::UNIX_EPOCH.checked_add(seconds) {
            file.set_modified(time).map_err(|source| SourceError::Write { path: place, source })?;
        }
        Ok(())
    }

    /// Makes the links.
    fn finish(self) -> Result<(), SourceError> {
        let paths: HashSet<&[u8]> = self.links.iter().map(|(_, path, _)| path.as_slice()).collect();
        for (number, path, to) in &self.links {
            let place = self.place(path);
            let through =
                (0..path.len()).filter(|at| path[*at] == b'/').any(|at| paths.contains(&path[..at]));
            let twice = SourceError::Entry { number: *number, path: path.clone(), fault: EntryFault::Twice };
            if through {
                return Err(twice);
            }
            if let Some(slash) = path.iter().rposition(|byte| *byte == b'/') {
                self.folder(&path[..slash])?;
            }
            match symlink(OsStr::from_bytes(to), &place) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(twice),
                made => made.map_err(|source| SourceError::Write { path: place, source })?,
            }
        }
        Ok(())
    }
}

/// Tells whether a link at `path` leads to a place in the source. `..` behind a name is refused: the name may be a link,
/// and then the text does not tell the folder.
fn stays(path: &[u8], to: &[u8]) -> bool {
    if to.is_empty() || to.starts_with(b"/") || to.contains(&0) || to.len() > MAX_PATH {
        return false;
    }
    let depth = path.iter().filter(|byte| **byte == b'/').count();
    let mut names =
        to.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".").peekable();
    let mut up = 0;
    while names.next_if_eq(&&b".."[..]).is_some() {
        up += 1;
    }
    up <= depth && names.all(|name| name != b"..")
}

/// Tells whether a build for x86 reads a file: not the documentation, other machines' folders and tests, which are a
/// fifth of the bytes. Their Kconfig files are named by others.
fn is_needed(path: &[u8]) -> bool {
    let is_kconfig = |path: &[u8]| {
        path.rsplit(|byte| *byte == b'/').next().is_some_and(|name| name.starts_with(b"Kconfig"))
    };
    let other = |rest: &[u8]| !rest.starts_with(b"x86/") && rest.contains(&b'/');
    let unneeded = path.starts_with(b"Documentation/")
        || path.starts_with(b"tools/testing/")
        || path.starts_with(b"tools/perf/")
        || path.strip_prefix(b"arch/").is_some_and(other);
    !unneeded || is_kconfig(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::tailored::testing::{Tar, file, package, xz};

    struct Place {
        /// Folder with the package, the target and canaries beside it.
        folder: tempfile::TempDir,
        target: PathBuf,
    }

    fn place() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        fs::create_dir(&target).unwrap();
        Place { folder, target }
    }

    fn unpacked(tar: Tar) -> (Place, Result<Option<Sha256>, SourceError>) {
        let place = place();
        let package = file(place.folder.path(), &package(&xz(&tar.bytes())));
        let result = unpack(&package, &place.target, &mut |_| true);
        (place, result)
    }

    fn fault(tar: Tar) -> EntryFault {
        let (place, result) = unpacked(tar);
        let mut names: Vec<_> =
            fs::read_dir(place.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["linux-source.deb", "target"], "something lies outside");
        match result {
            Err(SourceError::Entry { fault, .. }) => fault,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_source_is_written_as_it_is() {
        let tar = Tar::default()
            .folder("linux-source-6.1/")
            .file("linux-source-6.1/Makefile", "VERSION = 6\n")
            .file("linux-source-6.1/scripts/a/b.sh", "#!/bin/sh\n")
            .link("linux-source-6.1/scripts/a/c", "../../Makefile")
            .link("linux-source-6.1/d", "scripts/a");
        let (place, result) = unpacked(tar);
        let bytes = fs::read(place.folder.path().join("linux-source.deb")).unwrap();
        assert_eq!(result.unwrap(), Some(Sha256::of(&bytes)));
        let text = |path: &str| fs::read_to_string(place.target.join(path)).unwrap();
        assert_eq!((text("scripts/a/c"), text("d/b.sh")), ("VERSION = 6\n".into(), "#!/bin/sh\n".into()));
        let time = fs::metadata(place.target.join("Makefile")).unwrap().modified().unwrap();
        assert_eq!(time, SystemTime::UNIX_EPOCH + Duration::from_secs(1));
    }

    #[test]
    fn other_machines_and_the_documentation_are_left_out() {
        let tar = Tar::default()
            .file("l/Documentation/a/b.rst", "")
            .file("l/Documentation/Kconfig", "")
            .file("l/arch/Kconfig", "")
            .file("l/arch/arm/boot/a.dts", "")
            .file("l/arch/arm/Kconfig", "")
            .file("l/arch/x86/Makefile", "")
            .link("l/arch/arm/c", "boot");
        let (place, result) = unpacked(tar);
        result.unwrap();
        let is_there = |path: &str| place.target.join(path).symlink_metadata().is_ok();
        for path in ["Documentation/Kconfig", "arch/Kconfig", "arch/arm/Kconfig", "arch/x86/Makefile"] {
            assert!(is_there(path), "{path}");
        }
        for path in ["Documentation/a", "arch/arm/boot", "arch/arm/c"] {
            assert!(!is_there(path), "{path}");
        }
    }

    #[test]
    fn paths_that_climb_out_are_refused() {
        for path in ["../a", "l/../../a", "/etc/a", "l/b/../../../a", "..", "l/.."] {
            assert_eq!(fault(Tar::default().file(path, "x")), EntryFault::Path, "{path}");
        }
        let deep = format!("l/{}", "a/".repeat(80));
        assert_eq!(fault(Tar::default().folder("l").folder(&deep[..99])), EntryFault::Path);
        assert_eq!(fault(Tar::default().folder("l/a").file("m/b", "")), EntryFault::Folder);
    }

    #[test]
    fn links_that_lead_out_are_refused() {
        for (path, to) in [
            ("l/a", "/etc/passwd"),
            ("l/a", ".."),
            ("l/a", "../x"),
            ("l/b/a", "../../x"),
            ("l/b/a", "./../.././x"),
            // A name may be a link upwards, so that the text does not tell the folder.
            ("l/p/q/e", "d/../x"),
        ] {
            assert_eq!(fault(Tar::default().link(path, to)), EntryFault::Link, "{path} {to}");
        }
    }

    #[test]
    fn a_path_through_a_link_is_never_followed() {
        let through = Tar::default().folder("l/real").link("l/a", "real").file("l/a/b", "x");
        assert_eq!(fault(through), EntryFault::Twice);
        let links = Tar::default().folder("l/real").link("l/a", "real").link("l/a/b", "x");
        assert_eq!(fault(links), EntryFault::Twice);
        let canary = Tar::default().link("l/a", "b").link("l/a", "c");
        assert_eq!(fault(canary), EntryFault::Twice);
    }

    #[test]
    fn paths_that_are_there_twice_are_refused() {
        assert_eq!(fault(Tar::default().file("l/a", "x").file("l/a", "y")), EntryFault::Twice);
        assert_eq!(fault(Tar::default().file("l/a", "x").file("l//./a", "y")), EntryFault::Twice);
        let (_, result) = unpacked(Tar::default().file("l/a", "x").file("l/a/b", "y"));
        assert!(matches!(result, Err(SourceError::Write { .. })));
    }

    #[test]
    fn devices_and_hard_links_are_refused() {
        for flag in [b'1', b'3', b'4', b'6'] {
            let tar = Tar::default().file("l/a", "x").add(flag, "l/b", "l/a", b"");
            assert_eq!(fault(tar), EntryFault::Kind, "{}", char::from(flag));
        }
        assert_eq!(fault(Tar::default().file("l", "x")), EntryFault::Kind);
    }

    #[test]
    fn cut_and_changed_packages_are_faults_and_no_panic() {
        let place = place();
        let tar = Tar::default().file("l/Makefile", &"x".repeat(3000)).link("l/a", "Makefile");
        let whole = package(&xz(&tar.bytes()));
        let mut state = 11_u64;
        for round in 0..300 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (state >> 20) as usize % whole.len();
            let mut bytes = whole.clone();
            if round % 2 == 0 {
                bytes.truncate(at)
            } else {
                bytes[at] ^= 1 << (state >> 61)
            }
            let target = place.folder.path().join(round.to_string());
            fs::create_dir(&target).unwrap();
            let result = unpack(&file(place.folder.path(), &bytes), &target, &mut |_| true);
            // Names, times and owners of the archive's members may change without harm; their digest tells.
            if let Ok(found) = result {
                assert_ne!(found, Some(Sha256::of(&whole)));
                assert_eq!(found, Some(Sha256::of(&bytes)));
            }
        }
    }

    #[test]
    fn a_package_without_a_source_is_refused() {
        let place = place();
        for bytes in [&b"!<arch>\n"[..], b"", b"PK\x03\x04"] {
            let result = unpack(&file(place.folder.path(), bytes), &place.target, &mut |_| true);
            assert!(matches!(result, Err(SourceError::Package(_))), "{result:?}");
        }
        let result = unpack(&file(place.folder.path(), &package(b"no tar")), &place.target, &mut |_| true);
        assert!(matches!(result, Err(SourceError::Tar { .. })), "{result:?}");
    }

    #[test]
    fn the_caller_can_end_it() {
        let place = place();
        let package = file(place.folder.path(), &package(&xz(&Tar::default().file("l/a", "x").bytes())));
        assert!(matches!(unpack(&package, &place.target, &mut |_| false), Ok(None)));
    }
}
