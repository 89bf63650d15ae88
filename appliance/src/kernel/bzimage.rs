//! The bzImage: a kernel's setup header, and the compressed ELF kernel in it.
//!
//! The layout is that of `Documentation/arch/x86/boot.rst` of Linux: the header starts at 0x1f1, the protected-mode
//! part after `setup_sects` + 1 sectors, the payload `payload_offset` bytes into that part.

use thiserror::Error;

use super::unpack::{UnpackFault, unpack};

/// Largest unpacked kernel in bytes. Debian's have 50 MiB.
const MAX_KERNEL: usize = 256 << 20;
/// Oldest protocol with a payload that is told: 2.08, Linux 2.6.26.
const LEAST_PROTOCOL: u16 = 0x208;
const SECTOR: usize = 512;
/// Longest version text in bytes that is looked at.
const MAX_VERSION: usize = 512;

/// A kernel as boot loaders know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BzImage<'k> {
    /// Version of the boot protocol, as 0x20f.
    pub protocol: u16,
    /// The text that `file` shows: release, builder, number and date.
    pub version: &'k str,
    /// Memory in bytes that the kernel needs from its load address while it starts.
    pub init_size: u32,
    payload: &'k [u8],
}

/// A fault of a kernel file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BzImageFault {
    /// The file is no bzImage.
    #[error("no bzImage of Linux")]
    NoKernel,
    /// The file has an older protocol.
    #[error("boot protocol {found:#x}; expected at least {LEAST_PROTOCOL:#x}")]
    Protocol {
        /// Version of the protocol.
        found: u16,
    },
    /// A field leads out of the file.
    #[error("the {0} of the kernel lies outside the file")]
    Outside(&'static str),
    /// The version is no text.
    #[error("the version of the kernel is no text")]
    Version,
    /// The payload cannot be unpacked.
    #[error("the kernel's payload: {0}")]
    Payload(#[from] UnpackFault),
    /// The payload is no ELF kernel.
    #[error("the kernel's payload unpacks to something that is no ELF file")]
    NoElf,
    /// The payload has another size than is told at its end.
    #[error("the kernel's payload unpacks to {found} bytes; expected {expected}")]
    Size {
        /// Size in bytes.
        found: usize,
        /// Size that the payload tells.
        expected: u32,
    },
}

impl<'k> BzImage<'k> {
    /// Reads the setup header.
    ///
    /// # Errors
    ///
    /// A file that is no bzImage, an old one, a field that leads out of the file.
    pub fn parse(bytes: &'k [u8]) -> Result<Self, BzImageFault> {
        if bytes.get(0x1fe..0x200) != Some(&[0x55, 0xaa]) || bytes.get(0x202..0x206) != Some(b"HdrS") {
            return Err(BzImageFault::NoKernel);
        }
        let protocol = half(bytes, 0x206)?;
        if protocol < LEAST_PROTOCOL {
            return Err(BzImageFault::Protocol { found: protocol });
        }
        // "If the setup_sects field contains 0, the real value is 4."
        let sectors = match bytes.get(0x1f1) {
            Some(0) | None => 4,
            Some(sectors) => usize::from(*sectors),
        };
        let start = (sectors + 1) * SECTOR;
        let offset =
            start.checked_add(word(bytes, 0x248)? as usize).ok_or(BzImageFault::Outside("payload"))?;
        let end = offset.checked_add(word(bytes, 0x24c)? as usize).ok_or(BzImageFault::Outside("payload"))?;
        let payload = bytes.get(offset..end).ok_or(BzImageFault::Outside("payload"))?;
        let version = usize::from(half(bytes, 0x20e)?);
        let version = if version == 0 { "" } else { version_at(bytes, version + SECTOR, start)? };
        Ok(Self { protocol, version, init_size: word(bytes, 0x260)?, payload })
    }

    /// Returns the release, the first word of the version.
    #[must_use]
    pub fn release(&self) -> &'k str {
        self.version.split(' ').next().unwrap_or_default()
    }

    /// Unpacks the ELF kernel.
    ///
    /// # Errors
    ///
    /// A compression that is not supported, damaged data, more than 256 MiB, a size other than the payload tells.
    pub fn vmlinux(&self) -> Result<Vec<u8>, BzImageFault> {
        let output = unpack(self.payload, MAX_KERNEL)?;
        if !crate::elf::is_elf(&output) {
            return Err(BzImageFault::NoElf);
        }
        // The build appends the size to every compressed payload (`scripts/Makefile.lib`, size_append).
        if let (false, Some(size)) = (crate::elf::is_elf(self.payload), self.payload.last_chunk::<4>()) {
            let expected = u32::from_le_bytes(*size);
            if expected as usize != output.len() {
                return Err(BzImageFault::Size { found: output.len(), expected });
            }
        }
        Ok(output)
    }
}

fn version_at(bytes: &[u8], start: usize, end: usize) -> Result<&str, BzImageFault> {
    let text = bytes.get(start..end.min(bytes.len())).ok_or(BzImageFault::Outside("version"))?;
    let length = text.iter().take(MAX_VERSION).position(|byte| *byte == 0).ok_or(BzImageFault::Version)?;
    let text = std::str::from_utf8(&text[..length]).map_err(|_| BzImageFault::Version)?;
    if text.chars().any(char::is_control) { Err(BzImageFault::Version) } else { Ok(text) }
}

fn half(bytes: &[u8], at: usize) -> Result<u16, BzImageFault> {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk::<2>());
    field.map(|field| u16::from_le_bytes(*field)).ok_or(BzImageFault::Outside("header"))
}

fn word(bytes: &[u8], at: usize) -> Result<u32, BzImageFault> {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    field.map(|field| u32::from_le_bytes(*field)).ok_or(BzImageFault::Outside("header"))
}
