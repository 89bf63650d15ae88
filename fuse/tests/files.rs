//! The mounted tree: names, sizes, times, bytes, holes. Nothing in it can be changed.

mod common;

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};

use common::{BLOCK, bed, disk, noise, read_direct};
use melv_serve::Catalog;
use rustix::fs::SeekFrom;
use rustix::io::Errno;

#[test]
fn every_image_is_a_file_in_the_folder_of_its_name() {
    let bed = bed();
    bed.import("web:1", &disk());
    bed.import("web:2", &noise(7, BLOCK));
    bed.import("web-db", &noise(8, 512));
    let Some(live) = bed.mount() else { return };
    assert_eq!(live.names(""), ["web", "web-db"]);
    assert_eq!(live.names("web"), ["1.raw", "2.raw"]);
    assert_eq!(live.names("web-db"), ["latest.raw"]);
    assert_eq!(std::fs::read(live.dir.join("web/2.raw")).expect("a file"), noise(7, BLOCK));
    assert_eq!(std::fs::read(live.dir.join("web-db/latest.raw")).expect("a file"), noise(8, 512));
    for missing in
        ["no", "web/3.raw", "web/1", "web/.raw", "web/1.raw.raw", "web/1:2.raw", "web-db/1.raw", "WEB"]
    {
        let error = std::fs::metadata(live.dir.join(missing)).expect_err(missing);
        assert_eq!(error.kind(), ErrorKind::NotFound, "{missing}");
    }
    live.end();
}

#[test]
fn names_of_any_length_are_files() {
    let bed = bed();
    let (name, tag) = ("n".repeat(255), "t".repeat(255));
    bed.import(&format!("{name}:{tag}"), &noise(1, 512));
    let Some(live) = bed.mount() else { return };
    assert_eq!(live.names(&name), [format!("{tag}.raw")]);
    let read = std::fs::read(live.dir.join(&name).join(format!("{tag}.raw"))).expect("a file");
    assert_eq!(read, noise(1, 512));
    let told = rustix::fs::statvfs(&live.dir).expect("statvfs");
    assert_eq!((told.f_namemax, told.f_files), (259, 1));
}

#[test]
fn many_names_are_listed_once_each() {
    let bed = bed();
    bed.import("one", &noise(1, 512));
    let store = bed.store();
    let mut expected = vec!["one".to_owned()];
    for number in 0..500 {
        let name = format!("name-{number}.{}", "x".repeat(100));
        store.tag(&"one".parse().expect("a name"), &name.parse().expect("a name"), false).expect("a tag");
        expected.push(name);
    }
    expected.sort();
    let Some(live) = bed.mount() else { return };
    assert_eq!(live.names(""), expected);
}

#[test]
fn attributes_are_those_of_the_image() {
    let bed = bed();
    bed.import("web", &disk());
    let Some(live) = bed.mount() else { return };
    let found = std::fs::metadata(live.dir.join("web/latest.raw")).expect("a file");
    assert!(found.is_file());
    assert_eq!(found.len(), disk().len() as u64);
    assert_eq!(found.blocks() * 512, 66 * BLOCK as u64, "data is 40 + 25 blocks and a short one");
    assert_eq!(found.permissions().mode() & 0o7777, 0o444);
    assert_eq!(found.uid(), rustix::process::geteuid().as_raw());
    let image = bed.store().names().expect("names").remove(0).1.expect("an image");
    assert_eq!(found.mtime() as u64, image.created_seconds);
    for folder in ["", "web"] {
        let found = std::fs::metadata(live.dir.join(folder)).expect("a folder");
        assert!(found.is_dir());
        assert_eq!(found.permissions().mode() & 0o7777, 0o555);
    }
    // A listing shows the same numbers as `stat`.
    for entry in std::fs::read_dir(live.dir.join("web")).expect("a folder") {
        let entry = entry.expect("an entry");
        assert_eq!(std::os::unix::fs::DirEntryExt::ino(&entry), found.ino());
        assert!(entry.file_type().expect("a type").is_file());
    }
}

