//! Disks without a store, made of parts with given behavior.

use std::collections::BTreeSet;
use std::fmt::{self, Debug};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use melv_block::{BlockDevice, BlockError, DepthRun, Error, Result, Run, RunKind};
use melv_format::StoreError;
use melv_format::digest::object_digest;
use melv_serve::{Export, ExportEntry, ExportId, ExportInfo, Exports};

pub const KIB: u64 = 1 << 10;
pub const MIB: u64 = 1 << 20;
/// The preferred length of requests, and the unit of cached data, in bytes.
pub const PREFERRED: u64 = 64 * KIB;

/// The behavior of a part of a disk.
#[derive(Debug, Clone)]
pub enum Part {
    Data,
    Zero,
    /// Reads fail because the stored data is damaged.
    Damaged,
    /// Reads take a millisecond, as from a drive.
    Far,
    /// Reads wait until the gate is open.
    Slow(Gate),
}

/// The data that is held in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    Nothing,
    Everything,
    /// Data that was read before.
    WhatWasRead,
}

/// A gate that is closed until a thread opens it.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar, AtomicUsize)>);

impl Gate {
    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    /// Returns the number of reads that have reached the gate.
    pub fn came(&self) -> usize {
        self.0.2.load(Ordering::SeqCst)
    }

    fn pass(&self) {
        self.0.2.fetch_add(1, Ordering::SeqCst);
        let mut open = self.0.0.lock().unwrap();
        while !*open {
            open = self.0.1.wait(open).unwrap();
        }
    }
}

/// One stretch of a disk.
#[derive(Debug, Clone)]
struct Stretch {
    end: u64,
    part: Part,
    depth: u32,
}

/// A disk whose data is [`pattern`].
#[derive(Debug)]
pub struct TestDisk {
    stretches: Vec<Stretch>,
    held: Held,
    was_read: Mutex<BTreeSet<u64>>,
    pub reads: AtomicU64,
}

/// Returns the byte at `offset` of a disk's data.
pub fn pattern(offset: u64) -> u8 {
    word(offset / 8)[(offset % 8) as usize]
}

