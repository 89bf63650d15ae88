//! The search for libraries, as `ld.so` of glibc does it (`ld.so(8)`), within a tree.

use crate::tree::{Content, InodeId, Kind, Tree};

use super::lookup::{folder, resolve, shown};

/// Folders that glibc of Debian's amd64 searches without a cache, in its order.
const DEFAULT_FOLDERS: [&[u8]; 4] =
    [b"/lib/x86_64-linux-gnu", b"/usr/lib/x86_64-linux-gnu", b"/lib", b"/usr/lib"];
/// Folders of one search at most.
const MAX_FOLDERS: usize = 256;
/// Files that one configuration may include.
const MAX_INCLUDED: usize = 256;

/// The place where a library was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) path: Vec<u8>,
    /// Whether only the tree's `ld.so.conf` leads there, which glibc reads through its cache alone.
    pub(super) by_configuration: bool,
}

/// Folders of a `DT_RUNPATH` or `DT_RPATH` of the file at `path`, with its variables filled in.
pub(super) fn folders(list: &[u8], path: &[u8]) -> Vec<Vec<u8>> {
    let replace = |entry: &[u8]| {
        let text = replaced(entry, b"ORIGIN", folder(path));
        let text = replaced(&text, b"LIB", b"lib/x86_64-linux-gnu");
        replaced(&text, b"PLATFORM", b"x86_64")
    };
    let absolute = |entry: &Vec<u8>| entry.starts_with(b"/") && entry.len() <= 4096;
    // A relative or empty entry means the folder in which a program happens to run.
    list.split(|byte| *byte == b':').take(MAX_FOLDERS).map(replace).filter(absolute).collect()
}

/// Replaces `$NAME` and `${NAME}`.
fn replaced(text: &[u8], name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let braced = || after.strip_prefix(b"{")?.strip_prefix(name)?.strip_prefix(b"}");
        let plain = || {
            let left = after.strip_prefix(name)?;
            let goes_on = left.first().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
            (!goes_on).then_some(left)
        };
        // The bound keeps a list of nothing but variables from growing without end.
        let hit = (*first == b'$' && output.len() <= 8192).then(|| braced().or_else(plain)).flatten();
        match hit {
            Some(left) => {
                output.extend_from_slice(value);
                rest = left;
            }
            None => {
                output.push(*first);
                rest = after;
            }
        }
    }
    output
}

/// Finds a library in `own` folders, then in the default ones, then in those of the configuration.
pub(super) fn find(
    tree: &Tree,
    name: &[u8],
    own: &[Vec<u8>],
    configured: &[Vec<u8>],
    fits: &mut dyn FnMut(InodeId) -> bool,
) -> Option<Found> {
    let sure = own.iter().map(Vec::as_slice).chain(DEFAULT_FOLDERS).map(|folder| (folder, false));
    for (folder, by_configuration) in sure.chain(configured.iter().map(|folder| (folder.as_slice(), true))) {
        let path = [folder, b"/", name].concat();
        let Ok(found) = resolve(tree, &path) else { continue };
        if matches!(tree.get(found.id).kind, Kind::File(_)) && fits(found.id) {
            return Some(Found { path, by_configuration });
        }
    }
    None
}

/// Reads the folders of the tree's `/etc/ld.so.conf`. `read` gives the content of a file.
pub(super) fn configured(tree: &Tree, read: &dyn Fn(&Content) -> Vec<u8>) -> Vec<Vec<u8>> {
    let mut left: Vec<Vec<u8>> = vec![b"/etc/ld.so.conf".to_vec()];
    let mut folders = Vec::new();
    let mut files = 0;
    while let Some(path) = left.pop() {
        files += 1;
        let Ok(found) = resolve(tree, &path) else { continue };
        let Kind::File(content) = &tree.get(found.id).kind else { continue };
        if files > MAX_INCLUDED {
            break;
        }
        for line in read(content).split(|byte| *byte == b'\n') {
            let line = line.split(|byte| *byte == b'#').next().unwrap_or_default().trim_ascii();
            if let Some(pattern) = line.strip_prefix(b"include ") {
                left.extend(included(tree, pattern.trim_ascii()));
            } else if line.starts_with(b"/") && folders.len() < MAX_FOLDERS {
                folders.push(line.to_vec());
            }
        }
    }
    folders
}

/// Returns the files that a pattern as `/etc/ld.so.conf.d/*.conf` names, the last one first.
fn included(tree: &Tree, pattern: &[u8]) -> Vec<Vec<u8>> {
    let within = folder(pattern);
    let Ok(glob) = globset::Glob::new(&shown(pattern)) else { return Vec::new() };
    let matcher = glob.compile_matcher();
    let Ok(found) = resolve(tree, within) else { return Vec::new() };
    let Kind::Directory(entries) = &tree.get(found.id).kind else { return Vec::new() };
    let paths = entries.keys().rev().map(|name| [within, b"/", name].concat());
    paths.filter(|path| matcher.is_match(shown(path))).take(MAX_INCLUDED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_a_search_path_are_filled_in() {
        let read = |list: &str| {
            let found = folders(list.as_bytes(), b"/usr/lib/app/bin/x");
            found.iter().map(|folder| shown(folder)).collect::<Vec<_>>().join(":")
        };
        assert_eq!(read("$ORIGIN/../lib:${ORIGIN}"), "/usr/lib/app/bin/../lib:/usr/lib/app/bin");
        assert_eq!(read("/opt/$LIB:/x/$PLATFORM"), "/opt/lib/x86_64-linux-gnu:/x/x86_64");
        assert_eq!(read("$ORIGINAL:relative::/a$"), "/a$");
        assert!(folders(&b"$ORIGIN".repeat(10_000), b"/usr/x").is_empty());
    }
}
