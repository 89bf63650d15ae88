//! Promises of the EROFS writer, against erofs-utils and Linux.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod common;

use std::path::Path;

use common::compare::{Depth, assert_same};
use common::trees::{self, EPOCH, Sample};
use common::{Mount, Rng, hash, rounds, run};
use melv_appliance::erofs::{BLOCK_BYTES, ErofsError, Plan, Volume};
use melv_appliance::tree::{Content, Inode, InodeId, Kind, Timestamp, Tree};

const UUID: [u8; 16] = *b"\x11\x11\x11\x11\x22\x22\x33\x33\x44\x44\x55\x55\x55\x55\x55\x55";

fn volume() -> Volume {
    Volume { label: "melv-root".to_owned(), epoch: EPOCH }
}

fn image(tree: &Tree, spool: &dyn melv_appliance::contents::Contents) -> Vec<u8> {
    let plan = Plan::new(tree, &volume()).unwrap();
    let mut output = Vec::new();
    plan.write(UUID, spool, &mut output).unwrap();
    assert_eq!(output.len() as u64, plan.size_bytes());
    output
}

/// Checks an image with `fsck.erofs` and compares all that it extracts.
fn check_extracted(sample: &Sample, folder: &Path) {
    let (file, extracted) = (folder.join("image"), folder.join("extracted"));
    std::fs::write(&file, image(&sample.tree, &sample.spool)).unwrap();
    run("fsck.erofs", [format!("--extract={}", extracted.display()), file.display().to_string()]);
    assert_same(&sample.tree, &sample.spool, &extracted, Depth::Extracted);
    std::fs::remove_dir_all(extracted).unwrap();
}

fn check_mounted(sample: &Sample, folder: &Path) {
    let (file, mounted) = (folder.join("image"), folder.join("mounted"));
    std::fs::write(&file, image(&sample.tree, &sample.spool)).unwrap();
    let mount = Mount::new(&file, "erofs", &mounted);
    assert_same(&sample.tree, &sample.spool, &mounted, Depth::Mounted);
    drop(mount);
}

#[test]
fn random_trees_come_out_of_fsck_as_they_went_in() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 0..rounds(30) {
        eprintln!("seed {seed}");
        check_extracted(&trees::random(seed), folder.path());
    }
}

#[test]
#[ignore = "needs root and Linux with EROFS"]
fn random_trees_are_the_same_when_mounted() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 0..rounds(30) {
        eprintln!("seed {seed}");
        check_mounted(&trees::random(seed), folder.path());
    }
}

#[test]
fn equal_trees_are_equal_bytes_whatever_the_order_of_making() {
    for seed in 0..20 {
        let sample = trees::random(seed);
        let first = image(&sample.tree, &sample.spool);
        let again = image(&trees::rebuilt(&sample, seed + 1000), &Vec::new());
        assert!(first == again, "seed {seed}");
    }
}

/// A folder of 100,000 entries and a hole of 5 GiB.
fn large() -> Sample {
    let mut tree = trees::empty_tree();
    let root = tree.root();
    let many = trees::put(&mut tree, root, b"many", trees::folder());
    for at in 0..100_000 {
        let name = format!("entry-{at:x}");
        trees::put(
            &mut tree,
            many,
            name.as_bytes(),
            trees::file(if at % 1000 == 0 { b"content" } else { b"" }),
        );
    }
    trees::put(&mut tree, root, b"hole", trees::inode(Kind::File(Content::Zeros { len: 5 << 30 })));
    trees::put(&mut tree, root, b"largest", trees::inode(Kind::File(Content::Zeros { len: 8 << 40 })));
    Sample { tree, spool: Vec::new() }
}

#[test]
#[ignore = "takes a minute: make check-appliances"]
fn a_folder_of_100_000_entries_and_a_hole_of_5_gib_are_extracted() {
    let mut sample = large();
    let root = sample.tree.root();
    let Kind::Directory(entries) = &mut sample.tree.get_mut(root).kind else { panic!() };
    entries.remove(&b"largest"[..]);
    assert!(image(&sample.tree, &sample.spool).len() < 8 << 20);
    check_extracted(&sample, tempfile::tempdir().unwrap().path());
}

