//! Chunks of a list that cannot be read, and those that a store does not hold.

use super::damaged::text_of;
use crate::error::Error;
use crate::units::ListBlock;

/// The unreadable chunks of a list, with one reason.
pub(super) struct BadChunks {
    /// The first chunk and the end of each run, ascending; empty for the whole list.
    runs: Vec<(u64, u64)>,
    reason: String,
}

/// Blocks of a list that the store neither holds nor claims to hold: ascending runs.
#[derive(Default)]
pub(super) struct Lacking(Vec<(u64, u64)>);

/// Appends a run.
fn push(runs: &mut Vec<(u64, u64)>, start: u64, end: u64) {
    match runs.last_mut() {
        Some(last) if last.1 == start => last.1 = end,
        _ => runs.push((start, end)),
    }
}

/// Calls `each` with the parts of `runs` within `start..end`, as start and length.
fn parts(runs: &[(u64, u64)], start: u64, end: u64, mut each: impl FnMut(u64, u64)) {
    let first = runs.partition_point(|run| run.1 <= start);
    for run in runs[first..].iter().take_while(|run| run.0 < end) {
        each(run.0.max(start), run.1.min(end) - run.0.max(start));
    }
}

impl Lacking {
    /// Adds a run of blocks, from `start` up to `end`.
    pub fn add(&mut self, start: u64, end: u64) {
        push(&mut self.0, start, end);
    }

    /// Calls `each` with the missing parts of blocks `source..source + blocks`.
    pub fn ranges(&self, source: ListBlock, blocks: u64, mut each: impl FnMut(ListBlock, u64)) {
        parts(&self.0, source.0, (source + blocks).0, |start, blocks| each(ListBlock(start), blocks));
    }
}

impl BadChunks {
    /// Returns the first chunk and the end of each run, ascending; empty for the whole list.
    pub fn runs(&self) -> &[(u64, u64)] {
        &self.runs
    }

    /// Adds a run of chunks, from `start` up to `end`.
    pub fn add(&mut self, start: u64, end: u64) {
        push(&mut self.runs, start, end);
    }

    /// The reason.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Marks all chunks of the list as unreadable, unless a run is added.
    pub fn whole_list(error: &Error) -> Self {
        Self { runs: Vec::new(), reason: text_of(error) }
    }

    /// Calls `each` with the parts of blocks `source..source + blocks` that lie in bad chunks.
    pub fn ranges(
        &self,
        source: ListBlock,
        blocks: u64,
        chunk_blocks: u64,
        mut each: impl FnMut(ListBlock, u64),
    ) {
        let (first, end) = (source.0, (source + blocks).0);
        if self.runs.is_empty() {
            return each(source, blocks); // the whole list is bad
        }
        parts(&self.runs, first / chunk_blocks, end.div_ceil(chunk_blocks), |chunk, chunks| {
            let start = (chunk * chunk_blocks).max(first);
            each(ListBlock(start), ((chunk + chunks) * chunk_blocks).min(end) - start);
        });
    }
}
