//! Reading VMDKs: one disk has the same content id in all kinds. A faulty VMDK is refused with the offset,
//! the expected and the found value.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod common;
#[path = "common/vmdk_made.rs"]
mod vmdk_made;

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{VecDisk, assert_equal, noise, options, random_disk, read_all, store_in};
use melv::for_each_run;
use melv::vmdk::{Access, Disk, ExtentKind, Fault, Oddity, Stream};
use melv::{
    BlockDevice, BlockError, Digest, DiskError, MemoryStorage, Result, ResultExt, Run, RunKind, Source,
    content_of,
};
use tempfile::TempDir;
use vmdk_made::{
    FIELDS, Grains, Layout, SECTOR, Sparse, deflate, descriptor, embedded, get32, get64, put32, put64, stream,
};

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
    fn open(&self, create_type: &str, extents: &[&str]) -> Result<Disk> {
        let extents: Vec<String> = extents.iter().map(|&line| line.to_owned()).collect();
        Disk::open(&self.put("disk.vmdk", descriptor(create_type, &extents)))
    }
}

/// Reads the disk as an import does, and so meets every fault that a read can.
fn read_through(disk: &Disk) -> Result<Vec<u8>> {
    for_each_run(disk, |_, _| Ok(()))?;
    read_all(disk)
}

fn open_bytes(bytes: &[u8]) -> Result<Vec<u8>> {
    let folder = Folder::new();
    read_through(&Disk::open(&folder.put("disk.vmdk", bytes))?)
}

/// Imports through a pipe; returns the content id.
fn import_stream(bytes: &[u8]) -> Result<Digest> {
    let store = store_in(&MemoryStorage::new());
    let stream = Stream::open(bytes, "standard input")?;
    Ok(store.import(Source::spans(stream, "standard input"), &options("streamed"))?.content)
}

fn fault<T>(result: Result<T>) -> (u64, Fault) {
    let error = result.err().expect("it is refused");
    match error.into_detail() {
        Ok(DiskError::Vmdk { offset, fault, .. }) => (offset, fault),
        other => panic!("{other:?}"),
    }
}