#[test]
#[ignore = "needs root and Linux with EROFS"]
fn a_folder_of_100_000_entries_and_a_hole_of_5_gib_are_mounted() {
    let mut sample = large();
    let folder = tempfile::tempdir().unwrap();
    let (file, mounted) = (folder.path().join("image"), folder.path().join("mounted"));
    std::fs::write(&file, image(&sample.tree, &sample.spool)).unwrap();
    let mount = Mount::new(&file, "erofs", &mounted);
    assert_eq!(std::fs::metadata(mounted.join("largest")).unwrap().len(), 8 << 40);
    drop(mount);
    let root = sample.tree.root();
    let Kind::Directory(entries) = &mut sample.tree.get_mut(root).kind else { panic!() };
    entries.remove(&b"largest"[..]);
    check_mounted(&sample, folder.path());
}

#[test]
fn dump_tells_owners_links_and_the_volume() {
    let mut tree = trees::empty_tree();
    let root = tree.root();
    let mut owned = trees::file(b"x");
    (owned.uid, owned.gid, owned.mode) = (70_000, 80_000, 0o4751);
    owned.xattrs.insert(b"security.capability".to_vec(), trees::capability());
    let id = trees::put(&mut tree, root, b"owned", owned);
    trees::name(&mut tree, root, b"other", id);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("image");
    std::fs::write(&file, image(&tree, &Vec::new())).unwrap();
    let file = file.to_str().unwrap();
    let shown = run("dump.erofs", ["--path=/owned", file]);
    for part in
        ["Uid: 70000", "Gid: 80000", "Access: 0751/rwxr-x--x", "Links: 2", "Layout: 0", "Xattr size: 48"]
    {
        assert!(shown.contains(part), "{part} not in {shown}");
    }
    let shown = run("dump.erofs", ["-s", file]);
    for part in ["sb_csum mtime", "11111111-2222-3333-4444-555555555555", "root nid:                 36"] {
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(squeezed(&shown).contains(&squeezed(part)), "{part} not in {shown}");
    }
}

#[test]
fn only_the_first_block_has_the_uuid() {
    let sample = trees::random(3);
    let plan = Plan::new(&sample.tree, &volume()).unwrap();
    let mut blank = Vec::new();
    plan.write([0; 16], &sample.spool, &mut blank).unwrap();
    blank[..BLOCK_BYTES as usize].copy_from_slice(&plan.first_block(UUID));
    assert!(blank == image(&sample.tree, &sample.spool));
}

#[test]
fn equal_files_of_two_images_are_equal_blocks() {
    let bytes: Vec<u8> = (0..50_000u32).map(|at| (at / 7) as u8).collect();
    let mut images = Vec::new();
    for extra in [&b""[..], b"something else", &[7; 9000]] {
        let mut tree = trees::empty_tree();
        let root = tree.root();
        trees::put(&mut tree, root, b"before", trees::file(extra));
        trees::put(&mut tree, root, b"shared", trees::file(&bytes));
        images.push(image(&tree, &Vec::new()));
    }
    let mut padded = bytes.clone();
    padded.resize(bytes.len().next_multiple_of(BLOCK_BYTES as usize), 0);
    for image in images {
        let starts =
            image.chunks(BLOCK_BYTES as usize).position(|block| block == &padded[..4096]).unwrap() * 4096;
        assert!(image[starts..starts + padded.len()] == padded);
    }
}

