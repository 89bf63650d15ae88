//! What a thread reads into and answers from.

use std::io;

use memmap2::{Advice, MmapMut, MmapOptions};

/// The least that is allocated: a huge page, which holds the longest request that Linux makes by default.
const LEN_MIN: usize = 2 << 20;

/// Memory of one thread, as long as the longest request so far, used again for every request and never
/// cleared.
///
/// The kernel copies an answer page by page, and finds the memory of each page first: of two, where the
/// answer does not begin at the start of a page. This does, and mostly lies on one huge page.
#[derive(Debug)]
pub(crate) struct Buffer(Option<MmapMut>);

impl Buffer {
    pub const fn new() -> Self {
        Self(None)
    }

    /// Room for `len` bytes, which hold anything.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn room(&mut self, len: usize) -> io::Result<&mut [u8]> {
        if self.0.as_ref().is_none_or(|memory| memory.len() < len) {
            let memory = MmapOptions::new().len(len.next_power_of_two().max(LEN_MIN)).map_anon()?;
            // Where there are no huge pages, small ones do.
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
