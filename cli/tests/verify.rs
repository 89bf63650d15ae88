//! The report of `melv verify`: each damaged image by its name, each object, and every place on request.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod common;

use std::path::PathBuf;

use common::{Bed, bed, noise};
use serde_json::Value;

/// A store with two images that share a pack, and a third that shares nothing.
fn three_images() -> Bed {
    let bed = bed();
    let base = noise(1, 8 << 20);
    bed.write("base.raw", &base);
    bed.write("nginx.raw", &[&base[4096 * 100..], &noise(2, 1 << 20)].concat());
    bed.write("other.raw", &noise(3, 1 << 20));
    for name in ["base", "nginx", "other"] {
        bed.melv(&["import", &format!("{name}.raw")]).exits(0);
    }
    bed.melv(&["tag", "base", "base:second"]).exits(0);
    bed
}

/// Returns the largest file in a folder of the store.
fn largest(bed: &Bed, folder: &str) -> PathBuf {
    let entries = std::fs::read_dir(bed.store().join(folder)).unwrap();
    entries.map(|entry| entry.unwrap().path()).max_by_key(|path| path.metadata().unwrap().len()).unwrap()
}

/// Changes one of every `every` bytes in most of a file.
fn scribble(path: &PathBuf, every: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    let end = bytes.len() * 9 / 10;
    bytes[..end].iter_mut().skip(end.min(5000) / 2).step_by(every).for_each(|byte| *byte ^= 0x55);
    std::fs::write(path, bytes).unwrap();
}

/// Checks the text of a report against its JSON, and returns the lines.
fn check(bed: &Bed, arguments: &[&str]) -> Vec<String> {
    let json = bed.melv(&[&["verify", "--json"], arguments].concat()).exits(4).json();
    let ran = bed.melv(&[&["verify"], arguments].concat()).exits(4).says("hint:");
    let text = ran.stdout();
    let lines: Vec<_> = text.lines().map(String::from).collect();
    let damaged = json["damaged"].as_array().unwrap();
    let mut images: Vec<_> = damaged.iter().filter_map(|damage| damage["image"].as_str()).collect();
    images.sort_unstable();
    images.dedup();
    let objects = json["objects"].as_array().unwrap();
    assert!(!objects.is_empty());
    assert_eq!(lines.len(), images.len() + objects.len() + 1, "{text}");
    for object in objects {
        let name = object["object"].as_str().unwrap();
        assert_eq!(lines.iter().filter(|line| line.contains(name)).count(), 1, "{name}\n{text}");
        assert!(object["places"].as_u64().unwrap() > 0);
    }
    for damage in damaged {
        let names = damage["names"].as_array().unwrap();
        for name in names.iter().map(|name| name.as_str().unwrap()) {
            assert!(text.contains(name), "{name}\n{text}");
        }
        assert!(names.is_empty() || damage["image"].is_string());
    }
    assert!(lines.last().unwrap().starts_with(&format!("images {}", json["images"])), "{text}");
    lines
}

#[test]
fn a_missing_pack_is_one_line_and_so_is_each_image_that_it_hurts() {
    let bed = three_images();
    std::fs::remove_file(largest(&bed, "packs")).unwrap();
    for arguments in [&[][..], &["--full"]] {
        let lines = check(&bed, arguments);
        assert_eq!(lines.len(), 4, "{lines:#?}");
        assert!(lines[0].contains("place") && lines[0].contains("MiB hurt"), "{lines:#?}");
        assert!(lines[2].contains("packs/") && lines[2].contains("more places)"), "{lines:#?}");
        assert!(lines[3].ends_with("2 images hurt, 1 object damaged"), "{lines:#?}");
    }
    let text = bed.melv(&["verify"]).exits(4).stdout();
    assert!(text.contains("base:latest base:second") && text.contains("nginx:latest"), "{text}");
    assert!(!text.contains("other:latest"), "{text}");
    // The report on a single image covers only that image.
    assert!(check(&bed, &["nginx"])[0].starts_with("nginx:latest "));
    bed.melv(&["verify", "other", "--full"]).exits(0);
}

