//! Sections 6.3 and 6.4: frames, codecs and the zstd profile.

use melv::digest::{BlockDigest, block_digest, chunk_id};

use super::build::{
    ZSTD_COMPRESSED, ZSTD_RAW, ZSTD_RESERVED, ZSTD_RLE, block, guard_text, longer, made_up, partial, patch,
    whole, zstd_block, zstd_frame, zstd_runs,
};
use super::parts;
use super::table::Vector;

const KIND: &str = "frame";

/// The output of `zstd -19 --no-check` 1.5 for [`numbers`], kept so that no other version changes it.
const COMPRESSED: &str = "28b52ffd60000f2d030052440c10b03707cc844b02d54d4484e46ee0714035da86483cabd2352a9ac\
    55ead55ba43249e55691a8b73fcb6eb4e83c329c4042ca810902f07e0d7113404ffff7f43e807baf862c618c338e37b5d6b5f2b636\
    c73ce33c68ce16b6ff7dacbbd813e9575a5";

pub fn vectors() -> Vec<Vector> {
    [whole_frames(), partial_frames(), bad_frames(), bad_partial_frames(), bad_headers(), bad_blocks()]
        .into_iter()
        .flatten()
        .collect()
}

/// Makes a block of numbered lines, each eight times.
fn numbers() -> Vec<u8> {
    let mut text: String = (0..342).map(|line| format!("melv {:06}\n", line / 8)).collect();
    text.truncate(4096);
    text.into_bytes()
}

fn valid(
    name: &str,
    section: &'static str,
    note: &'static str,
    bytes: Vec<u8>,
    plain: &[u8],
    digests: &[BlockDigest],
) -> Vector {
    let id = chunk_id(digests);
    let guard = guard_text(&id, &bytes);
    Vector::valid(name, KIND, section, note, bytes)
        .with("blocks", digests.len() as u64)
        .gives("held", plain.len() as u64 / 4096)
        .gives("plain", block_digest(plain))
        .gives("chunk_id", id)
        .gives("guard", guard.as_str())
}

fn whole_frames() -> Vec<Vector> {
    let compressed: Vec<u8> = (0..COMPRESSED.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&COMPRESSED[at..at + 2], 16).unwrap())
        .collect();
    let one = |block: &[u8]| vec![block_digest(block)];
    let [_, _, c, d] = parts::blocks();
    let a = block(0xa1);
    let runs = zstd_runs(&[(0xc3, 4096), (0xd4, 512), (0, 3584)]);
    // A window of 4096 bytes instead of a single segment.
    let windowed = [&[0x28, 0xb5, 0x2f, 0xfd, 0x40, 0x10], &zstd_runs(&[(0xa1, 4096)])[5..]].concat();
    let stored = zstd_frame(4096, &[zstd_block(ZSTD_RAW, 4096, true, &numbers())]);
    let both = [block_digest(&c), block_digest(&d)];
    vec![
        valid("raw", "6.3", "one block as it is", whole(0, &a), &a, &one(&a)),
        valid("zstd-runs", "6.4", "two blocks in RLE blocks", whole(1, &runs), &[c, d].concat(), &both),
        valid("zstd-window", "6.4", "a window descriptor", whole(1, &windowed), &a, &one(&a)),
        valid("zstd-stored", "6.4", "a raw zstd block", whole(1, &stored), &numbers(), &one(&numbers())),
        valid(
            "zstd-compressed",
            "6.4",
            "what an encoder made",
            whole(1, &compressed),
            &numbers(),
            &one(&numbers()),
        ),
    ]
}

fn partial_frames() -> Vec<Vector> {
    let a = block(0xa1);
    let mut nine: Vec<_> = (1..=9).map(made_up).collect();
    nine[1] = block_digest(&a);
    nine[8] = block_digest(&block(0xb2));
    let absent: Vec<_> = [0, 2, 3, 4, 5, 6, 7].map(|number| nine[number]).to_vec();
    let payload = zstd_runs(&[(0xa1, 4096), (0xb2, 4096)]);
    let frame = partial(1, &[0b10, 0b1], &absent, &payload);
    let held = [a.clone(), block(0xb2)].concat();
    let two = [block_digest(&a), made_up(2)];
    vec![
        valid("partial", "6.3", "blocks 1 and 8 of nine", frame, &held, &nine),
        valid("partial-raw", "6.3", "block 0 of two", partial(0, &[1], &[made_up(2)], &a), &a, &two),
    ]
}

fn invalid(
    name: &'static str,
    section: &'static str,
    note: &'static str,
    bytes: Vec<u8>,
    blocks: u64,
) -> Vector {
    Vector::invalid(name, KIND, section, note, bytes).with("blocks", blocks)
}

