//! Reads a chunk by its number and returns its decoded, checked bytes: the core of reading.
//!
//! ```text
//! cache        list, chunk number -> bytes?                   hit: done
//! list page    chunk number -> chunk id                      under the list's id
//! locator      chunk number -> pack, offset, length, guard
//! pack         one read of the frame's stored bytes
//! guard        the bytes are those of this chunk              before the decoder sees them
//! profile      exactly one zstd frame of exactly this length
//! decoder      exactly that many bytes
//! chunk id     of the decoded blocks                          in full mode, and by `verify`
//! ```

use std::cell::RefCell;

use super::errors::{InStore, StoreErrors};
use super::list::{List, Locator};
use super::names;
use super::reader::{Reader, VerifyMode};
use crate::buffer::{Kept, Memory};
use crate::cache::{Chunk, Loaded, Trust};
use crate::digest::{BlockDigest, ChunkId, block_digests, chunk_id};
use crate::error::{Error, Result, StoreError};
use crate::fault::RuleViolation;
use crate::guard::guard;
use crate::limits::BLOCK_LEN;
use crate::ondisk::frame::{self, Frame, Presence};
use crate::ondisk::locator::FramePlace;
use crate::ondisk::pack::{self, FRAMES_OFFSET};
use crate::storage::ObjectName;
use crate::units::ByteOffset;

thread_local! {
    /// The stored bytes of the frame being decoded, kept so that a read need not allocate them.
    static STORED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A chunk being assembled from its frames.
pub(super) struct ChunkAssembler<'a> {
    plain: &'a mut [u8],
    held: Present,
    blocks: u32,
}

/// The blocks of a chunk assembled so far.
enum Present {
    Nothing,
    /// The blocks in the mask.
    Some(Vec<u8>),
    All,
}

