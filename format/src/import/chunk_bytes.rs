//! A chunk's bytes before compression: usually a slice of the span they were read with.

use std::sync::Arc;

use crate::limits::BLOCK_LEN;

/// A span's bytes, shared with the chunks made of them to avoid copies.
pub(super) type SpanData = Arc<Vec<u8>>;

/// A chunk's bytes.
#[derive(Debug)]
pub(super) enum ChunkBytes {
    /// A copy, assembled from scattered blocks.
    Copied(Vec<u8>),
    /// Consecutive blocks of a span: the data of the whole span, and the first and the last byte of the blocks in it.
    Within(SpanData, usize, usize),
}

impl ChunkBytes {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            Self::Within(span, start, end) => &span[*start..*end],
        }
    }

    pub fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// Whether these bytes are a slice of `span`.
    pub fn is_within(&self, span: &SpanData) -> bool {
        matches!(self, Self::Within(own, ..) if Arc::ptr_eq(own, span))
    }

    /// Appends the block of `span` at byte `start`, padding a short one with zeros. `room` supplies an empty
    /// buffer if a copy is needed.
    pub fn add(&mut self, span: &SpanData, start: usize, room: impl FnOnce() -> Vec<u8>) {
        let end = (start + BLOCK_LEN).min(span.len());
        let is_whole = end - start == BLOCK_LEN;
        if self.is_empty() && is_whole {
            *self = Self::Within(span.clone(), start, end);
            return;
        }
        if let Self::Within(own, _, behind) = self
            && Arc::ptr_eq(own, span)
            && *behind == start
            && is_whole
        {
            *behind = end;
            return;
        }
        let bytes = self.copied(room);
        bytes.extend_from_slice(&span[start..end]);
        bytes.resize(bytes.len().next_multiple_of(BLOCK_LEN), 0);
    }

    /// Makes the bytes an owned copy, if they are a slice.
    pub fn copied(&mut self, room: impl FnOnce() -> Vec<u8>) -> &mut Vec<u8> {
        if let Self::Within(span, start, end) = self {
            let mut bytes = room();
            bytes.clear();
            bytes.extend_from_slice(&span[*start..*end]);
            *self = Self::Copied(bytes);
        }
        match self {
            Self::Copied(bytes) => bytes,
            Self::Within(..) => unreachable!("it was copied just now"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_out_as_they_went_in_copied_or_not() {
        let bytes: Vec<u8> = (0..5 * BLOCK_LEN + 512).map(|at| (at / 31 % 251) as u8).collect();
        let span: SpanData = Arc::new(bytes.clone());
        let other: SpanData = Arc::new(bytes[BLOCK_LEN..].to_vec());
        for (order, is_within) in [
            (&[(0, 0), (0, 1), (0, 2)][..], true),
            (&[(0, 1), (0, 3)], false),
            (&[(0, 4), (0, 5)], false),
            (&[(0, 0), (1, 0), (1, 1)], false),
            (&[(0, 5), (0, 0)], false),
        ] {
            let (mut plain, mut expected) = (ChunkBytes::Copied(Vec::new()), Vec::new());
            for &(which, block) in order {
                let from = if which == 0 { &span } else { &other };
                let start = block * BLOCK_LEN;
                plain.add(from, start, Vec::new);
                expected.extend_from_slice(&from[start..(start + BLOCK_LEN).min(from.len())]);
                expected.resize(expected.len().next_multiple_of(BLOCK_LEN), 0);
            }
            assert_eq!((plain.bytes(), plain.is_within(&span)), (&expected[..], is_within), "{order:?}");
            assert_eq!(*plain.copied(Vec::new), expected);
        }
    }
}
