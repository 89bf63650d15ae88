//! Three hundred VMDKs, made over named axes so that every pair of values occurs. Each is read as a file and
//! through a pipe, and compared with its disk. Where their answers count, qemu-img and the crate vmdk-core
//! are compared too.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use melv::SpanStream;
use melv::limits::SPAN_LEN;
use melv::vmdk::{Stream, VmdkDisk, looks_like};
use melv::{BlockDevice, Gate, RunKind};
use melv_testing::vmdk::made::{Grains, Habits, Layout, SECTOR, Sparse, descriptor};
use melv_testing::{Rng, assert_equal, noise};
use rayon::prelude::*;

/// The axes and their numbers of values; [`Made::of`] has their meaning.
const AXES: [(&str, usize); 13] = [
    ("kind", 8),
    ("size", 10),
    ("grain", 4),
    ("fill", 4),
    ("redundant directory", 2),
    ("tail", 3),
    ("version", 3),
    ("zero grains", 2),
    ("layout", 3),
    ("markers", 3),
    ("last grain", 2),
    ("order", 2),
    ("spelling", 8),
];
const CASES: usize = 300;
/// The minimum number of answers from each oracle.
const QEMU_LEAST: usize = 100;
const CORE_LEAST: usize = 100;
const PIPED_LEAST: usize = 15;

type Case = [usize; AXES.len()];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    MonolithicSparse,
    MonolithicFlat,
    SplitSparse,
    SplitFlat,
    Stream,
    Custom,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spelling {
    Plain,
    CrLf,
    LowerCase,
    Commented,
    ByteOrderMark,
    Other,
    ReadOnly,
    Encoded,
}

/// A case's values by name.
#[derive(Debug, Clone, Copy)]
struct Made {
    kind: Kind,
    sectors: usize,
    grain: usize,
    entries: usize,
    fill: usize,
    redundant: bool,
    tail: usize,
    version: u32,
    zero_grains: bool,
    layout: Layout,
    markers: bool,
    whole_tail: bool,
    swapped: bool,
    spelling: Spelling,
    /// Sectors in an extent of a split disk.
    unit: usize,
}

impl Made {
    fn of(case: &Case) -> Self {
        let [kind, size, grain, fill, redundant, tail, version, zero, layout, markers, last, order, spelling] =
            *case;
        let grain = [8, 16, 128, 2048][grain];
        let entries = if grain > 128 { 128 } else { 512 };
        let coverage = grain * entries;
        let unit = 5 * grain + 3 * (fill % 2);
        let sizes = [
            1,
            grain - 1,
            grain,
            grain + 1,
            coverage - 1,
            coverage,
            coverage + 1,
            2 * unit - 1,
            2 * unit,
            2 * unit + 1,
        ];
        let sectors = sizes[size];
        let kinds = [
            Kind::MonolithicSparse,
            Kind::MonolithicFlat,
            Kind::SplitSparse,
            Kind::SplitFlat,
            Kind::Stream,
            Kind::Custom,
            // Repeated, because most axes concern only these.
            Kind::Stream,
            Kind::MonolithicSparse,
        ];
        let spellings = [
            Spelling::Plain,
            Spelling::CrLf,
            Spelling::LowerCase,
            Spelling::Commented,
            Spelling::ByteOrderMark,
            Spelling::Other,
            Spelling::ReadOnly,
            Spelling::Encoded,
        ];
        Self {
            kind: kinds[kind],
            sectors,
            grain,
            entries,
            fill,
            redundant: redundant == 1,
            tail: [0, 511, 3 * SECTOR][tail],
            version: version as u32 + 1,
            zero_grains: zero == 1,
            layout: [Layout::True, Layout::Patched, Layout::Front][layout],
            markers: markers != 0,
            whole_tail: last == 1,
            swapped: order == 1,
            spelling: spellings[spelling],
            unit: if size >= 7 { unit } else { sectors.div_ceil(3).max(1) },
        }
    }

    fn sparse(&self, create_type: Option<&str>, bytes: usize) -> Sparse {
        let grains = match (self.kind, self.markers) {
            (Kind::Stream, true) => Grains::Marked(self.layout),
            (Kind::Stream, false) => Grains::Bare(self.layout),
            _ => Grains::Plain,
        };
        let line = format!("RW {} SPARSE \"an-old-name.vmdk\"", bytes / SECTOR);
        Sparse {
            grain_sectors: self.grain,
            entries: self.entries,
            version: self.version,
            grains,
            redundant: self.redundant,
            zero_grains: self.zero_grains,
            whole_tail: self.whole_tail,
            swapped: self.swapped,
            progress: None,
            descriptor: create_type.map(|create_type| self.spell(&descriptor(create_type, &[line]))),
            level: 1,
            habits: Habits::default(),
        }
    }

