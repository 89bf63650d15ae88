//! Names of FAT: long ones in UTF-16, and the short one of 8 and 3 letters that each file has beside it.

use std::collections::{BTreeMap, BTreeSet};

use super::error::FatError;

/// UTF-16 units of a long name at most.
const LONG_UNITS: usize = 255;

/// Largest number at the end of a short name.
const MAX_TAIL: u32 = 999_999;

/// A short name, padded with spaces: 8 letters, 3 letters.
pub(super) type ShortName = [u8; 11];

/// Whether `name` can be a long name that every system reads.
///
/// UEFI's letters have 16 bits, so letters that take two units are refused.
pub(super) fn is_valid(name: &str) -> bool {
    let refused = |letter: char| {
        letter.len_utf16() > 1 || matches!(letter, '"' | '*' | '/' | ':' | '<' | '>' | '?' | '\\' | '|')
    };
    !name.is_empty()
        && name.encode_utf16().count() <= LONG_UNITS
        && !name.starts_with(' ')
        && !name.ends_with([' ', '.'])
        && !name.chars().any(|letter| letter.is_control() || refused(letter))
}

/// Returns the form in which two names of a folder must differ.
pub(super) fn folded(name: &str) -> String {
    name.to_uppercase()
}

fn is_short_letter(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"!#$%&'()-@^_`{}~".contains(&byte)
}

/// Returns the short form of a name that needs no change but the case of its letters.
fn exact(name: &str) -> Option<ShortName> {
    let upper = name.to_ascii_uppercase();
    let (base, extension) = upper.rsplit_once('.').unwrap_or((&upper, ""));
    let dotted = upper.contains('.');
    let fits = (1..=8).contains(&base.len()) && extension.len() <= 3 && (!dotted || !extension.is_empty());
    let plain = base.bytes().chain(extension.bytes()).all(is_short_letter);
    (fits && plain).then(|| pack(base.as_bytes(), extension.as_bytes()))
}

/// Whether a name is its own short form, so that it needs no long one.
pub(super) fn is_short(name: &str) -> bool {
    exact(name).is_some() && !name.bytes().any(|byte| byte.is_ascii_lowercase())
}

fn pack(base: &[u8], extension: &[u8]) -> ShortName {
    let mut short = [b' '; 11];
    for (to, from) in short[..8].iter_mut().zip(base) {
        *to = *from;
    }
    for (to, from) in short[8..].iter_mut().zip(extension) {
        *to = *from;
    }
    short
}

/// Returns a short name for each name of a folder, in the same order.
///
/// Names that fit keep their letters; the others are cut and numbered in the order given, `LONGNA~1.TXT`.
pub(super) fn short_names(names: &[&str]) -> Result<Vec<ShortName>, FatError> {
    let mut numbers = Numbers::default();
    numbers.taken.extend(names.iter().filter_map(|name| exact(name)));
    names.iter().map(|name| exact(name).map_or_else(|| numbers.take(name), Ok)).collect()
}

/// Short names of a folder that are in use.
#[derive(Debug, Default)]
struct Numbers {
    taken: BTreeSet<ShortName>,
    /// The last number given, by start and extension, so that many similar names cost no long searches.
    last: BTreeMap<(Vec<u8>, Vec<u8>), u32>,
}

impl Numbers {
    /// Returns a cut and numbered form of `name` that is free, and takes it.
    fn take(&mut self, name: &str) -> Result<ShortName, FatError> {
        let trimmed = name.trim_start_matches('.');
        let (base, extension) = trimmed.rsplit_once('.').unwrap_or((trimmed, ""));
        let (base, extension) = (letters(base, START_LETTERS), letters(extension, 3));
        let last = self.last.entry((base.clone(), extension.clone())).or_default();
        for number in *last + 1..=MAX_TAIL {
            let tail = format!("~{number}");
            let mut short: Vec<u8> = base.iter().copied().take(8 - tail.len()).collect();
            short.extend_from_slice(tail.as_bytes());
            let short = pack(&short, &extension);
            if self.taken.insert(short) {
                *last = number;
                return Ok(short);
            }
        }
        Err(FatError::NoShortName { name: name.to_owned() })
    }
}

/// Letters of a name before `~` and a number of one digit.
const START_LETTERS: usize = 6;

/// Returns the first letters of a part of a name as a short name has them.
fn letters(part: &str, most: usize) -> Vec<u8> {
    let kept = part.chars().filter(|letter| !matches!(letter, ' ' | '.'));
    let byte =
        |letter: char| u8::try_from(letter.to_ascii_uppercase()).ok().filter(|&byte| is_short_letter(byte));
    kept.map(|letter| byte(letter).unwrap_or(b'_')).take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shorts(names: &[&str]) -> Vec<String> {
        let shorts = short_names(names).unwrap();
        shorts.iter().map(|short| String::from_utf8(short.to_vec()).unwrap()).collect()
    }

    #[test]
    fn short_names_are_kept_cut_and_numbered() {
        let names =
            ["BOOTX64.EFI", "vmlinuz", "loader.conf", "loader.conf.old", ".hidden", "größe.txt", "a b.c d"];
        let expected = [
            "BOOTX64 EFI",
            "VMLINUZ    ",
            "LOADER~1CON",
            "LOADER~1OLD",
            "HIDDEN~1   ",
            "GR__E~1 TXT",
            "AB~1    CD ",
        ];
        assert_eq!(shorts(&names), expected);
    }

    #[test]
    fn a_number_that_a_name_has_already_is_passed_over() {
        assert_eq!(
            shorts(&["LONGNA~1", "longname one", "longname two"]),
            ["LONGNA~1   ", "LONGNA~2   ", "LONGNA~3   "]
        );
        let names: Vec<String> = (0..12).map(|at| format!("longname {at}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(shorts(&names)[8..11], ["LONGNA~9   ", "LONGN~10   ", "LONGN~11   "]);
    }

    #[test]
    fn names_that_a_system_could_not_read_are_refused() {
        let long = "n".repeat(256);
        for name in ["", ".", "..", "a.", "a ", " a", "a/b", "a\\b", "a:b", "a\nb", "a\0", "a?", "𝄞", &long]
        {
            assert!(!is_valid(name), "{name:?}");
        }
        for name in ["a", ".a", "a b", "vmlinuz-6.1.0-cloud-amd64", "größe", &long[1..]] {
            assert!(is_valid(name), "{name:?}");
        }
    }
}