#[test]
fn extended_attributes_name_the_image_and_its_content() {
    let bed = bed();
    bed.import("web", &disk());
    let Some(live) = bed.mount() else { return };
    let path = live.dir.join("web/latest.raw");
    let image = bed.store().image(&"web".parse().expect("a name")).expect("an image");
    let get = |name: &str, room: usize| {
        let mut value = vec![0; room];
        rustix::fs::getxattr(&path, name, &mut value[..]).map(|len| {
            value.truncate(len);
            String::from_utf8(value).expect("text")
        })
    };
    assert_eq!(get("user.melv.image", 64), Ok(image.id().to_string()));
    assert_eq!(get("user.melv.content", 100), Ok(image.manifest().content.to_string()));
    assert_eq!(get("user.melv.image", 63), Err(Errno::RANGE));
    assert_eq!(get("user.melv.other", 64), Err(Errno::NODATA));
    assert_eq!(rustix::fs::getxattr_query(&path, "user.melv.image"), Ok(64));
    let mut names = [0; 100];
    let len = rustix::fs::listxattr(&path, &mut names[..]).expect("names");
    assert_eq!(&names[..len], b"user.melv.image\0user.melv.content\0");
    assert_eq!(rustix::fs::listxattr_query(&path), Ok(len));
    assert_eq!(rustix::fs::listxattr(&path, &mut names[..len - 1]), Err(Errno::RANGE));
    for folder in [live.dir.clone(), live.dir.join("web")] {
        assert_eq!(rustix::fs::listxattr(&folder, &mut names[..]), Ok(0));
        assert_eq!(rustix::fs::getxattr(&folder, "user.melv.image", &mut names[..]), Err(Errno::NODATA));
    }
}

#[test]
fn reads_of_any_place_and_length_give_the_disk() {
    let bed = bed();
    let disk = disk();
    bed.import("web", &disk);
    let Some(live) = bed.mount() else { return };
    let file = live.file("web/latest.raw");
    let mut state = 1u64;
    let mut below = |end: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % end
    };
    for _ in 0..500 {
        let longest = 1 << below(22);
        let (at, len) = (below(disk.len() + 9000), below(longest) + 1);
        let mut found = vec![0x55; len];
        let read = file.read_at(&mut found, at as u64).expect("a read");
        let expected = &disk[at.min(disk.len())..(at + len).min(disk.len())];
        assert!(found[..read] == *expected, "{at}+{len}");
    }
    let direct = live.direct("web/latest.raw");
    for _ in 0..200 {
        let (at, len) = (below(disk.len() / BLOCK + 3) * BLOCK, (below(600) + 1) * BLOCK);
        let found = read_direct(&direct, at as u64, len).expect("a read");
        assert!(found == disk[at.min(disk.len())..(at + len).min(disk.len())], "direct {at}+{len}");
    }
}

#[test]
fn several_readers_at_once_get_their_own_bytes() {
    let bed = bed();
    let disks: Vec<_> = (1..5).map(|seed| noise(seed, 200 * BLOCK)).collect();
    for (number, disk) in disks.iter().enumerate() {
        bed.import(&format!("disk:{number}"), disk);
    }
    let Some(live) = bed.mount() else { return };
    std::thread::scope(|scope| {
        for (number, disk) in disks.iter().enumerate() {
            let live = &live;
            scope.spawn(move || {
                for round in 0..50 {
                    let file = live.direct(&format!("disk/{number}.raw"));
                    let at = (number * 37 + round * 13) % 150;
                    let found = read_direct(&file, (at * BLOCK) as u64, 50 * BLOCK).expect("a read");
                    assert!(found == disk[at * BLOCK..][..50 * BLOCK]);
                }
            });
        }
    });
}

