//! Writes packs: frames in order, with a new pack whenever one is full.

use super::sink::{ObjectKind, Sink};
use crate::digest::{ChunkId, PackId};
use crate::error::Result;
use crate::guard::guard;
use crate::limits::{PACK_FRAMES_MAX, PACK_LEN_MAX};
use crate::ondisk::locator::FramePlace;
use crate::ondisk::pack::{self, FRAMES_OFFSET, FrameRecord};

/// A pack that a locator refers to: one of the store, or the number of one being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum PackName {
    Known(PackId),
    New(u32),
}

/// A frame that a locator places. The numbers of pack and next frame belong to a locator, and are set there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LocatedFrame {
    pub(super) pack: PackName,
    pub(super) place: FramePlace,
}

impl LocatedFrame {
    /// Returns the location of a frame that another locator of the store places.
    pub fn known(place: &FramePlace, pack: PackId) -> Self {
        Self { pack: PackName::Known(pack), place: *place }
    }

    /// Whether the frame holds only some blocks of its chunk.
    pub fn is_partial(&self) -> bool {
        self.place.partial
    }
}

/// Writes frames into packs.
pub(crate) struct PackWriter<'a, S: Sink> {
    sink: &'a S,
    open: Option<OpenPack<S::Object>>,
    /// The ids of the finished packs, by number.
    ids: Vec<PackId>,
    finished: Vec<S::Finished>,
}

struct OpenPack<O> {
    object: O,
    records: Vec<FrameRecord>,
    /// The offset of the next frame.
    len: u64,
}

impl<'a, S: Sink> PackWriter<'a, S> {
    pub fn new(sink: &'a S) -> Self {
        Self { sink, open: None, ids: Vec::new(), finished: Vec::new() }
    }

    /// Appends a frame of chunk `id`. `partial` tells whether it holds only some of the chunk's blocks.
    pub fn frame(&mut self, id: &ChunkId, frame: &[u8], partial: bool) -> Result<LocatedFrame> {
        if self.open.as_ref().is_some_and(|open| !open.has_room(frame.len(), S::PACK_LEN_TARGET)) {
            self.close()?;
        }
        let number = u32::try_from(self.ids.len()).unwrap_or(u32::MAX);
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(OpenPack {
                object: self.sink.begin(ObjectKind::Pack, pack::encode_head())?,
                records: Vec::new(),
                len: FRAMES_OFFSET,
            }),
        };
        let guard = guard(id, frame);
        let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let offset = u32::try_from(open.len).unwrap_or(u32::MAX);
        self.sink.write(&mut open.object, open.len, frame)?;
        open.records.push(FrameRecord { key: id.prefix(), len, guard });
        open.len += u64::from(len);
        let place = FramePlace { pack: 0, offset, len, partial, next: 0, guard };
        Ok(LocatedFrame { pack: PackName::New(number), place })
    }

    fn close(&mut self) -> Result<()> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let (tail, id) = pack::encode_tail(&open.records);
        self.sink.write(&mut open.object, open.len, &tail)?;
        let len = open.len + tail.len() as u64;
        self.finished.push(self.sink.finish(open.object, &id.digest(), len, Vec::new())?);
        self.ids.push(id);
        Ok(())
    }

    /// Closes the last pack. Returns the ids of all packs, by number, and the packs. Later frames go into
    /// new packs, whose numbers begin at zero again.
    pub fn finish(&mut self) -> Result<(Vec<PackId>, Vec<S::Finished>)> {
        self.close()?;
        Ok((std::mem::take(&mut self.ids), std::mem::take(&mut self.finished)))
    }
}

impl<O> OpenPack<O> {
    /// Whether a frame of `len` bytes fits. The index and the trailer count against the format's maximum, and
    /// not against the target.
    fn has_room(&self, len: usize, target: u64) -> bool {
        let (frames, end) = (self.records.len() as u64 + 1, self.len + len as u64);
        let tail_len = frames * pack::RECORD_LEN as u64 + pack::TRAILER_LEN;
        frames <= PACK_FRAMES_MAX && end <= target && end + tail_len < PACK_LEN_MAX
    }
}
