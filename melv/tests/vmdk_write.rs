//! Writing VMDKs: a strict check of their layout, other products' readers, equal bytes on any number of
//! threads, and cleanup after failures.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use melv::digest::ContentId;
use melv::for_each_run;
use melv::vmdk::{WriteOptions, export_sparse, export_stream, export_stream_file};
use melv::{
    BlockDevice, BlockError, Error, ExportOptions, ForeignDisk, Gate, Result, ResultExt, Run, RunKind, Source,
};
use melv_testing::vmdk::layout::{GRAIN, Grains, check_sparse, check_stream, descriptor};
use melv_testing::{
    BLOCK, SeedDisk, VecDisk, assert_equal, import, noise, on_threads, options, random_disk, read_all,
    store_in, text,
};
use rayon::prelude::*;

const SECTOR: usize = 512;
const COVERAGE: usize = 512 * GRAIN;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sparse,
    Stream,
}

const KINDS: [Kind; 2] = [Kind::Sparse, Kind::Stream];

impl Kind {
    fn write(self, device: &dyn BlockDevice, path: &Path, options: &WriteOptions<'_>) -> Result<u64> {
        match self {
            Self::Sparse => export_sparse(device, path, options),
            Self::Stream => export_stream_file(device, path, options),
        }
    }

    fn check(self, file: &[u8], name: &str) -> (u64, Grains) {
        match self {
            Self::Sparse => check_sparse(file, name),
            Self::Stream => check_stream(file, name),
        }
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn forced() -> WriteOptions<'static> {
    WriteOptions { export: ExportOptions { force: true, ..Default::default() }, content: None }
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
}

/// Writes a disk, and checks every sector of the file and that it holds exactly the disk.
fn written(kind: Kind, device: &dyn BlockDevice, path: &Path) -> Vec<u8> {
    let len = kind.write(device, path, &WriteOptions::default()).expect("export");
    let file = std::fs::read(path).expect("the file");
    assert_eq!(len, file.len() as u64);
    let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
    let (capacity, grains) = kind.check(&file, name);
    assert_eq!(capacity * SECTOR as u64, device.size());
    assert_holds(&grains, device);
    file
}

/// Checks that the grains are exactly the disk's non-zero grains.
fn assert_holds(grains: &Grains, device: &dyn BlockDevice) {
    let mut expected = std::collections::BTreeSet::new();
    for_each_run(device, |start, run| {
        if run.kind == RunKind::Data {
            expected.extend(start / GRAIN as u64..=(start + run.len - 1) / GRAIN as u64);
        }
        Ok(())
    })
    .expect("runs");
    for number in expected {
        let start = number * GRAIN as u64;
        let mut bytes = vec![0; GRAIN];
        let len = (device.size() - start).min(GRAIN as u64) as usize;
        device.read_at(start, &mut bytes[..len]).expect("read");
        match grains.get(&number) {
            Some(found) => {
                assert_equal(found, &bytes, &format!("grain {number}"));
                assert!(bytes.iter().any(|&byte| byte != 0), "grain {number} of zeros is stored");
            }
            None => assert!(bytes.iter().all(|&byte| byte == 0), "grain {number} is absent"),
        }
    }
    let outside = grains.keys().find(|number| **number * GRAIN as u64 >= device.size());
    assert_eq!(outside, None, "a grain outside the disk");
}

fn qemu_img(arguments: &[&str]) {
    let run = Command::new("qemu-img").args(arguments).output().expect("qemu-img runs");
    let said = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "qemu-img {arguments:?}: {said}");
}

/// Checks readers: qemu-img finds no fault and the same bytes, vmdk-core the same bytes, and melv the same
/// bytes without warnings.
fn assert_readers_read(path: &Path, disk: &[u8]) {
    let path_text = path.to_str().expect("a path");
    qemu_img(&["check", "-q", "-f", "vmdk", path_text]);
    let raw = format!("{path_text}.raw");
    qemu_img(&["convert", "-f", "vmdk", "-O", "raw", path_text, &raw]);
    assert_equal(&std::fs::read(&raw).expect("raw"), disk, "qemu-img");
    std::fs::remove_file(raw).expect("remove");
    let mut reader = vmdk::VmdkReader::open_path(path).expect("vmdk-core");
    assert_eq!(reader.virtual_disk_size(), disk.len() as u64);
    let mut bytes = Vec::with_capacity(disk.len());
    reader.read_to_end(&mut bytes).expect("vmdk-core reads");
    assert_equal(&bytes, disk, "vmdk-core");
    let own = melv::vmdk::VmdkDisk::open(path, Gate::Beside).expect("melv");
    assert!(own.warnings().is_empty(), "{:?}", own.warnings());
    assert_equal(&read_all(&own).expect("melv reads"), disk, "melv");
}

