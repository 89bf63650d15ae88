//! Reusable buffers for decoded chunks.
//!
//! A chunk that leaves the cache hands its buffer to the next decoded chunk. Buffers are neither cleared nor
//! returned to the allocator, so a new buffer holds stale bytes until it is filled.
//!
//! Buffers of the default chunk length are pieces of mmapped arenas. On huge pages, a hot read has far fewer
//! TLB misses and takes a quarter less time (see `spec/rationale.md`). Small pages suit processes that care
//! about the cost of the first touch instead. Pieces are never unmapped: all caches share one free list and
//! count its idle bytes. Buffers of other lengths come from the allocator.

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

type Memory = &'static mut [u8; PIECE_LEN];

/// The free list of pieces.
static FREE: Mutex<Vec<Memory>> = Mutex::new(Vec::new());
static IDLE_BYTES: AtomicU64 = AtomicU64::new(0);

thread_local! {
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

/// The arenas that one cache has created.
#[derive(Debug)]
pub(crate) struct Arenas {
    pages: MemoryPages,
    bytes_max: u64,
    bytes: AtomicU64,
}

impl Arenas {
    /// Starts without arenas and never grows beyond `bytes_max` bytes.
    pub fn new(bytes_max: u64, pages: MemoryPages) -> Self {
        Self { pages, bytes_max, bytes: AtomicU64::new(0) }
    }

    /// Returns the bytes on the free list, capped at the bytes of this cache's arenas.
    pub fn idle_bytes(&self) -> u64 {
        IDLE_BYTES.load(Ordering::Relaxed).min(self.bytes.load(Ordering::Relaxed))
    }
}

/// A buffer of the requested length.
#[derive(Debug)]
pub(crate) enum Buffer {
    Piece(Piece),
    Other(Kept),
}

/// A piece of an arena, returned to the free list on drop.
#[derive(Debug)]
pub(crate) struct Piece(Option<Memory>);

/// A buffer of any length, kept by its thread on drop.
#[derive(Debug)]
pub(crate) struct Kept(Vec<u8>);

impl Buffer {
    /// Returns a buffer of `len` bytes with unspecified content.
    pub fn new(len: usize, arenas: &Arenas) -> Self {
        let piece = if len == PIECE_LEN { piece(arenas) } else { None };
        piece.map_or_else(|| Self::Other(Kept(kept(len))), |piece| Self::Piece(Piece(Some(piece))))
    }
}

fn free() -> MutexGuard<'static, Vec<Memory>> {
    FREE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn piece(arenas: &Arenas) -> Option<Memory> {
    let mut free = free();
    if free.is_empty() && arenas.bytes.load(Ordering::Relaxed) + ARENA_LEN as u64 <= arenas.bytes_max {
        add_arena(&mut free, arenas.pages);
        arenas.bytes.fetch_add((free.len() * PIECE_LEN) as u64, Ordering::Relaxed);
    }
    let piece = free.pop()?;
    IDLE_BYTES.store((free.len() * PIECE_LEN) as u64, Ordering::Relaxed);
    Some(piece)
}

/// Cuts a new arena into pieces. If `mmap` fails, buffers come from the allocator.
fn add_arena(free: &mut Vec<Memory>, pages: MemoryPages) {
    let Ok(arena) = MmapMut::map_anon(ARENA_LEN) else { return };
    // A kernel without huge pages refuses the advice; the arena then has small pages.
    let _ = arena.advise(match pages {
        MemoryPages::Huge => Advice::HugePage,
        MemoryPages::Small => Advice::NoHugePage,
    });
    // The leak yields `'static` pieces that any owner may hold, without unsafe code.
    let arena: &'static mut MmapMut = Box::leak(Box::new(arena));
    free.extend(arena.as_chunks_mut().0);
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
        if buffer.len() > KEPT_BYTES_MAX {
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

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some(piece) = self.0.take() {
            let mut free = free();
            free.push(piece);
            IDLE_BYTES.store((free.len() * PIECE_LEN) as u64, Ordering::Relaxed);
        }
    }
}

impl Deref for Piece {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |piece| piece.as_slice())
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Piece(piece) => piece,
            Self::Other(kept) => &kept.0,
        }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Piece(piece) => piece.0.as_mut().map_or(&mut [], |piece| piece.as_mut_slice()),
            Self::Other(kept) => &mut kept.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_is_dropped_is_handed_out_again_and_few_are_kept() {
        let mut first = Buffer::new(4096, &Arenas::new(0, MemoryPages::Huge));
        first.fill(7);
        let at = first.as_ptr();
        drop(first);
        assert_eq!(
            Buffer::new(8192, &Arenas::new(0, MemoryPages::Huge))[..],
            [0; 8192],
            "none of this length was dropped"
        );
        let again = Buffer::new(4096, &Arenas::new(0, MemoryPages::Huge));
        assert_eq!((again.as_ptr(), again[0]), (at, 7));
        drop((0..100).map(|_| Buffer::new(64 << 10, &Arenas::new(0, MemoryPages::Huge))).collect::<Vec<_>>());
        KEPT.with_borrow(|kept| {
            assert!(kept.len() <= KEPT_MAX && kept.iter().map(Vec::len).sum::<usize>() <= KEPT_BYTES_MAX);
        });
    }

    #[test]
    fn pieces_are_each_ones_own_and_arenas_no_more_than_allowed() {
        // Both sets of buffers are alive at once, so they must not share pieces.
        let buffers = [MemoryPages::Huge, MemoryPages::Small].map(check_pieces);
        drop(buffers);
        assert!(IDLE_BYTES.load(Ordering::Relaxed) > 0);
    }

    fn check_pieces(pages: MemoryPages) -> Vec<Buffer> {
        let arenas = Arenas::new(4 * ARENA_LEN as u64, pages);
        let mut buffers: Vec<_> =
            (0..5 * ARENA_LEN / PIECE_LEN).map(|_| Buffer::new(PIECE_LEN, &arenas)).collect();
        assert_eq!(arenas.bytes.load(Ordering::Relaxed), arenas.bytes_max);
        for (number, buffer) in buffers.iter_mut().enumerate() {
            buffer.fill(number as u8);
        }
        for (number, buffer) in buffers.iter().enumerate() {
            assert!(buffer.len() == PIECE_LEN && buffer.iter().all(|&byte| byte == number as u8));
        }
        buffers
    }
}