impl Reader {
    /// Fills `out` from byte `within` of chunk `chunk` of `list`, whose shape is proved. Reads through
    /// the cache, and decodes the chunk on a miss.
    pub fn read_chunk(&self, list: &List, chunk: u64, within: usize, out: &mut [u8]) -> Result<()> {
        let number = list.number(self.cache());
        let len = frame::plain_len(list.shape.blocks_of(chunk));
        let end = within + out.len();
        let out = RefCell::new(out);
        let copy = |held: &Chunk<'_>| {
            let is_good = self.trusts(held) && held.check_present(within, end).is_ok();
            if is_good {
                out.borrow_mut().copy_from_slice(&held.bytes()[within..end]);
            }
            is_good
        };
        let load =
            |plain: &mut [u8]| self.fill_chunk(list, chunk, &list.chunk_id(chunk)?, self.verify, plain);
        if self.cache().read_chunk(number, chunk, len, copy, load)? {
            return Ok(());
        }
        // Another store of this process may have cached the chunk with a guard check only, or with fewer
        // blocks. Or the store may have gained blocks since.
        list.reload_locator()?;
        let copy = |loaded: &Chunk<'_>| {
            loaded.check_present(within, end).map_err(|fault| absent(list, chunk, fault))?;
            out.borrow_mut().copy_from_slice(&loaded.bytes()[within..end]);
            Ok(())
        };
        self.cache().replace_chunk(number, chunk, len, copy, load)
    }

    /// Fills `out` from byte `offset` of `list` from the cache alone. Returns whether the cache held all
    /// of it.
    pub fn try_read_cached(&self, list: &List, mut offset: ByteOffset, mut out: &mut [u8]) -> bool {
        let chunk_len = u64::from(list.shape.chunk_blocks) * BLOCK_LEN as u64;
        if offset + out.len() as u64 > ByteOffset(list.shape.blocks * BLOCK_LEN as u64) {
            return false;
        }
        while !out.is_empty() {
            let (chunk, within) = offset.in_chunk(chunk_len);
            let len = out.len().min(chunk_len as usize - within);
            let (now, rest) = out.split_at_mut(len);
            let copy = |held: &Chunk<'_>| {
                let end = within + len;
                let is_good = self.trusts(held) && held.check_present(within, end).is_ok();
                if is_good {
                    now.copy_from_slice(&held.bytes()[within..end]);
                }
                is_good
            };
            offset += len as u64;
            if self.cache().try_read_cached(list.number(self.cache()), chunk, copy) != Some(true) {
                return false;
            }
            out = rest;
        }
        true
    }

    /// Fills `out` with a whole chunk. Bypasses the cache on a miss: large sequential reads would only
    /// evict chunks that other readers reuse.
    pub(super) fn read_whole_chunk(&self, list: &List, chunk: u64, out: &mut [u8]) -> Result<()> {
        let copy = |held: &Chunk<'_>| {
            let is_good = held.present().is_none() && self.trusts(held);
            if is_good {
                out.copy_from_slice(held.bytes());
            }
            is_good
        };
        if self.cache().try_read_cached(list.number(self.cache()), chunk, copy) == Some(true) {
            return Ok(());
        }
        let id = list.chunk_id(chunk)?;
        let mut held = self.decode_chunk(list, chunk, &id, self.verify, out)?;
        if held.is_some() {
            // A chunk held in part may have gained blocks since the locator was loaded.
            list.reload_locator()?;
            held = self.decode_chunk(list, chunk, &id, self.verify, out)?;
        }
        match held {
            None => Ok(()),
            Some(mask) => {
                let lacks = |block: &u32| !frame::has(&mask, *block);
                let block = (0..list.shape.blocks_of(chunk)).find(lacks).unwrap_or_default();
                Err(absent(list, chunk, RuleViolation::BlockAbsent { block }))
            }
        }
    }

    /// Whether a cached chunk was checked as thoroughly as this store's reads.
    fn trusts(&self, cached: &Chunk<'_>) -> bool {
        match cached.trust() {
            Trust::Proved => true,
            Trust::Guarded(store) => store == self.number && self.verify == VerifyMode::Guard,
        }
    }

    /// Decodes a chunk, bypassing the cache.
    pub fn load_chunk(
        &self,
        list: &List,
        chunk: u64,
        id: &ChunkId,
        verify: VerifyMode,
    ) -> Result<Chunk<'static>> {
        let mut bytes = Memory::Other(Kept::new(frame::plain_len(list.shape.blocks_of(chunk))));
        let loaded = self.fill_chunk(list, chunk, id, verify, &mut bytes)?;
        Ok(Chunk::new(bytes, loaded))
    }

    /// Decodes a chunk into `plain`, which must have exactly its length, for the cache.
    fn fill_chunk(
        &self,
        list: &List,
        chunk: u64,
        id: &ChunkId,
        verify: VerifyMode,
        plain: &mut [u8],
    ) -> Result<Loaded> {
        let held = self.decode_chunk(list, chunk, id, verify, plain)?;
        if let Some(held) = &held {
            let absent = |(block, _): &(u32, _)| !frame::has(held, *block);
            let blocks = (0..).zip(plain.chunks_exact_mut(BLOCK_LEN));
            blocks.filter(absent).for_each(|(_, block)| block.fill(0));
        }
        let trust = if verify == VerifyMode::Full { Trust::Proved } else { Trust::Guarded(self.number) };
        Ok(Loaded { held, trust })
    }

    /// Decodes a chunk into `plain`, which must have exactly its length. Returns a mask of the blocks
    /// held, or `None` if all are. The base provides blocks that a bundle lacks.
    pub fn decode_chunk(
        &self,
        list: &List,
        chunk: u64,
        id: &ChunkId,
        verify: VerifyMode,
        plain: &mut [u8],
    ) -> Result<Option<Vec<u8>>> {
        let decoded = self.decode_own_chunk(list, chunk, id, verify, plain);
        let Some(base) = &self.base else { return decoded };
        let held = match decoded {
            Err(error) if is_left_out(&error) => vec![0; list.shape.blocks_of(chunk).div_ceil(8) as usize],
            other => match other? {
                Some(held) => held,
                None => return Ok(None),
            },
        };
        base.reader.fill_absent(list, chunk, id, verify, plain, held)
    }

    /// Fills blocks missing in `held` with this store's blocks of the chunk.
    fn fill_absent(
        &self,
        list: &List,
        chunk: u64,
        id: &ChunkId,
        verify: VerifyMode,
        plain: &mut [u8],
        mut held: Vec<u8>,
    ) -> Result<Option<Vec<u8>>> {
        let loaded =
            self.list(&list.id, Some(list.shape)).and_then(|own| self.load_chunk(&own, chunk, id, verify));
        let loaded = match loaded {
            Err(error) if is_left_out(&error) => return Ok(Some(held)),
            other => other?,
        };
        let blocks = list.shape.blocks_of(chunk);
        let places = plain.chunks_exact_mut(BLOCK_LEN).zip(loaded.bytes().chunks_exact(BLOCK_LEN));
        for ((place, block), number) in places.zip(0..blocks) {
            if !frame::has(&held, number) && loaded.has(number) {
                place.copy_from_slice(block);
                held[number as usize / 8] |= 1 << (number % 8);
            }
        }
        Ok(if (0..blocks).all(|block| frame::has(&held, block)) { None } else { Some(held) })
    }

    fn decode_own_chunk(
        &self,
        list: &List,
        chunk: u64,
        id: &ChunkId,
        verify: VerifyMode,
        plain: &mut [u8],
    ) -> Result<Option<Vec<u8>>> {
        let locator = list.locator()?;
        match self.decode_at(list, &locator, chunk, id, verify, plain) {
            Err(error) if error.is_transient() || self.is_bundle() => Err(error),
            // The frames may have moved since the locator was loaded, or their pack may have been healed
            // since it was opened. Reload both.
            Err(error) => {
                let Ok(now) = list.reload_locator() else { return Err(error) };
                let places = list.chain(&now, chunk).map_while(Result::ok);
                places.for_each(|place| self.objects.forget(now.pack_name(&place)));
                self.decode_at(list, &now, chunk, id, verify, plain)
            }
            done => done,
        }
    }

    fn decode_at(
        &self,
        list: &List,
        locator: &Locator,
        chunk: u64,
        id: &ChunkId,
        verify: VerifyMode,
        plain: &mut [u8],
    ) -> Result<Option<Vec<u8>>> {
        let blocks = list.shape.blocks_of(chunk);
        self.cache().add_decoded(1, plain.len());
        let mut assembly = ChunkAssembler::new(plain, blocks);
        for place in list.chain(locator, chunk) {
            let place = place?;
            let name = locator.pack_name(&place);
            with_stored(place.len as usize, |stored| {
                self.read_stored(name, u64::from(place.offset), stored)?;
                assembly.frame(stored, &place, id, verify).map_err(|fault| match fault {
                    RuleViolation::ChunkId { expected, found } => {
                        mismatch(name, chunk, &place, expected, found)
                    }
                    fault => StoreError::corrupt(name, u64::from(place.offset), fault),
                })
            })
            .map_err(|error| error.in_chunk(chunk))?;
        }
        Ok(match assembly.held {
            Present::All => None,
            Present::Some(mask) => Some(mask),
            Present::Nothing => Some(vec![0; blocks.div_ceil(8) as usize]),
        })
    }

    /// Whether the cache has a chunk.
    pub(super) fn holds(&self, list: &List, chunk: u64) -> bool {
        self.cache().try_read_cached(list.number(self.cache()), chunk, |_| ()).is_some()
    }

    /// Fills `stored` from a place in a pack.
    pub(super) fn read_stored(&self, name: &ObjectName, offset: u64, stored: &mut [u8]) -> Result<()> {
        let pack = self.objects.open_checked(name, FRAMES_OFFSET, pack::decode_head)?;
        let end = offset + stored.len() as u64;
        if end > pack.len() {
            return Err(StoreError::corrupt(
                name,
                offset,
                RuleViolation::FramePlace { end, max: pack.len() },
            ));
        }
        pack.read_exact_at(stored, offset).map_err(|error| match error.kind() {
            // The pack was truncated after it was opened.
            std::io::ErrorKind::UnexpectedEof => {
                StoreError::corrupt(name, offset, RuleViolation::Truncated { needed: end, found: offset })
            }
            _ => Error::io("read", format!("{name} at byte {offset}"), error),
        })
    }

    /// Reads a frame's stored bytes and checks their guard.
    pub(super) fn read_frame(&self, name: &ObjectName, place: &FramePlace, id: &ChunkId) -> Result<Vec<u8>> {
        let mut stored = vec![0; place.len as usize];
        self.read_stored(name, u64::from(place.offset), &mut stored)?;
        check_guard(&stored, place, id)
            .map_err(|fault| StoreError::corrupt(name, u64::from(place.offset), fault))?;
        Ok(stored)
    }
}