    /// Makes the disk; each grain's content identifies it.
    fn disk(&self, rng: &mut Rng) -> Vec<u8> {
        let mut disk = vec![0; self.sectors * SECTOR];
        for (number, grain) in disk.chunks_mut(self.grain * SECTOR).enumerate() {
            let is_full = match self.fill {
                0 => false,
                1 => true,
                2 => number % 2 == 0,
                _ => rng.below(2) == 0,
            };
            if is_full {
                grain.fill(number as u8 | 1);
                let noise = noise(number as u64 + 1);
                // Every third grain does not compress at all.
                let noisy = if number % 3 == 0 && self.grain <= 128 { grain.len() } else { 512 };
                let len = grain.len();
                for part in grain[..noisy.min(len)].chunks_mut(noise.len()) {
                    part.copy_from_slice(&noise[..part.len()]);
                }
                grain[len - 4..].copy_from_slice(&(number as u32).to_le_bytes());
            }
        }
        disk
    }

    fn spell(&self, text: &str) -> String {
        match self.spelling {
            Spelling::Plain => text.to_owned(),
            Spelling::CrLf => text.replace('\n', "\r\n"),
            Spelling::LowerCase => text.to_lowercase(),
            Spelling::Commented => text
                .replace("parentCID", "# no parent \n\tparentCID")
                .replace("#DDB\n", "#DDB\nddb.unheard.of = \"1\"\n  isNativeSnapshot=\"no\"  \n"),
            Spelling::ByteOrderMark => format!("\u{feff}{text}"),
            Spelling::Other => text
                .replace("twoGbMaxExtent", "2GbMaxExtent")
                .replace("# Disk DescriptorFile", "# Disk Descriptor File"),
            Spelling::ReadOnly => text.replace("RW ", "RDONLY "),
            Spelling::Encoded => text.replace("CID=1", "encoding=\"windows-1252\"\nCID=1"),
        }
    }

    /// Writes the VMDK into a folder; returns its path and the expected disk.
    fn write(&self, folder: &Path, seed: u64) -> (PathBuf, Vec<u8>) {
        let mut disk = self.disk(&mut Rng::new(seed));
        let put = |name: &str, mut bytes: Vec<u8>, tail: usize| {
            bytes.resize(bytes.len() + tail, 0);
            fs::write(folder.join(name), bytes).unwrap();
        };
        let create_type = match self.kind {
            Kind::MonolithicSparse | Kind::Stream => {
                let is_stream = self.kind == Kind::Stream;
                let create_type = if is_stream { "streamOptimized" } else { "monolithicSparse" };
                let made = self.sparse(Some(create_type), disk.len()).make(&disk);
                put("disk.vmdk", made, self.tail);
                return (folder.join("disk.vmdk"), disk);
            }
            Kind::MonolithicFlat => "monolithicFlat",
            Kind::SplitSparse => "twoGbMaxExtentSparse",
            Kind::SplitFlat => "twoGbMaxExtentFlat",
            Kind::Custom => "custom",
        };
        let unit = if self.kind == Kind::MonolithicFlat { self.sectors } else { self.unit };
        let encoded = self.spelling == Spelling::Encoded;
        let mut lines = Vec::new();
        for (number, part) in disk.chunks(unit * SECTOR).enumerate() {
            let name = format!("disk-{}{number:03}.vmdk", if encoded { "é" } else { "" });
            let sectors = part.len() / SECTOR;
            if self.kind == Kind::SplitSparse || (self.kind == Kind::Custom && number % 2 == 1) {
                put(&name, self.sparse(None, part.len()).make(part), self.tail);
                lines.push(format!("RW {sectors} SPARSE \"{name}\""));
            } else {
                let offset = if self.kind == Kind::Custom { 2 } else { 0 };
                put(&name, [&vec![9; offset * SECTOR], part].concat(), self.tail);
                lines.push(format!("RW {sectors} FLAT \"{name}\" {offset}"));
            }
        }
        if self.kind == Kind::Custom {
            lines.push("RW 3 ZERO".to_owned());
            disk.resize(disk.len() + 3 * SECTOR, 0);
        }
        let text = self.spell(&descriptor(create_type, &lines));
        let bytes = if encoded { text.chars().map(|char| char as u8).collect() } else { text.into_bytes() };
        put("disk.vmdk", bytes, 0);
        (folder.join("disk.vmdk"), disk)
    }

    fn has_descriptor_file(&self) -> bool {
        !matches!(self.kind, Kind::MonolithicSparse | Kind::Stream)
    }

