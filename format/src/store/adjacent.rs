//! Reads chunks with adjacent frames in one call.
//!
//! An import stores chunks in the order it reads them. A sequential read of a disk can therefore fetch
//! many frames with one system call or one request to a remote server.

use super::errors::StoreErrors;
use super::frames::{ChunkAssembler, with_stored};
use super::list::{List, Locator};
use super::reader::Reader;
use crate::error::{Result, StoreError};
use crate::limits::BLOCK_LEN;
use crate::ondisk::locator::FramePlace;

/// The maximum number of frames per call.
const FRAMES_MAX: usize = 32;
/// The maximum number of stored bytes per call, so that they are still in the CPU cache when they are
/// decoded.
const STORED_BYTES_MAX: u64 = 192 << 10;

impl Reader {
    /// Fills `out` with whole chunks of `list` from chunk `first` on. Bypasses the cache for chunks that
    /// are not in it.
    pub fn read_whole_chunks(&self, list: &List, first: u64, mut out: &mut [u8]) -> Result<()> {
        let mut chunk = first;
        while !out.is_empty() {
            let (count, bytes) = match self.read_adjacent_frames(list, chunk, out) {
                Ok(done) if done.0 > 0 => done,
                Err(error) if !error.is_damage() => return Err(error),
                // Frames may have moved, or one may be damaged. Read this chunk alone, to recover or to fail.
                _ => {
                    let len = plain_len(list, chunk);
                    self.read_whole_chunk(list, chunk, &mut out[..len])?;
                    (1, len)
                }
            };
            chunk += count;
            out = &mut out[bytes..];
        }
        Ok(())
    }

    /// Fills the front of `out` with as many whole chunks as one read provides. Returns their number and
    /// their bytes; zero if there would be only one.
    fn read_adjacent_frames(&self, list: &List, first: u64, out: &mut [u8]) -> Result<(u64, usize)> {
        let locator = list.locator()?;
        let mut places = [FramePlace::NONE; FRAMES_MAX];
        let count = self.adjacent(list, &locator, first, out.len(), &mut places)?;
        let places = &places[..count];
        let [start, _, ..] = places else { return Ok((0, 0)) };
        let stored_len = places.iter().map(|place| place.len as usize).sum();
        let (name, mut filled) = (locator.pack_name(start), 0);
        with_stored(stored_len, |mut stored| {
            self.read_stored(name, u64::from(start.offset), stored)?;
            for (place, chunk) in places.iter().zip(first..) {
                let (frame, rest) = std::mem::take(&mut stored).split_at_mut(place.len as usize);
                stored = rest;
                let plain = &mut out[filled..filled + plain_len(list, chunk)];
                filled += plain.len();
                let id = list.chunk_id(chunk)?;
                let mut assembly = ChunkAssembler::new(plain, list.shape.blocks_of(chunk));
                assembly
                    .frame(frame, place, &id, self.verify)
                    .map_err(|fault| StoreError::corrupt(name, u64::from(place.offset), fault))?;
            }
            self.cache().add_decoded(count, filled);
            Ok((count as u64, filled))
        })
    }

    /// Finds chunks from `first` on that each have one whole frame, are adjacent and uncached, and
    /// together fit `out_len`. Stores their places and returns their number.
    fn adjacent(
        &self,
        list: &List,
        locator: &Locator,
        first: u64,
        out_len: usize,
        places: &mut [FramePlace; FRAMES_MAX],
    ) -> Result<usize> {
        let (mut count, mut left, mut stored_len) = (0, out_len, 0);
        while count < FRAMES_MAX {
            let chunk = first + count as u64;
            let len = plain_len(list, chunk);
            if len == 0 || len > left || self.holds(list, chunk) {
                break;
            }
            let place = locator.record(&self.objects, chunk)?;
            let follows = match places[..count].last() {
                None => true,
                Some(last) => place.pack == last.pack && place.offset == last.offset.wrapping_add(last.len),
            };
            stored_len += u64::from(place.len);
            if !place.is_whole() || place.next != 0 || !follows || stored_len > STORED_BYTES_MAX {
                break;
            }
            places[count] = place;
            count += 1;
            left -= len;
        }
        Ok(count)
    }
}

/// Returns the length of a chunk in bytes; zero behind the last chunk.
fn plain_len(list: &List, chunk: u64) -> usize {
    if chunk < list.shape.chunks() { list.shape.blocks_of(chunk) as usize * BLOCK_LEN } else { 0 }
}
