//! Places of the files that start a machine, for hypervisors that start a kernel themselves.

use serde::{Deserialize, Serialize};

use super::{BOOT_KEY, RecordError};

/// Version of the record.
const VERSION: u32 = 1;
/// Longest command line in bytes: `COMMAND_LINE_SIZE` of Linux for x86, without its NUL.
const MAX_COMMAND_LINE: usize = 2047;

/// Consecutive bytes of the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePlace {
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// BLAKE3 digest of these bytes, 64 hex digits.
    pub blake3: String,
}

/// The files that start a machine, and the kernel's command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootRecord {
    version: u32,
    /// The kernel, a bzImage.
    pub kernel: FilePlace,
    /// The initrd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initrd: Option<FilePlace>,
    /// Command line, ASCII.
    pub command_line: String,
    /// GUID of the root partition.
    pub root_partuuid: String,
}

impl BootRecord {
    /// Makes a record.
    #[must_use]
    pub fn new(
        kernel: FilePlace,
        initrd: Option<FilePlace>,
        command_line: String,
        root_partuuid: String,
    ) -> Self {
        Self { version: VERSION, kernel, initrd, command_line, root_partuuid }
    }

    /// Writes the record.
    ///
    /// # Errors
    ///
    /// None for a value that [`BootRecord::new`] made; serde's form has one.
    pub fn to_json(&self) -> Result<String, RecordError> {
        serde_json::to_string(self).map_err(|source| RecordError::Json { key: BOOT_KEY, source })
    }

    /// Reads a record of a disk of `disk_bytes`.
    ///
    /// # Errors
    ///
    /// No record; one of another version; places beyond the disk; a command line that no kernel takes.
    pub fn from_json(text: &str, disk_bytes: u64) -> Result<Self, RecordError> {
        let record: Self =
            serde_json::from_str(text).map_err(|source| RecordError::Json { key: BOOT_KEY, source })?;
        if record.version != VERSION {
            return Err(RecordError::Version { key: BOOT_KEY, found: record.version });
        }
        let fault =
            |field, found: String, expected| RecordError::Value { key: BOOT_KEY, field, found, expected };
        for place in std::iter::once(&record.kernel).chain(&record.initrd) {
            let end = place.offset.checked_add(place.length).filter(|end| *end <= disk_bytes);
            if place.length == 0 || end.is_none() {
                let found = format!("{} bytes at byte {}", place.length, place.offset);
                return Err(fault("kernel or initrd", found, "bytes of the disk"));
            }
            if place.blake3.len() != 64 || !place.blake3.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(fault("blake3", place.blake3.clone(), "64 hex digits"));
            }
        }
        let line = &record.command_line;
        if line.len() > MAX_COMMAND_LINE || !line.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            return Err(fault("command_line", line.chars().take(80).collect(), "at most 2047 visible ASCII"));
        }
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> BootRecord {
        let place = |offset| FilePlace { offset, length: 4096, blake3: "0a".repeat(32) };
        BootRecord::new(
            place(0),
            Some(place(8192)),
            "quiet".into(),
            "0f0f0f0f-0102-4000-8000-000000000003".into(),
        )
    }

    #[test]
    fn a_record_is_read_as_written() {
        let text = record().to_json().expect("text");
        assert_eq!(BootRecord::from_json(&text, 1 << 20).expect("a record"), record());
        let kernel = record()
            .to_json()
            .expect("text")
            .replace(",\"initrd\":{\"offset\":8192,\"length\":4096,\"blake3\":\"", "|");
        assert!(
            kernel.starts_with("{\"version\":1,\"kernel\":{\"offset\":0,\"length\":4096,\"blake3\":\""),
            "{kernel}"
        );
    }

    #[test]
    fn places_beyond_the_disk_and_lines_that_no_kernel_takes_are_refused() {
        let text = record().to_json().expect("text");
        assert!(BootRecord::from_json(&text, 12288).is_ok());
        assert!(BootRecord::from_json(&text, 12287).is_err());
        let changed = [
            ("\"offset\":8192", "\"offset\":18446744073709551615"),
            ("\"length\":4096", "\"length\":0"),
            ("quiet", "quiet\\n"),
            ("\"version\":1", "\"version\":0"),
            ("0a0a", "0g0a"),
        ];
        for (from, to) in changed {
            assert!(BootRecord::from_json(&text.replacen(from, to, 1), 1 << 20).is_err(), "{to}");
        }
    }
}
