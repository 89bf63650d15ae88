//! Sequencing: assigns a source to every block, span by span; new blocks fill chunks.

use std::sync::Arc;

use super::chunk_bytes::{ChunkBytes, SpanData};
use super::trees::{SpanTable, TreeBuilder};
use crate::digest::{BlockDigest, ChunkId, Digest, ListId};
use crate::error::Result;
use crate::image::SourceCursor;
use crate::index::{CommittedIndex, PendingIndex};
use crate::limits::{BLOCK_LEN, CHUNK_BLOCKS_DEFAULT, LIST_CHUNKS_MAX, SPAN_BLOCKS, SPAN_LEN};
use crate::store::StoreErrors;
use crate::units::{GuestBlock, ListBlock};

/// A span that has been read and hashed.
pub(super) struct HashedSpan {
    pub number: u64,
    pub data: SpanData,
    /// The digest of each block, or `None` for a zero block.
    pub blocks: Vec<Option<BlockDigest>>,
    pub digest: Option<Digest>,
}

/// A chunk to compress.
pub(super) struct ChunkJob {
    /// The list's number among the import's new lists.
    pub list: u32,
    pub id: ChunkId,
    pub blocks: u32,
    pub plain: ChunkBytes,
}

/// The minimum number of chunks per span that are compressed as slices of its memory. Fewer are copied, so
/// that waiting chunks hold at most twice their own bytes.
const WITHIN_MIN: usize = SPAN_LEN / 2 / (CHUNK_BLOCKS_DEFAULT as usize * BLOCK_LEN);

/// A block's position; lists are numbered with the committed ones first, then the new ones.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    list: u32,
    block: ListBlock,
}

/// The deduplicator: decides for each block whether it is shared or new.
pub(super) struct Deduplicator<'a> {
    committed: CommittedIndex,
    pending: PendingIndex<'a>,
    parent: Option<SourceCursor>,
    /// The number of committed lists; new lists are numbered from here on.
    known: u32,
    ids: Vec<ListId>,
    chunk_blocks: u32,
    list_chunks_max: u64,
    /// The new list being filled, and the number of its blocks so far.
    list: u32,
    list_blocks: u64,
    plain: ChunkBytes,
    digests: Vec<BlockDigest>,
    last: Option<Place>,
    pub trees: TreeBuilder<'a>,
    pub spans: SpanTable,
    pub data_blocks: u64,
    pub new_blocks: u64,
    /// Spare buffers for chunks.
    pub spare: Vec<Vec<u8>>,
}

impl<'a> Deduplicator<'a> {
    pub fn new(
        committed: CommittedIndex,
        pending: PendingIndex<'a>,
        parent: Option<SourceCursor>,
        chunk_blocks: u32,
        trees: TreeBuilder<'a>,
        spans: SpanTable,
    ) -> Self {
        let ids: Vec<_> = committed.lists().map(|list| list.id).collect();
        Self {
            known: ids.len() as u32,
            ids,
            committed,
            pending,
            parent,
            chunk_blocks,
            list_chunks_max: LIST_CHUNKS_MAX,
            list: 0,
            list_blocks: 0,
            plain: ChunkBytes::Copied(Vec::new()),
            digests: Vec::new(),
            last: None,
            trees,
            spans,
            data_blocks: 0,
            new_blocks: 0,
            spare: Vec::new(),
        }
    }

    /// Processes the next span and appends full chunks to `jobs`.
    pub fn span(&mut self, span: &HashedSpan, jobs: &mut Vec<ChunkJob>) -> Result<()> {
        if let Some(digest) = &span.digest {
            self.spans.span(span.number, digest, &mut self.trees)?;
        }
        let first = GuestBlock(span.number * SPAN_BLOCKS);
        let mut number = 0;
        while let Some(digest) = span.blocks.get(number) {
            let guest = first + number as u64;
            let Some(digest) = digest else {
                number += 1;
                continue;
            };
            let mut run = 1;
            let place = match self.find(digest, guest)? {
                Some(place) => {
                    run += self.match_run(place, &span.blocks[number + 1..])?;
                    place
                }
                None => self.add(digest, &span.data, number * BLOCK_LEN, jobs)?,
            };
            self.data_blocks += run;
            self.last = Some(Place { block: place.block + (run - 1), ..place });
            self.trees.run(guest, run, place.list, place.block)?;
            number += run as usize;
        }
        let within = jobs.iter().filter(|job| job.plain.is_within(&span.data)).count();
        let jobs =
            jobs.iter_mut().map(|job| &mut job.plain).take(if within < WITHIN_MIN { usize::MAX } else { 0 });
        for plain in jobs.chain([&mut self.plain]) {
            plain.copied(|| self.spare.pop().unwrap_or_default());
        }
        Ok(())
    }

