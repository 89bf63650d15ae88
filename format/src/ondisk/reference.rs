//! A reference record: one name of one image (spec section 5.2).

use super::cursor::Put;
use super::header::{self, Kind};
use crate::digest::{ImageId, object_digest};
use crate::fault::RuleViolation;
use crate::limits::NAME_LEN_MAX;

/// Whether `text` may be a name or a tag: `[a-z0-9]+([._-][a-z0-9]+)*`, at most 255 bytes.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let part =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    text.len() <= NAME_LEN_MAX && text.split(['.', '_', '-']).all(part)
}

/// The contents of a reference record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// `NAME:TAG`, so that a record moved to another name is detected.
    pub name: String,
    /// The image.
    pub image: ImageId,
    /// The time the name was given, in seconds since 1970 UTC.
    pub created_seconds: u64,
}

impl Reference {
    /// Encodes the record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = header::begin(Kind::Reference);
        out.put_id(&self.image);
        out.put_u64(self.created_seconds);
        out.put_u32(u32::try_from(self.name.len()).unwrap_or(u32::MAX));
        out.put_u32(0);
        out.extend_from_slice(self.name.as_bytes());
        header::finish_checked(&mut out);
        out
    }

    /// Decodes and checks a record that is stored under the name `expected`.
    pub fn decode(bytes: &[u8], expected: &str) -> Result<Self, RuleViolation> {
        let (_, mut cursor) = header::decode_whole(Kind::Reference, bytes)?;
        let image = cursor.id()?;
        let created_seconds = cursor.u64()?;
        let name_len = cursor.u32()?;
        cursor.reserved(4)?;
        let max = 2 * NAME_LEN_MAX as u64 + 1;
        if u64::from(name_len) > max {
            return Err(RuleViolation::Limit { what: "name length", found: u64::from(name_len), max });
        }
        let name = cursor.bytes(name_len as usize)?;
        let covered = bytes.get(..cursor.position()).unwrap_or_default();
        let checksum = cursor.digest()?;
        cursor.end()?;
        if object_digest(covered) != checksum {
            return Err(RuleViolation::Checksum);
        }
        let name = std::str::from_utf8(name).map_err(|_| RuleViolation::Text { what: "the name" })?;
        if name != expected {
            return Err(RuleViolation::ReferenceName { expected: expected.into(), found: name.into() });
        }
        Ok(Self { name: name.into(), image, created_seconds })
    }
}