#[test]
fn holes_are_found_by_seeking() {
    let bed = bed();
    let disk = disk();
    bed.import("web", &disk);
    bed.import("empty", &vec![0; 5 << 20]);
    let Some(live) = bed.mount() else { return };
    let (block, size) = (BLOCK as u64, disk.len() as u64);
    let hole = 40 * block;
    let (data, last_hole) = (hole + (3 << 20), hole + (3 << 20) + 25 * block);
    let last_data = last_hole + 10 * block;
    let file = live.file("web/latest.raw");
    let seek = |to| rustix::fs::seek(&file, to);
    for (at, next_data, next_hole) in [
        (0, Ok(0), hole),
        (block + 1, Ok(block + 1), hole),
        (hole, Ok(data), hole),
        (hole + 5, Ok(data), hole + 5),
        (data, Ok(data), last_hole),
        (last_hole + 1, Ok(last_data), last_hole + 1),
        (last_data, Ok(last_data), size),
        (size - 1, Ok(size - 1), size),
    ] {
        assert_eq!(seek(SeekFrom::Data(at)), next_data, "data from {at}");
        assert_eq!(seek(SeekFrom::Hole(at)), Ok(next_hole), "hole from {at}");
    }
    for past in [size, size + 1, u64::MAX >> 1] {
        assert_eq!(seek(SeekFrom::Data(past)), Err(Errno::NXIO));
        assert_eq!(seek(SeekFrom::Hole(past)), Err(Errno::NXIO));
    }
    assert_eq!(seek(SeekFrom::End(-5)), Ok(size - 5));
    assert_eq!(seek(SeekFrom::Start(7)), Ok(7));
    assert_eq!(seek(SeekFrom::Current(3)), Ok(10));
    let empty = live.file("empty/latest.raw");
    assert_eq!(rustix::fs::seek(&empty, SeekFrom::Data(0)), Err(Errno::NXIO));
    assert_eq!(rustix::fs::seek(&empty, SeekFrom::Hole(0)), Ok(0));
}

#[test]
fn nothing_can_be_written() {
    let bed = bed();
    bed.import("web", &disk());
    let Some(live) = bed.mount() else { return };
    let path = live.dir.join("web/latest.raw");
    let refused = |result: std::io::Result<()>, what: &str| {
        let error = result.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem, "{what}: {error}");
    };
    refused(File::options().write(true).open(&path).map(drop), "open for writing");
    refused(File::options().read(true).write(true).open(&path).map(drop), "open for both");
    refused(File::options().append(true).open(&path).map(drop), "open for appending");
    refused(File::options().write(true).truncate(true).open(&path).map(drop), "truncate");
    refused(File::create(live.dir.join("web/new.raw")).map(drop), "create a file");
    refused(std::fs::create_dir(live.dir.join("new")), "make a folder");
    refused(std::fs::remove_file(&path), "remove a file");
    refused(std::fs::remove_dir(live.dir.join("web")), "remove a folder");
    refused(std::fs::rename(&path, live.dir.join("web/new.raw")), "rename");
    refused(std::fs::hard_link(&path, live.dir.join("web/new.raw")), "link");
    refused(std::os::unix::fs::symlink("x", live.dir.join("web/new.raw")), "link by name");
    refused(std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)), "set the mode");
    let set = rustix::fs::setxattr(&path, "user.melv.image", b"x", rustix::fs::XattrFlags::empty());
    assert_eq!(set, Err(Errno::ROFS));
    assert_eq!(live.names("web"), ["latest.raw"]);
}

#[test]
fn chosen_images_are_served_alone_and_by_id_where_they_have_no_name() {
    let bed = bed();
    bed.import("web", &noise(1, BLOCK));
    bed.import("db", &noise(2, BLOCK));
    let store = bed.store();
    let web = store.image(&"web".parse().expect("a name")).expect("an image");
    let mut catalog = Catalog::empty();
    catalog.add(Some(&"other:7".parse().expect("a name")), &store, &web);
    catalog.add(None, &store, &web);
    let Some(live) = bed.mount_catalog(catalog) else { return };
    let by_id = format!("@{}", web.id());
    assert_eq!(live.names(""), [by_id.as_str(), "other"]);
    for path in [format!("{by_id}/latest.raw"), "other/7.raw".into()] {
        let mut found = Vec::new();
        live.file(&path).read_to_end(&mut found).expect("a read");
        assert!(found == noise(1, BLOCK));
    }
}
