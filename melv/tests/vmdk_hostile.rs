//! VMDKs of arbitrary bytes, and sound ones with one number, line or piece changed. They are read or refused
//! with a typed error, in a second and in bounded memory, and never panic. If file and pipe both accept one,
//! both give the same bytes.
//!
//! `MELV_CASES` sets the number of cases: 1000000 is the full run.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use melv::SpanStream;
use melv::for_each_run;
use melv::limits::SPAN_LEN;
use melv::vmdk::{Stream, VmdkDisk, looks_like};
use melv::{BlockDevice, Error, ErrorKind, ForeignDisk, Gate, Result};
use melv_testing::vmdk::made::{
    FIELDS, Grains, Layout, SECTOR, Sparse, descriptor, embedded, get32, get64, put32,
};
use melv_testing::{Rng, random_disk};

const CASES_DEFAULT: u64 = 20_000;
const MEMORY_MAX_KIB: u64 = 256 << 10;
const MILLIS_MAX: u64 = 1000;
/// The size up to which disks are read whole; larger ones are read at both ends.
const READ_WHOLE: u64 = 4 << 20;

/// A sound disk: its files, of which the first is opened.
#[derive(Clone)]
struct Base {
    files: Vec<(&'static str, Vec<u8>)>,
}

fn sparse_base(sparse: Sparse) -> Base {
    let mut disk = random_disk(13, 90 * 4096 + 3 * SECTOR);
    disk[20 * 4096..40 * 4096].fill(0);
    let create_type = if sparse.grains == Grains::Plain { "monolithicSparse" } else { "streamOptimized" };
    let sparse = Sparse { descriptor: Some(embedded(create_type, disk.len())), entries: 128, ..sparse };
    Base { files: vec![("disk.vmdk", sparse.make(&disk))] }
}

/// Makes a disk like VirtualBox's: the header's capacity extends to the end of the last grain.
fn filled_base(sparse: Sparse) -> Base {
    let disk = random_disk(15, 9 * sparse.grain_sectors * SECTOR);
    let create_type = if sparse.grains == Grains::Plain { "monolithicSparse" } else { "streamOptimized" };
    let descriptor = Some(embedded(create_type, disk.len() - 5 * SECTOR));
    Base { files: vec![("disk.vmdk", Sparse { descriptor, entries: 128, ..sparse }.make(&disk))] }
}

fn bases() -> Vec<Base> {
    let plain = Sparse { grain_sectors: 8, ..Sparse::default() };
    let stored = |grains| Sparse { version: 3, grains, ..plain.clone() };
    let mut bases = vec![
        sparse_base(plain.clone()),
        sparse_base(Sparse { grain_sectors: 64, zero_grains: true, redundant: false, ..plain.clone() }),
        sparse_base(stored(Grains::Bare(Layout::Front))),
        sparse_base(stored(Grains::Marked(Layout::Front))),
        sparse_base(stored(Grains::Marked(Layout::Patched))),
        sparse_base(stored(Grains::Marked(Layout::True))),
        sparse_base(Sparse { grain_sectors: 4096, ..stored(Grains::Marked(Layout::True)) }),
        sparse_base(Sparse { progress: Some(3), ..stored(Grains::Marked(Layout::True)) }),
        filled_base(Sparse { grain_sectors: 64, ..plain.clone() }),
        filled_base(Sparse { grain_sectors: 64, ..stored(Grains::Marked(Layout::True)) }),
    ];
    let disk = random_disk(17, 200 * SECTOR);
    let (one, two) = disk.split_at(101 * SECTOR);
    let lines = ["RW 101 SPARSE \"one.vmdk\"", "RW 99 FLAT \"two.bin\" 0", "NOACCESS 7 ZERO"];
    let text = descriptor("custom", &lines.map(str::to_owned)).replace("CID=1", "encoding=\"GBK\"\nCID=1");
    let one = plain.make(one);
    let files = [("disk.vmdk", text.into_bytes()), ("one.vmdk", one), ("two.bin", two.to_vec())];
    // Twice, so that its text is changed as often as its extents are.
    bases.extend([Base { files: files.to_vec() }, Base { files: files.to_vec() }]);
    bases
}

/// Returns a number that a reader might not expect.
fn number(rng: &mut Rng, file: &[u8]) -> u64 {
    let sectors = (file.len() / SECTOR) as u64;
    match rng.below(12) {
        0 => 0,
        1 => 1,
        2 => u64::MAX - rng.below(2),
        3 => u64::from(u32::MAX) - rng.below(2),
        4 => 1 << rng.below(64),
        5 => (1u64 << rng.below(64)).wrapping_sub(1 + rng.below(2)),
        6 => sectors + rng.below(5),
        7 => sectors.saturating_sub(rng.below(5)),
        8 => rng.below(sectors + 1),
        9 => rng.below(1024),
        10 => (1 << 54) - rng.below(3),
        _ => rng.next(),
    }
}

/// Sets a number, or changes the existing one slightly.
fn set(rng: &mut Rng, file: &mut [u8], at: usize, len: usize) {
    let value = number(rng, file);
    let Some(field) = file.get_mut(at..at + len) else {
        return;
    };
    match rng.below(4) {
        0 => field[rng.below(len as u64) as usize] ^= 1 << rng.below(8),
        1 => field[0] = field[0].wrapping_add(1 + 254 * rng.below(2) as u8),
        _ => field.copy_from_slice(&value.to_le_bytes()[..len]),
    }
}

/// Returns the offsets and lengths of fields in headers, tables and markers, as the sound file gives them.
fn places(file: &[u8]) -> Vec<(usize, usize)> {
    let mut places = Vec::new();
    let mut headers = vec![0];
    if get64(file, 56) == u64::MAX {
        headers.push(file.len() - 1024);
    }
    for header in headers {
        places.extend(FIELDS.map(|(_, at, len)| (header + at, len)));
        for field in [48, 56] {
            let directory = (get64(file, header + field) as usize).saturating_mul(SECTOR);
            if directory == 0 || directory > file.len() - SECTOR {
                continue;
            }
            places.extend((0..3).map(|entry| (directory + entry * 4, 4)));
            let table = get32(file, directory) as usize * SECTOR;
            if table + SECTOR <= file.len() {
                places.extend((0..128).map(|entry| (table + entry * 4, 4)));
            }
        }
    }
    let mut at = get64(file, 64) as usize * SECTOR;
    while at + SECTOR <= file.len() && get32(file, 8) >> 17 == 1 {
        places.extend([(at, 8), (at + 8, 4), (at + 12, 4)]);
        at += match get32(file, at + 8) as usize {
            0 => SECTOR * (1 + get64(file, at) as usize),
            len => (12 + len).next_multiple_of(SECTOR),
        };
    }
    places
}

/// Changes a line of a descriptor.
fn change_text(rng: &mut Rng, file: &mut Vec<u8>, start: usize, end: usize) {
    const PIECES: [&str; 28] = [
        "RW",
        "RDONLY",
        "NOACCESS",
        "FLAT",
        "SPARSE",
        "ZERO",
        "VMFS",
        "SESPARSE",
        "\"",
        "=",
        "#",
        "\n",
        "\r\n",
        "\0",
        " ",
        "0",
        "18446744073709551616",
        "18014398509481983",
        "\"../one.vmdk\"",
        "\"one.vmdk\"",
        "\"/dev/zero\"",
        "parentCID=1",
        "parentFileNameHint=\"x\"",
        "encoding=UTF-7",
        "\u{feff}",
        "createType=\"vmfs\"",
        "createType=\"streamOptimized\"",
        "encryption.keySafe=\"vmware:key/list\"",
    ];
    let text = file[start..end].to_vec();
    let mut lines: Vec<Vec<u8>> = text.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
    let at = rng.below(lines.len() as u64) as usize;
    let piece = PIECES[rng.below(PIECES.len() as u64) as usize].as_bytes();
    match rng.below(7) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(at, lines[at].clone()),
        2 => lines.insert(at, piece.to_vec()),
        3 => {
            let line = &mut lines[at];
            let place = rng.below(line.len() as u64 + 1) as usize;
            line.splice(place..place, piece.iter().copied());
        }
        4 => {
            let mut words: Vec<Vec<u8>> = lines[at].split(|&byte| byte == b' ').map(<[u8]>::to_vec).collect();
            let word = rng.below(words.len() as u64) as usize;
            words[word] = piece.to_vec();
            lines[at] = words.join(&b' ');
        }
        5 => lines[at].iter_mut().for_each(|byte| *byte = byte.to_ascii_uppercase()),
        _ => {
            let line = &mut lines[at];
            if !line.is_empty() {
                let place = rng.below(line.len() as u64) as usize;
                line[place] = rng.next() as u8;
            }
        }
    }
    let mut text = lines.join(&b'\n');
    if start != 0 {
        // An embedded descriptor keeps its length.
        text.resize(end - start, 0);
    }
    file.splice(start..end, text);
}

