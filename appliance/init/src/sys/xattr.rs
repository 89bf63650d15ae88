//! Extended attributes.

use std::{io, path::Path};

use super::{abi, c_path, c_string, check, length};

/// Copies all extended attributes of `from` to `to`, links themselves and not their targets.
pub fn copy_xattrs(from: &Path, to: &Path) -> io::Result<()> {
    const MAX_LIST: usize = 65536;
    let (from, to) = (c_path(from)?, c_path(to)?);
    let mut names = vec![0_u8; MAX_LIST];
    // SAFETY: the call writes at most as many bytes as the slice has.
    let size = length(unsafe { abi::llistxattr(from.as_ptr(), names.as_mut_ptr().cast(), names.len()) })?;
    for name in names[..size].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name = c_string(name)?;
        let mut value = vec![0_u8; MAX_LIST];
        // SAFETY: the call writes at most as many bytes as the slice has.
        let size = length(unsafe {
            abi::lgetxattr(from.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len())
        })?;
        // SAFETY: the call reads `size` bytes of the slice, which the call before it wrote.
        check(unsafe { abi::lsetxattr(to.as_ptr(), name.as_ptr(), value.as_ptr().cast(), size, 0) })?;
    }
    Ok(())
}
