//! The import's threads and their scheduling.
//!
//! One mutex guards the plan; no data is processed under it. Each thread takes a task under the lock, runs it
//! without the lock, and stores the result. Tasks of later stages come first, so that work in flight drains
//! before more is read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::chunk_bytes::ChunkBytes;
use super::deduplicator::{ChunkJob, Deduplicator, HashedSpan};
use super::options::{ImportOptions, Progress};
use super::packer::{EncodedChunk, Packer, encode};
use super::span_source::{PendingSpan, SpanSource};
use crate::content::{span_blocks, span_digest};
use crate::error::{BlockError, Error, Result};
use crate::limits::{BLOCK_LEN, SPAN_LEN};
use melv_block::BlockDevice;

/// The bytes of chunks between sequencing and packing, per thread.
const CHUNK_BYTES_PER_THREAD: usize = 4 << 20;
/// The number of spans between reading and sequencing: this many per thread, plus `SPANS_MORE`.
const SPANS_PER_THREAD: usize = 2;
const SPANS_MORE: usize = 2;

/// The pipeline of one import.
pub(super) struct Pipeline<'a> {
    options: &'a ImportOptions<'a>,
    device: Option<&'a dyn BlockDevice>,
    /// The size of the disk in bytes, if known.
    size_bytes: Option<u64>,
    plan: Mutex<Plan>,
    wake: Condvar,
    feed: Mutex<SpanSource<'a>>,
    deduplicator: Mutex<Deduplicator<'a>>,
    packer: Mutex<Packer<'a>>,
    spans_max: usize,
    chunks_max: usize,
}

/// The tasks and results in flight. Spans and chunks are numbered in the order of the disk.
#[derive(Default)]
struct Plan {
    feed_ended: bool,
    feeding: bool,
    sequencing: bool,
    packing: bool,
    sequence_ended: bool,
    error: Option<Error>,
    spans_read: u64,
    sequenced: u64,
    chunks: u64,
    packed: u64,
    hashed: BTreeMap<u64, HashedSpan>,
    jobs: VecDeque<(u64, ChunkJob)>,
    encoded: BTreeMap<u64, EncodedChunk>,
    /// Spare buffers for spans, chunks and frames.
    spare_spans: Vec<Vec<u8>>,
    spare_chunks: Vec<Vec<u8>>,
    spare_frames: Vec<Vec<u8>>,
}

/// Locks a mutex. A panic under any of them ends the import (see [`Bail`]), so poisoning does not matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

enum Task {
    Pack(EncodedChunk),
    Sequence(HashedSpan),
    EndSequence,
    Compress(u64, ChunkJob, Vec<u8>),
    ReadSpan(u64, Vec<u8>),
    Done,
}

impl<'a> Pipeline<'a> {
    pub fn new(
        options: &'a ImportOptions<'a>,
        device: Option<&'a dyn BlockDevice>,
        size_bytes: Option<u64>,
        feed: SpanSource<'a>,
        deduplicator: Deduplicator<'a>,
        packer: Packer<'a>,
    ) -> Self {
        let threads = rayon::current_num_threads();
        let chunk_len = options.chunk_blocks as usize * BLOCK_LEN;
        Self {
            options,
            device,
            size_bytes,
            plan: Mutex::default(),
            wake: Condvar::new(),
            feed: Mutex::new(feed),
            deduplicator: Mutex::new(deduplicator),
            packer: Mutex::new(packer),
            spans_max: threads * SPANS_PER_THREAD + SPANS_MORE,
            chunks_max: (threads * CHUNK_BYTES_PER_THREAD / chunk_len).max(2 * threads),
        }
    }

    /// Runs the import on all threads of the current `rayon` pool.
    pub fn run(self) -> Result<(SpanSource<'a>, Deduplicator<'a>, Packer<'a>)> {
        rayon::broadcast(|_| self.work());
        let plan = self.plan.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = plan.error {
            return Err(error);
        }
        Ok((
            self.feed.into_inner().unwrap_or_else(PoisonError::into_inner),
            self.deduplicator.into_inner().unwrap_or_else(PoisonError::into_inner),
            self.packer.into_inner().unwrap_or_else(PoisonError::into_inner),
        ))
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        lock(&self.plan)
    }

    fn work(&self) {
        let _bail = Bail(self);
        loop {
            let done = match self.next_task() {
                Task::Done => return,
                Task::Pack(chunk) => self.pack(chunk),
                Task::Sequence(span) => self.sequence(span),
                Task::EndSequence => self.end_sequence(),
                Task::Compress(number, job, frame) => self.compress(number, job, frame),
                Task::ReadSpan(number, buffer) => self.feed(number, buffer),
            };
            if let Err(error) = done {
                self.plan().error.get_or_insert(error);
            }
            self.wake.notify_all();
        }
    }