/// Changes pieces of a file: flips, cuts, moves, more bytes.
fn change_bytes(rng: &mut Rng, file: &mut Vec<u8>) {
    let len = file.len() as u64;
    let piece = |rng: &mut Rng| {
        let start = rng.below(len + 1);
        (start as usize, (start + rng.below(2000)).min(len) as usize)
    };
    let (start, end) = piece(rng);
    match rng.below(6) {
        0 => file.truncate(start),
        1 => file[start..end].fill(rng.next() as u8),
        2 => rng.fill(&mut file[start..end]),
        3 => drop(file.drain(start..end)),
        4 => {
            let copy = file[start..end].to_vec();
            let at = rng.below(len + 1) as usize;
            file.splice(at..at, copy);
        }
        _ => {
            for _ in 0..1 + rng.below(8) {
                let at = rng.below(len.max(1)) as usize;
                if let Some(byte) = file.get_mut(at) {
                    *byte ^= 1 << rng.below(8);
                }
            }
        }
    }
}

fn any_bytes(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = vec![0; rng.below(6000) as usize];
    rng.fill(&mut bytes);
    let marks: [&[u8]; 4] = [b"KDMV", b"# Disk DescriptorFile\n", b"KDMV\x01\0\0\0\0\0\0\0", b""];
    let mark = marks[rng.below(4) as usize];
    if bytes.len() >= mark.len() {
        bytes[..mark.len()].copy_from_slice(mark);
    }
    bytes
}