fn feature<T>(result: Result<T>) -> String {
    let error = result.err().expect("it is refused");
    match (error.detail(), error.detail()) {
        (Some(BlockError::Unsupported { feature, .. }), _) => feature.clone(),
        (_, Some(DiskError::Difference { .. })) => error.to_string(),
        _ => panic!("{error:?}"),
    }
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
        let disk = Disk::open(&folder.path(&file)).unwrap();
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
            let disk = Disk::open(&folder.put("other-spelling.vmdk", text)).unwrap();
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
struct NoHoles(Disk);

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
        let opened = Disk::open(&folder.put("disk.vmdk", sparse.make(&disk))).unwrap();
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
            let opened = Disk::open(&folder.put("disk.vmdk", &made)).unwrap();
            assert_equal(&read_all(&opened).unwrap(), &disk, "whole");
            let mut rng = common::Rng::new(grain_sectors as u64);
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
        let opened = Disk::open(&folder.put("disk.vmdk", sparse.make(&disk))).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (opened, disk) = (&opened, &disk);
                scope.spawn(move || {
                    let mut rng = common::Rng::new(thread);
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
    let opened = Disk::open(&folder.put("disk.vmdk", &vmdk)).unwrap();
    let oddities: Vec<_> = opened.warnings().iter().map(|warning| warning.oddity.clone()).collect();
    assert_eq!(oddities, [Oddity::Unclean, Oddity::Newlines]);
    assert!(opened.warnings()[0].to_string().contains("not closed cleanly"));
    assert_equal(&read_through(&opened).unwrap(), &disk, "odd");

    let (mut padded, disk) = sparse_vmdk(stream(Layout::True));
    padded.extend([0; 700]);
    let opened = Disk::open(&folder.put("disk.vmdk", &padded)).unwrap();
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
    assert_eq!(read_all(&Disk::open(&other.path("link.vmdk")).unwrap()).unwrap(), [5; 512]);
}

// ---- descriptors -------------------------------------------------------------------------

#[test]
fn descriptors_are_read_however_they_are_written() {
    let folder = Folder::new();
    folder.put("flat.bin", [5; 512]);
    folder.put("é中.bin", [6; 512]);
    let base = descriptor("monolithicFlat", &["RW 1 FLAT \"flat.bin\" 0".to_owned()]);
    let spellings = [
        base.replace('\n', "\r\n"),
        base.to_uppercase().replace("FLAT.BIN", "flat.bin"),
        base.to_lowercase().replace("descriptorfile", "descriptor file"),
        format!("\u{feff}{base}"),
        format!("\n\n  # a comment\n{base}"),
        base.replace(
            "version=1",
            "encoding=\"UTF-8\"\n version = \"3\" \nunknown.key=x\n# Indicates no parent",
        ),
        format!("{base}ddb.toolsVersion=\"1\"\nddb.toolsVersion=\"2\"\ncreateType=\"MONOLITHICFLAT\"\n"),
        base.replace("ffffffff", "FFFFFFFF ").replace("RW 1", "  RDONLY\t1  "),
        format!("{base}parentFileNameHint=\"\"\n"),
        format!("{base}{}", "\0".repeat(100)),
        format!("{base}# {}", "x".repeat((1 << 20) - base.len() - 2)),
    ];
    for text in spellings {
        let disk = Disk::open(&folder.put("disk.vmdk", &text)).unwrap_or_else(|e| panic!("{e}: {text:.300}"));
        assert_eq!(read_all(&disk).unwrap(), [5; 512]);
    }
    let (before, after) = base.split_once("flat.bin").unwrap();
    let chinese: &[u8] = b"\xa8\xa6\xd6\xd0.bin";
    for encoding in ["encoding=\"GBK\"\n", "ddb.encoding = \"gb18030\"\r\n"] {
        let text = [before.as_bytes(), chinese, after.as_bytes(), encoding.as_bytes()].concat();
        assert_eq!(read_all(&Disk::open(&folder.put("disk.vmdk", text)).unwrap()).unwrap(), [6; 512]);
    }
    let nowhere = [before.as_bytes(), chinese, after.as_bytes()].concat();
    let fault = fault(Disk::open(&folder.put("disk.vmdk", nowhere))).1;
    assert!(matches!(fault, Fault::Descriptor { line: 8, .. }), "{fault}");
}

#[test]
fn descriptors_that_make_no_disk_are_refused() {
    let folder = Folder::new();
    folder.put("flat.bin", [5; 512]);
    let base = descriptor("monolithicFlat", &["RW 1 FLAT \"flat.bin\" 0".to_owned()]);
    let refused = |text: &str| fault(Disk::open(&folder.put("disk.vmdk", text))).1;
    for text in [
        base.replace("RW 1 FLAT \"flat.bin\" 0", ""),
        base.replace("RW 1", "RW 0"),
        base.replace("RW 1", "RW 1x"),
        base.replace("RW 1", "RWX 1"),
        base.replace("FLAT", "ROUND"),
        base.replace("\"flat.bin\" 0", ""),
        base.replace("\"flat.bin\" 0", "flat.bin"),
        base.replace("\"flat.bin\" 0", "\"flat.bin"),
        base.replace("createType=\"monolithicFlat\"", ""),
        base.replace("version=1", "version=one"),
        base.replace("ffffffff", "fffffffff"),
        base.replace("ffffffff", "none"),
        format!("{base}createType=\"custom\"\n"),
        format!("{base}just words\n"),
        format!("{base}\0RW 1 FLAT \"flat.bin\" 0\n"),
        base.replace("RW 1 FLAT \"flat.bin\" 0", &"RW 1 ZERO\n".repeat(4097)),
    ] {
        assert!(matches!(refused(&text), Fault::Descriptor { .. }), "{text:.300}");
    }
    let sum = format!("RW {} ZERO\n", (1u64 << 54) - 1).repeat(2);
    let text = base.replace("RW 1 FLAT \"flat.bin\" 0", &sum);
    assert!(matches!(refused(&text), Fault::Value { what: "the sum of the extents' sectors", .. }));
    assert!(matches!(refused(&base.replace("RW 1", "RW 2")), Fault::Truncated { needed: 1024, found: 512 }));
    assert!(matches!(refused(&base.replace("\" 0", "\" 1")), Fault::Truncated { needed: 1024, found: 512 }));
    assert_eq!(refused("no mark at all"), Fault::NotVmdk);
    assert!(
        refused(&base.replace("RW 1", "RW 1x")).to_string().contains("line 8 of the descriptor is \"RW 1x")
    );
}

#[test]
fn a_descriptor_of_gigabytes_is_refused_unread() {
    let folder = Folder::new();
    let path = folder.put("disk.vmdk", descriptor("monolithicFlat", &[]));
    fs::File::options().write(true).open(&path).unwrap().set_len(3 << 30).unwrap();
    let begun = std::time::Instant::now();
    let expected = Fault::DescriptorLen { found: 3 << 30, max: 1 << 20 };
    assert_eq!(fault(Disk::open(&path)), (0, expected));
    assert!(begun.elapsed().as_millis() < 500);
    // An embedded descriptor has the same limit.
    let (mut vmdk, _) = sparse_vmdk(Sparse::default());
    put64(&mut vmdk, 36, 1 << 40);
    assert!(matches!(fault(open_bytes(&vmdk)).1, Fault::Truncated { .. }));
    let path = folder.put("disk.vmdk", &vmdk);
    let end = 2u64 << 30;
    fs::File::options().write(true).open(&path).unwrap().set_len(3 << 30).unwrap();
    put64(&mut vmdk, 28, end / 512);
    put64(&mut vmdk, 36, (1 << 20) / 512 + 1);
    use std::os::unix::fs::FileExt;
    fs::File::options().write(true).open(&path).unwrap().write_all_at(&vmdk[..512], 0).unwrap();
    assert!(matches!(fault(Disk::open(&path)), (_, Fault::DescriptorLen { .. })));
}

#[test]
fn other_kinds_are_named_as_unsupported() {
    let folder = Folder::new();
    folder.put("flat.bin", [5; 512]);
    let line = "RW 1 FLAT \"flat.bin\" 0";
    let device = "RW 1 FLAT \"/dev/sda\" 0";
    for kind in ["fullDevice", "partitionedDevice"] {
        assert_eq!(read_all(&folder.open(kind, &[line]).unwrap()).unwrap(), [5; 512], "{kind}");
        for device in [device, "RW 1 FLAT \"\\\\.\\PhysicalDrive2\" 0", "RW 1 FLAT \"../flat.bin\""] {
            let told = feature(folder.open(kind, &[line, device]));
            assert!(told.contains(kind) && told.contains("give that disk"), "{told}");
        }
    }
    for kind in ["vmfsRaw", "vmfsRDM", "vmfsSparse", "seSparse", "vsanSparse", "x"] {
        assert!(feature(folder.open(kind, &[line])).contains(kind));
    }
    for word in ["VMFSSPARSE", "VMFSRDM", "VMFSRAW", "SESPARSE"] {
        assert!(feature(folder.open("vmfs", &[&format!("RW 1 {word} \"flat.bin\"")])).contains(word));
    }
    assert!(feature(folder.open("custom", &["NOACCESS 1 FLAT \"flat.bin\" 0"])).contains("NOACCESS"));
    let base = descriptor("monolithicFlat", &[line.to_owned()]);
    let with = |text: String| feature(Disk::open(&folder.put("disk.vmdk", text)));
    assert!(with(base.replace("ffffffff", "0badcafe")).contains("content id 0badcafe"));
    let hint = format!("{base}parentFileNameHint=\"/vm/base.vmdk\"\n");
    assert!(with(hint.replace("ffffffff", "0badcafe")).contains("/vm/base.vmdk"));
    assert!(with(hint.replace("parentCID=ffffffff\n", "")).contains("/vm/base.vmdk"));
    assert!(with(base.replace("version=1", "version=4")).contains("version 4"));
    let (vmdk, _) = sparse_vmdk(Sparse::default());
    let text = String::from_utf8_lossy(&vmdk[512..1536]).into_owned();
    let child = text.replace("parentCID=ffffffff", "parentCID=0badcafe");
    let child = [&vmdk[..512], child.as_bytes(), &vmdk[1536..]].concat();
    assert!(feature(open_bytes(&child)).contains("parent"));
    for (magic, what) in
        [(&b"COWD\x01"[..], "COWD"), (b"\xbe\xba\xfe\xca\0\0\0\0\x01\0\0\0\x02\0\0\0", "seSparse")]
    {
        let bytes = [magic, &[0; 4096]].concat();
        assert!(feature(open_bytes(&bytes)).contains(what));
        assert!(feature(import_stream(&bytes)).contains(what));
    }
}

// ---- names ---------------------------------------------------------------------------------

#[test]
fn nothing_but_a_plain_file_beside_the_descriptor_is_opened() {
    let folder = Folder::new();
    fs::create_dir(folder.path("sub")).unwrap();
    for file in ["sub/flat.bin", "flat.bin"] {
        folder.put(file, [5; 512]);
    }
    symlink("flat.bin", folder.path("link.bin")).unwrap();
    symlink("/etc/hostname", folder.path("away.bin")).unwrap();
    let made = Command::new("mkfifo").arg(folder.path("pipe.bin")).status().unwrap();
    assert!(made.success());
    let absolute = folder.path("flat.bin").display().to_string();
    let names = [
        "/etc/hostname",
        &absolute,
        "../flat.bin",
        "sub/flat.bin",
        "./flat.bin",
        ".",
        "..",
        "",
        "sub",
        "link.bin",
        "away.bin",
        "pipe.bin",
        "/dev/zero",
        "http://example.org/flat.bin",
        "json:{\"file\":{}}",
        "nbd:unix:/socket",
        "C:\\flat.bin",
        "sub\\flat.bin",
        "disk.vmdk",
    ];
    for extent in names {
        for kind in ["FLAT", "VMFS", "SPARSE"] {
            let line = format!("RW 1 {kind} \"{extent}\"");
            let (_, found) = fault(folder.open("custom", &[&line]));
            // A quote ends a name, so that one is not even a line.
            if extent.contains('"') {
                assert!(matches!(found, Fault::Descriptor { .. }), "{extent}: {found}");
                continue;
            }
            assert!(matches!(&found, Fault::Extent { name, .. } if name == extent), "{extent}: {found}");
            assert!(found.to_string().contains("nothing else is ever opened"), "{found}");
        }
    }
    // A hard link is still the descriptor.
    fs::hard_link(folder.path("disk.vmdk"), folder.path("hard.vmdk")).unwrap();
    let text = descriptor("custom", &["RW 1 FLAT \"hard.vmdk\"".to_owned()]);
    fs::write(folder.path("disk.vmdk"), text).unwrap();
    let (_, found) = fault(Disk::open(&folder.path("disk.vmdk")));
    assert!(matches!(found, Fault::Extent { why: "the descriptor itself", .. }), "{found}");
}

#[test]
fn a_missing_extent_is_named() {
    let folder = Folder::new();
    let opened = folder.open("monolithicFlat", &["RW 1 FLAT \"gone-flat.vmdk\" 0"]);
    let Some(DiskError::MissingExtent { object, source }) = opened.detail() else { panic!("{opened:?}") };
    assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
    assert!(object.ends_with("/gone-flat.vmdk"), "{object}");
}

#[test]
fn sparse_extents_are_used_once_and_say_what_the_descriptor_says() {
    let folder = Folder::new();
    let disk = random_disk(9, 300 * SECTOR);
    let bare = Sparse::default().make(&disk);
    folder.put("s001.vmdk", &bare);
    let line = "RW 300 SPARSE \"s001.vmdk\"";
    assert_equal(
        &read_through(&folder.open("2GbMaxExtentSparse", &[line]).unwrap()).unwrap(),
        &disk,
        "split",
    );
    for lines in [[line, line], [line, "RW 1 FLAT \"s001.vmdk\""], ["RW 1 FLAT \"s001.vmdk\"", line]] {
        assert!(matches!(fault(folder.open("custom", &lines)).1, Fault::Extent { .. }));
    }
    let (offset, found) = fault(folder.open("2GbMaxExtentSparse", &["RW 301 SPARSE \"s001.vmdk\""]));
    let text = "the capacity in sectors is 300, but 301 by the descriptor";
    assert_eq!((offset, found.to_string().as_str()), (12, text));
    folder.put("s001.vmdk", &disk);
    assert_eq!(fault(folder.open("2GbMaxExtentSparse", &[line])), (0, Fault::Magic));
    // Alone it is not a disk.
    assert_eq!(fault(open_bytes(&bare)).1, Fault::NoDescriptor);
    for (text, kind) in [
        (embedded("monolithicSparse", 300 * SECTOR).replace("SPARSE", "FLAT"), "FLAT"),
        (embedded("monolithicSparse", 300 * SECTOR) + "RW 1 ZERO\n", "SPARSE"),
    ] {
        let vmdk = Sparse { descriptor: Some(text), ..Sparse::default() }.make(&disk);
        assert!(matches!(fault(open_bytes(&vmdk)).1, Fault::Embedded { kind: found, .. } if found == kind));
    }
    let other =
        Sparse { descriptor: Some(embedded("monolithicSparse", 512)), ..Sparse::default() }.make(&disk);
    assert!(matches!(fault(open_bytes(&other)).1, Fault::Disagree { found: 300, expected: 1, .. }));
}

// ---- headers and tables --------------------------------------------------------------------

#[test]
fn headers_out_of_range_are_refused_at_their_field() {
    let (vmdk, _) = sparse_vmdk(Sparse::default());
    let set = |at: usize, value: u64, len: usize| {
        let mut vmdk = vmdk.clone();
        vmdk[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
        vmdk
    };
    for (field, values) in [
        ("capacity", &[0u64, 1 << 54, 1 << 55, (1 << 63) / 512, 1 << 63, u64::MAX][..]),
        ("grain", &[0, 1, 4, 7, 100, 129, 8192, 32768, 1 << 32, 1 << 63, u64::MAX]),
        ("entries", &[0, 1, 64, 511, 513, 1024, u32::MAX as u64]),
    ] {
        let (_, at, len) = *FIELDS.iter().find(|(name, _, _)| *name == field).unwrap();
        for &value in values {
            let (offset, found) = fault(open_bytes(&set(at, value, len)));
            assert_eq!(offset, at as u64, "{field} {value}: {found}");
            assert!(
                matches!(found, Fault::Value { found, .. } if found == value),
                "{field} {value}: {found}"
            );
        }
    }
    for version in [0, 4, u32::MAX] {
        assert!(feature(open_bytes(&set(4, u64::from(version), 4))).contains("version"));
    }
    for flags in [0x4_0003, 0x8000_0003, 0x2_0003] {
        feature(open_bytes(&set(8, flags, 4)));
    }
    assert!(matches!(fault(open_bytes(&set(8, 0x1_0003, 4))), (77, Fault::Value { .. })));
    assert!(matches!(fault(open_bytes(&vmdk[..511])).1, Fault::Truncated { needed: 512, found: 511 }));
    assert!(matches!(fault(open_bytes(b"KDMV")).1, Fault::Truncated { .. }));
    // Unknown low flags are compatible by their position.
    assert!(open_bytes(&set(8, 0xfff3, 4)).is_ok());
}

#[test]
fn tables_that_cannot_be_are_refused_at_their_entry() {
    let (vmdk, _) = sparse_vmdk(Sparse::default());
    let (redundant, primary) = (get64(&vmdk, 48) as usize * SECTOR, get64(&vmdk, 56) as usize * SECTOR);
    let table = get32(&vmdk, primary) as usize * SECTOR;
    let copy = get32(&vmdk, redundant) as usize * SECTOR;
    let end = (vmdk.len() / SECTOR) as u32;
    let with = |places: &[(usize, u32)]| {
        let mut vmdk = vmdk.clone();
        places.iter().for_each(|&(at, value)| put32(&mut vmdk, at, value));
        fault(open_bytes(&vmdk))
    };
    // Past the end of the file: directory, table, grain.
    for field in [48, 56] {
        let mut past = vmdk.clone();
        put64(&mut past, field, u64::from(end));
        assert!(matches!(fault(open_bytes(&past)).1, Fault::Truncated { .. }));
        put64(&mut past, field, u64::MAX - 1);
        assert!(matches!(fault(open_bytes(&past)).1, Fault::Truncated { .. }));
    }
    for sector in [end - 3, end, u32::MAX] {
        assert!(matches!(with(&[(primary, sector)]), (at, Fault::Truncated { .. }) if at == primary as u64));
    }
    for sector in [end, end + 1, u32::MAX] {
        let (at, found) = with(&[(table + 4, sector), (copy + 4, sector)]);
        assert!(matches!(found, Fault::Truncated { .. }), "{found}");
        assert_eq!(at, table as u64 + 4);
    }
    // Overlapping.
    for sector in [0, 1, 2] {
        let mut over = vmdk.clone();
        put64(&mut over, 56, sector);
        assert!(matches!(fault(open_bytes(&over)).1, Fault::Overlap { .. }));
    }
    let sectors = |at: usize| (at / SECTOR) as u32;
    for sector in
        [1, sectors(primary), sectors(redundant), sectors(copy), sectors(copy) + 3, sectors(table) - 3]
    {
        assert!(matches!(with(&[(primary, sector)]).1, Fault::Overlap { .. }), "{sector}");
    }
    let grain = get32(&vmdk, table + 4);
    for sector in
        [1, 2, sectors(primary), sectors(table) + 3, sectors(copy), grain + 128, grain + 129, grain - 127]
    {
        let (at, found) = with(&[(table + 4, sector), (copy + 4, sector)]);
        assert!(matches!(found, Fault::GrainPlace { .. }), "{sector}: {found}");
        assert!((table as u64..table as u64 + 2048).contains(&at), "{at}");
    }
    // Disagreeing.
    let (at, found) = with(&[(copy + 4, grain + 128)]);
    assert!(matches!(found, Fault::Disagree { by, .. } if by.starts_with("the redundant one")), "{found}");
    assert_eq!(at, table as u64 + 4);
    assert!(matches!(with(&[(redundant, 0)]), (at, Fault::Disagree { .. }) if at == primary as u64));
    // A grain past the end of the disk.
    assert!(matches!(with(&[(table + 511 * 4, grain), (copy + 511 * 4, grain)]).1, Fault::GrainPlace { .. }));
}

#[test]
fn two_grains_of_different_tables_at_one_place_are_refused() {
    let disk = random_disk(11, 9 << 20);
    let create_type = "monolithicSparse";
    let sparse = Sparse {
        grain_sectors: 8,
        redundant: false,
        descriptor: Some(embedded(create_type, disk.len())),
        ..Sparse::default()
    };
    let mut vmdk = sparse.make(&disk);
    let directory = get64(&vmdk, 56) as usize * SECTOR;
    let tables = [0, 4].map(|at| get32(&vmdk, directory + at) as usize * SECTOR);
    let used = (0..512).find(|entry| get32(&vmdk, tables[0] + entry * 4) != 0).unwrap();
    let place = get32(&vmdk, tables[0] + used * 4);
    let other = (0..512).find(|entry| get32(&vmdk, tables[1] + entry * 4) != 0).unwrap();
    put32(&mut vmdk, tables[1] + other * 4, place);
    let (at, found) = fault(open_bytes(&vmdk));
    assert!(matches!(found, Fault::GrainPlace { table: 1, why: "where a grain of another table lies", .. }));
    assert_eq!(at, (tables[1] + other * 4) as u64);
    // Every read fails alike, on any thread.
    let folder = Folder::new();
    let opened = Disk::open(&folder.put("disk.vmdk", &vmdk)).unwrap();
    let mut one = vec![0; 4096];
    opened.read_at(0, &mut one).unwrap();
    let again = || {
        let mut bytes = vec![0; 4096];
        fault(opened.read_at((512 + other as u64) * 4096, &mut bytes))
    };
    let expected = (at, found);
    assert_eq!((again(), again()), (expected.clone(), expected.clone()));
    std::thread::scope(|scope| {
        let threads = [scope.spawn(again), scope.spawn(again)];
        threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), expected));
    });
    opened.read_at(0, &mut one).unwrap();
}

