//! Sections 10.1 to 10.3: whole bundles.

use melv::ImageId;
use melv::digest::block_digest;
use melv::ondisk::bundle::{Head, ObjectKind};
use melv::ondisk::record::PagePlace;

use super::build::{longer, made_up, patch};
use super::draft::{Draft, Drafted, Part};
use super::images::{Fill, Image, List, Located, Plan, image, list, located, located_but};
use super::in_part::{
    FAR, HALF, OTHER, far_image, far_list, half_image, parts_extents, parts_image, parts_list, plan,
};
use super::parts::{self, NAME};
use super::stores::{IMPORTED, PARTS};
use super::table::Vector;

/// The bundle used as base for reading others.
pub const WHOLE: &str = "valid/whole.bundle";

pub fn vectors() -> Vec<Vector> {
    [
        sound(),
        sound_layouts(),
        based(),
        verified(),
        broken_off(),
        unsound_objects(),
        unsound_chunks(),
        absent(),
        without_base(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Drafts the image of `parts.store`, with every chunk in one frame.
pub fn whole() -> Draft {
    let list = parts_list();
    Draft::default().image(&parts_image(&list)).list(&list, &whole_chunks(&list))
}

fn whole_chunks(list: &List) -> Located {
    located(list, &[(0, list.frame(0, &[0, 1])), (1, list.frame(1, &[0, 1]))])
}

/// Makes an image of two blocks of the list of `parts.store`, from different chunks.
fn two_blocks(list: &List) -> Image {
    image(&plan(32 << 10, "two blocks", vec![(0, 1, list, 0), (5, 1, list, 2)]))
}

fn reads(file: &str, section: &'static str, note: &'static str, draft: Draft, image: &Image) -> Vector {
    found(bundle(file, section, note, draft.bytes()).with("operation", "read").with("name", ""), image)
}

fn bundle(file: &str, section: &'static str, note: &'static str, bytes: Vec<u8>) -> Vector {
    Vector::valid(file, "bundle", section, note, bytes)
}

fn found(vector: Vector, image: &Image) -> Vector {
    vector
        .gives("image", image.id)
        .gives("size_bytes", image.size)
        .gives("content", image.content)
        .gives("disk", block_digest(&image.disk()))
}

fn named(vector: Vector, name: &str) -> Vector {
    Vector { context: vec![("operation", "read".into()), ("name", name.into())], ..vector }
}

fn sound() -> Vec<Vector> {
    let list = parts_list();
    let parts = parts_image(&list);
    let two = two_blocks(&list);
    let halves = located(&list, &[(0, list.frame(0, &[0])), (1, list.frame(1, &[0]))]);
    let halves = Draft::default().image(&two).list(&list, &halves).names(&two, &[NAME, "web-2:x"]);
    let frames =
        located(&list, &[(1, list.frame(1, &[0, 1])), (0, list.frame(0, &[1])), (0, list.frame(0, &[0]))]);
    let frames = Draft::default().image(&parts).list(&list, &frames);
    let zeros = image(&plan(1 << 20, "zeros", Vec::new()));
    let nothing = image(&plan(0, "nothing", Vec::new()));
    vec![
        reads("whole", "10.1", "an image whose chunks are whole, without a name", whole(), &parts),
        named(
            reads("partial", "10.2", "an image of parts of chunks, with two names", halves, &two),
            "web-2:x",
        ),
        reads("two-frames", "10.2", "a chunk in two partial frames", frames, &parts),
        reads("zeros", "10.1", "an image of zeros: its record alone", Draft::default().image(&zeros), &zeros),
        reads("no-bytes", "10.1", "an image of no bytes", Draft::default().image(&nothing), &nothing),
        named(two_images("two-images", "one:b", &one_image(&list)), "one:b"),
        two_images("two-images-by-id", "", &other_image(&list)),
    ]
}

fn one_image(list: &List) -> Image {
    image(&plan(32 << 10, "one", vec![(0, 2, list, 0)]))
}

fn other_image(list: &List) -> Image {
    image(&plan(64 << 10, "other", vec![(3, 2, list, 1)]))
}

fn two_images_draft() -> Draft {
    let list = parts_list();
    let (one, other) = (one_image(&list), other_image(&list));
    let located = located(&list, &[(0, list.frame(0, &[0, 1])), (1, list.frame(1, &[0]))]);
    Draft::default().image(&one).image(&other).list(&list, &located).names(&one, &["one:a", "one:b"])
}

/// Makes two images that share a list, one with two names, the other without.
fn two_images(file: &str, name: &str, read: &Image) -> Vector {
    let by_id = format!("@{}", read.id);
    let vector = reads(file, "10.1", "two images of one list, two names and none", two_images_draft(), read);
    named(vector, if name.is_empty() { &by_id } else { name })
}

/// Leaves out the first of two pages of a list or locator.
fn without_first_page(object: &mut Drafted) {
    let page = if object.kind == ObjectKind::List { 32 << 10 } else { 24 << 10 };
    object.parts[0].at = page as u64;
    object.parts[0].bytes.drain(..page);
}

/// Cuts the pack in three, with its end first and the front in the tail.
fn in_three(pack: &mut Drafted) {
    let bytes = pack.parts.remove(0).bytes;
    let cut = |from: usize, to: usize, rank| Part { at: from as u64, bytes: bytes[from..to].to_vec(), rank };
    pack.parts = vec![cut(0, 50, 6), cut(50, 90, 2), cut(90, bytes.len(), 0)];
}

/// Makes an image of two blocks of the list's second page.
fn far_draft() -> (Draft, Image) {
    let list = far_list();
    let image = image(&plan(32 << 10, "far", vec![(0, 1, &list, 1025), (2, 1, &list, 1029)]));
    let located = located(&list, &[(1025, list.frame(1025, &[0])), (1029, list.frame(1029, &[0]))]);
    (Draft::default().image(&image).list(&list, &located), image)
}

fn sound_layouts() -> Vec<Vector> {
    let parts = parts_image(&parts_list());
    let (far, far_image) = far_draft();
    let far = far.change(ObjectKind::List, without_first_page);
    let far = far.change(ObjectKind::Locator, without_first_page);
    let moved = |file: &str, note, change: fn(&mut Head)| {
        let bytes = whole().bundle().with_head(change).bytes();
        found(bundle(file, "10.1", note, bytes).with("operation", "read").with("name", ""), &parts)
    };
    vec![
        reads("absent-pages", "10.2", "the first page of list and locator is absent", far, &far_image),
        reads("pieces", "10.1", "a pack in three pieces", whole().change(ObjectKind::Pack, in_three), &parts),
        moved("tail-at-table", "the tail is the table", |head| head.tail_offset = head.table_offset),
        moved("tail-at-head", "the tail is all but the head", |head| head.tail_offset = 512),
    ]
}

/// Makes the list of new blocks for bundles that build on a base.
fn new_list() -> List {
    list(2, vec![Fill(0xe5, 4096), Fill(0xf6, 4096), Fill(0x17, 4096)])
}

/// Makes an image of the blocks of `parts.store` and of two of its own.
fn grown_image(old: &List, new: &List) -> Image {
    let mut extents = parts_extents(old);
    extents.extend([(18, 1, new, 0), (20, 1, new, 2)]);
    image(&plan(128 << 10, "grown", extents))
}

/// Drafts a bundle of [`grown_image`] on the image of `parts.store`.
pub fn grown() -> Draft {
    let (old, new) = (parts_list(), new_list());
    let located = located(&new, &[(0, new.frame(0, &[0])), (1, new.frame(1, &[0]))]);
    Draft::default().image(&grown_image(&old, &new)).list(&new, &located).base(parts_image(&old).id)
}

/// Makes the image of `parts.store` with another size, so that it leaves its leaf to that store.
fn longer_image(list: &List, places: fn(&mut melv::ondisk::record::Places)) -> Image {
    let of_base = parts_image(list).pages;
    image(&Plan { of_base, places, ..plan(18 * 4096, "longer", parts_extents(list)) })
}

/// Makes an image of two leaf ranges, the first of them left to `parts.store`.
fn two_leaves() -> (Draft, Image) {
    let (old, new) = (parts_list(), new_list());
    let base = parts_image(&old);
    let mut extents = parts_extents(&old);
    extents.push((65_537, 2, &new, 1));
    let of_base = base.pages.clone();
    // The base's short last block now lies inside the disk; padding leaves its span the same.
    let image = image(&Plan { of_base, ..plan((65_536 + 8) * 4096, "two leaves", extents) });
    let located = located(&new, &[(0, new.frame(0, &[1])), (1, new.frame(1, &[0]))]);
    (Draft::default().image(&image).list(&new, &located).base(base.id), image)
}

/// Makes an image of all blocks of a list; `half.store` has two of them.
fn filled(frames: &[(usize, &[usize])]) -> (Draft, Image) {
    let list = parts_list();
    let image = image(&plan(64 << 10, "filled", vec![(0, 4, &list, 0)]));
    let frames: Vec<_> = frames.iter().map(|(chunk, held)| (*chunk, list.frame(*chunk, held))).collect();
    (Draft::default().image(&image).list(&list, &located(&list, &frames)).base(half_image(&list).id), image)
}

/// Makes an image of one block from each page of a list; `far.store` has the first.
fn both_pages() -> (Draft, Image) {
    let list = far_list();
    let image = image(&plan(32 << 10, "both pages", vec![(0, 1, &list, 3), (2, 1, &list, 1025)]));
    let located = located(&list, &[(1025, list.frame(1025, &[0]))]);
    let draft = Draft::default().image(&image).list(&list, &located).base(far_image(&list).id);
    let draft = draft.change(ObjectKind::List, without_first_page);
    (draft.change(ObjectKind::Locator, without_first_page), image)
}

fn based() -> Vec<Vector> {
    let list = parts_list();
    let base = parts_image(&list);
    let longer = longer_image(&list, |_| ());
    let renamed =
        image(&Plan { of_base: base.pages.clone(), ..plan(parts::SIZE, "renamed", parts_extents(&list)) });
    let (filled, filled_image) = filled(&[(0, &[1]), (1, &[1])]);
    let (both, both_image) = both_pages();
    let grown_image = grown_image(&list, &new_list());
    let on_base = |image: &Image| Draft::default().image(image).base(base.id);
    let reads = |file: &str, note, draft, image: &Image, store| {
        reads(file, "10.3", note, draft, image).with("store", store)
    };
    vec![
        reads("based-list", "a list left to the base, and one of its own", grown(), &grown_image, PARTS),
        reads("based-on-bundle", "the base is in another bundle", grown(), &grown_image, WHOLE),
        reads(
            "based-page",
            "a leaf left to the base, a span page of its own",
            on_base(&longer),
            &longer,
            PARTS,
        ),
        reads("based-record", "all left to the base but the record", on_base(&renamed), &renamed, PARTS),
        reads("based-blocks", "blocks of both chunks left to the base", filled, &filled_image, HALF),
        reads("based-absent-pages", "a page of the list is the base's", both, &both_image, FAR),
    ]
}

fn verified() -> Vec<Vector> {
    let verified =
        |file: &str, note, draft: Draft| bundle(file, "8.3", note, draft.bytes()).with("operation", "verify");
    let (far, _) = far_draft();
    let far = far.change(ObjectKind::List, without_first_page);
    let far = far.change(ObjectKind::Locator, without_first_page);
    let (filled, _) = filled(&[(0, &[1]), (1, &[1])]);
    vec![
        verified("whole-verified", "nothing in it is damaged", whole()),
        verified("two-images-verified", "nothing in it is damaged", two_images_draft()),
        verified("absent-pages-verified", "nothing that is needed is absent", far),
        verified("based-list-verified", "nothing that is needed is absent", grown()).with("store", PARTS),
        verified("based-blocks-verified", "nothing that is needed is absent", filled).with("store", HALF),
        verified("based-absent-pages-verified", "nothing that is needed is absent", both_pages().0)
            .with("store", FAR),
        verified(
            "based-leaf-verified",
            "the first of two leaves and span pages is the base's",
            two_leaves().0,
        )
        .with("store", PARTS),
    ]
}

fn refused(name: &'static str, section: &'static str, note: &'static str, bytes: Vec<u8>) -> Vector {
    Vector::invalid(name, "bundle", section, note, bytes).with("operation", "read").with("name", "")
}

/// Returns files that are no whole bundle.
fn broken_off() -> Vec<Vector> {
    let sound = whole().bytes();
    let invalid = |name, note, bytes| refused(name, "10.1", note, bytes);
    let table = whole().bundle().head.table_offset as usize;
    vec![
        invalid("magic", "the head is zeros, for the bundle was broken off", patch(&sound, 0, &[0; 512])),
        invalid("truncated", "no bytes", Vec::new()),
        invalid("truncated--header", "half a header", sound[..16].to_vec()),
        invalid("truncated--head", "half a head", sound[..256].to_vec()),
        invalid("truncated--pieces", "a head alone", sound[..512].to_vec()),
        invalid("truncated--table", "no table", sound[..table].to_vec()),
        invalid("truncated--last", "the last byte is missing", sound[..sound.len() - 1].to_vec()),
        invalid("trailing-bytes", "a byte behind the table", longer(&sound, &[0])),
        invalid("page-digest--table", "a byte of the table changed", patch(&sound, table + 100, &[9])),
    ]
}

/// Returns bundles with objects that contradict the table or the references to them.
fn unsound_objects() -> Vec<Vector> {
    let changed = |name, section, note, kind, change: fn(&mut Drafted)| {
        refused(name, section, note, whole().change(kind, change).bytes())
    };
    let list = parts_list();
    let of_base =
        |section, name, note, places: fn(&mut melv::ondisk::record::Places), base: Option<ImageId>| {
            let image = longer_image(&list, places);
            let draft = Draft::default().image(&image).list(&list, &whole_chunks(&list));
            let draft = base.into_iter().fold(draft, Draft::base);
            let vector = refused(name, section, note, draft.bytes());
            if base.is_some() { vector.with("store", PARTS) } else { vector }
        };
    let base = parts_image(&list).id;
    vec![
        changed("page-digest--record", "7.2", "a record under another id", ObjectKind::Record, |record| {
            record.id = made_up(1);
        }),
        changed("page-digest--leaf", "7.5", "a byte of the leaf changed", ObjectKind::PageFile, |file| {
            *file.parts[0].bytes.last_mut().unwrap() ^= 1;
        }),
        changed("page-digest--list-page", "6.1", "a chunk id changed", ObjectKind::List, |list| {
            list.parts[0].bytes[0] ^= 1;
        }),
        changed("page-digest--locator-page", "6.5", "a record changed", ObjectKind::Locator, |locator| {
            locator.parts[0].bytes[4] ^= 1;
        }),
        changed("body-length", "7.2", "a record of a byte more", ObjectKind::Record, |record| {
            record.parts[0].bytes.push(0);
            record.len += 1;
        }),
        changed("body-length--locator", "6.5", "a locator of a byte more", ObjectKind::Locator, |locator| {
            locator.parts[0].bytes.insert(0, 0);
            locator.parts[1].at += 1;
            locator.len += 1;
        }),
        of_base("10.3", "page-place--no-base", "a page left to a base where none is", |_| (), None),
        of_base(
            "7.2",
            "page-place--of-base-len",
            "a page left to a base, with a length",
            |places| places.map[0].len = 1,
            Some(base),
        ),
        of_base(
            "10.3",
            "missing--page",
            "a page left to a base that has another",
            |places| places.span[0] = PagePlace::OF_BASE,
            Some(base),
        )
        .with_operation("verify"),
    ]
}

impl Vector {
    fn with_operation(mut self, operation: &str) -> Self {
        self.context.retain(|(key, _)| !["operation", "name"].contains(key));
        self.with("operation", operation)
    }
}

/// Returns bundles with invalid frames.
fn unsound_chunks() -> Vec<Vector> {
    let list = parts_list();
    let of = |name, section, note, located: &Located| {
        let draft = Draft::default().image(&parts_image(&list)).list(&list, located);
        refused(name, section, note, draft.bytes())
    };
    let frames = || vec![(0, list.frame(0, &[0, 1])), (1, list.frame(1, &[0, 1]))];
    let two = || vec![(0, list.frame(0, &[0])), (0, list.frame(0, &[1])), (1, list.frame(1, &[0, 1]))];
    let other = Fill(0x99, 4096);
    let forged = super::images::list(2, vec![other, Fill(0xb2, 4096), Fill(0xc3, 4096), Fill(0xd4, 512)]);
    let mut wrong = frames();
    wrong[0].1 = forged.frame(0, &[0, 1]);
    let mut partly = two();
    partly[0].1 = forged.frame(0, &[0]);
    let mut absent = two();
    absent[0].1[5] ^= 1;
    vec![
        of("chunk-id", "10.2", "other bytes, with their guard", &located(&list, &wrong)),
        of("chunk-id--partial", "10.2", "other bytes in a partial frame", &located(&list, &partly)),
        of("chunk-id--absent", "10.2", "another digest of an absent block", &located(&list, &absent)),
        of(
            "frame-guard",
            "6.3",
            "another guard",
            &located_but(&list, &frames(), |places| places[0].guard ^= 1),
        ),
        of(
            "frame-mask--said-whole",
            "6.5",
            "the record of a partial frame says that it is whole",
            &located_but(&list, &two(), |places| places[0].partial = false),
        ),
        of(
            "frame-mask--said-partial",
            "6.5",
            "the record of a whole frame says that it is partial",
            &located_but(&list, &frames(), |places| places[1].partial = true),
        ),
        of(
            "frame-place",
            "6.5",
            "a frame beyond its pack, if not beyond the bundle",
            &located_but(&list, &frames(), |places| places[1].offset = 400),
        ),
    ]
}

/// Returns bundles that lack required parts.
fn absent() -> Vec<Vector> {
    let list = parts_list();
    let of = |name, note, frames: &[(usize, Vec<u8>)]| {
        let draft = Draft::default().image(&parts_image(&list)).list(&list, &located(&list, frames));
        refused(name, "10.2", note, draft.bytes())
    };
    let far = far_list();
    let front = image(&plan(8 << 10, "front", vec![(0, 1, &far, 3)]));
    let front = Draft::default().image(&front).list(&far, &located(&far, &[(3, far.frame(3, &[0]))]));
    let lacks = |name, note, kind| {
        refused(name, "10.2", note, front.clone().change(kind, without_first_page).bytes())
    };
    let (half_filled, _) = filled(&[(0, &[1])]);
    vec![
        of("chunk-absent", "a chunk without a frame", &[(0, list.frame(0, &[0, 1]))]),
        of("block-absent", "a block in no frame", &[(0, list.frame(0, &[0, 1])), (1, list.frame(1, &[0]))]),
        lacks("piece-absent", "a page of the list is needed and absent", ObjectKind::List),
        lacks("piece-absent--locator", "a page of the locator is needed and absent", ObjectKind::Locator),
        refused(
            "piece-absent--root",
            "10.2",
            "the list's root is absent",
            whole().change(ObjectKind::List, |list| drop(list.parts.pop())).bytes(),
        ),
        refused("block-absent--based", "10.3", "a block neither here nor in the base", half_filled.bytes())
            .with("store", HALF),
    ]
}

/// Returns bundles whose bases are missing.
fn without_base() -> Vec<Vector> {
    let of = |name, note| refused(name, "10.3", note, grown().bytes());
    let two = grown().base(made_up(0xff)).bytes();
    vec![
        of("missing", "no store with the base"),
        of("missing--base", "a store without the base").with("store", IMPORTED),
        of("missing--same-content", "a store with the base's disk under another image id")
            .with("store", OTHER),
        refused("missing--one-of-two", "10.3", "a store with one of two bases", two).with("store", PARTS),
    ]
}
