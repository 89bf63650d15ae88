//! Reads a streamOptimized VMDK from a pipe, front to back.

use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use crate::vmdk::VmdkViolation;
use crate::vmdk::layout::extent_layout::{ExtentLayout, GRAIN_HEAD_LEN, Grains, ViolationAt};
use crate::vmdk::layout::header::{HEADER_LEN, SECTOR_LEN, SparseHeader};
use crate::vmdk::layout::limits::{DIRECTORY_SPARE_SECTORS, TABLES_MAX};
use crate::vmdk::layout::marker::Marker;
use crate::vmdk::layout::oddities;
use crate::vmdk::layout::stream_tables::StreamTables;
use crate::vmdk::layout::tables::check_fixed;
use crate::vmdk::read::disk::embedded;
use crate::vmdk::read::sparse_read::with_inflater;
use crate::vmdk::read::stream_front::{
    DESCRIPTOR_ALONE, check_front, check_is_stream, check_is_whole, descriptor_room,
};
use crate::vmdk::read::stream_input::Input;
use crate::warning::{Oddity, Warning};
use melv_block::Result;
use melv_block::SPAN_LEN;
use melv_block::SectorBits;
use melv_block::{ArrivedSpan, SpanStream};

/// The maximum number of idle buffers kept for later spans.
const SPARES_MAX: usize = 64;

type Spares = Arc<Mutex<Vec<Vec<u8>>>>;

/// A streamOptimized VMDK read front to back, as a [`Source::spans`](melv_block::Source::spans).
///
/// It accepts all three layouts in use: the directory at the end with a footer, the directory at
/// the end with a rewritten header, and all tables in front. Grains must come in disk order, as
/// every writer emits them. They are inflated when their span is filled, on any thread.
///
/// When [`SpanStream::next_span`] returns `None`, the markers, the tables, the header and the footer
/// have been checked against each other and against the grains received. A stream truncated anywhere is
/// an error. Only faults inside compressed grains surface elsewhere: when their spans are filled.
///
/// Memory: the stored bytes of the spans in flight, 40 bytes per grain table that has a grain, and
/// 8 bytes per table in the stream. The maximum number of tables takes 112 MiB. While opening, up
/// to 64 MiB hold the bytes before the first grain.
#[derive(Debug)]
pub struct Stream<R> {
    input: Input<R>,
    header: SparseHeader,
    layout: ExtentLayout,
    /// The size of the disk in bytes, which may be up to one grain less than the header's capacity.
    size_bytes: u64,
    sector_bits: SectorBits,
    create_type: String,
    tables: StreamTables,
    /// A grain of which only the head was read: its disk sector and its length.
    waiting: Option<(u64, u32)>,
    /// The disk sector of the last grain read.
    previous: Option<u64>,
    /// A grain longer than a span, and its spans that are still to be returned.
    long: Option<(Arc<LongGrain>, std::ops::Range<u64>)>,
    footer_came: bool,
    /// Whether the last input was zeros, at least one sector of them.
    is_in_zeros: bool,
    /// The footer's offset in the stream.
    footer_place: u64,
    ended: bool,
    spares: Spares,
    warnings: Vec<Warning>,
}