    /// Returns the reason that qemu-img's answer does not count for this case, if any.
    fn no_qemu(&self) -> Option<&'static str> {
        let text = self.has_descriptor_file();
        if self.kind == Kind::Custom {
            Some("createType custom is refused")
        } else if matches!(self.spelling, Spelling::LowerCase) {
            Some("lower-case extents and keys are not known")
        } else if text && matches!(self.spelling, Spelling::ByteOrderMark) {
            Some("a byte order mark makes it raw")
        } else if text && matches!(self.spelling, Spelling::Other) {
            Some("the 2Gb spelling and the other first line are refused")
        } else if text && matches!(self.spelling, Spelling::ReadOnly) {
            Some("RDONLY extents are dropped")
        } else if text && matches!(self.spelling, Spelling::Encoded) {
            Some("encodings are ignored, so the extents are not found")
        } else if self.kind == Kind::Stream && self.markers && self.layout == Layout::True && self.tail != 0 {
            Some("a footer is looked for at the very end only")
        } else if self.kind == Kind::SplitSparse
            && self.unit < self.sectors
            && !self.unit.is_multiple_of(self.grain)
        {
            Some("the last grain of an extent that is short covers the next extent's data")
        } else if self.kind == Kind::Stream && !self.markers {
            Some("grains without markers are cut at the length of a grain")
        } else {
            None
        }
    }

    /// Returns the reason that vmdk-core's answer does not count for this case, if any.
    fn no_core(&self) -> Option<&'static str> {
        let text = self.has_descriptor_file();
        let is_sparse = !matches!(self.kind, Kind::MonolithicFlat | Kind::SplitFlat);
        let is_stream = self.kind == Kind::Stream;
        if self.kind == Kind::Custom {
            Some("FLAT and SPARSE are not mixed")
        } else if is_sparse && (self.version == 3) != is_stream {
            Some("version 3 is taken for compressed, and nothing else is")
        } else if is_stream && !self.markers {
            Some("grains without markers are not known")
        } else if is_stream && self.layout == Layout::True && self.tail != 0 {
            Some("a footer is looked for at the very end only")
        } else if text && matches!(self.spelling, Spelling::LowerCase) {
            Some("lower-case extents make an empty disk")
        } else if text && matches!(self.spelling, Spelling::ByteOrderMark) {
            Some("a byte order mark is not known")
        } else if text && matches!(self.spelling, Spelling::Other) && self.kind != Kind::MonolithicFlat {
            Some("the 2Gb spelling is not known")
        } else {
            None
        }
    }
}

/// Whether the values can be combined: a footer is found by its marker.
fn is_possible(case: &Case) -> bool {
    let [.., layout, markers, _, _, _] = *case;
    !(layout == 0 && markers == 0)
}

fn pairs(case: &Case) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    let case = *case;
    (0..AXES.len()).flat_map(move |one| (0..one).map(move |other| (other, case[other], one, case[one])))
}

fn all_pairs() -> HashSet<(usize, usize, usize, usize)> {
    let mut all = HashSet::new();
    for (one, (_, ones)) in AXES.iter().enumerate() {
        for (other, (_, others)) in AXES.iter().enumerate().take(one) {
            all.extend((0..*others).flat_map(|a| (0..*ones).map(move |b| (other, a, one, b))));
        }
    }
    all.remove(&(8, 0, 9, 0));
    all
}

/// Returns cases that each add the most missing pairs; then random ones.
fn cases() -> Vec<Case> {
    let mut rng = Rng::new(300);
    let mut missing = all_pairs();
    let mut cases = Vec::new();
    let random = |rng: &mut Rng| loop {
        let case: Case = std::array::from_fn(|axis| rng.below(AXES[axis].1 as u64) as usize);
        if is_possible(&case) {
            return case;
        }
    };
    while cases.len() < CASES {
        let new = |case: &Case| pairs(case).filter(|pair| missing.contains(pair)).count();
        let candidates: Vec<Case> = (0..40).map(|_| random(&mut rng)).collect();
        let case = candidates.into_iter().max_by_key(new).unwrap();
        pairs(&case).for_each(|pair| _ = missing.remove(&pair));
        cases.push(case);
    }
    cases
}

#[test]
fn every_pair_of_values_occurs() {
    let mut missing = all_pairs();
    cases().iter().flat_map(pairs).for_each(|pair| _ = missing.remove(&pair));
    let named: Vec<_> =
        missing.iter().map(|(a, b, c, d)| format!("{} {b}, {} {d}", AXES[*a].0, AXES[*c].0)).collect();
    assert!(named.is_empty(), "{named:?}");
}

