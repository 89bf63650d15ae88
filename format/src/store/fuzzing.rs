//! Doors for the harness in `fuzz/`.

use super::journal::Journal;
use super::names::RefName;

/// Reads a journal and gives it written anew; `None` where it is not believed.
#[must_use]
pub fn journal(bytes: &[u8]) -> Option<Vec<u8>> {
    Journal::decode(bytes).ok().map(|journal| journal.encode())
}

/// The name whose reference lies in the object `name`.
#[must_use]
pub fn reference_of_object(name: &str) -> Option<RefName> {
    RefName::from_object(name)
}

/// The object in which the reference of `name` lies.
#[must_use]
pub fn object_of_reference(name: &RefName) -> String {
    name.object()
}
