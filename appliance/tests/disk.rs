//! Promises of a whole disk. Oracles: `sgdisk`, `fsck.fat`, `fsck.erofs`, `mtools`; the importer's own view of a file.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

#[path = "boot_support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::Instant;

use melv_appliance::disk::{Bios, BootParts, DiskError, WrittenDisk, write};
use melv_appliance::erofs;
use melv_appliance::tree::{Content, Inode, Kind, Tree};
use melv_block::{BlockDevice, RawFile, RunKind, for_each_run};
use support::{EPOCH, MBR_CODE, MIB, noise, run};

fn tree(files: &[(&str, Content)]) -> Tree {
    let mut tree = Tree::new();
    let mut entries = BTreeMap::new();
    for (name, content) in files {
        let kind = Kind::File(content.clone());
        let inode = Inode { kind, mode: 0o644, uid: 33, gid: 33, mtime: EPOCH, xattrs: BTreeMap::new() };
        entries.insert(name.as_bytes().to_vec(), tree.add(inode));
    }
    let root = tree.root();
    tree.get_mut(root).kind = Kind::Directory(entries);
    tree
}

struct Inputs {
    tree: Tree,
    kernel: Content,
    initrd: Option<Content>,
    uefi: Option<Content>,
    bios: bool,
}

impl Inputs {
    fn new() -> Self {
        Self {
            tree: tree(&[("a", noise(3_000_000, 3)), ("hole", Content::Zeros { len: 5 << 30 })]),
            kernel: noise(8_000_001, 1),
            initrd: Some(noise(1_100_000, 2)),
            uefi: Some(noise(98_000, 4)),
            bios: true,
        }
    }

    fn write(&self, path: &Path) -> Result<WrittenDisk, DiskError> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap();
        let code = fs::read(MBR_CODE).expect("syslinux is needed by this test");
        let host = support::host();
        let bios = Bios {
            boot_code: &code,
            syslinux: host.syslinux,
            mtools: host.mtools,
            libraries: host.libraries,
        };
        let parts = BootParts {
            kernel: &self.kernel,
            initrd: self.initrd.as_ref(),
            uefi: self.uefi.as_ref(),
            bios: self.bios.then_some(bios),
            command_line: "quiet",
        };
        let volume = erofs::Volume { label: "root".to_owned(), epoch: EPOCH };
        let root = erofs::Plan::new(&self.tree, &volume).unwrap();
        write(&root, &Vec::new(), &parts, EPOCH, path.parent().unwrap(), &file)
    }
}

fn bytes(content: &Content) -> &[u8] {
    let Content::Bytes(bytes) = content else { panic!("not in memory") };
    bytes
}

/// Copies a partition to a file; `sgdisk` tells its place.
fn partition(disk: &Path, number: u32, to: &Path) -> String {
    let shown = run("sgdisk", ["-i", &number.to_string(), disk.to_str().unwrap()]);
    let field = |name: &str| {
        let line = shown.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_start_matches(": ").split(' ').next().unwrap().to_owned()
    };
    let [first, last]: [u64; 2] = ["First sector", "Last sector"].map(|name| field(name).parse().unwrap());
    assert!((first * 512).is_multiple_of(2 * MIB));
    let mut bytes = vec![0; ((last + 1 - first) * 512) as usize];
    File::open(disk).unwrap().read_exact_at(&mut bytes, first * 512).unwrap();
    fs::write(to, bytes).unwrap();
    field("Partition unique GUID").to_lowercase()
}

#[test]
fn tools_accept_each_part() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let inputs = Inputs::new();
    let start = Instant::now();
    let written = inputs.write(&path).unwrap();
    eprintln!("disk of {} bytes written in {:?}", written.size_bytes, start.elapsed());
    assert_eq!(fs::metadata(&path).unwrap().len(), written.size_bytes);
    assert!(written.size_bytes.is_multiple_of(2 * MIB));
    let shown = run("sgdisk", ["-v", path.to_str().unwrap()]);
    assert!(shown.contains("No problems found"), "{shown}");
    let part = folder.path().join("part");
    partition(&path, 1, &part);
    let shown = run("fsck.fat", ["-n", "-v", part.to_str().unwrap()]);
    assert!(!shown.contains("differ"), "{shown}");
    let names = run("mdir", ["-b", "-a", "-/", "-i", part.to_str().unwrap(), "::"]);
    for name in
        ["EFI/BOOT/BOOTX64.EFI", "loader/entries/melv.conf", "melv/vmlinuz", "ldlinux.sys", "syslinux.cfg"]
    {
        assert!(names.contains(name), "{names}");
    }
    let guid = partition(&path, 2, &part);
    assert_eq!(guid, written.root.to_string());
    assert!(written.command_line.starts_with(&format!("root=PARTUUID={guid} ")));
    run("fsck.erofs", [part.to_str().unwrap()]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left in the temporary folder");
}

