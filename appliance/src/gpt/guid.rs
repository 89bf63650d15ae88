//! GUIDs of disks and partitions.

use std::fmt;
use std::str::FromStr;

/// A text that is not a GUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a GUID: expected 8-4-4-4-12 hexadecimal digits")]
pub struct InvalidGuid {
    /// The text, its first 64 letters at most.
    pub text: String,
}

/// A GUID, in the order of its text: `Guid([0xC1, 0x2A, ..])` is `C12A....`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(pub [u8; 16]);

/// Places of the dashes in a text.
const DASHES: [usize; 4] = [8, 13, 18, 23];

impl Guid {
    /// The type of an EFI system partition: `c12a7328-f81f-11d2-ba4b-00a0c93ec93b`.
    pub const EFI_SYSTEM: Self = Self([
        0xC1, 0x2A, 0x73, 0x28, 0xF8, 0x1F, 0x11, 0xD2, 0xBA, 0x4B, 0x00, 0xA0, 0xC9, 0x3E, 0xC9, 0x3B,
    ]);

    /// The type of a root partition for x86-64: `4f68bce3-e8cd-4db1-96e7-fbcaf984b709`.
    pub const LINUX_ROOT_X86_64: Self = Self([
        0x4F, 0x68, 0xBC, 0xE3, 0xE8, 0xCD, 0x4D, 0xB1, 0x96, 0xE7, 0xFB, 0xCA, 0xF9, 0x84, 0xB7, 0x09,
    ]);

    /// Returns a GUID made of a digest's first bytes, marked as version 8 of RFC 9562: "made in a way of its own".
    #[must_use]
    pub fn from_digest(bytes: [u8; 16]) -> Self {
        let mut bytes = bytes;
        bytes[6] = bytes[6] & 0x0F | 0x80;
        bytes[8] = bytes[8] & 0x3F | 0x80;
        Self(bytes)
    }

    /// Returns the bytes as the disk has them: the first three fields are little-endian.
    pub(super) fn to_disk(self) -> [u8; 16] {
        let mut bytes = self.0;
        bytes[0..4].reverse();
        bytes[4..6].reverse();
        bytes[6..8].reverse();
        bytes
    }

    /// Whether all bytes are zero.
    pub(super) fn is_nil(self) -> bool {
        self.0 == [0; 16]
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                formatter.write_str("-")?;
            }
            write!(formatter, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for Guid {
    type Err = InvalidGuid;

    fn from_str(text: &str) -> Result<Self, InvalidGuid> {
        let invalid = || InvalidGuid { text: text.chars().take(64).collect() };
        let dashed = DASHES.iter().all(|&at| text.as_bytes().get(at) == Some(&b'-'));
        let digits = text.chars().filter(|&letter| letter != '-').map(|letter| letter.to_digit(16));
        let digits: Vec<u8> =
            digits.map(|digit| Some(digit? as u8)).collect::<Option<_>>().ok_or_else(invalid)?;
        if text.len() != 36 || digits.len() != 32 || !dashed {
            return Err(invalid());
        }
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            *byte = pair.iter().fold(0, |byte, digit| byte << 4 | digit);
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_is_its_text_and_the_disk_turns_three_fields() {
        let text = "00112233-4455-6677-8899-aabbccddeeff";
        let guid: Guid = text.parse().unwrap();
        assert_eq!(guid.to_string(), text);
        assert_eq!(guid.to_disk()[..10], [0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99]);
        assert_eq!(Guid::EFI_SYSTEM.to_string(), "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
        assert_eq!(Guid::LINUX_ROOT_X86_64.to_string(), "4f68bce3-e8cd-4db1-96e7-fbcaf984b709");
        assert_eq!(Guid::from_digest([0xFF; 16]).to_string(), "ffffffff-ffff-8fff-bfff-ffffffffffff");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "00112233-4455-6677-8899-aabbccddeef",
            "00112233-4455-6677-8899-aabbccddeefg",
            "001122334-455-6677-8899-aabbccddeeff",
            "0011223344556677-8899-aabbccddeeff----",
            "{0112233-4455-6677-8899-aabbccddeef}",
            "é0112233-4455-6677-8899-aabbccddeef",
        ] {
            assert!(text.parse::<Guid>().is_err(), "{text}");
        }
    }
}
