//! A blank disk, for the writers of VMDKs to read.

use melv_block::{BlockDevice, Result, Run, RunKind, check_range};

/// A disk of zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlankDisk {
    pub(super) name: String,
    pub(super) size: u64,
}

impl BlockDevice for BlankDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        check_range(offset, buf.len() as u64, self.size)?;
        buf.fill(0);
        Ok(())
    }

    fn map(&self, offset: u64, len: u64) -> Result<Run> {
        check_range(offset, len, self.size)?;
        Ok(Run { kind: RunKind::Zero, len })
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}