#[test]
fn kernel_and_initrd_are_where_the_record_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let inputs = Inputs::new();
    let written = inputs.write(&path).unwrap();
    let file = File::open(&path).unwrap();
    for (place, content) in
        [(&written.kernel, Some(&inputs.kernel)), (written.initrd.as_ref().unwrap(), inputs.initrd.as_ref())]
    {
        let expected = bytes(content.unwrap());
        let mut found = vec![0; place.length as usize];
        file.read_exact_at(&mut found, place.offset).unwrap();
        assert!(found == expected);
        assert_eq!(place.blake3, *blake3::hash(expected).as_bytes());
        assert!(place.offset.is_multiple_of(4096));
    }
}

#[test]
fn equal_inputs_make_equal_disks_and_another_root_other_names() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second, third] = ["1", "2", "3"].map(|name| folder.path().join(name));
    let one = Inputs::new().write(&first).unwrap();
    Inputs::new().write(&second).unwrap();
    assert!(fs::read(&first).unwrap() == fs::read(&second).unwrap());
    let other = Inputs { tree: tree(&[("a", noise(3_000_000, 5))]), ..Inputs::new() };
    let other = other.write(&third).unwrap();
    assert_ne!(one.root, other.root);
    assert_eq!((one.kernel.offset, one.kernel.blake3), (other.kernel.offset, other.kernel.blake3));
    let guids = |path: &Path| run("sgdisk", ["-p", path.to_str().unwrap()]);
    let line = |text: &str| text.lines().find(|line| line.contains("GUID")).unwrap().to_owned();
    assert_ne!(line(&guids(&first)), line(&guids(&third)));
}

#[test]
fn zeros_take_no_room_and_an_importer_sees_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let inputs = Inputs { kernel: noise(5000, 1), initrd: None, ..Inputs::new() };
    let written = inputs.write(&path).unwrap();
    let disk = RawFile::open(&path, false).unwrap();
    let mut data = 0;
    for_each_run(&disk, |_, run| {
        data += if run.kind == RunKind::Data { run.len } else { 0 };
        Ok(())
    })
    .unwrap();
    assert_eq!(disk.size(), written.size_bytes);
    assert!(written.size_bytes > 20 * MIB && data < 4 * MIB, "{data} of {}", written.size_bytes);
    assert!(fs::metadata(&path).unwrap().blocks() * 512 < 4 * MIB);
}

#[test]
fn each_firmware_can_be_left_out() {
    let folder = tempfile::tempdir().unwrap();
    for (name, uefi, bios) in [("uefi", true, false), ("bios", false, true)] {
        let path = folder.path().join(name);
        let mut inputs = Inputs { bios, ..Inputs::new() };
        inputs.uefi = inputs.uefi.filter(|_| uefi);
        inputs.write(&path).unwrap();
        let mut sector = [0; 512];
        File::open(&path).unwrap().read_exact_at(&mut sector, 0).unwrap();
        assert_eq!(sector[..440].iter().any(|byte| *byte != 0), bios, "code in the MBR");
        let part = folder.path().join("part");
        partition(&path, 1, &part);
        run("fsck.fat", ["-n", part.to_str().unwrap()]);
        let names = run("mdir", ["-b", "-a", "-/", "-i", part.to_str().unwrap(), "::"]);
        assert_eq!(names.contains("BOOTX64.EFI"), uefi);
        assert_eq!(names.contains("ldlinux.sys"), bios);
    }
    let none = Inputs { bios: false, uefi: None, ..Inputs::new() };
    assert!(matches!(none.write(&folder.path().join("none")), Err(DiskError::Boot(_))));
}

#[test]
fn the_partition_grows_with_the_kernel_up_to_256_mib() {
    let folder = tempfile::tempdir().unwrap();
    for length in [15_900_000, 16_777_216, 17_000_001, 40 << 20] {
        let path = folder.path().join(length.to_string());
        Inputs { kernel: noise(length, 1), ..Inputs::new() }.write(&path).unwrap();
        let part = folder.path().join("part");
        partition(&path, 1, &part);
        run("fsck.fat", ["-n", part.to_str().unwrap()]);
    }
    let kernel = Content::Zeros { len: 255 << 20 };
    let large = Inputs { kernel, initrd: None, uefi: None, ..Inputs::new() };
    assert!(matches!(large.write(&folder.path().join("large")), Err(DiskError::TooLarge { .. })));
    let kernel = Content::Zeros { len: 254 << 20 };
    let largest = Inputs { kernel, initrd: None, uefi: None, ..Inputs::new() };
    largest.write(&folder.path().join("largest")).unwrap();
}

#[test]
fn a_file_that_has_bytes_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    fs::write(&path, "old").unwrap();
    assert!(matches!(Inputs::new().write(&path), Err(DiskError::NotEmpty { length: 3 })));
    assert_eq!(fs::read(&path).unwrap(), b"old");
}