fn bad_frames() -> Vec<Vector> {
    let raw = whole(0, &[7; 100]);
    let short = zstd_frame(4096, &[zstd_block(ZSTD_RLE, 4000, true, &[1])]);
    let garbage = zstd_frame(4096, &[zstd_block(ZSTD_COMPRESSED, 8, true, &[0xff; 8])]);
    vec![
        invalid("raw-length", "6.4", "100 bytes for a block", raw.clone(), 1),
        invalid("raw-length--more", "6.4", "a byte more than a block", whole(0, &[7; 4097]), 1),
        invalid("reserved--flag", "6.3", "flag bit 1", patch(&raw, 2, &[2]), 1),
        invalid("reserved--head", "6.3", "the last byte of the head", patch(&raw, 3, &[1]), 1),
        invalid("truncated", "6.3", "less than a head", vec![0, 0], 1),
        invalid("zstd-decode", "6.4", "a block that does not decode", whole(1, &garbage), 1),
        invalid("zstd-decode--short", "6.4", "makes less than it states", whole(1, &short), 1),
    ]
}

fn bad_partial_frames() -> Vec<Vector> {
    let a = block(0xa1);
    let frame = |mask: &[u8], absent: usize| partial(0, mask, &vec![made_up(1); absent], &a);
    vec![
        invalid("frame-mask--empty", "6.3", "holds no block", frame(&[0], 2), 2),
        invalid("frame-mask--full", "6.3", "holds all blocks", frame(&[0b11], 0), 2),
        invalid("frame-mask--beyond", "6.3", "block 2 of two", frame(&[0b101], 0), 2),
        invalid("frame-mask--one", "6.3", "partial, of a chunk of one block", frame(&[1], 0), 1),
        invalid("truncated--mask", "6.3", "the mask is cut", partial(0, &[], &[], &[]), 2),
        invalid("truncated--absent", "6.3", "a digest is cut", frame(&[1], 1)[..20].to_vec(), 2),
    ]
}

/// Returns frame headers outside the profile.
fn bad_headers() -> Vec<Vector> {
    let sound = zstd_runs(&[(0xa1, 4096)]);
    let invalid = |name, note, payload: Vec<u8>| invalid(name, "6.4", note, whole(1, &payload), 1);
    let descriptor = |bits: u8| patch(&sound, 4, &[bits]);
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0], &sound[..]].concat();
    let unsized_frame = [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x10], &sound[7..]].concat();
    let wide = [&[0x28, 0xb5, 0x2f, 0xfd, 0x40, 0x18], &sound[5..]].concat();
    vec![
        invalid("zstd-profile--magic", "another magic number", patch(&sound, 0, &[0x29])),
        invalid("zstd-profile--skippable", "a skippable frame in front", skippable),
        invalid("zstd-profile--reserved", "the reserved descriptor bit", descriptor(0x68)),
        invalid("zstd-profile--checksum", "a content checksum", longer(&descriptor(0x64), &[0; 4])),
        invalid(
            "zstd-profile--dictionary",
            "a dictionary id",
            [&descriptor(0x61)[..5], &[1], &sound[5..]].concat(),
        ),
        invalid("zstd-profile--unsized", "no content size", unsized_frame),
        invalid("zstd-profile--size", "the content size of two blocks", zstd_runs(&[(0xa1, 8192)])),
        invalid("zstd-profile--window", "a window of 8192 bytes", wide),
        invalid("zstd-profile--cut", "a cut header", sound[..6].to_vec()),
        invalid("zstd-profile--empty", "nothing", Vec::new()),
    ]
}

/// Returns blocks outside the profile.
fn bad_blocks() -> Vec<Vector> {
    let sound = zstd_runs(&[(0xa1, 4096)]);
    let invalid = |name, note, payload: Vec<u8>| invalid(name, "6.4", note, whole(1, &payload), 1);
    let reserved = zstd_frame(4096, &[zstd_block(ZSTD_RESERVED, 4096, true, &[1])]);
    let open = zstd_frame(4096, &[zstd_block(ZSTD_RLE, 4096, false, &[1])]);
    vec![
        invalid("zstd-profile--block-type", "a block of the reserved type", reserved),
        invalid("zstd-profile--open", "no last block", open),
        invalid("zstd-profile--block-cut", "the last block is cut", sound[..sound.len() - 1].to_vec()),
        invalid("zstd-profile--after", "a byte after the last block", longer(&sound, &[0])),
        invalid("zstd-profile--two", "a second frame", longer(&sound, &sound)),
    ]
}
