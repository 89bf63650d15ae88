//! The disk as a file.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use crate::{
    boot::{CommandLine, Files, INITRD, KERNEL, Parts, Programs, install},
    contents::Contents,
    erofs, fat,
    gpt::{Guid, SECTOR_BYTES},
    tree::Timestamp,
};

use super::{
    DiskError,
    identity::Identity,
    layout::{BootParts, esp_bytes, table},
};

/// Unit of holes in the file.
const HOLE_BYTES: usize = 4096;

/// Consecutive bytes of the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// BLAKE3 digest of these bytes.
    pub blake3: [u8; 32],
}

/// A disk that was written.
#[derive(Debug, Clone)]
pub struct WrittenDisk {
    /// Its size in bytes, whole 2 MiB.
    pub size_bytes: u64,
    /// The kernel.
    pub kernel: Place,
    /// The initrd.
    pub initrd: Option<Place>,
    /// The command line.
    pub command_line: String,
    /// GUID of the root partition.
    pub root: Guid,
}

/// Writes a disk into an empty file. Runs of zeros become holes.
///
/// syslinux works in a folder below `temporary` where a BIOS is to start the disk.
///
/// # Errors
///
/// See [`DiskError`].
pub fn write(
    root: &erofs::Plan<'_>,
    contents: &dyn Contents,
    parts: &BootParts<'_>,
    time: Timestamp,
    temporary: &Path,
    file: &File,
) -> Result<WrittenDisk, DiskError> {
    let length = file.metadata().map_err(DiskError::at(0))?.len();
    if length != 0 {
        return Err(DiskError::NotEmpty { length });
    }
    let esp_size = esp_bytes(parts)?;
    // Places do not depend on names.
    let draft = table(&Identity::of(&blake3::hash(&[])), parts, esp_size, root.size_bytes())?;
    let [esp_place, root_place] = draft.places() else {
        unreachable!("the table has two partitions");
    };
    let mut hashing =
        Hashing { hasher: blake3::Hasher::new(), output: Sparse::at(file, root_place.offset_bytes) };
    root.write([0; 16], contents, &mut hashing)?;
    let identity = Identity::of(&hashing.hasher.finalize());
    let first = root.first_block(identity.erofs);
    file.write_all_at(&first, root_place.offset_bytes).map_err(DiskError::at(root_place.offset_bytes))?;
    let table = table(&identity, parts, esp_size, root.size_bytes())?;
    file.set_len(table.size_bytes()).map_err(DiskError::at(table.size_bytes()))?;
    file.write_all_at(&table.head(), 0).map_err(DiskError::at(0))?;
    let tail = table.tail();
    let tail_at = table.size_bytes() - tail.len() as u64;
    file.write_all_at(&tail, tail_at).map_err(DiskError::at(tail_at))?;
    let volume = fat::Volume {
        size_bytes: esp_size,
        id: identity.fat,
        label: "MELV".into(),
        time,
        first_sector: u32::try_from(esp_place.offset_bytes / SECTOR_BYTES).unwrap_or(u32::MAX),
    };
    let command_line = CommandLine::new(identity.root, parts.command_line)?;
    let esp = Esp { volume, parts, command_line: &command_line, temporary };
    let (kernel, initrd) = esp.write(contents, file, esp_place.offset_bytes)?;
    Ok(WrittenDisk {
        size_bytes: table.size_bytes(),
        kernel,
        initrd,
        command_line: command_line.to_string(),
        root: identity.root,
    })
}

/// The EFI system partition.
struct Esp<'a> {
    volume: fat::Volume,
    parts: &'a BootParts<'a>,
    command_line: &'a CommandLine,
    temporary: &'a Path,
}

impl Esp<'_> {
    fn write(
        &self,
        contents: &dyn Contents,
        file: &File,
        offset: u64,
    ) -> Result<(Place, Option<Place>), DiskError> {
        let BootParts { kernel, initrd, uefi, bios, .. } = *self.parts;
        let files = Files::new(&Parts { kernel, initrd, uefi, bios: bios.is_some() }, self.command_line)?;
        let fat_files = files.as_fat();
        let plan = fat::Plan::new(&self.volume, &fat_files)?;
        plan.write(contents, &mut Sparse::at(file, offset))?;
        if let Some(bios) = bios {
            let programs =
                Programs { syslinux: bios.syslinux, mtools: bios.mtools, libraries: bios.libraries };
            for patch in install(&self.volume, &files, &programs, self.temporary)? {
                let at = offset + patch.offset_bytes;
                file.write_all_at(&patch.bytes, at).map_err(DiskError::at(at))?;
            }
        }
        let place = |path: &str, length: u64| {
            let at = offset + plan.offset_bytes(path).unwrap_or_else(|| unreachable!("{path} was placed"));
            digest(file, at, length)
        };
        let initrd = initrd.map(|initrd| place(INITRD, initrd.len())).transpose()?;
        Ok((place(KERNEL, kernel.len())?, initrd))
    }
}

/// Digests consecutive bytes of the disk as they were written.
fn digest(file: &File, offset: u64, length: u64) -> Result<Place, DiskError> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 18];
    let mut done = 0;
    while done < length {
        let count = usize::try_from(length - done).unwrap_or(usize::MAX).min(buffer.len());
        file.read_exact_at(&mut buffer[..count], offset + done).map_err(DiskError::at(offset + done))?;
        hasher.update(&buffer[..count]);
        done += count as u64;
    }
    Ok(Place { offset, length, blake3: *hasher.finalize().as_bytes() })
}

/// Writes to a file from a position on; zeros become holes of a new file.
struct Sparse<'f> {
    file: &'f File,
    at: u64,
}

impl<'f> Sparse<'f> {
    fn at(file: &'f File, at: u64) -> Self {
        Self { file, at }
    }
}

impl Write for Sparse<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Whole units of the grid, so that a hole is one for the importer, too.
        let left = HOLE_BYTES - (self.at % HOLE_BYTES as u64) as usize;
        let is_zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
        let head = left.min(bytes.len());
        let skip_head = is_zero(&bytes[..head]);
        let mut end = head;
        while end < bytes.len() {
            let next = (end + HOLE_BYTES).min(bytes.len());
            if is_zero(&bytes[end..next]) != skip_head {
                break;
            }
            end = next;
        }
        if !skip_head {
            self.file.write_all_at(&bytes[..end], self.at)?;
        }
        self.at += end as u64;
        Ok(end)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Digests all that is written.
struct Hashing<'f> {
    hasher: blake3::Hasher,
    output: Sparse<'f>,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.output.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
