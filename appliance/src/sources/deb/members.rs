//! Members of an `ar` archive from bytes that come once.

use std::io::{self, Read};

use super::{
    ar::{self, HEADER_BYTES, MARK, Member},
    error::DebError,
};

/// Members, one after the other. Reading reads the bytes of the member at hand.
pub(super) struct Members<'a> {
    input: &'a mut dyn Read,
    position: u64,
    left: u64,
    padding: u64,
    is_cut: bool,
}

impl<'a> Members<'a> {
    /// Reads the mark.
    pub(super) fn new(input: &'a mut dyn Read) -> Result<Self, DebError> {
        let mut members = Self { input, position: 0, left: 0, padding: 0, is_cut: false };
        let mut mark = [0; MARK.len()];
        if members.fill(&mut mark)? < mark.len() || mark != *MARK {
            return Err(DebError::Mark);
        }
        Ok(members)
    }

    /// Returns the next member, without those that the format of packages sets aside by a `_`.
    pub(super) fn next(&mut self, expected: &'static str) -> Result<Member, DebError> {
        loop {
            self.finish(expected)?;
            let start = self.position;
            let mut header = [0; HEADER_BYTES];
            match self.fill(&mut header)? {
                0 => return Err(DebError::Missing(expected)),
                HEADER_BYTES => {}
                _ => return Err(self.truncated("a member's header")),
            }
            let member = ar::parse(&header).ok_or(DebError::Header(start))?;
            (self.left, self.padding) = (member.size, member.size % 2);
            if !member.name.starts_with(b"_") {
                return Ok(member);
            }
        }
    }

    /// Reads through what is left of the member at hand.
    pub(super) fn finish(&mut self, within: &'static str) -> Result<(), DebError> {
        let passed = io::copy(&mut *self, &mut io::sink());
        self.check(within)?;
        passed.map_err(|source| DebError::Read { offset: self.position, source })?;
        // The last member may lack its padding.
        let mut padding = [0];
        if std::mem::take(&mut self.padding) > 0 {
            self.fill(&mut padding)?;
        }
        Ok(())
    }

    /// Checks that the file did not end within the member at hand. A decoder takes that for damage.
    pub(super) fn check(&self, within: &'static str) -> Result<(), DebError> {
        if self.is_cut { Err(self.truncated(within)) } else { Ok(()) }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, DebError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.input.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => {
                    filled += count;
                    self.position += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(DebError::Read { offset: self.position, source }),
            }
        }
        Ok(filled)
    }

    fn truncated(&self, within: &'static str) -> DebError {
        DebError::Truncated { offset: self.position, within }
    }
}

impl Read for Members<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.input.read(&mut buffer[..most])?;
        if count == 0 {
            self.is_cut = true;
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        self.position += count as u64;
        Ok(count)
    }
}
