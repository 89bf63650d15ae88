//! Comparison of two disks of any kind, also of unequal lengths.

mod common;

use common::{Bed, bed, disk, later_disk, noise};
use serde_json::Value;

fn one_image() -> Bed {
    let bed = bed();
    bed.write("disk.raw", &disk());
    bed.write("new.raw", &later_disk());
    bed.melv(&["import", "disk.raw", "--name", "web"]).exits(0);
    bed
}

fn compared(bed: &Bed, one: &str, other: &str) -> Value {
    bed.melv(&["compare", one, other, "--json"]).exits(5).json()
}

#[test]
fn files_and_images_stand_on_either_side() {
    let bed = one_image();
    bed.melv(&["export", "web", "disk.vmdk", "--format", "vmdk"]).exits(0);
    bed.melv(&["save", "web", "web.melv"]).exits(0);
    let disks = ["web", "disk.raw", "./disk.raw", "disk.vmdk", "web.melv", "web.melv#web"];
    for one in disks {
        for other in disks {
            bed.melv(&["compare", one, other]).exits(0);
        }
        for (one, other) in [(one, "new.raw"), ("new.raw", one)] {
            let json = compared(&bed, one, other);
            assert_eq!((&json["same"], &json["offset"]), (&false.into(), &8192.into()), "{one} {other}");
        }
    }
    // Files can be compared without a store.
    bed.melv(&["--store", "none", "compare", "disk.raw", "disk.vmdk"]).exits(0);
    bed.melv(&["--store", "none", "compare", "web", "disk.raw"]).exits(10);
    bed.melv(&["compare", "nope", "disk.raw"]).exits(13);
    bed.melv(&["compare", "disk.raw", "nope"]).exits(13);
    bed.sh("melv compare - disk.raw <disk.raw").exits(2);
    assert!(!bed.path("none").exists());
}

#[test]
fn unequal_lengths_are_told_with_the_rest() {
    let bed = one_image();
    let (whole, len) = (disk(), disk().len());
    bed.write("zeros.raw", &[&whole[..], &vec![0; 3 << 20]].concat());
    let mut data = [&whole[..], &vec![0; 3 << 20]].concat();
    data[len + (2 << 20) + 5] = 1;
    bed.write("data.raw", &data);
    bed.write("short.raw", &whole[..1 << 20]);
    bed.write("tail.raw", &whole[..3_500_032]);
    bed.write("other.raw", &noise(9, 1 << 20));
    let data_from = |start: usize| start + whole[start..].iter().position(|byte| *byte != 0).unwrap();
    let pipe = |file: &str| {
        let ran = bed.sh(&format!("cat {file} | melv compare web - --json")).exits(5);
        ran.json()
    };
    for (file, size, offset, behind, at) in [
        ("zeros.raw", len + (3 << 20), len, Some("zeros"), None),
        ("data.raw", len + (3 << 20), len, Some("data"), Some(len + (2 << 20) + 5)),
        ("tail.raw", 3_500_032, 3_500_032, Some("data"), Some(data_from(3_500_032))),
        ("other.raw", 1 << 20, 0, None, None),
    ] {
        for (json, sizes) in [
            (compared(&bed, "web", file), [len, size]),
            (compared(&bed, file, "web"), [size, len]),
            (pipe(file), [len, size]),
        ] {
            assert_eq!(json["same"], false);
            assert_eq!((&json["offset"], &json["sizes"]), (&offset.into(), &sizes.to_vec().into()), "{file}");
            assert_eq!((&json["behind"], &json["data_behind"]), (&behind.into(), &at.into()), "{file}");
        }
    }
    let text = bed.melv(&["compare", "web", "zeros.raw"]).exits(5).stdout();
    assert!(text.contains(&format!("all {len} bytes of web are the same")), "{text}");
    assert!(text.contains("zeros.raw goes on with zeros only"), "{text}");
    let text = bed.melv(&["compare", "data.raw", "web"]).exits(5).stdout();
    assert!(text.contains(&format!("data, first at byte {}", len + (2 << 20) + 5)), "{text}");
    let text = bed.melv(&["compare", "web", "other.raw"]).exits(5).stdout();
    assert!(text.contains("differ at byte 0") && text.contains("1048576"), "{text}");
}

#[test]
fn a_pipe_is_compared_to_its_last_byte() {
    let bed = one_image();
    let whole = disk();
    for (at, len) in
        [(0, whole.len()), (299_999, whole.len()), (1 << 20, whole.len()), (whole.len() - 1, whole.len())]
    {
        let mut changed = whole[..len].to_vec();
        changed[at] ^= 0x40;
        bed.write("changed.raw", &changed);
        for threads in ["1", "4"] {
            let ran =
                bed.sh(&format!("cat changed.raw | melv compare web - --json --threads {threads}")).exits(5);
            assert_eq!(ran.json()["offset"], at);
        }
    }
    // Grains missing from a stream are zeros, and are compared as such.
    bed.write("holes.raw", &[&whole[..300_000], &vec![0; whole.len() - 300_000]].concat());
    bed.melv(&["import", "holes.raw"]).exits(0);
    bed.melv(&["export", "holes", "holes.vmdk", "--format", "vmdk-stream"]).exits(0);
    let first = whole.iter().enumerate().skip(300_000).find(|(_, byte)| **byte != 0).unwrap().0;
    let ran = bed.sh("cat holes.vmdk | melv compare web - --json").exits(5);
    assert_eq!(ran.json()["offset"], first);
    bed.sh("cat holes.vmdk | melv compare holes.raw -").exits(0);
    // A pipe that ends within a sector compares like such a file.
    bed.write("odd.raw", &whole[..whole.len() - 7]);
    let (file, pipe) =
        (compared(&bed, "web", "odd.raw"), bed.sh("cat odd.raw | melv compare web - --json").exits(5).json());
    assert_eq!(file, pipe);
    assert_eq!((&file["offset"], &file["behind"]), (&(whole.len() - 7).into(), &"zeros".into()));
}
