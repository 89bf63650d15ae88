//! Sections 6.1, 6.2 and 6.5: chunk list, pack, locator.

use melv::digest::ListId;
use melv::ondisk::list::{ListRoot, ListShape};
use melv::ondisk::locator::{FramePlace, LocatorRoot};
use melv::ondisk::pack;

use super::build::{fit, longer, made_up, pack_of, patch, seal};
use super::parts;
use super::table::Vector;

pub fn vectors() -> Vec<Vector> {
    [lists(), locator_roots(), locator_pages(), packs(), whole_files()].into_iter().flatten().collect()
}

/// Makes a root of 1025 chunks, so two pages; the last chunk has one block.
pub fn list_root() -> Vec<u8> {
    let shape = ListShape { chunk_blocks: 8, blocks: 8 * 1024 + 1 };
    ListRoot { shape, pages: vec![made_up(1), made_up(2)] }.encode()
}

fn lists() -> Vec<Vector> {
    let sound = list_root();
    let at = |at: usize, bytes: &[u8]| patch(&sound, at, bytes);
    let invalid = |name, note, bytes| Vector::invalid(name, "list-root", "6.1", note, bytes);
    vec![
        Vector::valid("two-pages", "list-root", "6.1", "1025 chunks", sound.clone())
            .gives("chunk_blocks", 8)
            .gives("blocks", 8193)
            .gives("pages", 2),
        invalid("chunk-blocks--zero", "no block to a chunk", at(36, &[0])),
        invalid("chunk-blocks--three", "three blocks to a chunk", at(36, &[3])),
        invalid("empty-list", "no block", at(40, &[0; 8])),
        invalid("limit--room", "more pages than are there", at(40, &20_000u64.to_le_bytes())),
        invalid("limit--chunks", "2^24 + 1 chunks", at(40, &((1u64 << 27) + 1).to_le_bytes())),
        invalid("trailing-bytes", "more pages than the shape has", at(40, &8u64.to_le_bytes())),
        invalid("reserved", "byte 33", at(33, &[1])),
    ]
}

/// Makes the root of a list of three chunks in two packs, with one further frame.
pub fn locator_root() -> Vec<u8> {
    let packs = vec![made_up(2), made_up(3)];
    LocatorRoot { list: made_up(1), chunks: 3, records: 4, in_part: true, packs, pages: vec![made_up(4)] }
        .encode()
}

/// Makes the root of a list of three chunks, each in one whole frame.
fn whole_locator_root() -> Vec<u8> {
    let packs = vec![made_up(2)];
    let pages = vec![made_up(4)];
    LocatorRoot { list: made_up(1), chunks: 3, records: 3, in_part: false, packs, pages }.encode()
}

fn locator_roots() -> Vec<Vector> {
    let sound = locator_root();
    let at = |at: usize, bytes: &[u8]| seal(&patch(&sound, at, bytes));
    let invalid = |name, note, bytes| Vector::invalid(name, "locator-root", "6.5", note, bytes);
    let last = sound.len() - 1;
    vec![
        Vector::valid("two-packs", "locator-root", "6.5", "three chunks, four frames", sound.clone())
            .gives("list", made_up::<ListId>(1))
            .gives("chunks", 3)
            .gives("records", 4)
            .gives("in_part", 1)
            .gives("packs", 2),
        Vector::valid("whole", "locator-root", "6.5", "no chunk is held in part", whole_locator_root())
            .gives("chunks", 3)
            .gives("records", 3)
            .gives("in_part", 0),
        invalid("limit--records", "fewer records than chunks", at(72, &[2])),
        invalid("limit--many-records", "2^32 records", at(72, &(1u64 << 32).to_le_bytes())),
        invalid("limit--chunks", "2^24 + 1 chunks", at(64, &((1u64 << 24) + 1).to_le_bytes())),
        invalid("limit--packs", "2^20 + 1 packs", at(80, &((1u32 << 20) + 1).to_le_bytes())),
        invalid("limit--room", "more packs than are there", at(80, &[100])),
        invalid("reserved", "bit 1 of the flags", at(84, &[2])),
        invalid("reserved--flags", "bit 31 of the flags", at(87, &[0x80])),
        invalid("checksum", "one bit of the checksum", patch(&sound, last, &[sound[last] ^ 1])),
        invalid("trailing-bytes", "a byte after the checksum", fit(longer(&sound, &[0]))),
    ]
}

const PLACE: FramePlace =
    FramePlace { pack: 1, offset: 4096, len: 700, partial: false, next: 0, guard: 0x0123_4567_89ab_cdef };

/// Makes a page of records of three chunks and one further frame, in two packs; `record` is record 1.
fn page(record: &FramePlace) -> Vec<u8> {
    let mut page = Vec::new();
    for place in [&FramePlace { pack: 0, offset: 48, ..PLACE }, record] {
        place.encode(&mut page);
    }
    page
}

