//! The gate: permission to open the files that a disk names.
//!
//! A descriptor, a differencing disk or a chain names other files. A hostile one names `/etc/shadow`, a
//! device whose opening has effects, or a pipe that never answers. So the caller says which of these files may be
//! opened, and `gated_folder` alone opens them.

/// Permission to open the files that a disk names: the extents of a VMDK descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Gate {
    /// Regular files in the folder of the disk, by their plain names. Paths, links, devices, pipes and
    /// sockets are refused without being opened.
    #[default]
    Beside,
    /// No file: a disk is the one file that the caller names. Files beside it are not looked at either.
    Nothing,
}