/// A small tree with each kind of inode and layout.
fn golden() -> Sample {
    let mut tree = trees::empty_tree();
    let root = tree.root();
    let etc = trees::put(&mut tree, root, b"etc", trees::folder());
    let hostname = trees::put(&mut tree, etc, b"hostname", trees::file(b"melv\n"));
    trees::name(&mut tree, root, b"-name", hostname);
    trees::put(&mut tree, root, b"bin", trees::link(b"usr/bin"));
    trees::put(&mut tree, root, b"long", trees::link(&[b'l'; 4095]));
    trees::put(&mut tree, root, b"hole", trees::inode(Kind::File(Content::Zeros { len: 5 << 30 })));
    trees::put(&mut tree, root, b"empty", trees::file(b""));
    let mut odd = trees::inode(Kind::File(Content::Spooled { offset: 3, len: 5000 }));
    (odd.uid, odd.gid, odd.mode) = (70_000, 1, 0o755);
    odd.mtime = Timestamp { seconds: -2, nanoseconds: 5 };
    odd.xattrs.insert(b"security.capability".to_vec(), trees::capability());
    odd.xattrs.insert(b"user.a".to_vec(), b"1".to_vec());
    odd.xattrs.insert(b"system.posix_acl_access".to_vec(), trees::acl(0o755));
    trees::put(&mut tree, etc, b"odd", odd);
    let many = trees::put(&mut tree, root, b"many", trees::folder());
    for at in 0..400 {
        trees::name(&mut tree, many, format!("name-{at}").as_bytes(), hostname);
    }
    Sample { tree, spool: (0..6000u32).map(|at| (at % 256) as u8).collect() }
}

#[test]
fn the_golden_image_never_changes() {
    let sample = golden();
    let bytes = image(&sample.tree, &sample.spool);
    check_extracted(&sample, tempfile::tempdir().unwrap().path());
    assert_eq!((bytes.len(), hash(&bytes).as_str()), (28_672, "5dbf43651a209734ee74980c4b6a330b"));
}

#[test]
fn an_empty_tree_is_one_block() {
    let bytes = image(&trees::empty_tree(), &Vec::new());
    assert_eq!(bytes.len(), 4096);
    let tree = trees::empty_tree();
    check_extracted(&Sample { tree, spool: Vec::new() }, tempfile::tempdir().unwrap().path());
    let used = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    let hex: String = bytes[1024..used].iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = [
        "e2e1f5e08798d4b9030000000c0024000100000000000000",
        "00f153650000000000000000010000000000000000000000",
        "11111111222233334444555555555555",
        "6d656c762d726f6f7400000000000000",
        &"00".repeat(48),
        "04000000ed4102001b00000000000000000000000100000000000000",
        "00000000",
        "240000000000000018000200",
        "240000000000000019000200",
        "2e2e2e",
    ];
    assert_eq!(hex, expected.concat());
}

/// Returns the fault of a tree with one entry `name` that `change` made.
fn fault(name: &[u8], inode: Inode) -> String {
    let mut tree = trees::empty_tree();
    let root = tree.root();
    trees::put(&mut tree, root, name, inode);
    Plan::new(&tree, &volume()).unwrap_err().to_string()
}

fn with_xattr(name: &[u8], value: &[u8]) -> Inode {
    let mut inode = trees::file(b"");
    inode.xattrs.insert(name.to_vec(), value.to_vec());
    inode
}

#[test]
fn names_that_are_none_are_refused() {
    for name in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0"] {
        assert!(fault(name, trees::file(b"")).contains("not a name"), "{name:?}");
    }
    assert!(fault(&[b'n'; 256], trees::file(b"")).ends_with("a name of 256 bytes, expected at most 255"));
}

#[test]
fn links_modes_times_and_ranges_out_of_bounds_are_refused() {
    for target in [&b""[..], b"a\0b", &[b't'; 4096]] {
        assert!(fault(b"l", trees::link(target)).starts_with("/l: a link to "));
    }
    let mut inode = trees::file(b"");
    inode.mode = 0o10_000;
    assert_eq!(fault(b"f", inode), "/f: mode 0o10000, expected at most 0o7777");
    let mut inode = trees::file(b"");
    inode.mtime.nanoseconds = 1_000_000_000;
    assert!(fault(b"f", inode).contains("1000000000 nanoseconds"));
    let content = Content::Spooled { offset: u64::MAX, len: 1 };
    assert!(fault(b"f", trees::inode(Kind::File(content))).contains("end beyond 64 bits"));
    let content = Content::Zeros { len: (8 << 40) + 1 };
    assert!(fault(b"f", trees::inode(Kind::File(content))).contains("expected at most 8796093022208"));
}