#[test]
fn a_file_cut_anywhere_is_never_filled_with_zeros() {
    for sparse in [Sparse::default(), stream(Layout::True), stream(Layout::Patched), stream(Layout::Front)] {
        let is_stream = sparse.grains != Grains::Plain;
        let (vmdk, disk) = sparse_vmdk(Sparse { descriptor: None, ..sparse });
        let step = 509 * 7;
        for end in (0..vmdk.len()).step_by(step).chain([vmdk.len() - 1, vmdk.len() - 512, vmdk.len() - 1024])
        {
            // The padding of the last grain or of the directory, and the end marker, may be missing.
            match open_bytes(&vmdk[..end]) {
                Ok(bytes) => {
                    assert!(is_stream && vmdk.len() - end < 1024, "{end} of {}", vmdk.len());
                    assert_equal(&bytes, &disk, "cut in its padding");
                }
                Err(error) if matches!(error.detail(), Some(DiskError::Vmdk { .. })) => {}
                Err(other) => panic!("{end}: {other:?}"),
            }
            if is_stream {
                match import_stream(&vmdk[..end]) {
                    Err(error) if matches!(error.detail(), Some(DiskError::Vmdk { .. })) => {}
                    // The patched layout needs no end marker: the directory came last.
                    Ok(_) if end == vmdk.len() - 512 => {}
                    other => panic!("{end}: {other:?}"),
                }
            }
        }
    }
}

