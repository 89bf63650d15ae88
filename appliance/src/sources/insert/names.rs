//! Paths of archives as names, pure.

use crate::sources::limits::{DEPTH, NAME_BYTES, PATH_BYTES};

/// A fault of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// It has the name `..`.
    #[error("a path with `..` may leave the tree")]
    Parent,
    /// It starts with `/`.
    #[error("a path of a package starts at the package's root, not with `/`")]
    Absolute,
    /// It has a NUL.
    #[error("a path has no NUL")]
    Nul,
    /// It is too long.
    #[error("the path has {0} bytes, and {PATH_BYTES} are the most")]
    Long(usize),
    /// A name is too long.
    #[error("a name in the path has {0} bytes, and {NAME_BYTES} are the most")]
    LongName(usize),
    /// It leads too deep.
    #[error("the path leads through more than {DEPTH} folders")]
    Deep,
}

/// Takes a path apart. Empty names and `.` name nothing, as in POSIX; an empty list is the root.
pub fn split(path: &[u8]) -> Result<Vec<&[u8]>, NameFault> {
    if path.len() > PATH_BYTES {
        return Err(NameFault::Long(path.len()));
    }
    if path.contains(&0) {
        return Err(NameFault::Nul);
    }
    let mut names = Vec::new();
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => return Err(NameFault::Parent),
            _ if name.len() > NAME_BYTES => return Err(NameFault::LongName(name.len())),
            _ if names.len() >= DEPTH => return Err(NameFault::Deep),
            _ => names.push(name),
        }
    }
    Ok(names)
}

/// Joins names to an absolute path.
pub fn absolute<'a>(names: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut path = Vec::new();
    for name in names {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    if path.is_empty() {
        path.push(b'/');
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_name_nothing_are_passed_over() {
        assert_eq!(split(b"./usr//bin/./x/").unwrap(), [&b"usr"[..], b"bin", b"x"]);
        assert_eq!(split(b"./").unwrap(), [b""; 0]);
    }

    #[test]
    fn paths_beyond_a_bound_are_refused() {
        assert_eq!(split(b"a/../b"), Err(NameFault::Parent));
        assert_eq!(split(b".."), Err(NameFault::Parent));
        assert_eq!(split(b"a\0b"), Err(NameFault::Nul));
        assert_eq!(split(&[b'a'; 4097]), Err(NameFault::Long(4097)));
        assert_eq!(split(&[b'a'; 256]), Err(NameFault::LongName(256)));
        assert!(split(&b"a/".repeat(128)).is_ok());
        assert_eq!(split(&b"a/".repeat(129)), Err(NameFault::Deep));
    }
}
