//! From a chunk's number to its decoded, checked bytes: the heart of reading.
//!
//! ```text
//! list page    chunk number -> chunk id                      under the list's id
//! cache        chunk id -> bytes?                             hit: done
//! locator      chunk number -> pack, offset, length, guard
//! pack         one read of the frame's stored bytes
//! guard        the bytes are those of this chunk              before the decoder sees them
//! profile      exactly one zstd frame of exactly this length
//! decoder      exactly that many bytes
//! chunk id     of the decoded blocks                          in full mode, and by `verify`
//! ```

use std::cell::RefCell;
use std::sync::Arc;

use super::list::{List, Locator};
use super::names;
use super::open::{Shared, VerifyMode};
use crate::cache::{Chunk, Trust};
use crate::digest::{Digest, block_digest, chunk_id};
use crate::error::{Error, Result};
use crate::fault::Fault;
use crate::guard::guard;
use crate::limits::BLOCK_LEN;
use crate::ondisk::frame::{self, Frame, Presence};
use crate::ondisk::locator::FramePlace;
use crate::ondisk::pack::{self, FRAMES_OFFSET};

thread_local! {
    /// Stored bytes of the frame being decoded; kept so that a read allocates nothing for them.
    static STORED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A chunk being put together from its frames.
struct Assembly<'a> {
    plain: &'a mut [u8],
    /// Blocks held so far, where no frame so far was whole.
    held: Option<Vec<u8>>,
    blocks: u32,
}

impl Shared {
    /// Chunk `chunk` of `list`, from the cache or decoded.
    pub fn chunk(&self, list: &List, chunk: u64) -> Result<Chunk> {
        let id = list.chunk_id(chunk)?;
        let cached = self.cache.chunk(id, || self.load_chunk(list, chunk, &id, self.verify))?;
        if self.trusts(&cached) {
            return Ok(cached);
        }
        // Another store of this process put it there under its own guard alone.
        self.reload_chunk(list, chunk)
    }

    /// Whether what the cache has is checked as thoroughly as this store's reads are.
    pub fn trusts(&self, cached: &Chunk) -> bool {
        match cached.trust {
            Trust::Proved => true,
            Trust::Guarded(store) => store == self.number && self.verify == VerifyMode::Guard,
        }
    }

    /// Chunk `chunk` of `list`, decoded again and put in the place of what the cache has.
    pub fn reload_chunk(&self, list: &List, chunk: u64) -> Result<Chunk> {
        let id = list.chunk_id(chunk)?;
        let loaded = self.load_chunk(list, chunk, &id, self.verify)?;
        self.cache.replace_chunk(id, loaded.clone());
        Ok(loaded)
    }

    /// Decodes a chunk, past the cache.
    pub fn load_chunk(&self, list: &List, chunk: u64, id: &Digest, verify: VerifyMode) -> Result<Chunk> {
        let mut plain = vec![0; frame::plain_len(list.shape.blocks_of(chunk))];
        let held = self.decode_chunk(list, chunk, id, verify, &mut plain)?;
        let trust = if verify == VerifyMode::Full { Trust::Proved } else { Trust::Guarded(self.number) };
        Ok(Chunk { bytes: plain.into(), held: held.map(Arc::from), trust })
    }

    /// Decodes a chunk into `plain`, which has exactly its length; gives the mask of the blocks
    /// held where they are not all of them. What a bundle does not hold comes from its base.
    pub fn decode_chunk(
        &self,
        list: &List,
        chunk: u64,
        id: &Digest,
        verify: VerifyMode,
        plain: &mut [u8],
    ) -> Result<Option<Vec<u8>>> {
        let decoded = self.decode_own_chunk(list, chunk, id, verify, plain);
        let Some((base, _)) = self.bases() else { return decoded };
        let held = match decoded {
            Err(error) if is_left_out(&error) => vec![0; list.shape.blocks_of(chunk).div_ceil(8) as usize],
            other => match other? {
                Some(held) => held,
                None => return Ok(None),
            },
        };
        base.fill_absent(list, chunk, id, verify, plain, held)
    }

