//! Reading VMDKs: one disk has the same content id in all kinds. A faulty VMDK is refused with the offset,
//! the expected and the found value.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

#[path = "vmdk_read/refusals.rs"]
mod refusals;
#[path = "vmdk_read/streams.rs"]
mod streams;

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use melv::digest::ContentId;
use melv::for_each_run;
use melv::vmdk::{Access, ExtentKind, Stream, VmdkDisk, VmdkViolation};
use melv::{
    BlockDevice, BlockError, DiskError, ForeignDisk, Gate, MemoryStorage, Oddity, Result, ResultExt, Run,
    RunKind, Source, content_of,
};
use melv_testing::vmdk::made::{
    FIELDS, Grains, Layout, SECTOR, Sparse, deflate, descriptor, embedded, get32, get64, put32, put64, stream,
};
use melv_testing::vmdk::refusal::{fault, feature};
use melv_testing::{VecDisk, assert_equal, noise, options, random_disk, read_all, store_in};
use tempfile::TempDir;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    /// Writes a descriptor with these extents, and opens it.
    fn open(&self, create_type: &str, extents: &[&str]) -> Result<VmdkDisk> {
        let extents: Vec<String> = extents.iter().map(|&line| line.to_owned()).collect();
        VmdkDisk::open(&self.put("disk.vmdk", descriptor(create_type, &extents)), Gate::Beside)
    }
}

/// Reads the disk as an import does, and so meets every fault that a read can.
fn read_through(disk: &VmdkDisk) -> Result<Vec<u8>> {
    for_each_run(disk, |_, _| Ok(()))?;
    read_all(disk)
}

fn open_bytes(bytes: &[u8]) -> Result<Vec<u8>> {
    let folder = Folder::new();
    read_through(&VmdkDisk::open(&folder.put("disk.vmdk", bytes), Gate::Beside)?)
}

/// Imports through a pipe; returns the content id.
fn import_stream(bytes: &[u8]) -> Result<ContentId> {
    let store = store_in(&MemoryStorage::new());
    let stream = Stream::open(bytes, "standard input")?;
    Ok(store.import(Source::spans(stream, "standard input"), &options("streamed"))?.content)
}

/// Makes a sparse VMDK of a disk with a hole, and the disk.
fn sparse_vmdk(sparse: Sparse) -> (Vec<u8>, Vec<u8>) {
    let mut disk = random_disk(7, 40 * 65536 + 3 * SECTOR);
    disk[9 * 65536..30 * 65536].fill(0);
    let create_type = if sparse.grains == Grains::Plain { "monolithicSparse" } else { "streamOptimized" };
    let sparse = Sparse { descriptor: Some(embedded(create_type, disk.len())), ..sparse };
    (sparse.make(&disk), disk)
}