#[derive(Debug, Clone, Copy)]
enum Pattern {
    Empty,
    Full,
    /// Every other grain holds one block.
    Alternating,
    Incompressible,
    /// The first and the last sector, and those on both sides of each table's end.
    Edges,
    Random,
}

impl Pattern {
    fn disk(self, sectors: usize) -> Vec<u8> {
        let len = sectors * SECTOR;
        let mut disk = match self {
            Self::Full => (0..).flat_map(text).take(len).collect(),
            Self::Incompressible => (0..).flat_map(noise).take(len).collect(),
            Self::Random => random_disk(sectors as u64, len),
            _ => vec![0; len],
        };
        let mut mark = |at: usize| disk[at..at + SECTOR].copy_from_slice(&text(at as u64)[..SECTOR]);
        match self {
            Self::Alternating => (GRAIN..len).step_by(2 * GRAIN).for_each(&mut mark),
            Self::Edges => {
                [0, len - SECTOR].into_iter().for_each(&mut mark);
                (COVERAGE..len).step_by(COVERAGE).for_each(|end| {
                    mark(end - SECTOR);
                    mark(end);
                });
            }
            _ => {}
        }
        disk
    }
}

fn check_all(cases: Vec<(Pattern, usize)>) {
    let cases: Vec<_> = cases.into_iter().flat_map(|case| KINDS.map(|kind| (kind, case))).collect();
    cases.into_par_iter().for_each(|(kind, (pattern, sectors))| {
        let folder = folder();
        let path = folder.path().join(format!("{kind:?}-{pattern:?}-{sectors}.vmdk"));
        let disk = pattern.disk(sectors);
        written(kind, &VecDisk(disk.clone()), &path);
        assert_readers_read(&path, &disk);
    });
}

#[test]
fn small_disks_of_every_size_around_a_grain_and_a_piece() {
    use Pattern::{Alternating, Edges, Empty, Full, Incompressible, Random};
    let sizes = [1, 8, 127, 128, 129, 200, 2047, 2048, 2049, 4097];
    let patterns = [Empty, Full, Alternating, Incompressible, Edges, Random];
    check_all(sizes.into_iter().flat_map(|size| patterns.map(|pattern| (pattern, size))).collect());
}

#[test]
fn disks_around_the_end_of_a_table() {
    use Pattern::{Alternating, Edges, Empty, Full};
    let table = 65_536;
    check_all(vec![
        (Edges, table - 1),
        (Edges, table),
        (Edges, table + 1),
        (Empty, table + 1),
        (Alternating, table + 1),
        (Full, table + 1),
        (Edges, 2 * table + 1),
        (Edges, 4 * table - 128),
    ]);
}

#[test]
fn a_directory_of_several_sectors_with_empty_tables_between() {
    let mut disk = SeedDisk { size: 100 << 30, ..SeedDisk::default() };
    for place in [0, 1, 4095, 8191, 8192, 1_000_000, 20_000_000, (100 << 18) - 1] {
        disk.write(place, 1, place + 1);
    }
    let folder = folder();
    for kind in KINDS {
        let path = folder.path().join("large.vmdk");
        let file = written(kind, &disk, &path);
        assert!(file.len() < 15 << 20, "{kind:?}: {} bytes", file.len());
        let path_text = path.to_str().expect("a path");
        qemu_img(&["check", "-q", "-f", "vmdk", path_text]);
        let mut reader = vmdk::VmdkReader::open_path(&path).expect("vmdk-core");
        assert_eq!(reader.virtual_disk_size(), disk.size);
        for (&place, &seed) in &disk.blocks {
            let mut block = vec![0; BLOCK];
            std::io::Seek::seek(&mut reader, std::io::SeekFrom::Start(place * BLOCK as u64)).expect("seek");
            reader.read_exact(&mut block).expect("read");
            assert_equal(&block, &noise(seed), "vmdk-core");
        }
        std::fs::remove_file(&path).expect("remove");
    }
    let mut largest = SeedDisk { size: 128 << 40, ..SeedDisk::default() };
    largest.write((128 << 28) - 1, 1, 5);
    let file = written(Kind::Stream, &largest, &folder.path().join("largest.vmdk"));
    assert!(file.len() < 17 << 20, "{} bytes", file.len());
}