impl<R: Read + Send> Stream<R> {
    /// Reads everything before the first grain. `name` is for messages.
    ///
    /// # Errors
    /// [`BlockError::Unsupported`](melv_block::BlockError::Unsupported) for a VMDK that cannot be read from a
    /// pipe; otherwise the same as for [`VmdkDisk::open`](crate::vmdk::VmdkDisk::open):
    /// [`DiskError::Difference`](crate::DiskError::Difference), [`DiskError::Vmdk`](crate::DiskError::Vmdk) and
    /// [`BlockError::Io`](melv_block::BlockError::Io).
    pub fn open(reader: R, name: impl Into<String>) -> Result<Self> {
        let mut input = Input::new(reader, name.into());
        let mut front = Vec::new();
        input.append(HEADER_LEN as u64, &mut front)?;
        check_is_whole(&mut input, &mut front)?;
        let place = |(offset, violation): ViolationAt| violation.at(&*input.name, offset);
        check_is_stream(&front).map_err(|violation| place((0, violation)))?;
        let header = SparseHeader::decode(&front).map_err(|violation| place((0, violation)))?;
        if header.capacity_sectors == 0 && header.descriptor_sector != 0 {
            return Err(place((12, VmdkViolation::unsupported(DESCRIPTOR_ALONE))));
        }
        let layout = ExtentLayout::of(&header).map_err(place)?;
        if layout.grains != Grains::Marked {
            let feature = "grains in a pipe that are not compressed or have no markers, unlike those of \
                           streamOptimized VMDKs; give it as a file";
            return Err(place((8, VmdkViolation::unsupported(feature))));
        }
        let front_len = check_front(&layout).map_err(place)?;
        input.append(front_len.saturating_sub(front.len() as u64), &mut front)?;
        // `check_is_whole` may have read on to a descriptor after the front.
        input.give_back(front.split_off(front.len().min(front_len as usize)));
        let place = |(offset, violation): ViolationAt| violation.at(&*input.name, offset);
        let found = front.len() as u64;
        if found < front_len {
            return Err(place((found, VmdkViolation::Truncated { needed: front_len, found })));
        }
        let mut warnings = oddities::of_header(&input.name, &header);
        let room = descriptor_room(&layout, &front).map_err(place)?;
        warnings.extend(oddities::of_descriptor(&input.name, room));
        let descriptor_place = layout.descriptor.map_or(0, |(sector, _)| sector * SECTOR_LEN);
        let descriptor = embedded(room, &layout, descriptor_place).map_err(place)?;
        let (bits, oddity) = descriptor.sector_bits();
        let sector_bits = bits.map(SectorBits::from).unwrap_or_default();
        warnings.extend(oddity.map(|oddity| Warning { object: input.name.to_string(), oddity }));
        let mut tables = StreamTables::new(&layout);
        if layout.directory_sector.is_some_and(|sector| sector < layout.overhead_sectors) {
            tables.promise(&layout, &front).map_err(place)?;
        }
        Ok(Self {
            input,
            header,
            layout,
            size_bytes: descriptor.sectors() * SECTOR_LEN,
            sector_bits,
            create_type: descriptor.create_type,
            tables,
            waiting: None,
            previous: None,
            long: None,
            footer_came: false,
            footer_place: 0,
            is_in_zeros: false,
            ended: false,
            spares: Spares::default(),
            warnings,
        })
    }

    /// Returns the disk type as the descriptor spells it.
    #[must_use]
    pub fn create_type(&self) -> &str {
        &self.create_type
    }

    /// Returns the stream's oddities so far that are no reason to refuse it.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Reads up to the next grain and returns its disk sector and its stored length; `None` at the
    /// end of the stream, which has been checked.
    fn next_grain(&mut self) -> Result<Option<(u64, u32)>> {
        if let Some(waiting) = self.waiting.take() {
            return Ok(Some(waiting));
        }
        while !self.ended {
            let place = self.input.position;
            let mut head = Vec::with_capacity(SECTOR_LEN as usize);
            self.input.append(GRAIN_HEAD_LEN, &mut head)?;
            if let Some((lba, len @ 1..)) = Marker::grain_head(&head) {
                self.is_in_zeros = false;
                self.check_grain(lba, len).map_err(|violation| violation.at(&*self.input.name, place))?;
                return Ok(Some((lba, len)));
            }
            self.input.append(SECTOR_LEN - head.len() as u64, &mut head)?;
            if head.iter().all(|&byte| byte == 0)
                && (head.len() as u64 == SECTOR_LEN || self.is_in_zeros || head.is_empty())
            {
                self.zeros(head.len() as u64)?;
                continue;
            }
            self.is_in_zeros = false;
            self.input.check_whole(&head, SECTOR_LEN, "a marker")?;
            let marker = head.first_chunk().map_or(Ok(Marker::End), Marker::decode);
            self.metadata(marker.map_err(|violation| violation.at(&*self.input.name, place))?, place)?;
        }
        Ok(None)
    }

    /// Handles up to one sector of zeros. After the footer they are the end marker. Otherwise they
    /// are padding between grains and tables, or after the stream on a device. Less than a sector
    /// means that the pipe has ended.
    fn zeros(&mut self, len: u64) -> Result<()> {
        let is_whole = len == SECTOR_LEN;
        self.is_in_zeros = true;
        if is_whole && !self.footer_came { Ok(()) } else { self.end(is_whole) }
    }

