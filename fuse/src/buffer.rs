//! The buffer that a thread reads into and answers from.

use std::io;

use memmap2::{Advice, MmapMut, MmapOptions};

/// The minimum size: a huge page, which holds the longest request that Linux makes by default.
const LEN_MIN: usize = 2 << 20;

/// The memory of one thread, as large as its longest request so far, rounded up to a power of two. It is
/// reused for every request and never cleared.
///
/// The kernel copies an answer page by page and looks up each source page first. For an answer that starts
/// within a page, it looks up two. This buffer starts on a page boundary and mostly lies on one huge page.
#[derive(Debug)]
pub(crate) struct Buffer(Option<MmapMut>);

impl Buffer {
    pub const fn new() -> Self {
        Self(None)
    }

    /// Returns `len` bytes with arbitrary content.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub fn room(&mut self, len: usize) -> io::Result<&mut [u8]> {
        if self.0.as_ref().is_none_or(|memory| memory.len() < len) {
            let memory = MmapOptions::new().len(len.next_power_of_two().max(LEN_MIN)).map_anon()?;
            // Without huge pages, small ones suffice.
            let _ = memory.advise(Advice::HugePage);
            self.0 = Some(memory);
        }
        match &mut self.0 {
            Some(memory) => Ok(&mut memory[..len]),
            None => Err(io::ErrorKind::OutOfMemory.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_always_room_from_the_start_of_a_page_on() {
        let mut buffer = Buffer::new();
        for len in [0, 1, 4096, LEN_MIN, LEN_MIN + 1, 16 << 20, 1] {
            let room = buffer.room(len).expect("there is memory");
            assert_eq!(room.len(), len);
            assert_eq!(room.as_ptr().align_offset(4096), 0);
        }
    }
}
