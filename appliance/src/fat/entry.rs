//! Entries of folders: 32 bytes each, and before them those of the long name.

use super::geometry::ENTRY_BYTES;
use super::name::{self, ShortName};
use super::time::FatTime;

/// UTF-16 units in an entry of a long name.
const UNITS: usize = 13;

/// Places of the units in an entry of a long name.
const UNIT_PLACES: [usize; UNITS] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];

/// The kind of an entry: its attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attributes {
    Label = 0x08,
    Folder = 0x10,
    File = 0x20,
}

/// Returns the number of entries that a name takes.
pub(super) fn count(name: &str) -> u64 {
    if name::is_short(name) { 1 } else { 1 + name.encode_utf16().count().div_ceil(UNITS) as u64 }
}

/// Appends an entry with a short name. `size` is in bytes, 0 for folders.
pub(super) fn encode_short(
    short: &ShortName,
    attributes: Attributes,
    time: FatTime,
    cluster: u16,
    size: u32,
    output: &mut Vec<u8>,
) {
    output.extend_from_slice(short);
    // Attributes, no flags of case, no hundredths of a second.
    output.extend_from_slice(&[attributes as u8, 0, 0]);
    output.extend_from_slice(&time.time.to_le_bytes());
    output.extend_from_slice(&time.date.to_le_bytes());
    output.extend_from_slice(&time.date.to_le_bytes());
    output.extend_from_slice(&[0, 0]);
    output.extend_from_slice(&time.time.to_le_bytes());
    output.extend_from_slice(&time.date.to_le_bytes());
    output.extend_from_slice(&cluster.to_le_bytes());
    output.extend_from_slice(&size.to_le_bytes());
}

/// Appends the entries of a long name, last part first, where `name` is not its own short name.
pub(super) fn encode_long(name: &str, short: &ShortName, output: &mut Vec<u8>) {
    if name::is_short(name) {
        return;
    }
    let units: Vec<u16> = name.encode_utf16().collect();
    let parts = units.chunks(UNITS).enumerate();
    let last = parts.len();
    for (at, part) in parts.rev() {
        let number = at as u8 + 1;
        let mut entry = [0; ENTRY_BYTES as usize];
        entry[0] = if usize::from(number) == last { number | 0x40 } else { number };
        entry[11] = 0x0F;
        entry[13] = checksum(short);
        let padding = std::iter::once(0).chain(std::iter::repeat(u16::MAX));
        for (place, unit) in UNIT_PLACES.iter().zip(part.iter().copied().chain(padding)) {
            entry[*place..*place + 2].copy_from_slice(&unit.to_le_bytes());
        }
        output.extend_from_slice(&entry);
    }
}

/// Returns the sum that ties a long name to its short one.
fn checksum(short: &ShortName) -> u8 {
    short.iter().fold(0u8, |sum, &byte| sum.rotate_right(1).wrapping_add(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_takes_an_entry_for_13_units() {
        for (name, entries) in [("A.B", 1), ("a.b", 2), ("abcdefghijklm", 2), ("abcdefghijklmn", 3)] {
            let mut output = Vec::new();
            encode_long(name, b"ABC~1      ", &mut output);
            assert_eq!(count(name), entries, "{name}");
            assert_eq!(output.len() as u64, (entries - 1) * ENTRY_BYTES, "{name}");
        }
    }
}
