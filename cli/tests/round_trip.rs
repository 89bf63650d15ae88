//! Round trips: a disk comes out of a store as it went in.

mod common;

use common::{bed, disk, later_disk, noise};

#[test]
fn a_file_comes_out_as_it_went_in() {
    let bed = bed();
    bed.write("disk.raw", &disk());
    bed.melv(&["import", "disk.raw"]).exits(0);
    bed.melv(&["export", "disk", "out.raw"]).exits(0);
    assert!(bed.read("out.raw") == disk());
    bed.melv(&["compare", "disk", "disk.raw"]).exits(0);
}

#[test]
fn standard_input_is_the_same_image_as_the_file() {
    let bed = bed();
    bed.write("disk.raw", &disk());
    let file = bed.json(&["import", "disk.raw"]);
    let pipe = bed.sh("cat disk.raw | melv import - --name pipe --json").exits(0).json();
    assert_eq!((&file["image"], &file["content"]), (&pipe["image"], &pipe["content"]));
    assert_eq!(pipe["name"], "pipe:latest");
    assert_eq!(pipe["new_bytes"], 0);
}

#[test]
fn standard_output_gets_the_disk_and_nothing_else() {
    let bed = bed();
    bed.write("disk.raw", &disk());
    bed.melv(&["import", "disk.raw"]).exits(0);
    let ran = bed.melv(&["export", "disk", "-", "--json"]).exits(0);
    assert!(ran.output.stdout == disk());
    assert_eq!(serde_json::from_str::<serde_json::Value>(&ran.stderr()).unwrap()["bytes"], disk().len());
}

#[test]
fn every_size_that_is_a_number_of_sectors_is_kept() {
    let bed = bed();
    for size in [512, 4096, 4608, (1 << 20) - 512, 1 << 20, (1 << 20) + 512] {
        bed.write("disk.raw", &noise(size as u64, size));
        assert_eq!(bed.json(&["import", "disk.raw", "--replace"])["size"], size);
        assert_eq!(bed.json(&["export", "disk", "out.raw", "--force"])["bytes"], size);
        assert!(bed.read("out.raw") == bed.read("disk.raw"), "{size}");
        let from_pipe = bed.sh("melv digest - <disk.raw").exits(0).stdout();
        let from_file = bed.melv(&["digest", "disk.raw"]).exits(0).stdout();
        assert_eq!(from_pipe[..64], from_file[..64], "{size}");
        assert_eq!(bed.json(&["inspect", "disk"])["content"], from_file[..64], "{size}");
    }
}

#[test]
fn an_odd_size_is_refused_or_padded() {
    let bed = bed();
    bed.write("odd.raw", &noise(9, 1000));
    bed.melv(&["import", "odd.raw"]).exits(2).says("multiple of 512").says("--pad");
    bed.sh("melv import - --name odd <odd.raw").exits(2).says("--pad");
    bed.melv(&["digest", "odd.raw"]).exits(2).says("--pad");
    bed.sh("melv digest - <odd.raw").exits(2).says("--pad");
    let file = bed.json(&["import", "odd.raw", "--pad"]);
    assert_eq!(file["size"], 1024);
    let pipe = bed.sh("melv import - --name pipe --pad --json <odd.raw").exits(0).json();
    assert_eq!(pipe["content"], file["content"]);
    assert_eq!(bed.json(&["digest", "odd.raw", "--pad"])["content"], file["content"]);
    assert_eq!(bed.sh("melv digest - --pad --json <odd.raw").exits(0).json()["content"], file["content"]);
    bed.melv(&["export", "odd", "out.raw"]).exits(0);
    assert_eq!(bed.read("out.raw"), [noise(9, 1000), vec![0; 24]].concat());
    // The file is not the disk: it ends earlier.
    assert_eq!(bed.melv(&["compare", "odd", "odd.raw", "--json"]).exits(5).json()["offset"], 1000);
}

#[test]
fn content_does_not_depend_on_level_chunk_size_threads_or_store() {
    let bed = bed();
    bed.write("disk.raw", &disk());
    let content = bed.json(&["digest", "disk.raw"])["content"].clone();
    let settings = [["1", "4K", "1"], ["19", "4MiB", "2"], ["9", "65536", "8"]];
    for (number, [level, chunk, threads]) in settings.into_iter().enumerate() {
        let store = format!("store{number}");
        let common = ["--store", &store, "--threads", threads];
        let import = ["import", "disk.raw", "--level", level, "--chunk", chunk];
        assert_eq!(bed.json(&[&common[..], &import].concat())["content"], content);
        bed.melv(&[&common[..], &["export", "disk", "out.raw", "--force"]].concat()).exits(0);
        assert!(bed.read("out.raw") == disk());
        bed.melv(&[&common[..], &["verify", "--full"]].concat()).exits(0);
    }
}

#[test]
fn a_later_version_shares_all_but_what_changed() {
    let bed = bed();
    bed.write("disk.raw", &disk());
    bed.write("new.raw", &later_disk());
    bed.melv(&["import", "disk.raw", "--name", "web:1"]).exits(0);
    let later = bed.json(&["import", "new.raw", "--name", "web:2", "--parent", "web:1"]);
    assert_eq!(later["new_bytes"], 8192);
    assert_eq!(bed.melv(&["compare", "web:2", "web:1", "--json"]).exits(5).json()["offset"], 8192);
    bed.melv(&["export", "web:2", "out.raw"]).exits(0);
    assert!(bed.read("out.raw") == later_disk());
}

#[test]
fn holes_come_out_as_holes() {
    use std::os::unix::fs::MetadataExt;
    let bed = bed();
    let file = std::fs::File::create(bed.path("disk.raw")).unwrap();
    file.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &noise(1, 4096), 32 << 20).unwrap();
    assert_eq!(bed.json(&["import", "disk.raw"])["data_bytes"], 4096);
    bed.melv(&["export", "disk", "out.raw"]).exits(0);
    let metadata = bed.path("out.raw").metadata().unwrap();
    assert_eq!(metadata.len(), 64 << 20);
    assert!(metadata.blocks() * 512 < 1 << 20);
}

#[test]
fn foreign_formats_are_refused_by_name_and_taken_as_raw_when_told() {
    let marks: [(&str, usize, &[u8]); 7] = [
        ("qcow2", 0, b"QFI\xfb"),
        ("VMDK", 0, b"COWD"),
        ("VHDX", 0, b"vhdxfile"),
        ("VHD", 8192 - 512, b"conectix"),
        ("VDI", 0x40, b"\x7f\x10\xda\xbe"),
        ("gzip", 0, b"\x1f\x8b\x08"),
        ("tar", 257, b"ustar"),
    ];
    let bed = bed();
    for (format, offset, mark) in marks {
        let mut disk = noise(4, 8192);
        disk[offset..offset + mark.len()].copy_from_slice(mark);
        bed.write("disk.img", &disk);
        bed.melv(&["import", "disk.img"]).exits(14).says(format).says("disk.img").says("--format raw");
        bed.melv(&["digest", "disk.img"]).exits(14).says(format);
        assert_eq!(bed.json(&["inspect", "./disk.img"])["format"], format.to_lowercase());
        bed.melv(&["import", "disk.img", "--format", "raw", "--replace"]).exits(0);
        bed.melv(&["export", "disk", "out.raw", "--force"]).exits(0);
        assert!(bed.read("out.raw") == disk, "{format}");
        bed.melv(&["compare", "disk", "disk.img"]).exits(14).says(format);
        bed.melv(&["compare", "disk", "disk.img", "--format", "raw"]).exits(0);
    }
}
