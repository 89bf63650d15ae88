//! The names and meanings of JSON fields.

mod common;

use common::{Bed, bed, disk, file_bytes, later_disk};
use serde_json::Value;

fn two_images() -> Bed {
    let bed = bed();
    bed.write("disk.raw", &disk());
    bed.write("new.raw", &later_disk());
    bed.melv(&["import", "disk.raw", "--name", "web:1"]).exits(0);
    bed.melv(&["import", "new.raw", "--name", "web:2", "--parent", "web:1"]).exits(0);
    bed
}

#[track_caller]
fn has_fields(json: &Value, fields: &str) {
    for field in fields.split(' ') {
        assert!(json.get(field).is_some(), "no {field} in {json}");
    }
}

fn is_digest(json: &Value) -> bool {
    json.as_str().is_some_and(|text| {
        text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[test]
fn import_tells_what_came_of_it() {
    let bed = bed();
    bed.write("My Disk.raw", &disk());
    let json = bed.json(&["import", "My Disk.raw"]);
    has_fields(&json, "image content name size data_bytes new_bytes stored_bytes seconds warnings");
    assert!(is_digest(&json["image"]) && is_digest(&json["content"]));
    assert_eq!(json["name"], "my-disk:latest");
    assert_eq!(json["size"], disk().len());
    assert!(json["data_bytes"].as_u64() >= json["new_bytes"].as_u64());
    assert_eq!(json["new_bytes"].as_u64().unwrap() % 4096, 0);
    assert!(json["seconds"].is_f64());
}

#[test]
fn ls_lists_names_in_order() {
    let bed = two_images();
    let json = bed.json(&["ls"]);
    assert_eq!(json["clones"], Value::Array(Vec::new()));
    let images = json["images"].as_array().unwrap();
    let names: Vec<_> = images.iter().map(|image| image["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["web:1", "web:2"]);
    for image in images {
        has_fields(image, "name image content size created");
        assert!(is_digest(&image["image"]) && is_digest(&image["content"]));
        assert_eq!(image["size"], disk().len());
        let created = image["created"].as_str().unwrap();
        assert!(created.len() == 20 && created.starts_with("20") && created.ends_with('Z'), "{created}");
    }
    let text = bed.melv(&["ls"]).exits(0).stdout();
    assert!(text.starts_with("NAME") && text.lines().count() == 3, "{text}");
}

#[test]
fn inspect_tells_what_an_image_is() {
    let bed = two_images();
    let (one, two) = (bed.json(&["inspect", "web:1"]), bed.json(&["inspect", "web:2"]));
    has_fields(&two, "image content size parent chunk_bytes level map_bytes data_bytes names lists lineage");
    assert_eq!(one["parent"], Value::Null);
    assert_eq!(two["parent"], one["image"]);
    assert_eq!(two["lineage"][0], one["image"]);
    assert_eq!((&two["chunk_bytes"], &two["level"]), (&32768.into(), &3.into()));
    assert!(two["map_bytes"].as_u64().unwrap() > 0);
    let other = &two["sharing"][0];
    assert_eq!((&other["image"], &other["names"][0]), (&one["image"], &"web:1".into()));
    let changed = 8192;
    assert!(other["bytes"].as_u64().unwrap() + changed <= two["data_bytes"].as_u64().unwrap());
    assert!(other["bytes"].as_u64().unwrap() > 0);
    // The same image by its id, and by the beginning of its id.
    let id = one["image"].as_str().unwrap();
    assert_eq!(bed.json(&["inspect", &format!("@{id}")]), one);
    assert_eq!(bed.json(&["inspect", &id[..12]]), one);
}

#[test]
fn inspect_tells_what_a_file_is_without_a_store() {
    let bed = bed();
    bed.write("disk.raw", &disk());
    let json = bed.json(&["inspect", "disk.raw"]);
    assert_eq!((&json["file"], &json["format"]), (&"disk.raw".into(), &"raw".into()));
    assert_eq!(json["size"], disk().len());
    assert!(!bed.store().exists());
}

#[test]
fn map_covers_the_disk_and_tells_how_old_each_part_is() {
    let bed = two_images();
    let json = bed.json(&["map", "web:2"]);
    let extents = json["extents"].as_array().unwrap();
    let mut end = 0;
    for extent in extents {
        has_fields(extent, "start length data zero depth");
        assert_eq!(extent["start"], end);
        assert_ne!(extent["data"], extent["zero"]);
        end += extent["length"].as_u64().unwrap();
    }
    assert_eq!(end, disk().len() as u64);
    let changed = extents.iter().find(|extent| extent["start"] == 8192).unwrap();
    assert_eq!((&changed["length"], &changed["depth"]), (&8192.into(), &0.into()));
    assert!(extents.iter().any(|extent| extent["depth"] == 1 && extent["data"] == true));
    assert_eq!(bed.melv(&["map", "web:2"]).exits(0).stdout().lines().count(), extents.len() + 1);
}

#[test]
fn digest_needs_no_store_and_agrees_with_import() {
    let bed = bed();
    bed.write("disk.raw", &disk());
    let json = bed.json(&["digest", "disk.raw"]);
    assert!(!bed.store().exists());
    assert_eq!(json["size"], disk().len());
    assert_eq!(bed.json(&["import", "disk.raw"])["content"], json["content"]);
}

#[test]
fn compare_tells_the_first_difference() {
    let bed = two_images();
    let same = bed.json(&["compare", "web:1", "disk.raw"]);
    assert_eq!((&same["same"], &same["offset"]), (&true.into(), &Value::Null));
    let differ = bed.melv(&["compare", "web:1", "new.raw", "--json"]).exits(5).json();
    assert_eq!((&differ["same"], &differ["offset"]), (&false.into(), &8192.into()));
    // If one disk is a prefix of the other, they differ at the end of the shorter one.
    bed.write("short.raw", &disk()[..1 << 20]);
    let shorter = bed.melv(&["compare", "web:1", "./short.raw", "--json"]).exits(5).json();
    assert_eq!(shorter["offset"], 1 << 20);
}

#[test]
fn tag_and_rm_tell_name_and_image() {
    let bed = two_images();
    let id = bed.json(&["inspect", "web:1"])["image"].clone();
    for json in [bed.json(&["tag", "web:1", "stable"]), bed.json(&["rm", "stable"])] {
        assert_eq!((&json["name"], &json["image"]), (&"stable:latest".into(), &id));
    }
    let several = bed.json(&["rm", "web:1", "web:2"]);
    assert_eq!(several["removed"].as_array().unwrap().len(), 2);
    assert_eq!(bed.json(&["ls"])["images"], Value::Array(Vec::new()));
}

#[test]
fn df_counts_every_byte_of_the_store() {
    let bed = bed();
    let stored = |json: &Value| json["stored_bytes"].as_u64().unwrap();
    bed.write("disk.raw", &disk());
    bed.write("new.raw", &later_disk());
    // Typical imports: new data, a later version, nothing new, a replacement.
    let imports: [&[&str]; 4] = [
        &["import", "disk.raw", "--name", "a"],
        &["import", "new.raw", "--name", "b", "--parent", "a"],
        &["import", "disk.raw", "--name", "c"],
        &["import", "new.raw", "--name", "a", "--replace"],
    ];
    let mut before = 0;
    for arguments in imports {
        let grown = stored(&bed.json(arguments));
        let df = bed.json(&["df"]);
        has_fields(
            &df,
            "images logical_bytes data_bytes unique_bytes stored_bytes metadata_bytes index_bytes dead_bytes reclaimable_bytes",
        );
        assert_eq!(stored(&df), file_bytes(&bed.store(), "index"), "{arguments:?}");
        if before > 0 {
            assert_eq!(stored(&df) - before, grown, "{arguments:?}");
        }
        before = stored(&df);
        assert_eq!(df["index_bytes"].as_u64().unwrap(), file_bytes(&bed.store().join("index"), ""));
        assert!(df["metadata_bytes"].as_u64() < df["stored_bytes"].as_u64());
    }
    assert!(bed.melv(&["df"]).exits(0).stdout().contains("saving"));
}

#[test]
fn verify_tells_what_is_damaged() {
    let bed = two_images();
    for arguments in [&["verify"][..], &["verify", "--full"], &["verify", "web:1", "--full"]] {
        let json = bed.json(arguments);
        assert_eq!((&json["ok"], &json["damaged"]), (&true.into(), &Value::Array(Vec::new())));
        has_fields(&json, "images chunks");
    }
    let pack = std::fs::read_dir(bed.store().join("packs")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    let json = bed.melv(&["verify", "--full", "--json"]).exits(4).json();
    assert_eq!(json["ok"], false);
    let damaged = json["damaged"].as_array().unwrap();
    assert!(!damaged.is_empty());
    for damage in damaged {
        has_fields(damage, "image names start length error");
    }
    let text = bed.melv(&["verify", "--full", "--details"]).exits(4).stdout();
    assert!(text.lines().count() > damaged.len(), "{text}");
}