fn check_guard(stored: &[u8], place: &FramePlace, id: &ChunkId) -> Result<(), RuleViolation> {
    let found = guard(id, stored);
    if found == place.guard {
        Ok(())
    } else {
        Err(RuleViolation::FrameGuard { expected: place.guard, found })
    }
}

/// Passes `work` a buffer of `len` stored bytes with arbitrary content.
pub(super) fn with_stored<R>(len: usize, work: impl FnOnce(&mut [u8]) -> R) -> R {
    // Take the buffer out during use: a storage may itself read an image on this thread.
    let mut stored = STORED.take();
    if stored.len() < len {
        stored.resize(len, 0);
    }
    let done = work(&mut stored[..len]);
    STORED.set(stored);
    done
}

fn mismatch(pack: &str, chunk: u64, place: &FramePlace, expected: ChunkId, found: ChunkId) -> Error {
    Error::from(StoreError::DigestMismatch {
        what: format!("{pack} at byte {}, chunk {chunk},", place.offset),
        expected: expected.digest(),
        found: found.digest(),
    })
}

impl<'a> ChunkAssembler<'a> {
    /// Begins with no blocks.
    pub fn new(plain: &'a mut [u8], blocks: u32) -> Self {
        Self { plain, held: Present::Nothing, blocks }
    }