fn word(number: u64) -> [u8; 8] {
    ((number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 0x0101_0101_0101_0101).to_be_bytes()
}

fn fill_pattern(offset: u64, buf: &mut [u8]) {
    let head = (offset.wrapping_neg() % 8).min(buf.len() as u64) as usize;
    let (first, rest) = buf.split_at_mut(head);
    (offset..).zip(first).for_each(|(at, byte)| *byte = pattern(at));
    let next = (offset + head as u64) / 8;
    for (number, bytes) in (next..).zip(rest.chunks_mut(8)) {
        bytes.copy_from_slice(&word(number)[..bytes.len()]);
    }
}

/// Returns the bytes of a range that is all data.
pub fn data(range: Range<u64>) -> Vec<u8> {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    fill_pattern(range.start, &mut bytes);
    bytes
}

pub fn damage(offset: u64) -> Error {
    let what = format!("chunk at {offset}");
    Error::from(StoreError::DigestMismatch {
        what,
        expected: object_digest(b"stored"),
        found: object_digest(b"found"),
    })
}

impl TestDisk {
    pub fn new() -> Self {
        let (stretches, was_read, reads) = (Vec::new(), Mutex::default(), AtomicU64::new(0));
        Self { stretches, held: Held::Nothing, was_read, reads }
    }

    /// Adds `len` bytes.
    pub fn and(self, part: Part, len: u64) -> Self {
        self.at_depth(part, len, 0)
    }

    /// Adds `len` bytes that have not changed for `depth` generations.
    pub fn at_depth(mut self, part: Part, len: u64, depth: u32) -> Self {
        let end = self.size() + len;
        self.stretches.push(Stretch { end, part, depth });
        self
    }

    pub fn held(mut self, held: Held) -> Self {
        self.held = held;
        self
    }

    /// Returns the stretch at `offset`, and the number of the next `len` bytes inside it.
    fn stretch(&self, offset: u64, len: u64) -> Result<(&Stretch, u64)> {
        let size = self.size();
        let out_of_range = || Error::from(BlockError::OutOfRange { offset, len, size });
        if len == 0 || offset.checked_add(len).is_none_or(|end| end > size) {
            return Err(out_of_range());
        }
        let at = self.stretches.partition_point(|stretch| stretch.end <= offset);
        let stretch = self.stretches.get(at).ok_or_else(out_of_range)?;
        Ok((stretch, (stretch.end - offset).min(len)))
    }

    fn fill(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let (mut at, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let (stretch, len) = self.stretch(at, rest.len() as u64)?;
            let (now, later) = rest.split_at_mut(len as usize);
            match &stretch.part {
                Part::Zero => now.fill(0),
                Part::Damaged => return Err(damage(at)),
                Part::Slow(gate) => {
                    gate.pass();
                    fill_pattern(at, now);
                }
                Part::Far => {
                    std::thread::sleep(Duration::from_millis(1));
                    fill_pattern(at, now);
                }
                Part::Data => fill_pattern(at, now),
            }
            (at, rest) = (at + len, later);
        }
        Ok(())
    }

    fn pieces(offset: u64, len: usize) -> Range<u64> {
        offset / PREFERRED..(offset + len as u64).div_ceil(PREFERRED)
    }
}

impl BlockDevice for TestDisk {
    fn size(&self) -> u64 {
        self.stretches.last().map_or(0, |last| last.end)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.fill(offset, buf)?;
        if self.held == Held::WhatWasRead {
            self.was_read.lock().unwrap().extend(Self::pieces(offset, buf.len()));
        }
        Ok(())
    }

    fn map(&self, offset: u64, len: u64) -> Result<Run> {
        let (stretch, len) = self.stretch(offset, len)?;
        let kind = if matches!(stretch.part, Part::Zero) { RunKind::Zero } else { RunKind::Data };
        Ok(Run { kind, len })
    }

    fn try_read_cached(&self, offset: u64, buf: &mut [u8]) -> Result<bool> {
        let is_held = match self.held {
            Held::Nothing => false,
            Held::Everything => true,
            Held::WhatWasRead => {
                let was_read = self.was_read.lock().unwrap();
                Self::pieces(offset, buf.len()).all(|piece| was_read.contains(&piece))
            }
        };
        if is_held {
            self.fill(offset, buf)?;
        }
        Ok(is_held)
    }

    fn depth(&self, offset: u64, len: u64) -> Result<DepthRun> {
        let (stretch, len) = self.stretch(offset, len)?;
        let kind = self.map(offset, len)?.kind;
        Ok(DepthRun { start: offset, len, kind, depth: stretch.depth })
    }

    fn name(&self) -> String {
        "test".into()
    }
}

/// Disks by name.
#[derive(Debug, Default)]
pub struct Shelf(Vec<Export>);

impl Shelf {
    pub fn with(mut self, name: &str, disk: Arc<TestDisk>) -> Self {
        let mut export = Export::new(name, ExportId::new(name), disk);
        export.description = format!("the disk {name}");
        export.preferred_len = PREFERRED as u32;
        self.0.push(export);
        self
    }

    pub fn only(name: &str, disk: TestDisk) -> Self {
        Self::default().with(name, Arc::new(disk))
    }

    /// Returns the disks for most tests; their names describe them.
    pub fn usual() -> Self {
        let sparse = TestDisk::new().and(Part::Data, 200 * KIB).and(Part::Zero, 3 * MIB);
        let damaged = TestDisk::new().and(Part::Data, 256 * KIB).and(Part::Damaged, 64 * KIB);
        let deep = TestDisk::new().at_depth(Part::Data, 64 * KIB, 0).at_depth(Part::Data, 64 * KIB, 2);
        Self::only("plain", TestDisk::new().and(Part::Data, 40 * MIB))
            .with("sparse", Arc::new(sparse.and(Part::Data, 100 * KIB)))
            .with("damaged", Arc::new(damaged.and(Part::Data, 256 * KIB)))
            .with("deep", Arc::new(deep.at_depth(Part::Zero, 64 * KIB, 1).at_depth(Part::Zero, 64 * KIB, 3)))
            .with("held", Arc::new(TestDisk::new().and(Part::Data, 8 * MIB).held(Held::Everything)))
            .with("huge", Arc::new(TestDisk::new().and(Part::Zero, 9 << 30).and(Part::Data, MIB)))
            .with("größe", Arc::new(TestDisk::new().and(Part::Data, MIB)))
    }
}

impl Exports for Shelf {
    fn list(&self) -> Result<Vec<ExportEntry>> {
        let entry = |export: &Export| {
            let mut entry = ExportEntry::new(&*export.name, "", export.id.clone());
            entry.description.clone_from(&export.description);
            entry
        };
        Ok(self.0.iter().map(entry).collect())
    }

    fn info(&self, _: &str) -> Result<Option<ExportInfo>> {
        unreachable!("the server opens an export to describe it")
    }

    fn open(&self, name: &str) -> Result<Option<Export>> {
        let found = self.0.iter().find(|export| export.name == name);
        Ok(found.or(self.0.first().filter(|_| name.is_empty())).cloned())
    }

    fn opened(&self, _: &ExportId) -> Option<Export> {
        unreachable!("the server keeps what it opened")
    }
}

/// Bytes that are too many to print in full.
pub struct Bytes<'a>(pub &'a [u8]);

impl Debug for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes {:02x?}…", self.0.len(), &self.0[..self.0.len().min(16)])
    }
}