#[test]
fn every_place_is_told_with_details_and_in_json() {
    let bed = three_images();
    scribble(&largest(&bed, "packs"), 400_000);
    let json = bed.melv(&["verify", "--full", "--json"]).exits(4).json();
    let damaged = json["damaged"].as_array().unwrap();
    assert!(damaged.len() > 10);
    let text = bed.melv(&["verify", "--full", "--details"]).exits(4).stdout();
    for damage in damaged {
        let place = format!("bytes {}+{}: ", damage["start"], damage["length"]);
        assert!(text.contains(&place), "{place}\n{text}");
    }
    let short = check(&bed, &["--full"]);
    let details: Vec<_> = text.lines().collect();
    assert_eq!(details.len(), short.len() + damaged.len());
    assert_eq!(&details[damaged.len()..], &short);
    // The reported size of the damage of an image is the sum of its ranges.
    let bytes_of = |name: &str| -> u64 {
        let is_its = |damage: &&Value| damage["names"].as_array().unwrap().contains(&Value::from(name));
        damaged.iter().filter(is_its).map(|damage| damage["length"].as_u64().unwrap()).sum()
    };
    let line = short.iter().find(|line| line.starts_with("base:latest")).unwrap();
    let kib = bytes_of("base:latest") as f64 / 1024.0;
    assert!(line.contains(&format!("{kib:.1} KiB hurt")) || line.contains("MiB hurt"), "{line} {kib}");
}

#[test]
fn each_kind_of_object_is_told_by_its_own_name() {
    for folder in ["packs", "pages", "lists", "locators", "manifests"] {
        for is_gone in [true, false] {
            let bed = three_images();
            let path = largest(&bed, folder);
            if is_gone {
                std::fs::remove_file(&path).unwrap()
            } else {
                scribble(&path, 7)
            }
            let lines = check(&bed, &["--full"]);
            let id = path.file_name().unwrap().to_str().unwrap();
            let told = lines.iter().any(|line| line.contains(id));
            assert!(told, "{folder}/{id}: {lines:#?}");
        }
    }
    let bed = three_images();
    std::fs::write(bed.store().join("refs/nginx/latest"), b"not a record").unwrap();
    let lines = check(&bed, &[]);
    assert!(lines[0].contains("refs/nginx/latest"), "{lines:#?}");
}

#[test]
fn an_image_without_a_name_is_told_by_its_id_and_one_that_cannot_be_opened_as_that() {
    let bed = three_images();
    let image = bed.json(&["inspect", "other"])["image"].as_str().unwrap().to_owned();
    bed.melv(&["rm", "other"]).exits(0);
    std::fs::write(bed.store().join("manifests").join(&image), b"nothing").unwrap();
    let lines = check(&bed, &[]);
    assert!(lines[0].starts_with(&format!("@{}", &image[..12])) && lines[0].contains("cannot be opened"));
}

#[test]
fn damage_of_a_bundle_is_told_with_its_path() {
    let bed = three_images();
    bed.melv(&["save", "base", "nginx", "both.melv"]).exits(0);
    scribble(&bed.path("both.melv"), 900_000);
    let lines = check(&bed, &["both.melv", "--full"]);
    assert!(lines.iter().any(|line| line.starts_with("both.melv#base:latest")), "{lines:#?}");
    assert!(lines.iter().all(|line| line.matches("both.melv").count() <= 1), "{lines:#?}");
    let json = bed.melv(&["verify", "both.melv", "--full", "--json"]).exits(4).json();
    assert!(json["damaged"].as_array().unwrap().iter().all(|damage| damage["file"] == "both.melv"));
}

#[test]
fn a_name_that_goes_is_told_with_the_image_that_had_it() {
    let bed = three_images();
    let image = bed.json(&["inspect", "nginx"])["image"].as_str().unwrap().to_owned();
    let text = bed.melv(&["rm", "nginx", "base:second"]).exits(0).stdout();
    assert!(
        text.lines().next().unwrap().contains(&format!("nginx:latest removed; was @{}", &image[..12])),
        "{text}"
    );
    bed.melv(&["tag", &format!("@{image}"), "again"]).exits(0);
    // A name given twice counts once.
    let json = bed.json(&["rm", "again", "again:latest"]);
    assert_eq!((json["name"].as_str(), json["image"].as_str()), (Some("again:latest"), Some(&*image)));
    bed.melv(&["rm", "base", "missing"]).exits(13);
    bed.melv(&["inspect", "base"]).exits(0);
    std::fs::write(bed.store().join("refs/other/latest"), b"not a record").unwrap();
    assert!(bed.json(&["rm", "other"])["image"].is_null());
    assert!(bed.json(&["df"])["dead_bytes"].as_u64().unwrap() > 1 << 20);
}