fn locator_pages() -> Vec<Vector> {
    let context =
        |vector: Vector| vector.with("chunks", 3).with("records", 4).with("packs", 2).with("record", 1);
    let valid = |name: &str, note, place: &FramePlace| {
        context(Vector::valid(name, "locator-page", "6.5", note, page(place)))
            .gives("pack", u64::from(place.pack))
            .gives("offset", u64::from(place.offset))
            .gives("len", u64::from(place.len))
            .gives("partial", u64::from(place.partial))
            .gives("next", u64::from(place.next))
            .gives("guard", format!("{:016x}", place.guard).as_str())
    };
    let invalid =
        |name, note, bytes: Vec<u8>| context(Vector::invalid(name, "locator-page", "6.5", note, bytes));
    vec![
        valid("one-frame", "a whole frame", &PLACE),
        valid("in-part", "a partial frame", &FramePlace { partial: true, ..PLACE }),
        valid("linked", "a frame with another one at record 3", &FramePlace { next: 3, ..PLACE }),
        valid("absent", "a chunk without a frame", &FramePlace::NONE),
        invalid("locator-pack", "pack 2 of 2", page(&FramePlace { pack: 2, ..PLACE })),
        invalid("locator-link--self", "a link to itself", page(&FramePlace { next: 1, ..PLACE })),
        invalid(
            "locator-link--chunk",
            "a link to another chunk's record",
            page(&FramePlace { next: 2, ..PLACE }),
        ),
        invalid("locator-link--beyond", "a link to record 4 of 4", page(&FramePlace { next: 4, ..PLACE })),
        invalid("limit--frame", "a frame of 2^23 bytes", page(&FramePlace { len: 1 << 23, ..PLACE })),
        invalid(
            "reserved--absent",
            "no frame, but a length",
            page(&FramePlace { len: 1, ..FramePlace::NONE }),
        ),
        invalid("reserved--len", "bit 25 of the length", patch(&page(&PLACE), 24 + 11, &[2])),
        invalid("reserved--len-top", "bit 31 of the length", patch(&page(&PLACE), 24 + 11, &[0x80])),
        invalid(
            "reserved--absent-partial",
            "no frame, but one in part",
            page(&FramePlace { partial: true, ..FramePlace::NONE }),
        ),
        invalid("truncated", "the record is cut", page(&PLACE)[..40].to_vec()),
    ]
}

fn packs() -> Vec<Vector> {
    let (sound, id) = parts::sound().pack;
    let len = sound.len();
    let at = |at: usize, bytes: &[u8]| patch(&sound, at, bytes);
    let invalid = |name, note, bytes| Vector::invalid(name, "pack", "6.2", note, bytes);
    let reserved = pack_of(&patch(&pack::encode_head(), 36, &[1]), &[]).0;
    let body = pack_of(&patch(&pack::encode_head(), 24, &[1]), &[]).0;
    vec![
        Vector::valid("three-frames", "pack", "6.2", "the pack of parts.store", sound.clone())
            .gives("id", id)
            .gives("frames", 3)
            .gives("frames_len", (len - 48 - 60 - 56) as u64),
        invalid("pack-end", "the end mark is another", at(len - 1, b"x")),
        invalid("pack-end--cut", "the last byte is missing", sound[..len - 1].to_vec()),
        invalid(
            "pack-length",
            "a byte between frames and index",
            [&sound[..60], &[0], &sound[60..]].concat(),
        ),
        invalid("checksum", "a guard in the index changed", at(len - 57, &[sound[len - 57] ^ 1])),
        invalid("limit", "2^20 + 1 frames", at(len - 56, &((1u64 << 20) + 1).to_le_bytes())),
        invalid("limit--none", "no frame", [pack::encode_head(), pack::encode_tail(&[]).0].concat()),
        invalid("reserved", "the twelve bytes behind the key slot", reserved),
        invalid("body-length", "a body length in the header", body),
        invalid("truncated", "less than a head", sound[..40].to_vec()),
    ]
}

fn whole_files() -> Vec<Vector> {
    let parts = parts::sound();
    let list = parts.list_file.clone();
    let wrong_page = |file: &[u8]| patch(file, 0, &[file[0] ^ 1]);
    vec![
        Vector::valid("two-chunks", "list", "6.1", "the list of parts.store", list.clone())
            .gives("id", parts.list)
            .gives("chunk_blocks", 2)
            .gives("blocks", 4),
        Vector::invalid("page-digest", "list", "6.1", "a chunk id changed", wrong_page(&list)),
        Vector::invalid("body-length", "list", "6.1", "a byte before the pages", [&[0], &list[..]].concat()),
        Vector::valid(
            "three-frames",
            "locator",
            "6.5",
            "the locator of parts.store",
            parts.locator_file.clone(),
        )
        .gives("list", parts.list)
        .gives("chunks", 2)
        .gives("records", 3)
        .gives("in_part", 1)
        .gives("packs", 1),
        Vector::invalid("page-digest", "locator", "6.5", "a record changed", wrong_page(&parts.locator_file)),
    ]
}
