//! The initrd: a cpio archive of the init and its modules, compressed.
//!
//! The format is "newc" (`Documentation/driver-api/early-userspace/buffer-format.rst` of Linux): a header of 110
//! characters with numbers in hexadecimal, the name with a NUL, the content, both padded to 4 bytes. All times are 0,
//! all owners 0, inodes are counted, so that equal input makes equal bytes.

use std::io;

use thiserror::Error;

use super::modules::Module;

/// Level of zstd: at 19 the archive is 6 % smaller than at 9, and takes a second.
const LEVEL: i32 = 19;

/// The reason that there is no initrd.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InitrdError {
    /// A file is longer than the format can tell.
    #[error("a file of {0} bytes does not fit into a cpio archive")]
    TooLarge(usize),
    /// The compressor failed.
    #[error("zstd failed")]
    Compress(#[source] io::Error),
}

/// Makes an initrd: `/init`, `/modules/N.ko` and `/modules/order`, which names them in the order of loading, one a
/// line.
///
/// # Errors
///
/// A file of 4 GiB or more; a compressor that fails.
pub fn initrd(init: &[u8], modules: &[Module]) -> Result<Vec<u8>, InitrdError> {
    let archive = archive(init, modules)?;
    zstd::bulk::compress(&archive, LEVEL).map_err(InitrdError::Compress)
}

/// Makes the archive alone.
///
/// # Errors
///
/// A file of 4 GiB or more.
pub fn archive(init: &[u8], modules: &[Module]) -> Result<Vec<u8>, InitrdError> {
    let mut output = Archive { bytes: Vec::new(), inode: 0 };
    output.entry("init", 0o100_755, init)?;
    // Init makes the folder where it puts the root; the kernel makes none.
    output.entry("modules", 0o040_755, &[])?;
    let mut order = String::new();
    for (module, number) in modules.iter().zip(0_usize..) {
        output.entry(&format!("modules/{number}.ko"), 0o100_644, &module.bytes)?;
        order.push_str(&format!("{number}.ko\n"));
    }
    output.entry("modules/order", 0o100_644, order.as_bytes())?;
    output.entry("TRAILER!!!", 0, &[])?;
    Ok(output.bytes)
}

struct Archive {
    bytes: Vec<u8>,
    inode: u32,
}

impl Archive {
    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<(), InitrdError> {
        let size = u32::try_from(content.len()).map_err(|_| InitrdError::TooLarge(content.len()))?;
        let is_trailer = mode == 0;
        self.inode = if is_trailer { 0 } else { self.inode.saturating_add(1) };
        let links = if mode & 0o040_000 == 0 { 1 } else { 2 };
        let name_size =
            u32::try_from(name.len()).map_err(|_| InitrdError::TooLarge(name.len()))?.saturating_add(1);
        // inode, mode, uid, gid, links, time, size, device (2), device of a node (2), length of the name, checksum
        let fields = [self.inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }
}