/// Reads as an import does: span by span, and only the ranges mapped as data.
fn check_reads(disk: &VmdkDisk, expected: &[u8], what: &str) {
    assert_eq!(disk.size(), expected.len() as u64, "{what}");
    let mut offset = 0;
    while offset < disk.size() {
        let run = disk.map(offset, (disk.size() - offset).min(SPAN_LEN as u64)).expect(what);
        let expected = &expected[offset as usize..(offset + run.len) as usize];
        if run.kind == RunKind::Zero {
            assert!(expected.iter().all(|&byte| byte == 0), "{what}: zeros at {offset}");
        } else {
            let mut bytes = vec![0xa5; run.len as usize];
            disk.read_at(offset, &mut bytes).expect(what);
            assert_equal(&bytes, expected, what);
        }
        offset += run.len;
    }
}

fn check_stream(file: &[u8], expected: &[u8], what: &str) {
    let mut stream = Stream::open(file, "pipe").expect(what);
    assert_eq!(stream.size(), expected.len() as u64, "{what}");
    let zeros = vec![0; SPAN_LEN];
    let mut spans = expected.chunks(SPAN_LEN).enumerate();
    while let Some(arrived) = stream.next_span().expect(what) {
        let number = arrived.number as usize;
        for (_, skipped) in spans.by_ref().take_while(|(at, _)| *at < number).by_ref() {
            assert!(*skipped == zeros[..skipped.len()], "{what}: skipped");
        }
        let expected = &expected[number * SPAN_LEN..expected.len().min((number + 1) * SPAN_LEN)];
        let mut bytes = vec![0; expected.len()];
        (arrived.fill)(&mut bytes).expect(what);
        assert_equal(&bytes, expected, what);
    }
    assert!(spans.all(|(_, rest)| *rest == zeros[..rest.len()]), "{what}: the end");
}

fn check_qemu(path: &Path, expected: &[u8], what: &str) {
    let raw = path.with_file_name("expected.raw");
    let file = fs::File::create(&raw).unwrap();
    file.set_len(expected.len() as u64).unwrap();
    let zeros = vec![0; SPAN_LEN];
    for (number, span) in
        expected.chunks(SPAN_LEN).enumerate().filter(|(_, span)| **span != zeros[..span.len()])
    {
        std::os::unix::fs::FileExt::write_all_at(&file, span, (number * SPAN_LEN) as u64).unwrap();
    }
    let output = Command::new("timeout")
        .args(["30", "prlimit", "--as=3000000000", "qemu-img", "compare", "-f", "vmdk", "-F", "raw"])
        .args([path, &raw])
        .output()
        .expect("qemu-img");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !errors.contains("mismatch"), "{what}: {output:?}");
}

fn check_core(path: &Path, expected: &[u8], what: &str) {
    let mut reader = vmdk::VmdkReader::open_path(path).unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut bytes = Vec::with_capacity(expected.len() + 1);
    reader.read_to_end(&mut bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_equal(&bytes, expected, what);
}

#[test]
fn generated_disks_read_as_they_were_made_and_as_others_read_them() {
    let (qemu, core, piped) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    cases().par_iter().enumerate().for_each(|(number, case)| {
        let made = Made::of(case);
        let what = format!("case {number}: {made:?}");
        let folder = tempfile::tempdir().unwrap();
        let (path, expected) = made.write(folder.path(), number as u64);
        let disk = VmdkDisk::open(&path, Gate::Beside).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        check_reads(&disk, &expected, &what);
        let bytes = fs::read(&path).unwrap();
        assert!(looks_like(&bytes[..bytes.len().min(1024)]), "{what}");
        // With tables in front, no marker ends the stream, so odd trailing bytes are a cut marker. Streams in
        // another order are refused; other tests cover this.
        let has_end = made.layout != Layout::Front || made.tail.is_multiple_of(SECTOR);
        if made.kind == Kind::Stream && made.markers && has_end && !made.swapped {
            check_stream(&bytes, &expected, &what);
            piped.fetch_add(1, Ordering::Relaxed);
        }
        if made.no_qemu().is_none() {
            check_qemu(&path, &expected, &what);
            qemu.fetch_add(1, Ordering::Relaxed);
        }
        if made.no_core().is_none() {
            check_core(&path, &expected, &what);
            core.fetch_add(1, Ordering::Relaxed);
        }
    });
    let (qemu, core, piped) = (qemu.into_inner(), core.into_inner(), piped.into_inner());
    println!(
        "{CASES} cases; compared with qemu-img: {qemu}, with vmdk-core: {core}, through a pipe: {piped}"
    );
    assert!(qemu >= QEMU_LEAST && core >= CORE_LEAST && piped >= PIPED_LEAST, "{qemu} {core} {piped}");
}
