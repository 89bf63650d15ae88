//! Copies blocks of a chunk into a frame for another place: into a bundle, or out of one.
//!
//! A frame that holds exactly the wanted blocks is copied unchanged. Otherwise the blocks are collected
//! from all frames and encoded again. Either way the frame includes the digests of the chunk's other
//! blocks, so that any holder can check the chunk id.

use super::errors::InStore;
use super::frames::decode_frame;
use super::list::{List, Locator};
use super::names;
use super::reader::{Reader, VerifyMode};
use crate::digest::{BlockDigest, ChunkId, PackId, block_digests};
use crate::error::{Result, StoreError};
use crate::fault::RuleViolation;
use crate::limits::{BLOCK_LEN, LEVEL_DEFAULT};
use crate::ondisk::frame::{self, Frame, Presence};
use crate::ondisk::locator::FramePlace;
use crate::write::{encode_partial, encode_whole};

/// A frame to store elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortableFrame {
    /// The chunk's id.
    pub id: ChunkId,
    /// The frame.
    pub frame: Vec<u8>,
    /// Whether it holds only some of the chunk's blocks.
    pub partial: bool,
}

/// Whether all of the first `blocks` bits of a mask are set.
pub(crate) fn is_all(mask: &[u8], blocks: u32) -> bool {
    (0..blocks).all(|block| frame::has(mask, block))
}

impl Reader {
    /// Returns a mask of the blocks of a chunk that this store holds; all zero if it holds none.
    pub fn blocks_present(&self, list: &List, chunk: u64) -> Result<Vec<u8>> {
        let blocks = list.shape.blocks_of(chunk);
        let mut held = vec![0; blocks.div_ceil(8) as usize];
        if list.record(chunk)?.is_absent() {
            return Ok(held);
        }
        let id = list.chunk_id(chunk)?;
        for (place, pack) in list.places_now(chunk)? {
            if !place.partial {
                (0..blocks).for_each(|block| held[block as usize / 8] |= 1 << (block % 8));
                return Ok(held);
            }
            let name = names::pack(&pack);
            let stored = self.read_frame(&name, &place, &id)?;
            let frame = decode_frame(&stored, blocks, &place)
                .map_err(|fault| StoreError::corrupt(&name, u64::from(place.offset), fault))?;
            if let Presence::Partial { mask, .. } = &frame.presence {
                held.iter_mut().zip(mask).for_each(|(held, bits)| *held |= bits);
            }
        }
        Ok(held)
    }

    /// Returns a mask of a chunk's blocks from frames that were just decoded and checked against the
    /// chunk id.
    pub fn blocks_present_soundly(&self, list: &List, chunk: u64) -> Result<Vec<u8>> {
        let mut held = vec![0; list.shape.blocks_of(chunk).div_ceil(8) as usize];
        for (_, _, mask) in list.sound_places(self, &*list.locator()?, chunk)? {
            held.iter_mut().zip(&mask).for_each(|(held, bits)| *held |= bits);
        }
        Ok(held)
    }

    /// Decodes one frame of a chunk and checks the chunk id. Returns a mask of the blocks it holds.
    pub fn check_frame(
        &self,
        place: &FramePlace,
        pack: &PackId,
        blocks: u32,
        id: &ChunkId,
    ) -> Result<Vec<u8>> {
        let name = names::pack(pack);
        let stored = self.read_frame(&name, place, id)?;
        let corrupt = |fault| StoreError::corrupt(&name, u64::from(place.offset), fault);
        let frame = decode_frame(&stored, blocks, place).map_err(corrupt)?;
        digests_of(&frame, blocks, id).map_err(corrupt)?;
        Ok(match frame.presence {
            Presence::Partial { mask, .. } => mask,
            Presence::Whole => {
                let mut mask = vec![0; blocks.div_ceil(8) as usize];
                (0..blocks).for_each(|block| mask[block as usize / 8] |= 1 << (block % 8));
                mask
            }
        })
    }

    /// Returns a mask of the blocks that one frame of a chunk holds.
    pub fn mask_of(&self, list: &List, locator: &Locator, chunk: u64, place: &FramePlace) -> Result<Vec<u8>> {
        let blocks = list.shape.blocks_of(chunk);
        let name = locator.pack_name(place);
        let stored = self.read_frame(name, place, &list.chunk_id(chunk)?)?;
        let frame = decode_frame(&stored, blocks, place)
            .map_err(|fault| StoreError::corrupt(name, u64::from(place.offset), fault))?;
        Ok(match frame.presence {
            Presence::Whole => vec![0xff; blocks.div_ceil(8) as usize],
            Presence::Partial { mask, .. } => mask,
        })
    }

