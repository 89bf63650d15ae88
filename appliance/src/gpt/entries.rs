//! The size of the table.

/// Entries of a table: the least that the specification allows.
pub(super) const ENTRIES: usize = 128;

/// Bytes of an entry.
pub(super) const ENTRY_BYTES: usize = 128;
