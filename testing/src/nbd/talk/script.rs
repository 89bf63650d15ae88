//! Generates the input of clients: valid conversations and random changes to them.

use melv_nbd::negotiation::ReplyMode;
use melv_nbd::wire::{EXTENDED_REQUEST_MAGIC, OPTION_MAGIC, Put, REQUEST_MAGIC, command, flag, info, option};

use crate::nbd::{KIB, MIB};
use crate::random::Rng;

/// Offsets at or near the beginning or end of a part.
pub type Places<'a> = &'a [u64];

const NAMES: &[&str] = &["disk", "", "other", "größe", "disk\0", "no such"];
const QUERIES: &[&str] =
    &["base:allocation", "base:", "x-melv:depth", "x-melv:", "x-melv:none", "qemu:dirty-bitmap:a", ":", ""];
const LENGTHS: &[u64] =
    &[0, 1, 2, 511, 512, 4096, 16 * KIB, 20_000, 64 * KIB, 128 * KIB, 130 * KIB, MIB, MIB + 1, 32 * MIB];
const LONG_LENGTHS: &[u64] = &[32 * MIB + 1, u32::MAX as u64, (u32::MAX - 4095) as u64, 5 << 30, u64::MAX];
const NUMBERS: &[u64] = &[0, 1, 2, 3, 7, 0x7f, 0x80, 0xff, 0xffff, 0x10_0000, 0xffff_ffff, u64::MAX, 1 << 63];

/// Generates all bytes that one client sends.
pub fn conversation(rng: &mut Rng, places: Places<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let flags = if rng.one_in(64) { rng.next() as u32 } else { rng.below(4) as u32 };
    bytes.put_u32(flags);
    let mut mode = ReplyMode::Simple;
    if rng.one_in(2) {
        mode = rng.pick(&[ReplyMode::Structured, ReplyMode::Extended]);
        let wanted =
            if mode == ReplyMode::Extended { option::EXTENDED_HEADERS } else { option::STRUCTURED_REPLY };
        put(&mut bytes, wanted, &[]);
        let contexts = contexts(rng, "disk", &QUERIES[..3]);
        put(&mut bytes, option::SET_META_CONTEXT, &contexts);
    }
    for _ in 0..rng.below(4) {
        put_option(rng, &mut bytes, &mut mode);
    }
    let last = rng.pick(&[option::GO, option::GO, option::GO, option::EXPORT_NAME]);
    let name = if rng.one_in(8) { rng.pick(NAMES) } else { "disk" };
    match last {
        option::GO => put(&mut bytes, last, &go(rng, name)),
        _ => put(&mut bytes, last, name.as_bytes()),
    }
    for _ in 0..rng.below(8) {
        put_request(rng, &mut bytes, mode, places);
    }
    let changes = rng.pick(&[0, 1, 1, 1, 2, 3]);
    (0..changes).for_each(|_| change(rng, &mut bytes));
    bytes
}

fn put(bytes: &mut Vec<u8>, number: u32, data: &[u8]) {
    bytes.put_u64(OPTION_MAGIC);
    bytes.put_u32(number);
    bytes.put_u32(data.len() as u32);
    bytes.put(data);
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.put_u32(text.len() as u32);
    bytes.put(text.as_bytes());
}

fn go(rng: &mut Rng, name: &str) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, name);
    let count = rng.below(5);
    body.put_u16(count as u16);
    for _ in 0..count {
        body.put_u16(rng.pick(&[info::EXPORT, info::NAME, info::DESCRIPTION, info::BLOCK_SIZE, 77]));
    }
    body
}

fn contexts(rng: &mut Rng, name: &str, queries: &[&str]) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, name);
    let count = rng.below(4);
    body.put_u32(count as u32);
    (0..count).for_each(|_| text(&mut body, rng.pick(queries)));
    body
}

