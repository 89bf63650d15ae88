//! Metadata contexts: the content of block status, and the queries for it.

use melv_block::{BlockDevice, Result, RunKind};

/// The maximum number of extents in one reply; the client asks again from its end.
const EXTENTS_MAX: usize = 4096;
/// The maximum number of runs of the disk read for one reply: equal neighbours are merged.
const RUNS_MAX: usize = 1 << 16;
/// The `base:allocation` flags of a hole that reads as zeros.
const HOLE_AND_ZERO: u64 = 3;

/// A context that this server supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// The parts that are zeros and take no space.
    Allocation,
    /// The number of steps up the lineage over which each part is unchanged.
    Depth,
}

/// An extent with one status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The length in bytes, at least 1.
    pub len: u64,
    /// The value of the context.
    pub status: u64,
}

impl Context {
    /// All supported contexts.
    pub const ALL: [Self; 2] = [Self::Allocation, Self::Depth];

    /// Returns the context's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Allocation => "base:allocation",
            Self::Depth => "x-melv:depth",
        }
    }

    /// Returns the context's number in replies.
    #[must_use]
    pub fn id(self) -> u32 {
        match self {
            Self::Allocation => 1,
            Self::Depth => 2,
        }
    }

    /// Whether a query matches this context. A bare namespace matches all of its contexts in a
    /// listing, and none in a selection.
    #[must_use]
    pub fn is_meant(self, query: &str, listing: bool) -> bool {
        let name = self.name();
        name == query || listing && query.ends_with(':') && name.starts_with(query)
    }

    /// Returns the extents from byte `offset` on, with equal neighbours merged. There is at least
    /// one, and only one with `only_first`; together they are at most `len` bytes.
    ///
    /// # Errors
    /// The errors of the disk.
    pub fn extents(
        self,
        disk: &dyn BlockDevice,
        offset: u64,
        len: u64,
        only_first: bool,
    ) -> Result<Vec<Extent>> {
        let mut extents: Vec<Extent> = Vec::new();
        let (mut at, end) = (offset, offset + len);
        for _ in 0..RUNS_MAX {
            if at == end {
                break;
            }
            let extent = self.extent(disk, at, end - at)?;
            at += extent.len;
            let count_max = if only_first { 1 } else { EXTENTS_MAX };
            let count = extents.len();
            match extents.last_mut() {
                Some(last) if last.status == extent.status => last.len += extent.len,
                Some(_) if count == count_max => break,
                _ => extents.push(extent),
            }
        }
        Ok(extents)
    }

    fn extent(self, disk: &dyn BlockDevice, offset: u64, len: u64) -> Result<Extent> {
        Ok(match self {
            Self::Allocation => {
                let run = disk.map(offset, len)?;
                Extent { len: run.len, status: if run.kind == RunKind::Zero { HOLE_AND_ZERO } else { 0 } }
            }
            Self::Depth => {
                let run = disk.depth(offset, len)?;
                Extent { len: run.len, status: u64::from(run.depth) }
            }
        })
    }
}

/// The metadata contexts that a client has selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chosen {
    allocation: bool,
    depth: bool,
}

impl Chosen {
    /// Selects a context.
    pub fn add(&mut self, context: Context) {
        match context {
            Context::Allocation => self.allocation = true,
            Context::Depth => self.depth = true,
        }
    }

    /// Returns the selected contexts.
    pub fn contexts(self) -> impl Iterator<Item = Context> {
        Context::ALL.into_iter().filter(move |context| match context {
            Context::Allocation => self.allocation,
            Context::Depth => self.depth,
        })
    }
}