#[test]
fn attributes_out_of_bounds_are_refused() {
    let long = [&b"user."[..], &[b'n'; 251]].concat();
    for name in [&b"user."[..], b"trusted.", b"security.", b"user.a\0", &long] {
        assert!(fault(b"f", with_xattr(name, b"")).contains("expected a class and more"));
    }
    for name in [&b"system.nfs4_acl"[..], b"", b"x", b"system.posix_acl_accessx"] {
        assert!(fault(b"f", with_xattr(name, b"")).contains("expected user., trusted., security."));
    }
    assert!(fault(b"f", with_xattr(b"user.a", &[0; 65_536])).contains("a value of 65536 bytes"));
    let mut inode = trees::file(b"");
    for at in 0..4 {
        inode.xattrs.insert(format!("user.{at}").into_bytes(), vec![0; 65_524]);
    }
    inode.xattrs.insert(b"user.last".to_vec(), Vec::new());
    assert!(Plan::new(&one(inode.clone()), &volume()).is_ok());
    inode.xattrs.insert(b"user.more".to_vec(), Vec::new());
    assert!(fault(b"f", inode).contains("attributes of 262156 bytes, expected at most 262148"));
}

fn one(inode: Inode) -> Tree {
    let mut tree = trees::empty_tree();
    let root = tree.root();
    trees::put(&mut tree, root, b"f", inode);
    tree
}

#[test]
fn a_folder_with_two_names_or_within_itself_is_refused() {
    let mut tree = trees::empty_tree();
    let root = tree.root();
    let folder = trees::put(&mut tree, root, b"a", trees::folder());
    trees::name(&mut tree, root, b"b", folder);
    assert!(matches!(Plan::new(&tree, &volume()), Err(ErofsError::DirectoryTwice { path }) if path == "/b"));
    let mut tree = trees::empty_tree();
    let folder = trees::put(&mut tree, root, b"a", trees::folder());
    trees::name(&mut tree, folder, b"again", folder);
    assert!(
        matches!(Plan::new(&tree, &volume()), Err(ErofsError::DirectoryTwice { path }) if path == "/a/again")
    );
    let mut tree = trees::empty_tree();
    trees::name(&mut tree, root, b"a", root);
    assert!(matches!(Plan::new(&tree, &volume()), Err(ErofsError::DirectoryTwice { path }) if path == "/a"));
}

#[test]
fn an_inode_of_another_tree_is_refused() {
    let mut other = Tree::new();
    let id = (0..5).map(|_| other.add(trees::file(b""))).last().unwrap();
    let mut tree = trees::empty_tree();
    let root = tree.root();
    trees::name(&mut tree, root, b"a", id);
    assert!(matches!(Plan::new(&tree, &volume()), Err(ErofsError::UnknownInode { id: 5, count: 1, .. })));
    *tree.get_mut(root) = trees::file(b"");
    assert!(matches!(Plan::new(&tree, &volume()), Err(ErofsError::RootNotDirectory)));
}

#[test]
fn an_image_beyond_32_bit_blocks_is_refused_before_it_is_written() {
    let mut tree = trees::empty_tree();
    let root = tree.root();
    let content = |len| trees::inode(Kind::File(Content::Spooled { offset: 0, len }));
    trees::put(&mut tree, root, b"a", content((1 << 44) - (3 << 12)));
    assert_eq!(Plan::new(&tree, &volume()).unwrap().size_bytes(), (1 << 44) - (2 << 12));
    trees::put(&mut tree, root, b"b", content(1));
    assert!(Plan::new(&tree, &volume()).is_ok());
    trees::put(&mut tree, root, b"c", content(1));
    assert!(matches!(Plan::new(&tree, &volume()), Err(ErofsError::TooManyBlocks { path }) if path == "/c"));
    for len in [u64::MAX, u64::MAX - 4096, 1 << 63] {
        assert!(fault(b"f", content(len)).contains("ends beyond block"));
    }
}

#[test]
fn a_label_of_16_bytes_is_refused() {
    for label in ["0123456789abcdef", "a\0"] {
        let volume = Volume { label: label.to_owned(), epoch: EPOCH };
        assert!(matches!(Plan::new(&Tree::new(), &volume), Err(ErofsError::InvalidLabel { .. })));
    }
}

