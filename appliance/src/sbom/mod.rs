//! The bill of materials of an appliance, for scanners and for licences.
//!
//! [`cyclonedx`] is a document of CycloneDX 1.5 in JSON, which vulnerability scanners and registries read. [`sources`]
//! lists the exact source packages: everyone that passes an appliance on must be able to offer these. Both are pure functions
//! of a lock, so that equal locks have equal texts: the serial number is made from the content, the time is the lock's
//! epoch.
//!
//! The document has few of the format's fields, and is written by serde alone. The crates that model the whole format
//! draw a new serial number or the clock, order fields otherwise from release to release, or bring XML, regular
//! expressions and licence lists with them; one of them reads the document back in a test.

mod cyclonedx;
mod sources;

pub use cyclonedx::cyclonedx;
pub use sources::sources;
