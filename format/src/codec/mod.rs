//! Codecs: lossless compression of frame payloads.
//!
//! | number | codec | module |
//! |---|---|---|
//! | 0 | raw: the bytes themselves | here |
//! | 1 | zstd, one frame inside the profile of spec section 6.4 | [`zstd`] |
//!
//! [`page`] is the stored form of map and span pages.
//!
//! A decoder is given the exact length of its output; any other length is a fault. The profile is checked
//! before the decoder sees the bytes ([`profile`]), and again by the decoder.

pub(crate) mod page;
pub(crate) mod profile;
pub(crate) mod zstd;

use crate::fault::RuleViolation;

/// The encoding of a frame's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Codec {
    /// The bytes themselves.
    Raw = 0,
    /// One zstd frame.
    Zstd = 1,
}

impl Codec {
    /// Returns the codec with a registry number.
    pub fn from_number(number: u8) -> Result<Self, RuleViolation> {
        match number {
            0 => Ok(Self::Raw),
            1 => Ok(Self::Zstd),
            found => Err(RuleViolation::Codec { found }),
        }
    }

    /// Fills `plain` exactly from `payload`.
    pub fn decode(self, payload: &[u8], plain: &mut [u8]) -> Result<(), RuleViolation> {
        match self {
            Self::Raw if payload.len() == plain.len() => {
                plain.copy_from_slice(payload);
                Ok(())
            }
            Self::Raw => {
                Err(RuleViolation::RawLength { expected: plain.len() as u64, found: payload.len() as u64 })
            }
            Self::Zstd => {
                profile::check(payload, plain.len())?;
                zstd::decode(payload, plain)
            }
        }
    }
}
