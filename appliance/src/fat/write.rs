//! Writing of a planned volume, front to back.

use std::io::{self, Write};

use super::entry::{self, Attributes};
use super::error::FatError;
use super::folders::Child;
use super::geometry::{FIRST_CLUSTER, MEDIA};
use super::plan::{Clusters, Plan};
use super::{CLUSTER_BYTES, name};
use crate::contents::{self, Contents, CopyError, Counted};

/// Marks the last cluster of a file: 0xFFF8 to 0xFFFF.
const LAST: u16 = 0xFFFF;

impl Plan<'_> {
    /// Writes the volume, [`size_bytes`](Self::size_bytes) bytes.
    ///
    /// Contents are read in the order of paths, each once. Memory: 512 KiB, and the largest folder.
    ///
    /// # Errors
    ///
    /// Fails when a content cannot be read or the output does not take the bytes.
    pub fn write(&self, contents: &dyn Contents, output: &mut dyn Write) -> Result<(), FatError> {
        let mut output = Counted::new(output);
        let result = self.write_tables(&mut output).and_then(|()| self.write_folders(&mut output));
        result.map_err(|source| FatError::Write { offset: output.position(), source })?;
        let mut buffer = Vec::new();
        for file in &self.files {
            let copied = contents::copy(file.content, contents, &mut buffer, &mut output).and_then(|()| {
                output.pad_to(output.position().next_multiple_of(CLUSTER_BYTES)).map_err(CopyError::Write)
            });
            copied.map_err(|fault| match fault {
                CopyError::Read { offset, source } => {
                    FatError::Read { path: file.path.to_owned(), offset, source }
                }
                CopyError::Write(source) => FatError::Write { offset: output.position(), source },
            })?;
        }
        let end = output.pad_to(self.size_bytes());
        end.map_err(|source| FatError::Write { offset: output.position(), source })
    }

    /// Writes boot sector, both FATs and the root.
    fn write_tables<W: Write>(&self, output: &mut Counted<W>) -> io::Result<()> {
        output.write_all(&self.geometry.boot_sector(self.id, &self.label, self.first_sector))?;
        output.pad_to(self.geometry.reserved_bytes())?;
        let mut fat = self.encode_fat();
        fat.resize(self.geometry.fat_bytes() as usize, 0);
        output.write_all(&fat)?;
        output.write_all(&fat)?;
        output.write_all(&self.encode_folder(0))?;
        output.pad_to(self.geometry.data_bytes())
    }

    fn write_folders<W: Write>(&self, output: &mut Counted<W>) -> io::Result<()> {
        for index in 1..self.folders.len() {
            output.write_all(&self.encode_folder(index))?;
            output.pad_to(output.position().next_multiple_of(CLUSTER_BYTES))?;
        }
        Ok(())
    }

    /// Returns the FAT up to the last cluster in use.
    fn encode_fat(&self) -> Vec<u8> {
        let mut fat = Vec::new();
        let mut put = |number: u16| fat.extend_from_slice(&number.to_le_bytes());
        // Number 0 repeats the medium; number 1 says that the volume was left clean.
        put(0xFF00 | u16::from(MEDIA));
        put(LAST);
        for Clusters { first, count } in self.folder_clusters.iter().chain(&self.file_clusters) {
            for at in 1..=*count {
                put(if at == *count { LAST } else { first + at });
            }
        }
        fat
    }

    /// Returns the entries of a folder.
    fn encode_folder(&self, index: usize) -> Vec<u8> {
        let folder = &self.folders[index];
        let mut output = Vec::new();
        if index == 0 {
            entry::encode_short(&self.label, Attributes::Label, self.time, 0, 0, &mut output);
        } else {
            let dots = [(b".          ", index), (b"..         ", folder.parent)];
            for (short, target) in dots {
                let cluster = self.folder_clusters[target].first;
                entry::encode_short(short, Attributes::Folder, self.time, cluster, 0, &mut output);
            }
        }
        for ((name, child), short) in folder.entries().zip(&self.short_names[index]) {
            let (attributes, size) = match child {
                Child::Folder(_) => (Attributes::Folder, 0),
                // A file fits its volume, so its size fits 32 bits.
                Child::File(file) => (Attributes::File, self.files[file].content.len() as u32),
            };
            let first = self.clusters(child).first;
            debug_assert!(name::is_valid(name) && (first == 0 || u64::from(first) >= FIRST_CLUSTER));
            entry::encode_long(name, short, &mut output);
            entry::encode_short(short, attributes, self.time, first, size, &mut output);
        }
        output
    }
}
