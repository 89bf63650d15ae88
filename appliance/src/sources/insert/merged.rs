//! The merged `/usr`, pure: the folders of the root that are links to `usr/…`, and targets that this move affects.
//!
//! Layout: Debian's policy and `usrmerge`. An archive from before the merge has its files in both places.

use super::names;

/// Folders of the root that lie below `usr/`.
const MERGED: [&[u8]; 6] = [b"bin", b"sbin", b"lib", b"lib32", b"lib64", b"libx32"];

/// Whether this name of the root is a link to `usr/…`.
pub fn is_merged(name: &[u8]) -> bool {
    MERGED.contains(&name)
}

/// A target of a link after the move.
#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    /// As the archive has it.
    Unchanged,
    /// The link would name itself: `/usr/bin/x` was a link to `/bin/x`, or the other way round.
    Itself,
    /// The text led elsewhere from the link's new place.
    Moved(Vec<u8>),
}

/// Returns the target of a link at `place`, whose names are as the archive has them.
pub fn target(place: &[&[u8]], text: &[u8]) -> Target {
    let folder = &place[..place.len().saturating_sub(1)];
    let before = follow(folder, text);
    let goal = merged(&before);
    let own = merged(place);
    if goal == own && before != place {
        return Target::Itself;
    }
    if !text.starts_with(b"/") && place.len() > 1 && is_merged(place[0]) {
        let after = follow(&merged(folder), text);
        if merged(&after) != goal {
            return Target::Moved(names::absolute(before.iter().copied()));
        }
    }
    Target::Unchanged
}

/// Returns the place below `usr/` where a path lies.
pub fn merged<'a>(path: &[&'a [u8]]) -> Vec<&'a [u8]> {
    match path.first() {
        Some(first) if is_merged(first) => [&[&b"usr"[..]], path].concat(),
        _ => path.to_vec(),
    }
}

/// Follows a target by its text, from a folder. Links on the way are not looked up.
fn follow<'a>(folder: &[&'a [u8]], text: &'a [u8]) -> Vec<&'a [u8]> {
    let mut names = if text.starts_with(b"/") { Vec::new() } else { folder.to_vec() };
    for name in text.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                names.pop();
            }
            _ => names.push(name),
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(place: &str, text: &str) -> Target {
        target(&names::split(place.as_bytes()).unwrap(), text.as_bytes())
    }

    #[test]
    fn a_link_between_both_places_of_one_file_is_itself() {
        assert_eq!(of("usr/bin/x", "/bin/x"), Target::Itself);
        assert_eq!(of("usr/bin/x", "../../bin/x"), Target::Itself);
        assert_eq!(of("bin/x", "../usr/bin/x"), Target::Itself);
        // A link to itself was one before, too: it is the archive's own.
        assert_eq!(of("bin/x", "x"), Target::Unchanged);
    }

    #[test]
    fn a_relative_target_that_left_the_folder_is_put_right() {
        assert_eq!(of("bin/x", "../etc/alternatives/x"), Target::Moved(b"/etc/alternatives/x".to_vec()));
        assert_eq!(of("lib/a/b", "../../usr/share/c"), Target::Moved(b"/usr/share/c".to_vec()));
        assert_eq!(of("bin/x", "../lib/y"), Target::Unchanged);
        assert_eq!(of("lib/a/b", "../c"), Target::Unchanged);
        assert_eq!(of("bin/x", "/etc/y"), Target::Unchanged);
        assert_eq!(of("usr/bin/x", "../../etc/y"), Target::Unchanged);
    }
}