#[test]
fn failures_of_reading_and_writing_tell_the_place() {
    let tree = one(trees::inode(Kind::File(Content::Spooled { offset: 10, len: 300_000 })));
    let plan = Plan::new(&tree, &volume()).unwrap();
    let fault = plan.write(UUID, &vec![0; 299_000], &mut std::io::sink()).unwrap_err();
    assert!(matches!(fault, ErofsError::Read { path, offset: 262_144, .. } if path == "/f"));
    let mut short = vec![0; 5000];
    let fault = plan.write(UUID, &vec![0; 400_000], &mut short.as_mut_slice()).unwrap_err();
    assert!(matches!(fault, ErofsError::Write { offset: 5000, .. }), "{fault:?}");
}

#[test]
fn a_chain_of_100_000_folders_is_walked() {
    let mut tree = trees::empty_tree();
    let mut folder = tree.root();
    for _ in 0..100_000 {
        folder = trees::put(&mut tree, folder, b"d", trees::folder());
    }
    assert_eq!(Plan::new(&tree, &volume()).unwrap().inode_count(), 100_001);
}

/// Makes a tree without any care: names, ids, sizes and attributes that mostly are none.
fn careless(seed: u64) -> Tree {
    let mut rng = Rng(seed);
    let mut other = Tree::new();
    let ids: Vec<_> = (0..12).map(|_| other.add(trees::file(b""))).collect();
    let mut tree = trees::empty_tree();
    for _ in 0..1 + rng.below(10) {
        let number = rng.pick(&[0, 1, 4096, 5000, 70_000, 1 << 40, 1 << 44, 1 << 63, u64::MAX]);
        let length = rng.pick(&[0, 1, 40, 255, 256, 4095, 4096, 70_000]);
        let mut inode = match rng.below(6) {
            0 => trees::link(&rng.bytes(length)),
            1 => trees::inode(Kind::File(Content::Zeros { len: number })),
            2 => trees::inode(Kind::File(Content::Spooled { offset: rng.next(), len: number })),
            _ => trees::folder(),
        };
        if rng.chance(10) {
            inode.xattrs.insert([b"user.", &rng.bytes(length % 300)[..]].concat(), rng.bytes(length));
            inode.mode = rng.next() as u16;
            inode.mtime = Timestamp { seconds: rng.next() as i64, nanoseconds: rng.next() as u32 };
        }
        tree.add(inode);
    }
    for _ in 0..rng.below(20) {
        let length = rng.pick(&[0, 1, 2, 255, 256]);
        let name = if rng.chance(90) { vec![b'a' + rng.below(26) as u8] } else { rng.bytes(length) };
        let folder = if rng.chance(60) { tree.root() } else { rng.pick(&ids) };
        if let Some(Kind::Directory(_)) = kind_of(&tree, folder) {
            trees::name(&mut tree, folder, &name, rng.pick(&ids));
        }
    }
    tree
}

/// Ids of a larger tree are ids of none here; the text of an id tells its number.
fn kind_of(tree: &Tree, id: InodeId) -> Option<&Kind> {
    let number: usize =
        format!("{id:?}").trim_matches(|letter: char| !letter.is_ascii_digit()).parse().unwrap();
    (number < tree.inode_count()).then(|| &tree.get(id).kind)
}

#[test]
fn careless_trees_are_faults_or_images_and_never_panics() {
    let (mut faults, mut images) = (0, 0);
    for seed in 0..20_000 {
        let tree = careless(seed);
        match Plan::new(&tree, &volume()) {
            Err(fault) => {
                assert!(!fault.to_string().is_empty());
                faults += 1;
            }
            Ok(plan) if plan.size_bytes() > 1 << 24 => images += 1,
            Ok(plan) => {
                // The spool is short, so most contents cannot be read.
                let _ = plan.write(UUID, &vec![0; 10_000], &mut std::io::sink());
                images += 1;
            }
        }
    }
    assert!(faults > 2000 && images > 2000, "{faults} faults, {images} images");
}
