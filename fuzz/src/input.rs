//! The fuzzer's bytes as a script of choices.

/// Bytes taken from front to back; zeros follow the end.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// Whether all bytes are taken.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes `len` bytes, or as many as are left.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Takes a number of `len` bytes, little endian.
    fn number(&mut self, len: usize) -> u64 {
        self.bytes(len).iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
    }

    /// Takes one byte.
    pub fn u8(&mut self) -> u8 {
        self.number(1) as u8
    }

    /// Takes two bytes.
    pub fn u16(&mut self) -> u16 {
        self.number(2) as u16
    }

    /// Takes four bytes.
    pub fn u32(&mut self) -> u32 {
        self.number(4) as u32
    }

    /// Takes eight bytes.
    pub fn u64(&mut self) -> u64 {
        self.number(8)
    }

    /// Takes a number below `end`, which is not zero, from 1, 2 or 4 bytes.
    pub fn below(&mut self, end: usize) -> usize {
        let len = if end <= 1 << 8 {
            1
        } else if end <= 1 << 16 {
            2
        } else {
            4
        };
        self.number(len) as usize % end
    }
}
