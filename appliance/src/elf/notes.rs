//! Notes about `dlopen`: JSON in an ELF note of the owner `FDO`.

use object::{LittleEndian as LE, elf::FileHeader64, read::elf::NoteIterator};
use serde::Deserialize;

/// Type of the note, from the specification "ELF dlopen metadata" of the UAPI Group.
const DLOPEN_NOTE: u32 = 0x407c_0c0a;
/// Entries of all notes of a file at most, and names of one entry.
const MAX_ENTRIES: usize = 256;
/// Longest note in bytes. systemd's have below 1 KiB.
const MAX_NOTE: usize = 64 << 10;

/// A library that a file opens itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DlopenNote {
    /// Names of the library, the best one first: one of them is enough.
    pub soname: Vec<String>,
    /// Weight of its absence.
    #[serde(default)]
    pub priority: Priority,
    /// Purpose.
    #[serde(default)]
    pub feature: String,
}

/// Weight of the absence of a library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// The program does not work without it.
    Required,
    /// The program lacks something that most want.
    #[default]
    Recommended,
    /// The program lacks something that few want.
    Suggested,
}

/// Reads the notes about `dlopen`. Others, and those that cannot be read, are passed over.
pub(super) fn dlopen(mut notes: NoteIterator<'_, FileHeader64<LE>>) -> Vec<DlopenNote> {
    let mut found = Vec::new();
    while let Ok(Some(note)) = notes.next() {
        if note.n_type(LE) != DLOPEN_NOTE || note.name() != b"FDO" || note.desc().len() > MAX_NOTE {
            continue;
        }
        let text = note.desc().split(|byte| *byte == 0).next().unwrap_or_default();
        let entries: Vec<DlopenNote> = serde_json::from_slice(text).unwrap_or_default();
        found.extend(entries.into_iter().filter(|entry| entry.soname.len() <= MAX_ENTRIES));
        if found.len() > MAX_ENTRIES {
            found.truncate(MAX_ENTRIES);
            break;
        }
    }
    found
}