    fn next_task(&self) -> Task {
        let mut plan = self.plan();
        loop {
            if let Some(task) = plan.take(self.spans_max, self.chunks_max) {
                return task;
            }
            plan = self.wake.wait(plan).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn pack(&self, chunk: EncodedChunk) -> Result<()> {
        let packed = lock(&self.packer).chunk(&chunk);
        let mut plan = self.plan();
        plan.packing = false;
        plan.packed += 1;
        match chunk.plain {
            ChunkBytes::Copied(buffer) => plan.spare_chunks.push(buffer),
            ChunkBytes::Within(span, ..) => plan.spare_spans.extend(Arc::into_inner(span)),
        }
        plan.spare_frames.push(chunk.frame);
        packed
    }

    fn sequence(&self, span: HashedSpan) -> Result<()> {
        let mut jobs = Vec::new();
        let spare = std::mem::take(&mut self.plan().spare_chunks);
        let mut deduplicator = lock(&self.deduplicator);
        deduplicator.spare.extend(spare);
        let sequenced = deduplicator.span(&span, &mut jobs);
        drop(deduplicator);
        let mut plan = self.plan();
        plan.add_jobs(jobs);
        plan.sequencing = false;
        plan.sequenced += 1;
        plan.spare_spans.extend(Arc::into_inner(span.data));
        sequenced
    }

    fn end_sequence(&self) -> Result<()> {
        let job = lock(&self.deduplicator).end();
        let mut plan = self.plan();
        plan.add_jobs(job.into_iter().collect());
        plan.sequencing = false;
        plan.sequence_ended = true;
        Ok(())
    }

    fn compress(&self, number: u64, job: ChunkJob, frame: Vec<u8>) -> Result<()> {
        let chunk = encode(job, self.options.level, frame)?;
        self.plan().encoded.insert(number, chunk);
        Ok(())
    }

    /// Takes a span from the feed, releases the feed to other threads, then reads and hashes the span.
    fn feed(&self, number: u64, buffer: Vec<u8>) -> Result<()> {
        let mut buffer = Some(buffer);
        let mut next = || lock(&self.feed).next(|| buffer.take().unwrap_or_default());
        let fed = self.options.check_cancel().and_then(|()| next());
        let mut plan = self.plan();
        plan.feeding = false;
        let span = match fed {
            Ok(Some(span)) => span,
            other => {
                plan.feed_ended = true;
                return other.map(drop);
            }
        };
        plan.spans_read += 1;
        drop(plan);
        self.wake.notify_all();
        if let Some(progress) = self.options.progress {
            let done_bytes = span.number * SPAN_LEN as u64 + span.len as u64;
            progress(Progress { done_bytes, size_bytes: self.size_bytes });
        }
        let span = hash(span, self.device, buffer.unwrap_or_default())?;
        self.plan().hashed.insert(number, span);
        Ok(())
    }
}

/// A guard that stops the other threads if one panics, since its task will never complete.
struct Bail<'a, 'b>(&'a Pipeline<'b>);

impl Drop for Bail<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.plan().error.get_or_insert(Error::from(BlockError::Interrupted));
            self.0.wake.notify_all();
        }
    }
}

fn hash(span: PendingSpan, device: Option<&dyn BlockDevice>, buffer: Vec<u8>) -> Result<HashedSpan> {
    let number = span.number;
    let mut blocks = Vec::with_capacity(SPAN_LEN / BLOCK_LEN);
    let data = span.read(device, || buffer, |piece| span_blocks(piece, &mut blocks))?;
    let digest = span_digest(&blocks);
    Ok(HashedSpan { number, data: Arc::new(data), blocks, digest })
}

impl Plan {
    fn add_jobs(&mut self, jobs: Vec<ChunkJob>) {
        for job in jobs {
            self.jobs.push_back((self.chunks, job));
            self.chunks += 1;
        }
    }

    /// Returns the most urgent task that is ready.
    fn take(&mut self, spans_max: usize, chunks_max: usize) -> Option<Task> {
        if self.error.is_some() {
            return Some(Task::Done);
        }
        if !self.packing
            && let Some(chunk) = self.encoded.remove(&self.packed)
        {
            self.packing = true;
            return Some(Task::Pack(chunk));
        }
        let room = (self.chunks - self.packed) < chunks_max as u64;
        if !self.sequencing && room {
            if let Some(span) = self.hashed.remove(&self.sequenced) {
                self.sequencing = true;
                return Some(Task::Sequence(span));
            }
            if self.feed_ended && self.sequenced == self.spans_read && !self.sequence_ended {
                self.sequencing = true;
                return Some(Task::EndSequence);
            }
        }
        if let Some((number, job)) = self.jobs.pop_front() {
            let frame = self.spare_frames.pop().unwrap_or_default();
            return Some(Task::Compress(number, job, frame));
        }
        let in_flight = self.spans_read - self.sequenced;
        if !self.feed_ended && !self.feeding && in_flight < spans_max as u64 {
            self.feeding = true;
            let buffer = self.spare_spans.pop().unwrap_or_default();
            return Some(Task::ReadSpan(self.spans_read, buffer));
        }
        (self.sequence_ended && self.packed == self.chunks).then_some(Task::Done)
    }
}