    /// Checks a grain's marker, and records the grain as the latest one.
    fn check_grain(&mut self, lba: u64, len: u32) -> Result<(), VmdkViolation> {
        let grain_sectors = self.layout.grain_sectors;
        if !lba.is_multiple_of(grain_sectors) || lba >= self.layout.capacity_sectors {
            let expected = "a multiple of the grain size below the capacity";
            return Err(VmdkViolation::Value {
                what: "the sector in the marker of a grain",
                found: lba,
                expected,
            });
        }
        let len = u64::from(len);
        if GRAIN_HEAD_LEN + len > self.layout.stored_bytes_max() {
            let expected = "at most twice the grain";
            return Err(VmdkViolation::Value {
                what: "the length in the marker of a grain",
                found: len,
                expected,
            });
        }
        if let Some(previous) = self.previous.filter(|previous| lba <= *previous) {
            return Err(VmdkViolation::Order { found: lba, previous });
        }
        if self.tables.has_directory() || self.footer_came {
            let what = "the sector in the marker of a grain after the grain directory";
            return Err(VmdkViolation::Value { what, found: lba, expected: "no grain there" });
        }
        self.previous = Some(lba);
        Ok(())
    }

    /// Appends the stored bytes of the grain whose marker was just read.
    fn take_grain(&mut self, lba: u64, len: u32, stored: &mut Vec<u8>) -> Result<()> {
        let head = self.input.position - GRAIN_HEAD_LEN;
        let sector = u32::try_from(head / SECTOR_LEN).map_err(|_| {
            let what = "the sector of a grain in the stream";
            VmdkViolation::Value { what, found: head / SECTOR_LEN, expected: "a number of 32 bits" }
                .at(&*self.input.name, head)
        })?;
        let before = stored.len();
        self.input.append(u64::from(len), stored)?;
        self.input.check_whole(&stored[before..], u64::from(len), "the rest of a grain")?;
        let padding = self.input.position.next_multiple_of(SECTOR_LEN) - self.input.position;
        self.input.skip(padding, "the padding of a grain")?;
        let grain = lba / self.layout.grain_sectors;
        self.tables
            .grain(grain, sector)
            .map_err(|(offset, violation)| violation.at(&*self.input.name, offset))
    }

    /// Reads the structure after a marker that is not a grain's.
    fn metadata(&mut self, marker: Marker, place: u64) -> Result<()> {
        let name = self.input.name.clone();
        let placed = |(offset, violation): ViolationAt| violation.at(&*name, offset);
        let sector = place / SECTOR_LEN + 1;
        let expect = |what, found: u64, expected: u64| {
            if found == expected {
                return Ok(());
            }
            Err(VmdkViolation::Disagree { what, found, expected, by: "the header" }.at(&*name, place))
        };
        let mut bytes = Vec::new();
        match marker {
            Marker::End => self.end(true),
            Marker::Table { sectors } => {
                let each = self.layout.table_sectors();
                let is_some_tables = sectors.is_multiple_of(each) && sectors / each <= 2 * TABLES_MAX;
                if !is_some_tables {
                    expect("the length in the marker of a table", sectors, each)?;
                }
                self.take_tables(sector, (sectors / each).max(1))
            }
            Marker::Directory { sectors } => {
                let needed = self.layout.directory_sectors();
                // Writers have entries for more tables than the disk needs, all of them empty.
                if sectors < needed || sectors > needed + DIRECTORY_SPARE_SECTORS {
                    expect("the length in the marker of the directory", sectors.max(needed), needed)?;
                }
                self.take_directory(sector, sectors)
            }
            Marker::Footer { .. } if self.footer_came => {
                Err(VmdkViolation::TwoEnds { other: place }.at(&*name, self.footer_place))
            }
            Marker::Footer { sectors } => {
                expect("the length in the marker of the footer", sectors.max(1), 1)?;
                self.input.append_whole(SECTOR_LEN, &mut bytes, "the footer")?;
                let footer = SparseHeader::decode(&bytes)
                    .map_err(|violation| placed((sector * SECTOR_LEN, violation)))?;
                let with_footer = self.layout.with_footer(&self.header, &footer);
                self.layout = with_footer
                    .map_err(|(offset, violation)| placed((sector * SECTOR_LEN + offset, violation)))?;
                // The file's length is unknown; `finish` compares the directories' sectors with
                // those received.
                check_fixed(&self.layout.fixed_regions(), i64::MAX as u64).map_err(placed)?;
                (self.footer_came, self.footer_place) = (true, place + SECTOR_LEN);
                Ok(())
            }
            // Progress has no data and nothing follows it. Callers read grains themselves.
            Marker::Progress | Marker::Grain { .. } => Ok(()),
        }
    }