/// Makes a case: the number of the changed file of a base, and its bytes.
fn change(rng: &mut Rng, base: &Base) -> (usize, Vec<u8>) {
    if rng.below(20) == 0 {
        return (0, any_bytes(rng));
    }
    let which = rng.below(base.files.len() as u64) as usize;
    let mut file = base.files[which].1.clone();
    let is_sparse = file.starts_with(b"KDMV");
    let places = if is_sparse { places(&file) } else { Vec::new() };
    for _ in 0..1 + rng.below(2) {
        match rng.below(8) {
            0 => change_bytes(rng, &mut file),
            1 if is_sparse && which == 0 && file.len() >= 1536 => change_text(rng, &mut file, 512, 1536),
            _ if is_sparse => {
                let (at, len) = places[rng.below(places.len() as u64) as usize];
                set(rng, &mut file, at, len);
            }
            _ if which == 0 => {
                let end = file.len();
                change_text(rng, &mut file, 0, end);
            }
            _ => change_bytes(rng, &mut file),
        }
    }
    if is_sparse && rng.below(30) == 0 && file.len() > 16 {
        put32(&mut file, 12, number(rng, &[]) as u32);
    }
    (which, file)
}

/// Reads as an import does; `None` if the disk is too large to read whole.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let disk = VmdkDisk::open(path, Gate::Beside)?;
    for_each_run(&disk, |_, _| Ok(()))?;
    disk.check_unchanged()?;
    let _ = (disk.create_type(), disk.extents(), disk.warnings());
    if disk.size() <= READ_WHOLE {
        let mut bytes = vec![0; disk.size() as usize];
        bytes
            .chunks_mut(SPAN_LEN)
            .enumerate()
            .try_for_each(|(number, span)| disk.read_at((number * SPAN_LEN) as u64, span))?;
        return Ok(Some(bytes));
    }
    let mut span = vec![0; SPAN_LEN];
    disk.read_at(0, &mut span)?;
    disk.read_at(disk.size() - SPAN_LEN as u64, &mut span)?;
    Ok(None)
}