// ---- streams -------------------------------------------------------------------------------

/// Returns the offset, value and length of each marker in a stream.
fn markers(vmdk: &[u8]) -> Vec<(usize, u64, u32)> {
    let mut found = Vec::new();
    let mut at = get64(vmdk, 64) as usize * SECTOR;
    while at < vmdk.len() {
        let (value, len) = (get64(vmdk, at), get32(vmdk, at + 8));
        found.push((at, value, len));
        at += match len {
            0 => SECTOR * (1 + value as usize),
            len => (12 + len as usize).next_multiple_of(SECTOR),
        };
    }
    found
}

#[test]
fn markers_that_disagree_are_refused_from_file_and_pipe() {
    for layout in [Layout::True, Layout::Patched, Layout::Front] {
        let (vmdk, _) = sparse_vmdk(stream(layout));
        let grains: Vec<_> = markers(&vmdk).into_iter().filter(|(_, _, len)| *len != 0).collect();
        let change = |at: usize, value: u64, len: usize| {
            let mut vmdk = vmdk.clone();
            vmdk[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
            vmdk
        };
        let (at, lba, len) = grains[3];
        // Another grain's sector, one off the grid, one past the end.
        for other in [grains[2].1, grains[4].1, lba + 1, 1 << 40] {
            let vmdk = change(at, other, 8);
            assert!(
                matches!(fault(open_bytes(&vmdk)), (place, Fault::Disagree { .. }) if place == at as u64)
            );
            let (_, found) = fault(import_stream(&vmdk));
            assert!(matches!(found, Fault::Order { .. } | Fault::Value { .. }), "{found}");
        }
        // The order and the grid are right: only tables reveal it.
        let missing = change(grains[8].0, 10 * 128, 8);
        assert!(matches!(fault(open_bytes(&missing)).1, Fault::Disagree { .. }));
        fault(import_stream(&missing));
        // False lengths.
        for other in [len - 1, len + 600, 140_000, u32::MAX] {
            let vmdk = change(at + 8, u64::from(other), 4);
            fault(open_bytes(&vmdk));
            fault(import_stream(&vmdk));
        }
        // Grains in another order.
        let (one, two) = (grains[0].0..grains[1].0, grains[1].0..grains[2].0);
        let swapped = [&vmdk[..one.start], &vmdk[two], &vmdk[one], &vmdk[grains[2].0..]].concat();
        let (_, found) = fault(import_stream(&swapped));
        assert_eq!(found, Fault::Order { found: 0, previous: 128 });
        assert!(found.to_string().contains("give it as a file"));
    }
}

#[test]
fn a_stream_that_is_out_of_order_is_read_from_a_file() {
    let (vmdk, disk) = sparse_vmdk(Sparse { swapped: true, ..stream(Layout::True) });
    assert_equal(&open_bytes(&vmdk).unwrap(), &disk, "swapped");
    assert!(matches!(fault(import_stream(&vmdk)).1, Fault::Order { .. }));
}

#[test]
fn a_stream_of_fewer_grains_than_its_tables_is_refused() {
    for layout in [Layout::True, Layout::Patched, Layout::Front] {
        let (vmdk, _) = sparse_vmdk(stream(layout));
        let grains: Vec<_> = markers(&vmdk).into_iter().filter(|(_, _, len)| *len != 0).collect();
        for cut in [0, 4, grains.len() - 1] {
            let end = grains.get(cut + 1).map_or(vmdk.len(), |next| next.0);
            let without = [&vmdk[..grains[cut].0], &vmdk[end..]].concat();
            fault(import_stream(&without));
            // The stream is also cut off at the grain's boundary.
            let (_, found) = fault(import_stream(&vmdk[..grains[cut].0]));
            assert!(matches!(found, Fault::Cut { .. } | Fault::StreamTable { .. }), "{found}");
        }
    }
}

#[test]
fn tables_of_a_stream_that_lie_are_refused_from_a_pipe() {
    for layout in [Layout::True, Layout::Patched, Layout::Front] {
        let (vmdk, _) = sparse_vmdk(stream(layout));
        let directory = match layout {
            Layout::True => get64(&vmdk, vmdk.len() - 1024 + 56),
            _ => get64(&vmdk, 56),
        };
        let directory = directory as usize * SECTOR;
        let table = get32(&vmdk, directory) as usize * SECTOR;
        for at in [directory, table, table + 4 * 4, table + 12 * 4, table + 40 * 4] {
            let mut vmdk = vmdk.clone();
            let value = get32(&vmdk, at);
            put32(&mut vmdk, at, value + 1);
            let (_, found) = fault(import_stream(&vmdk));
            assert!(!matches!(found, Fault::Magic), "{found}");
        }
    }
    let (vmdk, disk) = sparse_vmdk(stream(Layout::True));
    let footer = vmdk.len() - 1024;
    for (field, at, len) in FIELDS {
        if matches!(
            field,
            "descriptor" | "descriptor size" | "redundant" | "overhead" | "unclean" | "newlines"
        ) {
            continue;
        }
        let mut vmdk = vmdk.clone();
        vmdk[footer + at + len - 1] ^= 1;
        fault(open_bytes(&vmdk));
        fault(import_stream(&vmdk));
    }
    let mut nested = vmdk.clone();
    put64(&mut nested, footer + 56, u64::MAX);
    assert!(matches!(fault(open_bytes(&nested)).1, Fault::Value { .. }));
    assert!(matches!(fault(import_stream(&nested)).1, Fault::Value { .. }));
    // A header that gives the directory's place, and one that gives another: here, sectors of zeros.
    let mut patched = vmdk.clone();
    put64(&mut patched, 56, get64(&vmdk, footer + 56));
    assert_equal(&open_bytes(&patched).unwrap(), &disk, "patched");
    import_stream(&patched).unwrap();
    put64(&mut patched, 56, (vmdk.len() / SECTOR) as u64 - 1);
    assert!(matches!(fault(open_bytes(&patched)), (at, Fault::Disagree { .. }) if at == footer as u64 + 56));
    assert!(
        matches!(fault(import_stream(&patched)), (at, Fault::Disagree { .. }) if at == footer as u64 + 56)
    );
    for end in [512, 1024, 1536] {
        assert!(matches!(fault(import_stream(&vmdk[..vmdk.len() - end])).1, Fault::Cut { .. }), "{end}");
    }
}

#[test]
fn grains_that_inflate_to_another_length_are_refused() {
    let grain = noise(3).repeat(16);
    type IsExpected = fn(&Fault) -> bool;
    let cases: [(Vec<u8>, IsExpected); 6] = [
        (deflate(&grain[1..], 1), |fault| {
            matches!(fault, Fault::GrainLen { found: 65535, expected: 65536, .. })
        }),
        (deflate(&[&grain[..], &[1]].concat(), 1), |fault| {
            matches!(fault, Fault::GrainLen { found: 65537, .. })
        }),
        (deflate(&vec![0; 100 << 20], 9), |fault| matches!(fault, Fault::GrainLen { found: 65537, .. })),
        (deflate(&grain, 1)[2..].to_vec(), |fault| matches!(fault, Fault::Inflate { .. })),
        (deflate(&grain, 1)[..3000].to_vec(), |fault| matches!(fault, Fault::Inflate { .. })),
        ([deflate(&grain, 1), vec![1]].concat(), |fault| matches!(fault, Fault::Inflate { .. })),
    ];
    for (stored, is_expected) in cases {
        // One grain after the tables, so that only its own bytes change.
        let sparse =
            Sparse { descriptor: Some(embedded("streamOptimized", grain.len())), ..stream(Layout::Front) };
        let mut vmdk = sparse.make(&grain);
        let at = get64(&vmdk, 64) as usize * SECTOR;
        vmdk.truncate(at + 8);
        vmdk.extend((stored.len() as u32).to_le_bytes());
        vmdk.extend(&stored);
        vmdk.resize(vmdk.len().next_multiple_of(SECTOR), 0);
        for (place, found) in [fault(open_bytes(&vmdk)), fault(import_stream(&vmdk))] {
            let too_long = matches!(found, Fault::Value { .. }) && stored.len() > 2 * grain.len();
            assert!(is_expected(&found) || too_long, "{found}");
            assert_eq!(place, at as u64);
        }
    }
}

#[test]
fn what_is_no_stream_is_refused_on_a_pipe() {
    let (vmdk, _) = sparse_vmdk(Sparse::default());
    assert!(feature(import_stream(&vmdk)).contains("give this one as a file"));
    let (bare, _) = sparse_vmdk(Sparse { grains: Grains::Bare(Layout::Front), ..Sparse::default() });
    assert!(feature(import_stream(&bare)).contains("give this one as a file"));
    let text = descriptor("monolithicFlat", &["RW 1 FLAT \"flat.bin\" 0".to_owned()]);
    assert!(feature(import_stream(text.as_bytes())).contains("give it as a file"));
    assert_eq!(fault(import_stream(&[0; 4096])), (0, Fault::NotVmdk));
    assert_eq!(fault(import_stream(&[])), (0, Fault::NotVmdk));
    // Front tables of terabytes are not held in memory.
    let (mut front, _) = sparse_vmdk(stream(Layout::Front));
    put64(&mut front, 64, 1 << 30);
    assert!(feature(import_stream(&front)).contains("give it as a file"));
}

#[test]
fn a_pipe_that_fails_is_an_io_error() {
    struct Fails<'a>(&'a [u8]);
    impl Read for Fails<'_> {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            match self.0.read(buf)? {
                0 => Err(std::io::ErrorKind::ConnectionReset.into()),
                read => Ok(read),
            }
        }
    }
    let (vmdk, _) = sparse_vmdk(stream(Layout::True));
    assert!(matches!(Stream::open(Fails(&vmdk[..100]), "pipe").detail(), Some(BlockError::Io { .. })));
    let store = store_in(&MemoryStorage::new());
    let stream = Stream::open(Fails(&vmdk[..200_000]), "pipe").unwrap();
    assert!(matches!(
        store.import(Source::spans(stream, "pipe"), &options("failed")).detail(),
        Some(BlockError::Io { .. })
    ));
    assert!(store.image(&"failed".parse().unwrap()).is_err());
}
