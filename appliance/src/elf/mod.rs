//! Needs that an ELF file states: its interpreter, its libraries, their search paths, and notes about `dlopen`.
//!
//! The program headers are read, as the kernel and `ld.so` do, never the section headers: a stripped or hostile file
//! may have any. `object` reads the structures: safe code over a slice, no copy, each range checked against the bytes
//! present. (`goblin` builds vectors sized by counts of the header.) Names are slices of the file, so that parsing
//! allocates by the number of entries alone, and that number has a limit.
//!
//! [`parse`] is for programs and libraries of x86-64. Others are a fault of their own, [`ElfFault::Foreign`], since a
//! library of another machine is passed over in a search where a damaged one is an error.
//!
//! Sources: the System V ABI (generic, and AMD64), `elf(5)`, `ld.so(8)`, and the specification "ELF dlopen metadata"
//! of the UAPI Group for the notes.

mod notes;
mod parse;
mod strings;

pub use self::{
    notes::{DlopenNote, Priority},
    parse::{Elf, ElfFault, MAX_NEEDED, is_elf, parse},
    strings::library_names,
};
