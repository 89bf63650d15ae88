//! Metadata contexts: what block status tells, and how a client asks for it.

use melv::{BlockDevice, Result, RunKind};

/// Extents that one reply tells at most; a client asks again from where it ends.
const EXTENTS_MAX: usize = 4096;
/// Runs of the disk that are looked at for one reply at most: neighbours may be alike.
const RUNS_MAX: usize = 1 << 16;
/// Flags of `base:allocation`.
const HOLE_AND_ZERO: u64 = 3;

/// A context that this server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// Which parts are zeros that take no space.
    Allocation,
    /// How many steps up its lineage each part is the same.
    Depth,
}

/// An extent of one status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Bytes, at least one.
    pub len: u64,
    /// What the context has to say.
    pub status: u64,
}

impl Context {
    /// All that there are.
    pub const ALL: [Self; 2] = [Self::Allocation, Self::Depth];

    /// The name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Allocation => "base:allocation",
            Self::Depth => "x-melv:depth",
        }
    }

    /// The number by which replies name it.
    #[must_use]
    pub fn id(self) -> u32 {
        match self {
            Self::Allocation => 1,
            Self::Depth => 2,
        }
    }

    /// Whether a query means this one. A namespace alone means all of it where contexts are listed, and
    /// nothing where they are chosen.
    #[must_use]
    pub fn is_meant(self, query: &str, listing: bool) -> bool {
        let name = self.name();
        name == query || listing && query.ends_with(':') && name.starts_with(query)
    }

    /// The extents from byte `offset` on, alike neighbours as one: at least one, together no longer than
    /// `len`, and only the first where `only_first` is set.
    ///
    /// # Errors
    /// Those of the disk.
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

/// Contexts that a client has chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chosen {
    allocation: bool,
    depth: bool,
}

impl Chosen {
    /// Chooses one more.
    pub fn add(&mut self, context: Context) {
        match context {
            Context::Allocation => self.allocation = true,
            Context::Depth => self.depth = true,
        }
    }

    /// Those chosen.
    pub fn contexts(self) -> impl Iterator<Item = Context> {
        Context::ALL.into_iter().filter(move |context| match context {
            Context::Allocation => self.allocation,
            Context::Depth => self.depth,
        })
    }
}