#[test]
fn equal_disks_are_equal_bytes_on_any_number_of_threads_and_through_a_pipe() {
    let disk = VecDisk(random_disk(9, 41 << 20));
    let folder = folder();
    for kind in KINDS {
        let path = folder.path().join(format!("{kind:?}.vmdk"));
        let expected = written(kind, &disk, &path);
        let write = |threads| {
            on_threads(threads, || kind.write(&disk, &path, &forced())).expect("export");
            std::fs::read(&path).expect("the file")
        };
        for threads in [1, 2, 4] {
            assert!(write(threads) == expected, "{kind:?} on {threads} threads");
        }
    }
    let expected = std::fs::read(folder.path().join("Stream.vmdk")).expect("the stream");
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
    let arriving = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map(|_| bytes)
    });
    let len = export_stream(&disk, &mut writer, "to/Stream.vmdk", &WriteOptions::default()).expect("export");
    drop(writer);
    let arrived = arriving.join().expect("the reader").expect("read");
    assert!(arrived == expected && len == expected.len() as u64);
}

#[test]
fn a_stream_that_is_imported_from_a_pipe_has_the_content_id_of_the_disk() {
    let disk = VecDisk(random_disk(11, 35 << 20));
    let mut stream = Vec::new();
    export_stream(&disk, &mut stream, "-", &WriteOptions::default()).expect("export");
    let store = store_in(&melv::MemoryStorage::new());
    let raw = import(&store, &disk.0, &options("raw"));
    let arriving = melv::vmdk::Stream::open(&stream[..], "-").expect("a stream");
    let arrived = store.import(Source::spans(arriving, "-"), &options("stream")).expect("import");
    assert_eq!((arrived.content, arrived.new_bytes), (raw.content, 0));
}

#[test]
fn content_ids_come_from_the_content() {
    let digest: ContentId = "0123456789abcdef".repeat(4).parse().expect("a digest");
    let options = WriteOptions { content: Some(*digest.as_bytes()), ..Default::default() };
    let folder = folder();
    for kind in KINDS {
        let path = folder.path().join(format!("{kind:?} größe.vmdk"));
        kind.write(&VecDisk(text(1)), &path, &options).expect("export");
        let text = descriptor(&std::fs::read(&path).expect("the file"));
        assert!(text.contains("\nCID=01234567\n"), "{text}");
        assert!(text.contains("\nddb.longContentID = \"89abcdef0123456789abcdef01234567\"\n"), "{text}");
        assert!(text.contains(&format!("SPARSE \"{kind:?} größe.vmdk\"\n")), "{text}");
        qemu_img(&["check", "-q", "-f", "vmdk", path.to_str().expect("a path")]);
    }
}

/// A disk that fails or panics at one place, and refuses reads of its holes.
#[derive(Debug)]
struct Touchy {
    disk: SeedDisk,
    fails: u64,
    panics: u64,
}

impl Touchy {
    /// Makes 64 MiB with data in each MiB.
    fn new() -> Self {
        let mut disk = SeedDisk { size: 64 << 20, ..SeedDisk::default() };
        (0..64).for_each(|at| disk.write(at * 256 + at, 3, at * 10));
        Self { disk, fails: u64::MAX, panics: u64::MAX }
    }
}

impl BlockDevice for Touchy {
    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let range = offset..offset + buf.len() as u64;
        assert!(!range.contains(&self.panics), "planted");
        if range.contains(&self.fails) {
            return Err(Error::io("read", "touchy", std::io::Error::other("planted")));
        }
        let run = self.disk.map(offset, buf.len() as u64)?;
        assert_eq!((run.kind, run.len), (RunKind::Data, buf.len() as u64), "a hole is read at {offset}");
        self.disk.read_at(offset, buf)
    }

    fn map(&self, offset: u64, len: u64) -> Result<Run> {
        self.disk.map(offset, len)
    }

    fn name(&self) -> String {
        "touchy".into()
    }
}

#[test]
fn holes_are_never_read() {
    let folder = folder();
    let device = Touchy::new();
    for kind in KINDS {
        let path = folder.path().join(format!("{kind:?}.vmdk"));
        kind.write(&device, &path, &WriteOptions::default()).expect("export");
        let (_, grains) = kind.check(&std::fs::read(&path).expect("the file"), &format!("{kind:?}.vmdk"));
        assert_holds(&grains, &device.disk);
    }
}

