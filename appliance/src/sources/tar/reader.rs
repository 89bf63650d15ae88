//! Entries of a tar, one after the other, from bytes that come once.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use crate::{sources::limits::TAR_EXTENSION_BYTES, tree::Timestamp};

use super::{
    error::{TarError, TarFault},
    header::{self, BLOCK_BYTES, Block, Header},
    pax::{self, Extended},
    sparse::{self, LineMap, Range},
};

/// An entry without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Number, from 1.
    pub number: u64,
    /// Byte of its header.
    pub offset: u64,
    /// Path, as it stands in the archive.
    pub path: Vec<u8>,
    /// Kind with its own part.
    pub kind: EntryKind,
    /// Permission bits, `0o7777`.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of the last change.
    pub mtime: Timestamp,
    /// Extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Number of attributes in a form that no tree holds.
    pub ignored: u64,
}

/// The kind of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// Bytes with the holes.
        size: u64,
        /// The ranges with data, when there are holes: the content has these alone.
        ranges: Option<Vec<Range>>,
    },
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink(Vec<u8>),
    /// A second name of an earlier entry.
    HardLink(Vec<u8>),
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
}

/// Reads the entries of a tar. Memory is bounded: an entry holds at most three extension headers.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    /// Bytes taken from the input.
    position: u64,
    /// Number of the entry at hand, and the byte of its header.
    entry: u64,
    offset: u64,
    /// Bytes of the content that were not read yet, and of the padding behind it.
    left: u64,
    padding: u64,
    globals: Extended,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Starts at the first header.
    pub fn new(input: R) -> Self {
        Self {
            input,
            position: 0,
            entry: 0,
            offset: 0,
            left: 0,
            padding: 0,
            globals: Extended::default(),
            ended: false,
        }
    }

    /// Returns the byte at which the content of the entry at hand starts, before any of it is read.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Returns the bytes of the content that are left.
    pub fn content_left(&self) -> u64 {
        self.left
    }

    /// Returns the next entry, or `None` after the end. What is left of a content is read through.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        self.pass_content(|input, count| skip(input, count))?;
        if self.ended {
            return Ok(None);
        }
        self.entry += 1;
        let mut extended = self.globals.clone();
        let mut extensions = 0u32;
        loop {
            self.offset = self.position;
            let Some(block) = self.header_block()? else {
                if extensions > 0 {
                    return Err(self.malformed(TarFault::Stray));
                }
                self.ended = true;
                return Ok(None);
            };
            let header = header::parse(&block).map_err(|fault| self.malformed(fault))?;
            match header.flag {
                b'x' | b'L' | b'K' => {
                    extensions += 1;
                    self.extension(&header, &mut extended)?;
                }
                b'g' => self.globals(&header, &mut extended)?,
                // The label of a volume is no file.
                b'V' => self.begin_content(header.size)?,
                _ => return self.entry(header, extended).map(Some),
            }
            self.pass_content(|input, count| skip(input, count))?;
        }
    }

    /// Reads bytes of the content. Returns 0 at its end.
    pub fn read_content(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.read_some(&mut buffer[..most])?;
        if count == 0 {
            return Err(self.truncated("a content"));
        }
        self.left -= count as u64;
        Ok(count)
    }

    /// Lets `pass` skip what is left of the content and its padding: by reading, or by moving a position.
    pub fn pass_content(
        &mut self,
        pass: impl FnOnce(&mut R, u64) -> io::Result<u64>,
    ) -> Result<(), TarError> {
        let count = self.left.saturating_add(self.padding);
        if count == 0 {
            return Ok(());
        }
        let passed = pass(&mut self.input, count).map_err(|source| self.unreadable(source))?;
        self.position = self.position.saturating_add(passed);
        if passed < count {
            return Err(self.truncated("a content"));
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    /// Reads through to the end of the input, so that sums over it are complete.
    pub fn drain(mut self) -> Result<(), TarError> {
        let passed = skip(&mut self.input, u64::MAX).map_err(|source| self.unreadable(source))?;
        self.position = self.position.saturating_add(passed);
        Ok(())
    }

    /// Returns a failure at the entry at hand.
    pub fn malformed(&self, fault: TarFault) -> TarError {
        TarError::Malformed { entry: self.entry, offset: self.offset, fault }
    }

    fn truncated(&self, within: &'static str) -> TarError {
        TarError::Truncated { entry: self.entry, offset: self.position, within }
    }

    fn unreadable(&self, source: io::Error) -> TarError {
        TarError::Read { entry: self.entry, offset: self.position, source }
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        loop {
            match self.input.read(buffer) {
                Ok(count) => {
                    self.position = self.position.saturating_add(count as u64);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.unreadable(source)),
            }
        }
    }

    /// Fills a block. Returns the number of bytes, which is smaller at the end of the input.
    fn fill(&mut self, block: &mut [u8]) -> Result<usize, TarError> {
        let mut filled = 0;
        while filled < block.len() {
            match self.read_some(&mut block[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(filled)
    }

    /// Reads a header, or the end: two zero blocks, or one before the end of the input.
    fn header_block(&mut self) -> Result<Option<Block>, TarError> {
        let mut block = [0; BLOCK_BYTES];
        if self.fill(&mut block)? < BLOCK_BYTES {
            return Err(self.truncated("a header"));
        }
        if block.iter().any(|byte| *byte != 0) {
            return Ok(Some(block));
        }
        match self.fill(&mut block)? {
            0 => Ok(None),
            BLOCK_BYTES if block.iter().all(|byte| *byte == 0) => Ok(None),
            BLOCK_BYTES => Err(self.malformed(TarFault::LoneZeroBlock)),
            _ => Err(self.truncated("the end")),
        }
    }

    /// Notes the length of a content, and of the padding to the next block.
    fn begin_content(&mut self, size: u64) -> Result<(), TarError> {
        // Beyond this no position in the archive has a number.
        if self.position.checked_add(size).is_none_or(|end| end > i64::MAX as u64) {
            return Err(self.malformed(TarFault::Number { field: "size" }));
        }
        let block = BLOCK_BYTES as u64;
        (self.left, self.padding) = (size, (block - size % block) % block);
        Ok(())
    }

    /// Reads the content of an extension header, which is held in memory: its length is checked first.
    fn extension_bytes(&mut self, header: &Header) -> Result<Vec<u8>, TarError> {
        if header.size > TAR_EXTENSION_BYTES {
            let fault = TarFault::ExtensionTooLarge { claimed: header.size, limit: TAR_EXTENSION_BYTES };
            return Err(self.malformed(fault));
        }
        self.begin_content(header.size)?;
        let mut bytes = vec![0; header.size as usize];
        let filled = self.fill(&mut bytes)?;
        if filled < bytes.len() {
            return Err(self.truncated("an extension header"));
        }
        self.left = 0;
        Ok(bytes)
    }

    fn extension(&mut self, header: &Header, extended: &mut Extended) -> Result<(), TarError> {
        let mut bytes = self.extension_bytes(header)?;
        if header.flag == b'x' {
            return pax::apply(&bytes, false, extended).map_err(|fault| self.malformed(fault));
        }
        // GNU's long names end with a NUL.
        bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
        let field = if header.flag == b'L' { &mut extended.path } else { &mut extended.link };
        *field = Some(bytes);
        Ok(())
    }

    fn globals(&mut self, header: &Header, extended: &mut Extended) -> Result<(), TarError> {
        let bytes = self.extension_bytes(header)?;
        let mut globals = std::mem::take(&mut self.globals);
        pax::apply(&bytes, true, &mut globals).map_err(|fault| self.malformed(fault))?;
        extended.uid = extended.uid.or(globals.uid);
        extended.gid = extended.gid.or(globals.gid);
        extended.mtime = extended.mtime.or(globals.mtime);
        globals.ignored = 0;
        self.globals = globals;
        Ok(())
    }

    /// Joins a header and its extensions.
    fn entry(&mut self, header: Header, extended: Extended) -> Result<Entry, TarError> {
        let size = extended.size.unwrap_or(header.size);
        let link = extended.link.unwrap_or(header.link);
        let path = extended.sparse.name.clone().or(extended.path).unwrap_or(header.path);
        if path.is_empty() {
            return Err(self.malformed(TarFault::NoName));
        }
        let kind = match header.flag {
            // Programs before POSIX had no type for folders.
            b'0' | 0 if path.ends_with(b"/") => {
                if size > 0 {
                    return Err(self.malformed(TarFault::FolderWithContent(size)));
                }
                EntryKind::Directory
            }
            b'0' | b'7' | 0 => {
                self.begin_content(size)?;
                self.file(size, extended.sparse)?
            }
            b'S' => {
                self.begin_content(size)?;
                self.old_sparse(header.sparse)?
            }
            // These have no content, whatever their size says: so do GNU tar and Go's library.
            b'1' => EntryKind::HardLink(link),
            b'2' => EntryKind::Symlink(link),
            b'3' => EntryKind::CharacterDevice,
            b'4' => EntryKind::BlockDevice,
            b'5' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            b'D' => {
                return Err(
                    self.malformed(TarFault::Unsupported("lists of folders (GNU's incremental archives)"))
                );
            }
            b'M' | b'N' => {
                return Err(
                    self.malformed(TarFault::Unsupported("parts of files (archives of several volumes)"))
                );
            }
            flag => return Err(self.malformed(TarFault::UnknownType(flag))),
        };
        let mtime = extended.mtime.unwrap_or(Timestamp { seconds: header.mtime, nanoseconds: 0 });
        Ok(Entry {
            number: self.entry,
            offset: self.offset,
            path,
            kind,
            mode: header.mode,
            uid: extended.uid.unwrap_or(header.uid),
            gid: extended.gid.unwrap_or(header.gid),
            mtime,
            xattrs: extended.xattrs,
            ignored: extended.ignored,
        })
    }

    /// Returns the kind of a regular file, whose records may make it a sparse one.
    fn file(&mut self, size: u64, records: pax::Sparse) -> Result<EntryKind, TarError> {
        let ranges = match (records.major, records.minor) {
            (None, None) | (Some(0), _) => records.ranges,
            (Some(1), None | Some(0)) => Some(self.line_map()?),
            _ => return Err(self.malformed(TarFault::Unsupported("sparse files in a form after 1.0"))),
        };
        match (ranges, records.real_size) {
            (None, None) => Ok(EntryKind::File { size, ranges: None }),
            (Some(ranges), Some(real_size)) => self.sparse(real_size, ranges),
            _ => Err(self.malformed(TarFault::SparseMap)),
        }
    }

    fn sparse(&mut self, real_size: u64, ranges: Vec<Range>) -> Result<EntryKind, TarError> {
        sparse::check(&ranges, real_size, self.left).map_err(|fault| self.malformed(fault))?;
        Ok(EntryKind::File { size: real_size, ranges: Some(ranges) })
    }

    /// Reads the map that lies before the data of form 1.0.
    fn line_map(&mut self) -> Result<Vec<Range>, TarError> {
        let mut map = LineMap::default();
        loop {
            if self.left < BLOCK_BYTES as u64 {
                return Err(self.malformed(TarFault::SparseMap));
            }
            let mut block = [0; BLOCK_BYTES];
            if self.fill(&mut block)? < BLOCK_BYTES {
                return Err(self.truncated("the map of a sparse file"));
            }
            self.left -= BLOCK_BYTES as u64;
            if let Some(ranges) = map.take(&block).map_err(|fault| self.malformed(fault))? {
                return Ok(ranges);
            }
        }
    }

    /// Reads the blocks with more ranges, which the size does not count.
    fn old_sparse(&mut self, sparse: Option<header::OldSparse>) -> Result<EntryKind, TarError> {
        let Some(mut sparse) = sparse else { return Err(self.malformed(TarFault::SparseMap)) };
        while sparse.extended {
            let mut block = [0; BLOCK_BYTES];
            if self.fill(&mut block)? < BLOCK_BYTES {
                return Err(self.truncated("the map of a sparse file"));
            }
            let more = sparse::old_ranges(&block[..504]).map_err(|fault| self.malformed(fault))?;
            for range in more {
                sparse::push(&mut sparse.ranges, range).map_err(|fault| self.malformed(fault))?;
            }
            sparse.extended = block[504] != 0;
        }
        self.sparse(sparse.real_size, sparse.ranges)
    }
}

/// Reads through `count` bytes at most. Returns their number.
pub fn skip(input: &mut impl Read, count: u64) -> io::Result<u64> {
    io::copy(&mut input.take(count), &mut io::sink())
}