    /// Counts the leading `blocks` that match the blocks after `place` in its list. Returns 0 in a new list.
    /// Also returns 0 with a parent: its places take precedence, so each block is looked up alone.
    fn match_run(&mut self, place: Place, blocks: &[Option<BlockDigest>]) -> Result<u64> {
        if self.parent.is_some() || place.list >= self.known {
            return Ok(0);
        }
        let mut count = 0;
        loop {
            let page = self.committed.digests_from(place.list, place.block + 1 + count)?;
            let blocks = &blocks[count as usize..];
            let same =
                blocks.iter().zip(page).take_while(|(block, digest)| **block == Some(**digest)).count();
            count += same as u64;
            if same == 0 || same == blocks.len() || same < page.len() {
                return Ok(count);
            }
        }
    }

    /// Finds the block in the store or among the new blocks. It tries the parent's place first, then the
    /// place after the last block, then the index.
    fn find(&mut self, digest: &BlockDigest, guest: GuestBlock) -> Result<Option<Place>> {
        if let Some((list, block)) = self.at_parent(guest)?
            && let Ok(list) = self.ids.binary_search(&list)
        {
            let place = Place { list: list as u32, block };
            if self.digest_at(place)? == Some(*digest) {
                return Ok(Some(place));
            }
        }
        if let Some(last) = self.last {
            let next = Place { list: last.list, block: last.block + 1 };
            if self.digest_at(next)? == Some(*digest) {
                return Ok(Some(next));
            }
        }
        if let Some(found) = self.committed.find(digest)? {
            return Ok(Some(Place { list: found.list, block: found.block }));
        }
        let found = self.pending.find(digest)?;
        Ok(found.map(|(list, block)| Place { list: self.known + list, block }))
    }

    /// Returns the parent's source of a guest block. If the parent's map is damaged, the parent is dropped;
    /// its blocks are then found through the index.
    fn at_parent(&mut self, guest: GuestBlock) -> Result<Option<(ListId, ListBlock)>> {
        let Some(parent) = &mut self.parent else { return Ok(None) };
        match parent.at(guest) {
            Err(error) if error.is_damage() => {
                tracing::warn!(%error, "the parent's map is damaged; its blocks are looked up in the block index");
                self.parent = None;
                Ok(None)
            }
            found => found,
        }
    }

    fn digest_at(&mut self, place: Place) -> Result<Option<BlockDigest>> {
        match place.list.checked_sub(self.known) {
            None => self.committed.digest_at(place.list, place.block),
            Some(new) => self.pending.digest_at(new, place.block),
        }
    }

    /// Adds a new block.
    fn add(
        &mut self,
        digest: &BlockDigest,
        span: &SpanData,
        start: usize,
        jobs: &mut Vec<ChunkJob>,
    ) -> Result<Place> {
        if self.list_blocks == self.list_chunks_max * u64::from(self.chunk_blocks) {
            self.list += 1;
            self.list_blocks = 0;
        }
        let place = Place { list: self.known + self.list, block: ListBlock(self.list_blocks) };
        self.pending.add(digest, self.list, place.block)?;
        self.list_blocks += 1;
        self.new_blocks += 1;
        self.plain.add(span, start, || self.spare.pop().unwrap_or_default());
        self.digests.push(*digest);
        if self.digests.len() == self.chunk_blocks as usize {
            jobs.push(self.end_chunk());
        }
        Ok(place)
    }

    fn end_chunk(&mut self) -> ChunkJob {
        let plain = std::mem::replace(&mut self.plain, ChunkBytes::Copied(Vec::new()));
        let id = crate::digest::chunk_id(&self.digests);
        let blocks = self.digests.len() as u32;
        self.digests.clear();
        ChunkJob { list: self.list, id, blocks, plain }
    }

    /// Returns the last chunk, if it has any block.
    pub fn end(&mut self) -> Option<ChunkJob> {
        (!self.digests.is_empty()).then(|| self.end_chunk())
    }

    /// Returns the parts that the final stage needs.
    pub fn into_parts(self) -> DeduplicatorParts<'a> {
        self.committed.drop_damaged_logs();
        DeduplicatorParts {
            lists: self.committed.lists().cloned().collect(),
            pending: self.pending,
            trees: self.trees,
            spans: self.spans,
            data_blocks: self.data_blocks,
            new_blocks: self.new_blocks,
        }
    }
}

/// The parts of a deduplicator that remain after the last span.
pub(super) struct DeduplicatorParts<'a> {
    /// The committed lists, by number.
    pub lists: Vec<Arc<crate::store::list::List>>,
    pub pending: PendingIndex<'a>,
    pub trees: TreeBuilder<'a>,
    pub spans: SpanTable,
    pub data_blocks: u64,
    pub new_blocks: u64,
}
