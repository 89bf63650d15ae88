//! What can be wrong with a VMDK.

/// Why a VMDK is refused: what was expected, what was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The file ends before a structure does.
    #[error("the file has {found} bytes, {needed} are needed: it was cut off")]
    Truncated {
        /// Bytes that the structure reaches to.
        needed: u64,
        /// Bytes that there are.
        found: u64,
    },
    /// A sparse extent does not begin with `KDMV`.
    #[error("the first bytes are not those of a sparse extent, \"KDMV\"")]
    Magic,
}
