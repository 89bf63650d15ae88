//! VMDKs made for tests, and written ones checked, based on VMware's note and not on the library.
#![allow(missing_docs, missing_debug_implementations, reason = "a VMDK's parts have the note's names")]

pub mod layout;
pub mod made;
pub mod refusal;
