//! Reading and writing little-endian fields: the only module that names `byteorder`.

use byteorder::{ByteOrder, LittleEndian};

use crate::digest::{DIGEST_LEN, Digest, Id};
use crate::fault::RuleViolation;

/// A reader that consumes bytes front to back. Every method fails with `truncated` rather than read past the
/// end.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Cursor<'a> {
    /// Starts at the front of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, len: bytes.len() }
    }

    /// Returns the number of bytes consumed.
    #[must_use]
    pub fn position(&self) -> usize {
        self.len - self.rest.len()
    }

    /// Returns the remaining bytes.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], RuleViolation> {
        let needed = (self.position() as u64).saturating_add(count as u64);
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(RuleViolation::Truncated { needed, found: self.len as u64 })?;
        self.rest = rest;
        Ok(taken)
    }

    /// Takes one byte.
    pub fn u8(&mut self) -> Result<u8, RuleViolation> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Takes four bytes.
    pub fn u32(&mut self) -> Result<u32, RuleViolation> {
        self.bytes(4).map(LittleEndian::read_u32)
    }

    /// Takes eight bytes.
    pub fn u64(&mut self) -> Result<u64, RuleViolation> {
        self.bytes(8).map(LittleEndian::read_u64)
    }

    /// Takes a digest.
    pub fn digest(&mut self) -> Result<Digest, RuleViolation> {
        self.array::<DIGEST_LEN>().map(Digest)
    }

    /// Takes the id of a thing of kind `I`.
    pub fn id<I: Id>(&mut self) -> Result<I, RuleViolation> {
        self.digest().map(I::new)
    }

    /// Takes `count` bytes, which must be zero.
    pub fn reserved(&mut self, count: usize) -> Result<(), RuleViolation> {
        let start = self.position();
        match self.bytes(count)?.iter().position(|&byte| byte != 0) {
            None => Ok(()),
            Some(at) => Err(RuleViolation::Reserved { offset: (start + at) as u64 }),
        }
    }

    /// Takes a number in the shortest LEB128 form: seven bits to a byte, lowest first.
    pub fn varint(&mut self) -> Result<u64, RuleViolation> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(RuleViolation::VarintOverflow);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 { Err(RuleViolation::VarintOverlong) } else { Ok(value) };
            }
        }
        Err(RuleViolation::VarintOverflow)
    }

    /// Accepts a declared count of records of `record_len` bytes only if they are all present, so that the
    /// input bounds the allocation.
    pub fn count(
        &self,
        what: &'static str,
        declared: u64,
        record_len: usize,
    ) -> Result<usize, RuleViolation> {
        let room = (self.rest.len() / record_len) as u64;
        match usize::try_from(declared) {
            Ok(count) if declared <= room => Ok(count),
            _ => Err(RuleViolation::Limit { what, found: declared, max: room }),
        }
    }

    /// Fails if any bytes remain.
    pub fn end(&self) -> Result<(), RuleViolation> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(RuleViolation::TrailingBytes { extra: self.rest.len() as u64 })
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RuleViolation> {
        let needed = self.position() as u64 + N as u64;
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(RuleViolation::Truncated { needed, found: self.len as u64 })?;
        self.rest = rest;
        Ok(*taken)
    }
}

/// The writer: appends fields to a vector.
pub trait Put {
    /// Appends four bytes.
    fn put_u32(&mut self, value: u32);
    /// Appends eight bytes.
    fn put_u64(&mut self, value: u64);
    /// Appends a digest.
    fn put_digest(&mut self, digest: &Digest);
    /// Appends an id.
    fn put_id(&mut self, id: &impl Id);
    /// Appends a number in its shortest form: see [`Cursor::varint`].
    fn put_varint(&mut self, value: u64);
}

impl Put for Vec<u8> {
    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_digest(&mut self, digest: &Digest) {
        self.extend_from_slice(&digest.0);
    }

    fn put_id(&mut self, id: &impl Id) {
        self.put_digest(&id.digest());
    }

    #[expect(clippy::cast_possible_truncation, reason = "masked to seven bits")]
    fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }
}

/// Maps small negative and positive numbers to small unsigned ones: 0, -1, 1, -2, …
#[must_use]
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// Inverts [`zigzag`].
#[must_use]
pub fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_at_the_edges_survive() {
        for value in [0, 1, 127, 128, 16383, 16384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            bytes.put_varint(value);
            let mut cursor = Cursor::new(&bytes);
            assert_eq!(cursor.varint(), Ok(value));
            assert_eq!(cursor.end(), Ok(()));
        }
        for value in [0, 1, -1, i64::MAX, i64::MIN] {
            assert_eq!(unzigzag(zigzag(value)), value);
        }
    }

    #[test]
    fn longer_forms_and_larger_numbers_are_refused() {
        assert_eq!(Cursor::new(&[0x80, 0x00]).varint(), Err(RuleViolation::VarintOverlong));
        assert_eq!(Cursor::new(&[0xff; 10]).varint(), Err(RuleViolation::VarintOverflow));
        assert_eq!(Cursor::new(&[0x80]).varint(), Err(RuleViolation::Truncated { needed: 2, found: 1 }));
    }
}