fn qemu_img(arguments: &[&str], folder: &Path) {
    let output = Command::new("qemu-img").args(arguments).current_dir(folder).output().expect("qemu-img");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

// ---- one disk, one content id ------------------------------------------------------------

#[test]
fn one_disk_in_all_kinds_is_one_content_id() {
    let folder = Folder::new();
    // An odd number of sectors, with holes, and longer than one grain table's part.
    let mut disk = random_disk(1, (35 << 20) + 7 * SECTOR);
    disk[3 << 20..30 << 20].fill(0);
    folder.put("disk.raw", &disk);
    let raw = VecDisk(disk);
    let expected = content_of(&raw, None, None).unwrap();
    let kinds = [
        "monolithicSparse",
        "monolithicFlat",
        "twoGbMaxExtentSparse",
        "twoGbMaxExtentFlat",
        "streamOptimized",
    ];
    let store = store_in(&MemoryStorage::new());
    for kind in kinds {
        let file = format!("{kind}.vmdk");
        let subformat = format!("subformat={kind}");
        qemu_img(
            &["convert", "-f", "raw", "-O", "vmdk", "-o", &subformat, "disk.raw", &file],
            folder.0.path(),
        );
        let disk = VmdkDisk::open(&folder.path(&file), Gate::Beside).unwrap();
        assert_eq!(disk.create_type(), kind);
        assert_eq!(disk.warnings(), []);
        assert_eq!(disk.extents().iter().map(|extent| extent.sectors).sum::<u64>() * 512, disk.size());
        assert_eq!(content_of(&disk, None, None).unwrap(), expected, "{kind}");
        let imported = store.import(Source::device(&disk), &options(&kind.to_lowercase())).unwrap();
        assert_eq!(imported.content, expected, "{kind}");
        disk.check_unchanged().unwrap();
        if let Some(rest) = kind.strip_prefix("twoGb") {
            let text = fs::read_to_string(folder.path(&file)).unwrap();
            let text = text.replace(&format!("\"{kind}\""), &format!("\"2Gb{rest}\""));
            let disk = VmdkDisk::open(&folder.put("other-spelling.vmdk", text), Gate::Beside).unwrap();
            assert_eq!(disk.create_type(), format!("2Gb{rest}"));
            assert_eq!(content_of(&disk, None, None).unwrap(), expected, "2Gb{rest}");
        }
    }
    let piped = fs::read(folder.path("streamOptimized.vmdk")).unwrap();
    assert_eq!(import_stream(&piped).unwrap(), expected, "qemu's stream through a pipe");
    for layout in [Layout::True, Layout::Patched, Layout::Front] {
        let sparse = Sparse { descriptor: Some(embedded("streamOptimized", raw.0.len())), ..stream(layout) };
        let made = sparse.make(&raw.0);
        assert_eq!(import_stream(&made).unwrap(), expected, "{layout:?} through a pipe");
        assert_equal(&open_bytes(&made).unwrap(), &raw.0, "as a file");
    }
}

#[test]
fn unequal_flat_extents_join_without_a_seam() {
    let folder = Folder::new();
    let disk = random_disk(3, 4193 * SECTOR + 2097 * SECTOR + 512);
    let (one, rest) = disk.split_at(4193 * SECTOR);
    folder.put("one.bin", one);
    // The second begins inside its file, and the third is the beginning of the same file.
    let (two, three) = rest.split_at(2097 * SECTOR);
    folder.put("two.bin", [three, &[9; 1024], two, b"longer than declared is fine"].concat());
    let lines = ["RW 4193 FLAT \"one.bin\" 0", "RDONLY 2097 VMFS \"two.bin\" 3", "rw 1 flat \"two.bin\""];
    let opened = folder.open("custom", &[lines[0], lines[1], "NOACCESS 8 ZERO", lines[2]]).unwrap();
    let expected = [one, two, &[0; 8 * SECTOR], three].concat();
    assert_equal(&read_through(&opened).unwrap(), &expected, "joined");
    assert_eq!(opened.extents()[1].kind, ExtentKind::Vmfs);
    assert_eq!(opened.extents()[2].access, Access::None);
    for (offset, len) in [(4193 * SECTOR - 5, 10), (6290 * SECTOR - 1, 8 * SECTOR + 2)] {
        let mut bytes = vec![1; len];
        opened.read_at(offset as u64, &mut bytes).unwrap();
        assert_equal(&bytes, &expected[offset..offset + len], "over a seam");
    }
    assert!(matches!(
        opened.read_at(expected.len() as u64, &mut [0]).detail(),
        Some(BlockError::OutOfRange { .. })
    ));
    fs::write(folder.path("two.bin"), vec![1; 4 << 20]).unwrap();
    assert!(
        matches!(opened.check_unchanged().detail(), Some(BlockError::Changed { object }) if object.ends_with("two.bin"))
    );
}

/// A disk that fails reads where the inner disk's map says zero.
#[derive(Debug)]
struct NoHoles(VmdkDisk);

impl BlockDevice for NoHoles {
    fn size(&self) -> u64 {
        self.0.size()
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let run = self.0.map(offset, buf.len() as u64)?;
        assert_eq!(run.kind, RunKind::Data, "{offset} is a hole");
        self.0.read_at(offset, buf)
    }
    fn map(&self, offset: u64, len: u64) -> Result<Run> {
        self.0.map(offset, len)
    }
    fn name(&self) -> String {
        self.0.name()
    }
}

#[test]
fn holes_are_told_and_never_read() {
    let folder = Folder::new();
    let grain = 65536;
    let mut disk = vec![0; 600 * grain + SECTOR];
    for at in [0, 5, 6, 511, 512, 599] {
        disk[at * grain..(at + 1) * grain].copy_from_slice(&noise(at as u64).repeat(16));
    }
    for grains in [Grains::Plain, Grains::Marked(Layout::True)] {
        let create_type = "monolithicSparse";
        let sparse = Sparse {
            grains,
            zero_grains: true,
            descriptor: Some(embedded(create_type, disk.len())),
            ..Sparse::default()
        };
        let opened = VmdkDisk::open(&folder.put("disk.vmdk", sparse.make(&disk)), Gate::Beside).unwrap();
        let mut data = Vec::new();
        let note = |start, run: Run| {
            if run.kind == RunKind::Data {
                data.push((start / grain as u64, run.len / grain as u64));
            }
            Ok(())
        };
        for_each_run(&opened, note).unwrap();
        assert_eq!(data, [(0, 1), (5, 2), (511, 2), (599, 1)]);
        let store = store_in(&MemoryStorage::new());
        let imported = store.import(Source::device(&NoHoles(opened)), &options("sparse")).unwrap();
        assert_eq!(imported.content, content_of(&VecDisk(disk.clone()), None, None).unwrap());
    }
}

#[test]
fn grains_longer_than_a_span_and_parts_of_grains_are_read_right() {
    let disk = random_disk(5, (5 << 20) + 4608);
    for grain_sectors in [8, 128, 2048, 4096] {
        for grains in [
            Grains::Plain,
            Grains::Bare(Layout::Front),
            Grains::Marked(Layout::True),
            Grains::Marked(Layout::Front),
        ] {
            let create_type = if grains == Grains::Plain { "monolithicSparse" } else { "streamOptimized" };
            let sparse = Sparse {
                grain_sectors,
                grains,
                whole_tail: grain_sectors == 128,
                descriptor: Some(embedded(create_type, disk.len())),
                ..Sparse::default()
            };
            let made = sparse.make(&disk);
            let folder = Folder::new();
            let opened = VmdkDisk::open(&folder.put("disk.vmdk", &made), Gate::Beside).unwrap();
            assert_equal(&read_all(&opened).unwrap(), &disk, "whole");
            let mut rng = melv_testing::Rng::new(grain_sectors as u64);
            for _ in 0..40 {
                let start = rng.below(disk.len() as u64) as usize;
                let len = rng.below(200_000).min((disk.len() - start) as u64) as usize;
                let mut bytes = vec![7; len];
                opened.read_at(start as u64, &mut bytes).unwrap();
                assert_equal(&bytes, &disk[start..start + len], "part");
            }
            if matches!(grains, Grains::Marked(_)) {
                let expected = content_of(&VecDisk(disk.clone()), None, None).unwrap();
                assert_eq!(import_stream(&made).unwrap(), expected, "{grain_sectors} {grains:?}");
            }
        }
    }
}

#[test]
fn many_threads_read_the_same_bytes_at_once() {
    let disk = random_disk(6, (6 << 20) + 512);
    for (grain_sectors, grains) in
        [(128, Grains::Plain), (16, Grains::Marked(Layout::True)), (4096, Grains::Marked(Layout::Front))]
    {
        let descriptor = Some(embedded("monolithicSparse", disk.len()));
        let sparse = Sparse { grain_sectors, grains, descriptor, ..Sparse::default() };
        let folder = Folder::new();
        let opened = VmdkDisk::open(&folder.put("disk.vmdk", sparse.make(&disk)), Gate::Beside).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (opened, disk) = (&opened, &disk);
                scope.spawn(move || {
                    let mut rng = melv_testing::Rng::new(thread);
                    for _ in 0..60 {
                        let start = rng.below(disk.len() as u64) as usize;
                        let len = rng.below(300_000).min((disk.len() - start) as u64) as usize;
                        let mut bytes = vec![7; len];
                        opened.read_at(start as u64, &mut bytes).unwrap();
                        assert_equal(&bytes, &disk[start..start + len], "at once");
                    }
                });
            }
        });
    }
}

