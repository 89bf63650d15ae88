//! Doors for the harness in `fuzz/`.

use super::extent::{self, Extent};
use super::{Fault, descriptor};

/// A descriptor as far as the harness judges it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// As written.
    pub create_type: String,
    /// In the order of the disk.
    pub extents: Vec<Extent>,
    /// Sectors of all of them.
    pub sectors: u64,
    /// Whether it is one that is read.
    pub is_supported: bool,
}

/// Reads the text of a descriptor.
///
/// # Errors
/// What is wrong with it.
pub fn vmdk_descriptor(bytes: &[u8], is_embedded: bool) -> Result<Descriptor, Fault> {
    let read = descriptor::Descriptor::parse(bytes, is_embedded)?;
    Ok(Descriptor {
        sectors: read.sectors(),
        is_supported: read.check_supported().is_ok(),
        create_type: read.create_type,
        extents: read.extents,
    })
}

/// Reads a line about an extent.
///
/// # Errors
/// What was expected in it.
pub fn vmdk_extent(line: &str) -> Result<Extent, &'static str> {
    extent::parse(line)
}

/// Tells why a file of this name is not opened, if it is not.
#[must_use]
pub fn vmdk_name_fault(name: &str) -> Option<&'static str> {
    extent::name_fault(name)
}