#[test]
fn a_disk_that_fails_leaves_no_file() {
    let folder = folder();
    let path = folder.path().join("out.vmdk");
    let block = |number: u64| number * BLOCK as u64;
    for kind in KINDS {
        for threads in [1, 3] {
            let failing = Touchy { fails: block(40 * 256 + 41), ..Touchy::new() };
            let error = on_threads(threads, || kind.write(&failing, &path, &WriteOptions::default()));
            assert!(matches!(error.detail(), Some(BlockError::Io { operation: "read", .. })), "{error:?}");
            let panicking = Touchy { panics: block(17 * 256 + 18), ..Touchy::new() };
            let write = || kind.write(&panicking, &path, &WriteOptions::default());
            let caught =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| on_threads(threads, write)));
            assert!(caught.is_err(), "{kind:?} on {threads} threads");
            assert_eq!(files_in(folder.path()), Vec::<PathBuf>::new(), "{kind:?} on {threads} threads");
        }
    }
}

/// A writer that accepts this many bytes and no more.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let len = bytes.len().min(self.0);
        self.0 -= len;
        if len == 0 { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(len) }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_stream_says_where() {
    let disk = VecDisk(random_disk(3, 5 << 20));
    let mut whole = Vec::new();
    export_stream(&disk, &mut whole, "-", &WriteOptions::default()).expect("export");
    for room in [0, 100, 1 << 16, whole.len() / 2, whole.len() - 513, whole.len() - 1] {
        let error = export_stream(&disk, &mut Full(room), "the pipe", &WriteOptions::default());
        let Some(BlockError::NoSpace { operation: "write", object, .. }) = error.detail() else {
            panic!("{room} bytes: {error:?}");
        };
        assert!(object.starts_with("the pipe at byte "), "{object}");
    }
}

#[test]
fn a_full_file_system_leaves_no_file() {
    // The shell's limit on file sizes, in units of 1024 bytes, simulates a full file system.
    let Some(folder) = std::env::var_os("MELV_TEST_LIMITED") else {
        let folder = folder();
        let run = Command::new("bash")
            .args(["-c", "trap '' XFSZ; ulimit -f 4096; exec \"$@\"", "-"])
            .arg(std::env::current_exe().expect("this test"))
            .args(["--exact", "a_full_file_system_leaves_no_file"])
            .env("MELV_TEST_LIMITED", folder.path())
            .output()
            .expect("bash runs");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
        assert_eq!(files_in(folder.path()), Vec::<PathBuf>::new());
        return;
    };
    let disk = VecDisk(Pattern::Incompressible.disk(20 << 11));
    for kind in KINDS {
        let path = Path::new(&folder).join("out.vmdk");
        let error = kind.write(&disk, &path, &WriteOptions::default());
        assert!(matches!(error.detail(), Some(BlockError::NoSpace { .. })), "{error:?}");
    }
}

#[test]
fn who_asks_to_stop_is_heard() {
    let folder = folder();
    let disk = VecDisk(random_disk(4, 30 << 20));
    for kind in KINDS {
        let cancel = AtomicBool::new(false);
        let progress = |done, _| cancel.store(done > 3 << 20, Ordering::Relaxed);
        let export = ExportOptions { cancel: Some(&cancel), progress: Some(&progress), ..Default::default() };
        let options = WriteOptions { content: None, export };
        let error = kind.write(&disk, &folder.path().join("out.vmdk"), &options);
        assert!(matches!(error.detail(), Some(BlockError::Interrupted)), "{error:?}");
        assert_eq!(files_in(folder.path()), Vec::<PathBuf>::new());
    }
}

#[test]
fn progress_rises_to_the_size() {
    let disk = SeedDisk::with_every_leaf(3 << 30, 300);
    for threads in [1, 3] {
        let last = AtomicU64::new(0);
        let progress = |done, size| {
            assert_eq!(size, disk.size);
            assert!(last.swap(done, Ordering::Relaxed) <= done);
        };
        let export = ExportOptions { progress: Some(&progress), ..Default::default() };
        let options = WriteOptions { content: None, export };
        on_threads(threads, || export_stream(&disk, &mut std::io::sink(), "-", &options)).expect("export");
        assert_eq!(last.into_inner(), disk.size);
    }
}