    /// Returns a frame of the blocks `wanted` of a chunk. This store, or the base of this bundle, must
    /// hold all of them.
    ///
    /// In full mode, the bytes were checked against the chunk id.
    pub fn reframe(
        &self,
        list: &List,
        chunk: u64,
        wanted: &[u8],
        verify: VerifyMode,
    ) -> Result<PortableFrame> {
        let id = list.chunk_id(chunk)?;
        if let Some(frame) = self.frame_of_just(list, chunk, &id, wanted, verify)? {
            let partial = !is_all(wanted, list.shape.blocks_of(chunk));
            return Ok(PortableFrame { id, frame, partial });
        }
        let blocks = list.shape.blocks_of(chunk);
        let mut plain = vec![0; frame::plain_len(blocks)];
        let held = self.decode_chunk(list, chunk, &id, VerifyMode::Full, &mut plain)?;
        let lacks = |block: &u32| {
            frame::has(wanted, *block) && held.as_ref().is_some_and(|held| !frame::has(held, *block))
        };
        if let Some(block) = (0..blocks).find(lacks) {
            let name = names::locator(&list.id);
            return Err(StoreError::corrupt(name, 0, RuleViolation::BlockAbsent { block }).in_chunk(chunk));
        }
        let mut frame = Vec::new();
        if is_all(wanted, blocks) {
            encode_whole(&id, &plain, LEVEL_DEFAULT, &mut frame)?;
            return Ok(PortableFrame { id, frame, partial: false });
        }
        let digests = match held {
            None => {
                let mut digests = Vec::with_capacity(blocks as usize);
                block_digests(plain.as_chunks().0, &mut digests);
                digests
            }
            Some(_) => self.block_digests(list, chunk, &id)?,
        };
        let numbered = |block: &u32| !frame::has(wanted, *block);
        let absent: Vec<BlockDigest> =
            (0..blocks).filter(numbered).filter_map(|block| digests.get(block as usize).copied()).collect();
        let kept = plain.chunks_exact(BLOCK_LEN).zip(0u32..).filter(|(_, block)| frame::has(wanted, *block));
        let packed: Vec<u8> = kept.flat_map(|(block, _)| block.iter().copied()).collect();
        encode_partial(&id, &packed, wanted, &absent, LEVEL_DEFAULT, &mut frame)?;
        Ok(PortableFrame { id, frame, partial: true })
    }

    /// Returns the stored bytes of the chunk's only frame, if it holds exactly the wanted blocks.
    fn frame_of_just(
        &self,
        list: &List,
        chunk: u64,
        id: &ChunkId,
        wanted: &[u8],
        verify: VerifyMode,
    ) -> Result<Option<Vec<u8>>> {
        let blocks = list.shape.blocks_of(chunk);
        let places = match list.places_now(chunk) {
            Ok(places) => places,
            // The caller finds out whether a base has the blocks.
            Err(_) if self.base.is_some() => return Ok(None),
            Err(error) => return Err(error),
        };
        let &[(place, pack)] = places.as_slice() else { return Ok(None) };
        if place.partial == is_all(wanted, blocks) {
            return Ok(None);
        }

        let name = names::pack(&pack);
        let stored = self.read_frame(&name, &place, id)?;
        let frame = decode_frame(&stored, blocks, &place)
            .map_err(|fault| StoreError::corrupt(&name, u64::from(place.offset), fault))?;
        let is_just = match &frame.presence {
            Presence::Whole => true,
            Presence::Partial { mask, .. } => mask == wanted,
        };
        if is_just && verify == VerifyMode::Full {
            digests_of(&frame, blocks, id)
                .map_err(|fault| StoreError::corrupt(&name, u64::from(place.offset), fault))?;
        }
        Ok(is_just.then_some(stored))
    }

    /// Returns the digests of all blocks of a chunk, held or not, from any of its frames.
    fn block_digests(&self, list: &List, chunk: u64, id: &ChunkId) -> Result<Vec<BlockDigest>> {
        let found = list.places_now(chunk);
        let (place, pack) = match (found, &self.base) {
            (Ok(places), _) if !places.is_empty() => places[0],
            (_, Some(base)) => {
                let own = base.reader.list(&list.id, Some(list.shape))?;
                return base.reader.block_digests(&own, chunk, id);
            }
            (Err(error), None) => return Err(error),
            (Ok(_), None) => {
                return Err(StoreError::corrupt(list.object_name(), 0, RuleViolation::ChunkAbsent { chunk }));
            }
        };
        let blocks = list.shape.blocks_of(chunk);
        let name = names::pack(&pack);
        let corrupt = |fault| StoreError::corrupt(&name, u64::from(place.offset), fault);
        let stored = self.read_frame(&name, &place, id)?;
        let frame = decode_frame(&stored, blocks, &place).map_err(corrupt)?;
        digests_of(&frame, blocks, id).map_err(corrupt)
    }
}

impl List {
    /// Returns the places of a chunk's sound frames, with their packs and masks of the blocks they hold.
    /// Decodes every frame. Returns none if the list or its locator is damaged here.
    pub fn sound_places(
        &self,
        reader: &Reader,
        locator: &Locator,
        chunk: u64,
    ) -> Result<Vec<(FramePlace, PackId, Vec<u8>)>> {
        let told = || -> Result<_> {
            if locator.record(&reader.objects, chunk)?.is_absent() {
                return Ok((ChunkId::ZERO, Vec::new()));
            }
            Ok((self.chunk_id(chunk)?, self.places(locator, chunk)?))
        };
        let (id, places) = match told() {
            Err(error) if error.is_transient() => return Err(error),
            told => told.unwrap_or_default(),
        };
        let mut sound = Vec::new();
        for (place, pack) in places {
            match reader.check_frame(&place, &pack, self.shape.blocks_of(chunk), &id) {
                Ok(mask) => sound.push((place, pack, mask)),
                Err(error) if error.is_transient() => return Err(error),
                Err(_) => {}
            }
        }
        Ok(sound)
    }
}

/// Returns the digests of all blocks of a frame's chunk. They must hash to the chunk id.
fn digests_of(
    frame: &Frame<'_>,
    blocks: u32,
    id: &ChunkId,
) -> std::result::Result<Vec<BlockDigest>, RuleViolation> {
    let mut plain = vec![0; frame::plain_len(frame.held(blocks))];
    frame.decode_payload(&mut plain)?;
    frame.presence.check_id(plain.as_chunks().0.iter(), blocks, id)
}