    /// Fills the blocks that `held` lacks with those that this store has of the chunk.
    fn fill_absent(
        self: &Arc<Self>,
        list: &List,
        chunk: u64,
        id: &Digest,
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
        let places = plain.chunks_exact_mut(BLOCK_LEN).zip(loaded.bytes.chunks_exact(BLOCK_LEN));
        for ((place, block), number) in places.zip(0..blocks) {
            if !frame::has(&held, number) && loaded.check_held(number, 1).is_ok() {
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
        id: &Digest,
        verify: VerifyMode,
        plain: &mut [u8],
    ) -> Result<Option<Vec<u8>>> {
        let locator = list.locator()?;
        let mut decode = |locator: &Locator| {
            let places = list.places(locator, chunk)?;
            self.decode_at(list, &places, chunk, id, verify, plain)
        };
        match decode(&locator) {
            Ok(held) => Ok(held),
            // A collection may have moved the frames since the locator was loaded.
            Err(error) => {
                let now = list.reload_locator()?;
                if now.root == locator.root { Err(error) } else { decode(&now) }
            }
        }
    }

    fn decode_at(
        &self,
        list: &List,
        places: &[(FramePlace, Digest)],
        chunk: u64,
        id: &Digest,
        verify: VerifyMode,
        plain: &mut [u8],
    ) -> Result<Option<Vec<u8>>> {
        let blocks = list.shape.blocks_of(chunk);
        let mut assembly = Assembly { plain, held: Some(vec![0; blocks.div_ceil(8) as usize]), blocks };
        for (place, pack) in places {
            let name = names::object(names::PACKS, pack);
            STORED.with_borrow_mut(|stored| {
                self.read_frame(&name, place, id, stored)?;
                let added = decode_frame(stored, blocks, place)
                    .and_then(|frame| assembly.add(&frame).map(|()| frame))
                    .and_then(
                        |frame| if verify == VerifyMode::Full { assembly.check(&frame, id) } else { Ok(()) },
                    );
                added.map_err(|fault| match fault {
                    Fault::ChunkId { expected, found } => mismatch(&name, chunk, place, expected, found),
                    fault => Error::corrupt(&name, u64::from(place.offset), fault),
                })
            })?;
        }
        Ok(assembly.held)
    }

    /// Reads a frame's stored bytes and checks their guard.
    pub(super) fn read_frame(
        &self,
        name: &str,
        place: &FramePlace,
        id: &Digest,
        stored: &mut Vec<u8>,
    ) -> Result<()> {
        let pack = self.open_checked(name, FRAMES_OFFSET, pack::decode_head)?;
        let offset = u64::from(place.offset);
        let end = offset + u64::from(place.len);
        if end > pack.len() {
            return Err(Error::corrupt(name, offset, Fault::FramePlace { end, max: pack.len() }));
        }
        stored.resize(place.len as usize, 0);
        pack.read_exact_at(stored, offset)
            .map_err(|error| Error::io("read", format!("{name} at byte {offset}"), error))?;
        let found = guard(id, stored);
        if found == place.guard {
            Ok(())
        } else {
            Err(Error::corrupt(name, offset, Fault::FrameGuard { expected: place.guard, found }))
        }
    }
}

fn mismatch(pack: &str, chunk: u64, place: &FramePlace, expected: Digest, found: Digest) -> Error {
    Error::DigestMismatch {
        what: format!("chunk {chunk} in {pack} at byte {}", place.offset),
        expected,
        found,
    }
}

impl Assembly<'_> {
    /// Decodes a frame's blocks to their places.
    fn add(&mut self, frame: &Frame<'_>) -> Result<(), Fault> {
        // The frames of a chunk have no block twice: so that all of them cost no more than one does.
        let is_first = self.held.as_ref().is_some_and(|held| held.iter().all(|bits| *bits == 0));
        let Presence::Partial { mask, .. } = &frame.presence else {
            self.held = None;
            return if is_first { frame.decode_payload(self.plain) } else { Err(Fault::FrameMask) };
        };
        let repeats = |held: &Vec<u8>| held.iter().zip(mask).any(|(held, bits)| held & bits != 0);
        if self.held.as_ref().is_none_or(repeats) {
            return Err(Fault::FrameMask);
        }
        let mut packed = vec![0; frame::plain_len(frame.held(self.blocks))];
        frame.decode_payload(&mut packed)?;
        let places = self.plain.chunks_exact_mut(BLOCK_LEN).zip(0u32..);
        let wanted = places.filter(|(_, block)| frame::has(mask, *block)).map(|(place, _)| place);
        for (place, block) in wanted.zip(packed.chunks_exact(BLOCK_LEN)) {
            place.copy_from_slice(block);
        }
        if let Some(held) = &mut self.held {
            held.iter_mut().zip(mask).for_each(|(held, bits)| *held |= bits);
            if (0..self.blocks).all(|block| frame::has(held, block)) {
                self.held = None;
            }
        }
        Ok(())
    }

    /// Checks the chunk id: digests of the blocks just decoded, and those that a partial frame
    /// gives of the others.
    fn check(&self, frame: &Frame<'_>, id: &Digest) -> Result<(), Fault> {
        let blocks = self.plain.chunks_exact(BLOCK_LEN);
        let digests: Vec<Digest> = match &frame.presence {
            Presence::Whole => blocks.map(block_digest).collect(),
            Presence::Partial { mask, absent } => {
                let mut absent = absent.iter();
                blocks
                    .zip(0u32..)
                    .map(|(block, number)| {
                        if frame::has(mask, number) {
                            block_digest(block)
                        } else {
                            absent.next().copied().unwrap_or_default()
                        }
                    })
                    .collect()
            }
        };
        let found = chunk_id(&digests);
        if found == *id { Ok(()) } else { Err(Fault::ChunkId { expected: *id, found }) }
    }
}

/// Takes a frame apart; it must hold as much as its locator says.
pub(super) fn decode_frame<'a>(
    stored: &'a [u8],
    blocks: u32,
    place: &FramePlace,
) -> Result<Frame<'a>, Fault> {
    let frame = Frame::decode(stored, blocks)?;
    if place.partial == matches!(frame.presence, Presence::Partial { .. }) {
        Ok(frame)
    } else {
        Err(Fault::FrameMask)
    }
}

/// Whether a store says that it has nothing of a chunk, rather than that something is wrong.
fn is_left_out(error: &Error) -> bool {
    error.is_absent()
        || matches!(
            error,
            Error::Corrupt { fault: Fault::ChunkAbsent { .. } | Fault::PieceAbsent { .. }, .. }
        )
}

impl Chunk {
    /// Fails unless blocks `first..first + count` are held.
    pub fn check_held(&self, first: u32, count: u32) -> Result<(), Fault> {
        match &self.held {
            None => Ok(()),
            Some(mask) => match (first..first + count).find(|&block| !frame::has(mask, block)) {
                None => Ok(()),
                Some(block) => Err(Fault::BlockAbsent { block }),
            },
        }
    }
}
