//! Reusable buffers for decoded chunks.
//!
//! A chunk that leaves the cache hands its buffer to the next decoded chunk. Buffers are neither cleared nor
//! returned to the allocator, so a new buffer holds stale bytes until it is filled.
//!
//! Buffers of the default chunk length are pieces of mmapped arenas. On huge pages, a hot read has far fewer
//! TLB misses and takes a quarter less time (see `spec/rationale.md`). Small pages suit processes that care
//! about the cost of the first touch instead. Each cache owns its [`Arenas`], and its [`Pool`] cuts them into
//! pieces. A piece borrows from its arena, so all arenas are unmapped together, with their cache. Buffers of
//! other lengths come from the allocator.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use memmap2::{Advice, MmapMut};

use crate::limits::{BLOCK_LEN, CHUNK_BLOCKS_DEFAULT};

/// The length of a piece, in bytes.
const PIECE_LEN: usize = CHUNK_BLOCKS_DEFAULT as usize * BLOCK_LEN;
/// The length of an arena, in bytes. A huge page is 2 MiB; an arena that is not aligned to that has small
/// pages at its ends.
const ARENA_LEN: usize = 4 << 20;
/// The most bytes and the most buffers of other lengths that a thread keeps.
const KEPT_BYTES_MAX: usize = 1 << 20;
const KEPT_MAX: usize = 8;

thread_local! {
    /// Buffers of other lengths. They are the thread's and not a cache's, because decoding takes one without a
    /// lock; they are few, and end with the thread.
    static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// The page size of a cache's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemoryPages {
    /// Huge pages: the fastest memory to read.
    #[default]
    Huge,
    /// Small pages. A hot read takes a quarter longer, which clients behind a socket do not notice. In a
    /// virtual machine whose host reclaims free memory, small pages are faulted in four times as fast. A huge
    /// page there adds milliseconds to the read that faults it in.
    Small,
}

/// The arenas of one cache: a list that grows at its end while pieces of the others are in use.
#[derive(Debug, Default)]
pub(crate) struct Arenas(Option<Box<Arena>>);

#[derive(Debug)]
struct Arena {
    memory: MmapMut,
    next: Arenas,
}

impl Drop for Arenas {
    fn drop(&mut self) {
        // One after the other, because a recursion would be as deep as the list is long.
        let mut next = self.0.take();
        while let Some(mut arena) = next {
            next = arena.next.0.take();
        }
    }
}

/// A piece of an arena.
pub(crate) type Piece<'a> = &'a mut [u8; PIECE_LEN];

/// The pieces of a cache's arenas.
#[derive(Debug)]
pub(crate) struct Pool<'a> {
    pages: MemoryPages,
    bytes_max: u64,
    free: Mutex<Free<'a>>,
    /// The bytes of the free pieces.
    idle_bytes: AtomicU64,
}

#[derive(Debug)]
struct Free<'a> {
    pieces: Vec<Piece<'a>>,
    /// The end of the list of arenas.
    end: Option<&'a mut Arenas>,
    /// The bytes of all arenas.
    bytes: u64,
}

impl<'a> Pool<'a> {
    /// Starts without pieces, adds arenas to the empty list `arenas`, and never maps more than `bytes_max`
    /// bytes.
    pub fn new(arenas: &'a mut Arenas, bytes_max: u64, pages: MemoryPages) -> Self {
        let free = Mutex::new(Free { pieces: Vec::new(), end: Some(arenas), bytes: 0 });
        Self { pages, bytes_max, free, idle_bytes: AtomicU64::new(0) }
    }

    /// Returns the number of bytes in pieces of arenas that no chunk uses at present.
    pub fn idle_bytes(&self) -> u64 {
        self.idle_bytes.load(Ordering::Relaxed)
    }

    /// Returns a buffer of `len` bytes with unspecified content.
    pub fn buffer(&self, len: usize) -> Buffer<'_, 'a> {
        let piece = if len == PIECE_LEN { self.piece() } else { None };
        let memory = piece.map_or_else(|| Memory::Other(Kept::new(len)), Memory::Piece);
        Buffer { memory, pool: self }
    }

    fn free(&self) -> MutexGuard<'_, Free<'a>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn piece(&self) -> Option<Piece<'a>> {
        let mut free = self.free();
        if free.pieces.is_empty() && free.bytes + ARENA_LEN as u64 <= self.bytes_max {
            free.add_arena(self.pages);
        }
        let piece = free.pieces.pop()?;
        self.idle_bytes.store((free.pieces.len() * PIECE_LEN) as u64, Ordering::Relaxed);
        Some(piece)
    }

    /// Takes back the memory of a chunk or a buffer.
    pub fn give_back(&self, memory: Memory<'a>) {
        if let Memory::Piece(piece) = memory {
            let mut free = self.free();
            free.pieces.push(piece);
            self.idle_bytes.store((free.pieces.len() * PIECE_LEN) as u64, Ordering::Relaxed);
        }
    }
}

impl Free<'_> {
    /// Cuts a new arena into pieces. If `mmap` fails, buffers come from the allocator.
    fn add_arena(&mut self, pages: MemoryPages) {
        let Ok(memory) = MmapMut::map_anon(ARENA_LEN) else { return };
        // A kernel without huge pages refuses the advice; the arena then has small pages.
        let _ = memory.advise(match pages {
            MemoryPages::Huge => Advice::HugePage,
            MemoryPages::Small => Advice::NoHugePage,
        });
        let Some(Arenas(end)) = self.end.take() else { return };
        let Arena { memory, next } = &mut **end.insert(Box::new(Arena { memory, next: Arenas(None) }));
        self.pieces.extend(memory.as_chunks_mut().0);
        self.bytes += ARENA_LEN as u64;
        self.end = Some(next);
    }
}