fn put_option(rng: &mut Rng, bytes: &mut Vec<u8>, mode: &mut ReplyMode) {
    let number = match rng.below(20) {
        0..=4 => option::STRUCTURED_REPLY,
        5..=7 => option::EXTENDED_HEADERS,
        8..=12 => option::SET_META_CONTEXT,
        13 => option::LIST_META_CONTEXT,
        14 | 15 => option::STARTTLS,
        16 => option::INFO,
        17 => option::LIST,
        18 => option::ABORT,
        _ => rng.next() as u32,
    };
    let name = if rng.one_in(6) { rng.pick(NAMES) } else { "disk" };
    let mut body = Vec::new();
    match number {
        option::SET_META_CONTEXT | option::LIST_META_CONTEXT => body = contexts(rng, name, QUERIES),
        option::INFO => body = go(rng, name),
        option::STRUCTURED_REPLY => *mode = (*mode).max(ReplyMode::Structured),
        option::EXTENDED_HEADERS => *mode = ReplyMode::Extended,
        option::STARTTLS => *mode = ReplyMode::Simple,
        _ => {}
    }
    if rng.one_in(24) {
        body.extend((0..rng.below(32)).map(|at| at as u8));
    }
    put(bytes, number, &body);
}

fn put_request(rng: &mut Rng, bytes: &mut Vec<u8>, mode: ReplyMode, places: Places<'_>) {
    let is_extended = mode == ReplyMode::Extended;
    let number = match rng.below(16) {
        0..=6 => command::READ,
        7..=10 => command::BLOCK_STATUS,
        11 => command::WRITE,
        12 => rng.pick(&[command::TRIM, command::WRITE_ZEROES]),
        13 => command::CACHE,
        14 => rng.pick(&[command::FLUSH, command::DISC]),
        _ => rng.next() as u16,
    };
    let flags = match (number, rng.below(16)) {
        (_, 0) => flag::FUA,
        (_, 1) => rng.pick(&[flag::DF, flag::NO_HOLE, flag::FAST_ZERO, flag::PAYLOAD_LEN, 1 << 14, 0xffff]),
        (command::READ, 2..=7) if mode > ReplyMode::Simple => flag::DF,
        (command::BLOCK_STATUS, 2..=7) => flag::REQ_ONE,
        _ => 0,
    };
    let len = match rng.below(16) {
        0 => rng.pick(LONG_LENGTHS),
        1..=3 => rng.pick(LENGTHS),
        _ => rng.below(40 * KIB),
    };
    let offset = match rng.below(16) {
        0 => rng.next(),
        1..=4 => rng.pick(places).wrapping_sub(len),
        _ => rng.pick(places).wrapping_add(rng.below(3) * 512).wrapping_sub(rng.below(2) * 4096),
    };
    bytes.put_u32(if is_extended { EXTENDED_REQUEST_MAGIC } else { REQUEST_MAGIC });
    bytes.put_u16(flags);
    bytes.put_u16(number);
    bytes.put_u64(rng.next());
    bytes.put_u64(offset);
    if is_extended {
        bytes.put_u64(len)
    } else {
        bytes.put_u32(len as u32)
    }
    let has_payload = number == command::WRITE || is_extended && flags & flag::PAYLOAD_LEN != 0;
    if has_payload && len <= 64 * KIB {
        bytes.resize(bytes.len() + len as usize, 0x25);
    }
}

/// Changes the bytes at a random place.
fn change(rng: &mut Rng, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let at = rng.below(bytes.len() as u64) as usize;
    let len = rng.below((bytes.len() - at).min(64) as u64 + 1) as usize;
    match rng.below(7) {
        0 => bytes[at] ^= 1 << rng.below(8),
        1 => bytes[at] = rng.next() as u8,
        2 | 3 => {
            let number = rng.pick(NUMBERS).to_be_bytes();
            let width = rng.pick(&[2, 4, 8]);
            for (byte, new) in bytes[at..].iter_mut().zip(&number[8 - width..]) {
                *byte = *new;
            }
        }
        4 => bytes.truncate(at),
        5 => drop(bytes.drain(at..at + len)),
        _ => {
            let copy = bytes[at..at + len].to_vec();
            let to = rng.below(bytes.len() as u64 + 1) as usize;
            bytes.splice(to..to, copy);
        }
    }
}