    /// Reads the tables after a marker that announces at least `least`; a length of 0 may precede
    /// many. The tables end at the next marker; zeros before it are padding or empty tables.
    fn take_tables(&mut self, mut sector: u64, mut least: u64) -> Result<()> {
        let each = self.layout.table_sectors();
        loop {
            let mut table = Vec::with_capacity((each * SECTOR_LEN) as usize);
            while (table.len() as u64) < each * SECTOR_LEN {
                let start = table.len();
                self.input.append(SECTOR_LEN, &mut table)?;
                let (before, next) = table.split_at(start);
                let is_over = (next.len() as u64) < SECTOR_LEN || Marker::stands_in(next, &self.layout);
                if least == 0 && is_over && before.iter().all(|&byte| byte == 0) {
                    self.input.give_back(table.split_off(start));
                    return Ok(());
                }
                self.input.check_whole(next, SECTOR_LEN, "a grain table")?;
            }
            let taken = self.tables.table(&self.layout, sector, &table);
            taken.map_err(|(offset, violation)| violation.at(&*self.input.name, offset))?;
            sector += each;
            least = least.saturating_sub(1);
        }
    }

    /// Reads the directory after its marker, and its surplus sectors for tables beyond the disk's size.
    fn take_directory(&mut self, sector: u64, sectors: u64) -> Result<()> {
        let needed = self.layout.directory_sectors();
        let mut bytes = Vec::new();
        self.input.append_whole(needed.max(sectors) * SECTOR_LEN, &mut bytes, "the grain directory")?;
        let taken = self.tables.directory(&self.layout, sector, &bytes);
        taken.map_err(|(offset, violation)| violation.at(&*self.input.name, offset))?;
        for _ in 0..DIRECTORY_SPARE_SECTORS {
            let mut more = Vec::with_capacity(SECTOR_LEN as usize);
            self.input.append(SECTOR_LEN, &mut more)?;
            let is_more = more.len() as u64 == SECTOR_LEN && more.iter().any(|&byte| byte != 0);
            if sectors != 0 || !is_more || Marker::stands_in(&more, &self.layout) {
                self.input.give_back(more);
                break;
            }
        }
        Ok(())
    }

    /// Ends the stream, at its end marker or at the end of the pipe.
    fn end(&mut self, by_marker: bool) -> Result<()> {
        let end = self.input.position;
        let placed = |(offset, violation): ViolationAt| violation.at(&*self.input.name, offset);
        self.tables.finish(&self.layout, end).map_err(placed)?;
        if self.layout.directory_sector.is_none() {
            return Err(placed((end, VmdkViolation::Cut { expected: "the footer" })));
        }
        if self.footer_came && !by_marker {
            return Err(placed((end, VmdkViolation::Cut { expected: "the marker that ends the stream" })));
        }
        self.ended = true;
        if by_marker {
            let bytes = self.input.drain()?;
            // Without a footer, the zeros of the padding are the only end marker.
            if bytes != 0 && self.footer_came {
                let object = self.input.name.to_string();
                self.warnings.push(Warning { object, oddity: Oddity::Padding { bytes } });
            }
        }
        Ok(())
    }

    /// Returns the next span of a grain that is longer than a span.
    fn next_of_long(&mut self) -> Option<ArrivedSpan> {
        let (grain, spans) = self.long.as_mut()?;
        let Some(number) = spans.next() else {
            self.long = None;
            return None;
        };
        let grain = grain.clone();
        let start = number * SPAN_LEN as u64 - grain.start_bytes;
        Some(ArrivedSpan { number, fill: Box::new(move |out| grain.copy(start as usize, out)) })
    }

    /// Reads a grain that is longer than a span.
    fn take_long(&mut self, lba: u64, len: u32) -> Result<()> {
        let mut stored = Vec::new();
        self.take_grain(lba, len, &mut stored)?;
        let grain_len = self.layout.len_of_grain(lba / self.layout.grain_sectors);
        let start_bytes = lba * SECTOR_LEN;
        let first = start_bytes / SPAN_LEN as u64;
        let last = self.size_bytes.min(start_bytes + grain_len).div_ceil(SPAN_LEN as u64);
        let place = self.input.position.saturating_sub(u64::from(len));
        let grain = LongGrain {
            name: self.input.name.clone(),
            place,
            lba,
            start_bytes,
            grain_bytes: self.layout.grain_bytes(),
            len: grain_len,
            state: Mutex::new(LongState::Stored(stored)),
        };
        self.long = Some((Arc::new(grain), first..last));
        Ok(())
    }