#[test]
fn what_is_odd_is_said_and_read() {
    let folder = Folder::new();
    let (mut vmdk, disk) = sparse_vmdk(Sparse::default());
    vmdk[72] = 1;
    vmdk[73..77].copy_from_slice(b"\n \n\n");
    let opened = VmdkDisk::open(&folder.put("disk.vmdk", &vmdk), Gate::Beside).unwrap();
    let oddities: Vec<_> = opened.warnings().iter().map(|warning| warning.oddity.clone()).collect();
    assert_eq!(oddities, [Oddity::Unclean, Oddity::Newlines]);
    assert!(opened.warnings()[0].to_string().contains("not closed cleanly"));
    assert_equal(&read_through(&opened).unwrap(), &disk, "odd");

    let (mut padded, disk) = sparse_vmdk(stream(Layout::True));
    padded.extend([0; 700]);
    let opened = VmdkDisk::open(&folder.put("disk.vmdk", &padded), Gate::Beside).unwrap();
    assert_eq!(opened.warnings()[0].oddity, Oddity::Padding { bytes: 700 });
    assert_equal(&read_through(&opened).unwrap(), &disk, "padded");
    import_stream(&padded).unwrap();
    padded.extend(vec![0; 2 << 20]);
    assert_equal(&open_bytes(&padded).unwrap(), &disk, "padded far");
    import_stream(&padded).unwrap();
}

#[test]
fn the_path_given_may_be_a_link_and_extents_lie_where_it_leads() {
    let (folder, other) = (Folder::new(), Folder::new());
    folder.put("flat.bin", [5; 512]);
    folder.open("monolithicFlat", &["RW 1 FLAT \"flat.bin\" 0"]).unwrap();
    symlink(folder.path("disk.vmdk"), other.path("link.vmdk")).unwrap();
    assert_eq!(read_all(&VmdkDisk::open(&other.path("link.vmdk"), Gate::Beside).unwrap()).unwrap(), [5; 512]);
}

// ---- descriptors -------------------------------------------------------------------------