/// The memory of a chunk.
#[derive(Debug)]
pub(crate) enum Memory<'a> {
    Piece(Piece<'a>),
    Other(Kept),
}

/// A buffer for a chunk, given back to its pool on drop.
#[derive(Debug)]
pub(crate) struct Buffer<'p, 'a> {
    memory: Memory<'a>,
    pool: &'p Pool<'a>,
}

impl<'a> Buffer<'_, 'a> {
    /// Returns the memory, which the caller gives back to the pool.
    pub fn into_memory(mut self) -> Memory<'a> {
        self.take()
    }

    fn take(&mut self) -> Memory<'a> {
        std::mem::replace(&mut self.memory, Memory::Other(Kept(Vec::new())))
    }
}

/// A buffer of any length, kept by its thread on drop.
#[derive(Debug)]
pub(crate) struct Kept(Vec<u8>);

impl Kept {
    /// Returns a buffer of `len` bytes with unspecified content.
    pub fn new(len: usize) -> Self {
        Self(kept(len))
    }
}

fn kept(len: usize) -> Vec<u8> {
    let take = |kept: &RefCell<Vec<Vec<u8>>>| {
        let mut kept = kept.borrow_mut();
        let at = kept.iter().rposition(|buffer| buffer.len() == len)?;
        Some(kept.swap_remove(at))
    };
    KEPT.try_with(take).ok().flatten().unwrap_or_else(|| vec![0; len])
}

fn bytes(kept: &[Vec<u8>]) -> usize {
    kept.iter().map(Vec::len).sum()
}

fn keep(buffer: Vec<u8>) {
    // A thread that is ending keeps nothing.
    let _ = KEPT.try_with(|kept| {
        let mut kept = kept.borrow_mut();
        if buffer.is_empty() || buffer.len() > KEPT_BYTES_MAX {
            return;
        }
        // Oldest first: after a change of chunk length, the old buffers are useless.
        while kept.len() >= KEPT_MAX || bytes(&kept) + buffer.len() > KEPT_BYTES_MAX {
            kept.remove(0);
        }
        kept.push(buffer);
    });
}

impl Drop for Kept {
    fn drop(&mut self) {
        keep(std::mem::take(&mut self.0));
    }
}

impl Drop for Buffer<'_, '_> {
    fn drop(&mut self) {
        let memory = self.take();
        self.pool.give_back(memory);
    }
}

impl Deref for Memory<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Piece(piece) => piece.as_slice(),
            Self::Other(kept) => &kept.0,
        }
    }
}

impl DerefMut for Memory<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Piece(piece) => piece.as_mut_slice(),
            Self::Other(kept) => &mut kept.0,
        }
    }
}

impl Deref for Buffer<'_, '_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory
    }
}

impl DerefMut for Buffer<'_, '_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_is_dropped_is_handed_out_again_and_few_are_kept() {
        let mut arenas = Arenas::default();
        let pool = Pool::new(&mut arenas, 0, MemoryPages::Huge);
        let mut first = pool.buffer(4096);
        first.fill(7);
        let at = first.as_ptr();
        drop(first);
        assert_eq!(pool.buffer(8192)[..], [0; 8192], "none of this length was dropped");
        let again = pool.buffer(4096);
        assert_eq!((again.as_ptr(), again[0]), (at, 7));
        drop((0..100).map(|_| pool.buffer(64 << 10)).collect::<Vec<_>>());
        KEPT.with_borrow(|kept| {
            assert!(kept.len() <= KEPT_MAX && kept.iter().map(Vec::len).sum::<usize>() <= KEPT_BYTES_MAX);
        });
    }

    #[test]
    fn pieces_are_each_ones_own_and_arenas_no_more_than_allowed() {
        let mut arenas = [Arenas::default(), Arenas::default()];
        let [huge, small] = &mut arenas;
        // The buffers of both pools are alive at once, so they must not share pieces.
        let pools = [(huge, MemoryPages::Huge), (small, MemoryPages::Small)]
            .map(|(arenas, pages)| Pool::new(arenas, 4 * ARENA_LEN as u64, pages));
        let buffers = [check_pieces(&pools[0]), check_pieces(&pools[1])];
        drop(buffers);
        for pool in &pools {
            assert_eq!(pool.idle_bytes(), pool.bytes_max, "all pieces came back");
            drop(check_pieces(pool));
        }
    }

    fn check_pieces<'p, 'a>(pool: &'p Pool<'a>) -> Vec<Buffer<'p, 'a>> {
        let mut buffers: Vec<_> = (0..5 * ARENA_LEN / PIECE_LEN).map(|_| pool.buffer(PIECE_LEN)).collect();
        assert_eq!((pool.free().bytes, pool.idle_bytes()), (pool.bytes_max, 0));
        for (number, buffer) in buffers.iter_mut().enumerate() {
            buffer.fill(number as u8);
        }
        for (number, buffer) in buffers.iter().enumerate() {
            assert!(buffer.len() == PIECE_LEN && buffer.iter().all(|&byte| byte == number as u8));
        }
        buffers
    }

    #[test]
    fn a_long_list_of_arenas_is_dropped_without_recursion() {
        let mut arenas = Arenas::default();
        let mut end = &mut arenas;
        for _ in 0..60_000 {
            let memory = MmapMut::map_anon(1).expect("there is memory");
            end = &mut end.0.insert(Box::new(Arena { memory, next: Arenas(None) })).next;
        }
        drop(arenas);
    }
}
