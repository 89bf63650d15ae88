//! The kernel's table of mounts, as seen by this process.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The file system type of melv's mounts.
pub(crate) const KIND: &str = "fuse.melv";
/// The prefix of their source; the process id of the server follows.
const SOURCE: &str = "melv:";
/// The device that a process serving a file system has open.
pub(crate) const DEVICE: &str = "/dev/fuse";
/// The table of mounts.
const TABLE: &str = "/proc/self/mountinfo";

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountEntry {
    /// The file system as `MAJOR:MINOR`, unique among mounted ones.
    pub device: Vec<u8>,
    /// The folder.
    pub dir: PathBuf,
    /// The type.
    pub kind: OsString,
    /// The source.
    pub source: OsString,
}

impl MountEntry {
    /// Whether this is a mount of melv.
    pub fn is_melv(&self) -> bool {
        self.kind == KIND
    }

    /// Whether the process that serves the mount exists. Does not access the file system, which would hang if
    /// that process is stopped.
    pub fn is_served(&self) -> bool {
        let Some(process) = self.process() else { return true };
        // A zombie serves nothing, but it hides its descriptors from other users.
        if std::fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| stat.contains(") Z ")) {
            return false;
        }
        match std::fs::read_dir(format!("/proc/{process}/fd")) {
            // The process id may have been reused, but then the new process has no FUSE device open.
            Ok(mut open) => open.any(|entry| {
                entry.is_ok_and(|entry| {
                    std::fs::read_link(entry.path()).is_ok_and(|file| file == Path::new(DEVICE))
                })
            }),
            // The process may belong to another user, or be hidden.
            Err(error) => error.kind() != ErrorKind::NotFound,
        }
    }

    /// Returns the id of the process that serves the mount.
    pub fn process(&self) -> Option<u32> {
        self.source.to_str()?.strip_prefix(SOURCE)?.parse().ok()
    }
}

/// Returns the source of this process's mounts.
pub(crate) fn source() -> String {
    format!("{SOURCE}{}", std::process::id())
}

/// Returns the topmost mount, the visible one, at exactly `dir`, a path without symbolic links.
pub(crate) fn at(dir: &Path) -> Result<Option<MountEntry>> {
    let table = std::fs::read(TABLE).map_err(|source| Error::io("read", TABLE, source))?;
    Ok(table.split(|byte| *byte == b'\n').filter_map(parse).rfind(|entry| entry.dir == dir))
}

/// Parses a line: `ID PARENT MAJOR:MINOR ROOT DIR OPTIONS [TAG…] - TYPE SOURCE OPTIONS`.
fn parse(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|byte| *byte == b' ');
    let device = fields.nth(2)?.to_vec();
    let dir = PathBuf::from(plain(fields.nth(1)?));
    fields.find(|field| *field == b"-")?;
    let (kind, source) = (plain(fields.next()?), plain(fields.next()?));
    Some(MountEntry { device, dir, kind, source })
}

/// Decodes the `\ooo` escapes that the kernel uses for spaces and similar characters.
fn plain(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        let octal = (*first == b'\\').then(|| behind.get(..3).and_then(octal_byte)).flatten();
        if let Some(byte) = octal {
            bytes.push(byte);
            rest = &behind[3..];
        } else {
            bytes.push(*first);
        }
    }
    OsString::from_vec(bytes)
}

fn octal_byte(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(OsStr::from_bytes(digits).to_str()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_are_understood() {
        let line =
            br"36 35 0:98 / /mnt/a\040b\134c rw,noatime shared:1 master:2 - fuse.melv melv:123 ro,user_id=0";
        let entry = parse(line).expect("a line as the kernel writes it");
        assert_eq!(entry.device, b"0:98");
        assert_eq!(entry.dir, Path::new(r"/mnt/a b\c"));
        assert!(entry.is_melv());
        assert_eq!(entry.process(), Some(123));
        let other = parse(b"22 1 0:21 / /proc rw - proc proc rw").expect("a line as the kernel writes it");
        assert!(!other.is_melv() && other.process().is_none());
    }

    #[test]
    fn other_lines_are_no_mounts() {
        for line in [&b""[..], b"1 2 3 4", b"36 35 0:98 / /mnt rw shared:1", b"36 35 0:98 / /mnt rw -"] {
            assert_eq!(parse(line), None);
        }
    }

    #[test]
    fn a_backslash_without_three_digits_stands_for_itself() {
        for (field, expected) in [(r"\04", r"\04"), (r"a\", r"a\"), (r"\777", r"\777"), (r"\011", "\t")] {
            assert_eq!(plain(field.as_bytes()), expected);
        }
    }

    #[test]
    fn the_root_is_mounted() {
        assert!(at(Path::new("/proc")).expect("the table is there").is_some());
        assert!(at(Path::new("/nowhere")).expect("the table is there").is_none());
    }
}