/// Reads the same through a pipe, with gaps as zeros.
fn read_piped(bytes: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut stream = Stream::open(bytes, "pipe")?;
    let size = stream.size();
    let mut disk = (size <= READ_WHOLE).then(|| vec![0; size as usize]);
    let mut spare = vec![0; SPAN_LEN];
    while let Some(span) = stream.next_span()? {
        let start = span.number * SPAN_LEN as u64;
        let len = size.checked_sub(start).expect("a span inside the disk").min(SPAN_LEN as u64) as usize;
        let out = match &mut disk {
            Some(disk) => &mut disk[start as usize..][..len],
            None => {
                spare[..len].fill(0);
                &mut spare[..len]
            }
        };
        (span.fill)(out)?;
    }
    Ok(disk)
}

fn is_typed(error: &Error) -> bool {
    // Not found: a name without a file.
    matches!(
        error.kind(),
        ErrorKind::Damaged | ErrorKind::Unsupported | ErrorKind::Limit | ErrorKind::NotFound
    )
}

/// One thread's folder, with the unchanged files of each base.
struct Place {
    folder: tempfile::TempDir,
    bases: Vec<Base>,
}

impl Place {
    fn new() -> Self {
        let memory = PathBuf::from("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let place = Self { folder: folder.expect("a folder"), bases: bases() };
        for (number, base) in place.bases.iter().enumerate() {
            fs::create_dir(place.folder.path().join(number.to_string())).unwrap();
            for (name, bytes) in &base.files {
                fs::write(place.path(number, name), bytes).unwrap();
            }
        }
        place
    }

    fn path(&self, base: usize, name: &str) -> PathBuf {
        self.folder.path().join(base.to_string()).join(name)
    }

    /// Runs a case; returns whether file and pipe were read, and the time in milliseconds.
    fn run(&self, seed: u64) -> (bool, bool, u64) {
        let mut rng = Rng::new(seed);
        let number = rng.below(self.bases.len() as u64) as usize;
        let base = &self.bases[number];
        let (which, bytes) = change(&mut rng, base);
        let (name, sound) = &base.files[which];
        fs::write(self.path(number, name), &bytes).unwrap();
        let begun = Instant::now();
        let _ = looks_like(&bytes);
        let from_file = read(&self.path(number, base.files[0].0));
        let piped = read_piped(&bytes);
        let millis = begun.elapsed().as_millis() as u64;
        fs::write(self.path(number, name), sound).unwrap();
        for result in [&from_file, &piped] {
            assert!(result.as_ref().err().is_none_or(is_typed), "{result:?}");
        }
        if let (Ok(Some(file)), Ok(Some(pipe))) = (&from_file, &piped) {
            assert!(file == pipe, "file and pipe differ");
        }
        (from_file.is_ok(), piped.is_ok(), millis)
    }
}

fn memory_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn hostile_files_are_read_or_refused() {
    let cases = std::env::var("MELV_CASES").map_or(CASES_DEFAULT, |cases| cases.parse().expect("a number"));
    let first = std::env::var("MELV_SEED").map_or(0, |seed| seed.parse().expect("a number"));
    let (next, read, piped) = (AtomicU64::new(first), AtomicU64::new(0), AtomicU64::new(0));
    let slowest = AtomicU64::new(0);
    let work = || {
        let place = Place::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + cases {
                return;
            }
            let ran = catch_unwind(AssertUnwindSafe(|| place.run(seed)));
            let (from_file, from_pipe, mut millis) = ran.unwrap_or_else(|_| panic!("case {seed}"));
            // On a busy machine a thread may have been stopped; a slow case stays slow.
            for _ in 0..2 {
                if millis > MILLIS_MAX / 4 {
                    millis = millis.min(place.run(seed).2);
                }
            }
            read.fetch_add(u64::from(from_file), Ordering::Relaxed);
            piped.fetch_add(u64::from(from_pipe), Ordering::Relaxed);
            slowest.fetch_max(millis, Ordering::Relaxed);
            assert!(millis <= MILLIS_MAX, "case {seed} took {millis} ms");
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let (read, piped, slowest) = (read.into_inner(), piped.into_inner(), slowest.into_inner());
    let memory = memory_kib();
    println!(
        "{cases} cases from {first}: {read} read from files, {piped} from pipes; slowest {slowest} ms; \
         memory {} MiB",
        memory >> 10
    );
    assert!(memory <= MEMORY_MAX_KIB, "{memory} KiB");
    assert!(read > cases / 20 && read < cases, "the changes are of no use: {read} of {cases}");
}
