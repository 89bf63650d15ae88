//! Entry points for the harness in `fuzz/`.

use super::journal::Journal;
use super::names::RefName;

/// Decodes a journal and encodes it again; `None` if it is rejected.
#[must_use]
pub fn journal(bytes: &[u8]) -> Option<Vec<u8>> {
    Journal::decode(bytes).ok().map(|journal| journal.encode())
}

/// Returns the name whose reference is in the object `name`.
#[must_use]
pub fn reference_of_object(name: &str) -> Option<RefName> {
    RefName::from_object(name)
}

/// Returns the object that contains the reference of `name`.
#[must_use]
pub fn object_of_reference(name: &RefName) -> String {
    name.object().into()
}
