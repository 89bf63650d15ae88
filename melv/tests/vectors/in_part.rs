//! Sections 6.5 and 10.4: stores that hold lists and chunks in part, also as bases of bundles.

use std::collections::BTreeMap;

use melv::digest::block_digest;
use melv::ondisk::record::PagePlace;

use super::images::{Fill, Image, List, Plan, image, list, located, store};
use super::parts::{self, NAME, Twist};
use super::stores::{over, store as vector};
use super::table::Vector;

/// A store whose image has some blocks of each chunk of the list of `parts.store`.
pub const HALF: &str = "valid/half.store";
/// A store whose image has a block of the first page of a list of two pages.
pub const FAR: &str = "valid/far.store";
/// A store whose image has the disk of `parts.store`, but other metadata.
pub const OTHER: &str = "valid/other-metadata.store";

pub fn vectors() -> Vec<Vector> {
    [sound(), unsound()].into_iter().flatten().collect()
}

/// Makes the list of `parts.store`.
pub fn parts_list() -> List {
    list(2, vec![Fill(0xa1, 4096), Fill(0xb2, 4096), Fill(0xc3, 4096), Fill(0xd4, 512)])
}

/// Makes a list of 1030 chunks, so two pages.
pub fn far_list() -> List {
    let fill = |number: u32| Fill(u8::try_from(number % 255 + 1).unwrap(), 512 * (1 + number / 255));
    list(1, (0..1030).map(fill).collect())
}

/// Makes a plan without pages of a base.
pub fn plan<'a>(size: u64, note: &'a str, extents: Vec<(u64, u64, &'a List, u64)>) -> Plan<'a> {
    Plan { size, note, extents, of_base: Vec::new(), places: |_| () }
}

/// Makes the image of `parts.store`.
pub fn parts_image(list: &List) -> Image {
    let image = image(&plan(parts::SIZE, "tiny", parts_extents(list)));
    assert_eq!((list.id, image.id), (parts::sound().list, parts::sound().image));
    image
}

/// Returns the extents of the image of `parts.store`.
pub fn parts_extents(list: &List) -> Vec<(u64, u64, &List, u64)> {
    vec![(0, 1, list, 0), (2, 2, list, 1), (9, 1, list, 0), (16, 1, list, 3)]
}

/// Makes the image of [`HALF`]: blocks 0 and 2 of the list.
pub fn half_image(list: &List) -> Image {
    image(&plan(32 << 10, "half", vec![(1, 1, list, 0), (6, 1, list, 2)]))
}

/// Makes the image of [`FAR`]: block 3 of the list.
pub fn far_image(list: &List) -> Image {
    image(&plan(8 << 10, "far", vec![(1, 1, list, 3)]))
}

/// Returns the files of one of these stores.
pub fn files(name: &str) -> Option<BTreeMap<String, Vec<u8>>> {
    match name {
        HALF => {
            let list = parts_list();
            let located = located(&list, &[(0, list.frame(0, &[0])), (1, list.frame(1, &[0]))]);
            Some(store(NAME, &half_image(&list), &[(&list, &located)]))
        }
        FAR => {
            let mut list = far_list();
            let located = located(&list, &[(3, list.frame(3, &[0]))]);
            let image = far_image(&list);
            list.pages[32 << 10..].fill(0);
            Some(store(NAME, &image, &[(&list, &located)]))
        }
        OTHER => {
            let note = |manifest: &mut melv::ondisk::manifest::Manifest| {
                manifest.metadata.insert("note".into(), "other".into());
            };
            Some(parts::store(&Twist { manifest: note, ..Twist::default() }).files)
        }
        _ => None,
    }
}

fn reads(file: &'static str, section: &'static str, note: &'static str, image: &Image) -> Vector {
    vector(file.strip_suffix(".store").unwrap(), section, note, files(file).unwrap())
        .with("operation", "read")
        .with("name", NAME)
        .gives("image", image.id)
        .gives("size_bytes", image.size)
        .gives("content", image.content)
        .gives("disk", block_digest(&image.disk()))
}

fn sound() -> Vec<Vector> {
    let (half, far) = (parts_list(), far_list());
    let other = files(OTHER).unwrap();
    let verified = |file: &str, base| {
        vector(file, "8.3", "nothing in it is damaged", BTreeMap::new())
            .with("base", base)
            .with("operation", "verify")
    };
    vec![
        reads(HALF, "6.5", "some blocks of each chunk", &half_image(&half)),
        verified("valid/half-verified", HALF),
        reads(FAR, "10.4", "a page of the list is zeros, for no chunk of it is needed", &far_image(&far)),
        verified("valid/far-verified", FAR),
        vector("valid/other-metadata", "7.1", "the disk of parts.store under another image id", other)
            .with("operation", "read")
            .with("name", NAME)
            .gives("content", parts::sound().content),
    ]
}

/// Makes [`FAR`] with an image that needs missing blocks.
fn beside_far() -> BTreeMap<String, Vec<u8>> {
    let list = far_list();
    let image = image(&plan(8 << 10, "farther", vec![(1, 1, &list, 1026)]));
    store("far:other", &image, &[])
}

fn unsound() -> Vec<Vector> {
    let read = |name: &'static str, section, note, twist: &Twist| {
        let rule = name.split_once("--").map_or(name, |(rule, _)| rule);
        over(&format!("invalid/{name}"), section, note, parts::store(twist).files)
            .with("operation", "read")
            .with("name", NAME)
            .refused(rule)
    };
    vec![
        read(
            "frame-mask--said-whole",
            "6.5",
            "the record of a partial frame says that it is whole",
            &Twist { places: |places| places[0].partial = false, ..Twist::default() },
        ),
        read(
            "frame-mask--said-partial",
            "6.5",
            "the record of a whole frame says that it is partial",
            &Twist { places: |places| places[1].partial = true, ..Twist::default() },
        ),
        read(
            "page-place--of-base",
            "10.3",
            "a leaf left to a base, in a store",
            &Twist { page_places: |places| places.map[0] = PagePlace::OF_BASE, ..Twist::default() },
        ),
        vector("invalid/page-digest--left-out", "10.4", "a page of the list that is zeros", beside_far())
            .with("base", FAR)
            .with("operation", "read")
            .with("name", "far:other")
            .refused("page-digest"),
    ]
}
