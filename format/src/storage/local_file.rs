//! A file or block device as an object that is read in place.

use std::io;

use melv_block::LocalFile;

use super::ReadAt;

impl ReadAt for LocalFile {
    fn len(&self) -> u64 {
        Self::len(self)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        Self::read_exact_at(self, buf, offset)
    }
}