    /// Reads the remaining grains of the span that begins with this one.
    fn gather(&mut self, lba: u64, len: u32) -> Result<ArrivedSpan> {
        let span_sectors = SPAN_LEN as u64 / SECTOR_LEN;
        let number = lba / span_sectors;
        let spare = self.spares.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut span = StoredSpan {
            name: self.input.name.clone(),
            grain_bytes: self.layout.grain_bytes(),
            stored: spare.unwrap_or_default(),
            grains: Vec::new(),
            spares: self.spares.clone(),
        };
        let mut next = Some((lba, len));
        while let Some((lba, len)) = next {
            if lba / span_sectors != number {
                self.waiting = Some((lba, len));
                break;
            }
            let place = self.input.position - GRAIN_HEAD_LEN;
            self.take_grain(lba, len, &mut span.stored)?;
            let end = span.stored.len();
            let grain_len = self.layout.len_of_grain(lba / self.layout.grain_sectors);
            span.grains.push(StoredGrain { lba, place, end, len: grain_len as usize });
            next = self.next_grain()?;
        }
        Ok(ArrivedSpan { number, fill: Box::new(move |out| span.fill(out)) })
    }
}

impl<R: Read + Send> SpanStream for Stream<R> {
    fn size(&self) -> u64 {
        self.size_bytes
    }

    fn sector_bits(&self) -> SectorBits {
        self.sector_bits
    }

    fn next_span(&mut self) -> Result<Option<ArrivedSpan>> {
        loop {
            if let Some(span) = self.next_of_long() {
                return Ok(Some(span));
            }
            let Some((lba, len)) = self.next_grain()? else {
                return Ok(None);
            };
            if self.layout.grain_bytes() <= SPAN_LEN as u64 {
                return self.gather(lba, len).map(Some);
            }
            self.take_long(lba, len)?;
        }
    }
}

/// The stored grains of one span.
struct StoredSpan {
    name: Arc<str>,
    grain_bytes: u64,
    stored: Vec<u8>,
    grains: Vec<StoredGrain>,
    spares: Spares,
}

/// A stored grain. It ends at `end` of the stored bytes and begins at the end of the previous one.
struct StoredGrain {
    lba: u64,
    place: u64,
    end: usize,
    len: usize,
}

impl StoredSpan {
    fn fill(mut self, out: &mut [u8]) -> Result<()> {
        let mut start = 0;
        for grain in &self.grains {
            let stored = &self.stored[start..grain.end];
            let at = (grain.lba * SECTOR_LEN % SPAN_LEN as u64) as usize;
            let out = &mut out[at..];
            let inflate = |out: &mut [u8]| {
                with_inflater(|inflater| inflater.inflate(stored, true, grain.lba, self.grain_bytes, out))
            };
            let inflated = match out.get_mut(..grain.len) {
                Some(out) => inflate(out),
                // The disk ends inside the grain, but the grain is stored whole.
                None => {
                    let mut whole = vec![0; grain.len];
                    inflate(&mut whole).map(|()| out.copy_from_slice(&whole[..out.len()]))
                }
            };
            inflated.map_err(|violation| violation.at(&*self.name, grain.place))?;
            start = grain.end;
        }
        self.stored.clear();
        let mut spares = self.spares.lock().unwrap_or_else(PoisonError::into_inner);
        if spares.len() < SPARES_MAX {
            spares.push(std::mem::take(&mut self.stored));
        }
        Ok(())
    }
}

/// A grain longer than a span. The first thread that needs a part inflates it for all threads.
#[derive(Debug)]
struct LongGrain {
    name: Arc<str>,
    place: u64,
    lba: u64,
    /// Its offset in the disk, in bytes.
    start_bytes: u64,
    grain_bytes: u64,
    /// Its length in the disk, in bytes.
    len: u64,
    state: Mutex<LongState>,
}

#[derive(Debug)]
enum LongState {
    Stored(Vec<u8>),
    Inflated(Vec<u8>),
}

impl LongGrain {
    /// Copies the grain's bytes from `start` on, after inflating it if necessary.
    fn copy(&self, start: usize, out: &mut [u8]) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let LongState::Stored(stored) = &*state {
            let mut bytes = vec![0; self.len as usize];
            with_inflater(|inflater| inflater.inflate(stored, true, self.lba, self.grain_bytes, &mut bytes))
                .map_err(|violation| violation.at(&*self.name, self.place))?;
            *state = LongState::Inflated(bytes);
        }
        if let LongState::Inflated(bytes) = &*state {
            out.copy_from_slice(&bytes[start..][..out.len()]);
        }
        Ok(())
    }
}