    /// Checks the guard of a frame's stored bytes and decodes its blocks into place.
    pub fn frame(
        &mut self,
        stored: &[u8],
        place: &FramePlace,
        id: &ChunkId,
        verify: VerifyMode,
    ) -> Result<(), RuleViolation> {
        check_guard(stored, place, id)?;
        let frame = decode_frame(stored, self.blocks, place)?;
        self.add(&frame)?;
        if verify == VerifyMode::Full {
            let held = |block: &u32| frame.presence.has(*block);
            let blocks = (0..).zip(self.plain.as_chunks().0).filter(|(block, _)| held(block));
            frame.presence.check_id(blocks.map(|(_, block)| block), self.blocks, id)?;
        }
        Ok(())
    }

    fn add(&mut self, frame: &Frame<'_>) -> Result<(), RuleViolation> {
        // No block may occur in two frames of a chunk, so decoding them all costs no more than decoding one.
        let Presence::Partial { mask, .. } = &frame.presence else {
            let Present::Nothing = std::mem::replace(&mut self.held, Present::All) else {
                return Err(RuleViolation::FrameMask);
            };
            return frame.decode_payload(self.plain);
        };
        let mut held = match std::mem::replace(&mut self.held, Present::Nothing) {
            Present::Nothing => vec![0; mask.len()],
            Present::Some(held) if held.iter().zip(mask).all(|(held, bits)| held & bits == 0) => held,
            _ => return Err(RuleViolation::FrameMask),
        };
        let mut packed = vec![0; frame::plain_len(frame.held(self.blocks))];
        frame.decode_payload(&mut packed)?;
        let places = self.plain.chunks_exact_mut(BLOCK_LEN).zip(0u32..);
        let wanted = places.filter(|(_, block)| frame::has(mask, *block)).map(|(place, _)| place);
        for (place, block) in wanted.zip(packed.chunks_exact(BLOCK_LEN)) {
            place.copy_from_slice(block);
        }
        held.iter_mut().zip(mask).for_each(|(held, bits)| *held |= bits);
        let is_all = (0..self.blocks).all(|block| frame::has(&held, block));
        self.held = if is_all { Present::All } else { Present::Some(held) };
        Ok(())
    }
}

impl Presence {
    /// Whether the frame holds block `block` of its chunk.
    fn has(&self, block: u32) -> bool {
        match self {
            Self::Whole => true,
            Self::Partial { mask, .. } => frame::has(mask, block),
        }
    }

    /// Returns the digests of all `blocks` blocks of a chunk. `held` gives the frame's blocks in order;
    /// the frame gives the digests of the others. They must hash to the chunk's id.
    pub(super) fn check_id<'a>(
        &self,
        held: impl Iterator<Item = &'a [u8; BLOCK_LEN]>,
        blocks: u32,
        id: &ChunkId,
    ) -> Result<Vec<BlockDigest>, RuleViolation> {
        let mut digests = Vec::with_capacity(blocks as usize);
        block_digests(held, &mut digests);
        if let Self::Partial { mask, absent } = self {
            let (mut held, mut absent) = (digests.into_iter(), absent.iter().copied());
            let digest = |block| if frame::has(mask, block) { held.next() } else { absent.next() };
            digests = (0..blocks).filter_map(digest).collect();
        }
        let found = chunk_id(&digests);
        if found == *id { Ok(digests) } else { Err(RuleViolation::ChunkId { expected: *id, found }) }
    }
}

/// Parses a frame. It must be whole or partial as its locator says.
pub(super) fn decode_frame<'a>(
    stored: &'a [u8],
    blocks: u32,
    place: &FramePlace,
) -> Result<Frame<'a>, RuleViolation> {
    let frame = Frame::decode(stored, blocks)?;
    if place.partial == matches!(frame.presence, Presence::Partial { .. }) {
        Ok(frame)
    } else {
        Err(RuleViolation::FrameMask)
    }
}

/// Whether a store reports that it holds nothing of a chunk, rather than damage.
fn is_left_out(error: &Error) -> bool {
    error.is_absent()
        || matches!(
            error.fault(),
            Some(RuleViolation::ChunkAbsent { .. } | RuleViolation::PieceAbsent { .. })
        )
}

fn absent(list: &List, chunk: u64, fault: RuleViolation) -> Error {
    StoreError::corrupt(names::locator(&list.id), 0, fault).in_chunk(chunk)
}

impl Chunk<'_> {
    /// Fails unless all blocks of bytes `start..end` are held.
    fn check_present(&self, start: usize, end: usize) -> Result<(), RuleViolation> {
        if self.present().is_none() {
            return Ok(());
        }
        let (first, end) = (start / BLOCK_LEN, end.div_ceil(BLOCK_LEN));
        match (first as u32..end as u32).find(|&block| !self.has(block)) {
            None => Ok(()),
            Some(block) => Err(RuleViolation::BlockAbsent { block }),
        }
    }

    /// Whether block `block` is held.
    pub fn has(&self, block: u32) -> bool {
        self.present().is_none_or(|mask| frame::has(mask, block))
    }
}