#[test]
fn a_file_that_exists_is_replaced_only_by_force() {
    let folder = folder();
    let disk = VecDisk(random_disk(5, 1 << 20));
    for kind in KINDS {
        let path = folder.path().join(format!("{kind:?}.vmdk"));
        let link = folder.path().join(format!("{kind:?}-link"));
        std::fs::write(&path, "mine").expect("write");
        std::os::unix::fs::symlink(&path, &link).expect("link");
        for path in [&path, &link] {
            let error = kind.write(&disk, path, &WriteOptions::default());
            assert!(matches!(error.detail(), Some(BlockError::FileExists { .. })), "{error:?}");
        }
        assert_eq!(std::fs::read(&path).expect("read"), b"mine");
        kind.write(&disk, &link, &forced()).expect("export");
        assert!(link.is_symlink(), "a link stands for the file that it leads to");
        let (_, grains) = kind.check(&std::fs::read(&path).expect("read"), &format!("{kind:?}.vmdk"));
        assert_holds(&grains, &disk);
    }
    assert_eq!(files_in(folder.path()).len(), 4, "nothing but the files and the links");
}

#[test]
fn targets_that_cannot_hold_a_vmdk_are_refused() {
    let folder = folder();
    let devices = std::fs::read_dir("/dev").expect("/dev").filter_map(std::result::Result::ok);
    let is_block =
        |path: &PathBuf| path.metadata().is_ok_and(|metadata| metadata.file_type().is_block_device());
    let block = devices.map(|entry| entry.path()).find(is_block);
    let bad_name = folder.path().join("a\"b.vmdk");
    let mut targets = vec![PathBuf::from("/dev/null"), folder.path().into(), bad_name];
    targets.extend(block);
    let disk = VecDisk(text(1));
    for kind in KINDS {
        for target in &targets {
            let error = kind.write(&disk, target, &forced());
            assert!(
                matches!(error.detail(), Some(BlockError::Invalid { .. })),
                "{}: {error:?}",
                target.display()
            );
        }
    }
    assert_eq!(files_in(folder.path()), Vec::<PathBuf>::new());
}

#[test]
fn disks_that_no_vmdk_can_be_of_are_refused() {
    let folder = folder();
    for kind in KINDS {
        for (size, is_limit) in [(0, false), (513, false), ((128 << 40) + 512, true), (1 << 62, true)] {
            let disk = SeedDisk { size, ..SeedDisk::default() };
            let error = kind.write(&disk, &folder.path().join("out.vmdk"), &WriteOptions::default());
            match error.detail() {
                Some(BlockError::Limit { found, .. }) => assert!(is_limit && *found == size),
                Some(BlockError::Invalid { what: "disk size", .. }) => assert!(!is_limit),
                _ => panic!("{size}: {error:?}"),
            }
        }
    }
    // One sector more than 32 bits can count: only a stream can hold it.
    let disk = SeedDisk { size: 2 << 40, ..SeedDisk::default() };
    let error = Kind::Sparse.write(&disk, &folder.path().join("out.vmdk"), &WriteOptions::default());
    let error = error.expect_err("too large");
    assert!(
        matches!(error.detail(), Some(BlockError::Limit { found, .. }) if *found == 1 << 32),
        "{error:?}"
    );
    assert!(error.to_string().contains("vmdk-stream"), "{error}");
    assert_eq!(files_in(folder.path()), Vec::<PathBuf>::new());
}

#[test]
fn the_check_of_the_layout_finds_a_fault_in_every_part() {
    let disk = VecDisk(random_disk(6, 200 << 10));
    let folder = folder();
    for kind in KINDS {
        let path = folder.path().join("disk.vmdk");
        kind.write(&disk, &path, &forced()).expect("export");
        let file = std::fs::read(&path).expect("the file");
        let grains = kind.check(&file, "disk.vmdk").1;
        // One bit in each sector, at a different place in each, except in the descriptor's text.
        for sector in (0..file.len() / SECTOR).filter(|sector| !(1..3).contains(sector)) {
            let mut damaged = file.clone();
            damaged[sector * SECTOR + sector * 37 % SECTOR] ^= 0x10;
            let found = std::panic::catch_unwind(|| kind.check(&damaged, "disk.vmdk").1 != grains);
            assert!(found.unwrap_or(true), "{kind:?}: a fault in sector {sector} is not seen");
        }
    }
}

#[test]
fn a_link_to_nothing_and_a_folder_that_is_not_there() {
    let folder = folder();
    let missing = folder.path().join("missing/out.vmdk");
    for kind in KINDS {
        let error = kind.write(&VecDisk(text(1)), &missing, &WriteOptions::default());
        assert!(matches!(error.detail(), Some(BlockError::Io { operation: "create", .. })), "{error:?}");
    }
    assert!(File::open(missing).is_err());
}
