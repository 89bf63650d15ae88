//! Entry points for the harness in `fuzz/`.

use crate::plain_name;
use crate::vmdk::VmdkViolation;
use crate::vmdk::layout::descriptor;
use crate::vmdk::layout::extent::{self, Extent};

/// The part of a descriptor that the harness checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescriptorFacts {
    /// The disk type, as written.
    pub create_type: String,
    /// The extents in disk order.
    pub extents: Vec<Extent>,
    /// The sum of their sectors.
    pub sectors: u64,
    /// Whether the disk is of a supported kind.
    pub is_supported: bool,
}

/// Parses the text of a descriptor.
///
/// # Errors
/// The first fault in it.
pub fn vmdk_descriptor(bytes: &[u8], is_embedded: bool) -> Result<DescriptorFacts, VmdkViolation> {
    let read = descriptor::Descriptor::parse(bytes, is_embedded)?;
    Ok(DescriptorFacts {
        sectors: read.sectors(),
        is_supported: read.check_supported().is_ok(),
        create_type: read.create_type,
        extents: read.extents,
    })
}

/// Parses the line of an extent.
///
/// # Errors
/// The syntax that was expected.
pub fn vmdk_extent(line: &str) -> Result<Extent, &'static str> {
    extent::parse(line)
}

/// Returns the reason not to open a file of this name, if there is one.
#[must_use]
pub fn vmdk_name_refusal(name: &str) -> Option<&'static str> {
    plain_name::name_refusal(name)
}
