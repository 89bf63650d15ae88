//! The fuzzer's bytes as a script of choices.

/// Bytes that are taken from front to back; beyond the end there are zeros.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// Whether all was taken.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As many bytes as are there, at most `len`.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A number of so many bytes.
    fn number(&mut self, len: usize) -> u64 {
        self.bytes(len).iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
    }

    /// One byte.
    pub fn u8(&mut self) -> u8 {
        self.number(1) as u8
    }

    /// Two bytes.
    pub fn u16(&mut self) -> u16 {
        self.number(2) as u16
    }

    /// Four bytes.
    pub fn u32(&mut self) -> u32 {
        self.number(4) as u32
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> u64 {
        self.number(8)
    }

    /// A number below `end`, which is not zero, of as few bytes as it needs.
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
