//! Tests of block status, one rule each; `melv_nbd`'s table of rules names them.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use melv_nbd::negotiation::ReplyMode;
use melv_nbd::wire::{command, flag};
use melv_testing::nbd::*;

const CHUNKED: [ReplyMode; 2] = [ReplyMode::Structured, ReplyMode::Extended];
const EINVAL: u32 = 22;
const ALLOCATION: u32 = 1;
const DEPTH: u32 = 2;

/// Connects a client that has selected contexts.
fn chosen(shelf: Shelf, export: &str, mode: ReplyMode, queries: &[&str]) -> Client {
    let mut client = greeted(&server(shelf));
    client.agree(mode);
    client.choose(export, queries);
    client.go(export);
    client
}

fn both(export: &str, mode: ReplyMode) -> Client {
    chosen(Shelf::usual(), export, mode, &["base:allocation", "x-melv:depth"])
}

#[test]
fn status_without_contexts_is_invalid() {
    for mode in [ReplyMode::Simple, ReplyMode::Structured, ReplyMode::Extended] {
        assert_eq!(usual("sparse", mode).call(command::BLOCK_STATUS, 0, 0, 4096).errno(), EINVAL);
    }
}

#[test]
fn status_of_nothing_is_invalid() {
    for mode in CHUNKED {
        let mut client = both("sparse", mode);
        assert_eq!(client.call(command::BLOCK_STATUS, 0, 0, 0).errno(), EINVAL);
        assert_eq!(client.call(command::BLOCK_STATUS, flag::REQ_ONE, 4096, 0).errno(), EINVAL);
    }
}

#[test]
fn status_past_the_end_is_invalid() {
    for mode in CHUNKED {
        let mut client = both("deep", mode);
        assert_eq!(client.call(command::BLOCK_STATUS, 0, 0, 256 * KIB + 1).errno(), EINVAL);
        assert_eq!(client.call(command::BLOCK_STATUS, 0, 256 * KIB, 1).errno(), EINVAL);
    }
}

#[test]
fn allocation_tells_data_and_holes_exactly() {
    for mode in CHUNKED {
        let mut client = both("sparse", mode);
        let whole = client.call(command::BLOCK_STATUS, 0, 0, 300 * KIB + 3 * MIB).statuses();
        assert_eq!(whole[&ALLOCATION], [(200 * KIB, 0), (3 * MIB, 3), (100 * KIB, 0)]);
        let part = client.call(command::BLOCK_STATUS, 0, 100 * KIB + 1, MIB).statuses();
        assert_eq!(part[&ALLOCATION], [(100 * KIB - 1, 0), (MIB - 100 * KIB + 1, 3)]);
    }
}

#[test]
fn status_is_one_chunk_for_each_context_chosen() {
    for mode in CHUNKED {
        let answer = both("deep", mode).call(command::BLOCK_STATUS, 0, 0, 256 * KIB);
        let of = |part: &Chunk| matches!(part, Chunk::Status { context, .. } if *context == ALLOCATION);
        assert_eq!((answer.chunks.len(), answer.chunks.iter().filter(|part| of(part)).count()), (2, 1));
        let mut client = chosen(Shelf::usual(), "deep", mode, &["x-melv:depth"]);
        let answer = client.call(command::BLOCK_STATUS, 0, 0, 256 * KIB);
        assert_eq!(answer.statuses().into_keys().collect::<Vec<_>>(), [DEPTH]);
    }
}

#[test]
fn depth_tells_steps_of_lineage() {
    for mode in CHUNKED {
        let found = both("deep", mode).call(command::BLOCK_STATUS, 0, 0, 256 * KIB).statuses();
        let depths = [(64 * KIB, 0), (64 * KIB, 2), (64 * KIB, 1), (64 * KIB, 3)];
        assert_eq!(found[&DEPTH], depths);
        // Neighbours with the same status in one context are merged in that context only.
        assert_eq!(found[&ALLOCATION], [(128 * KIB, 0), (128 * KIB, 3)]);
    }
}

#[test]
fn req_one_gives_one_extent_within_the_request() {
    for mode in CHUNKED {
        let mut client = both("sparse", mode);
        for (offset, len, extent) in [
            (0, 300 * KIB + 3 * MIB, (200 * KIB, 0)),
            (100, 512, (512, 0)),
            (200 * KIB, 4096, (4096, 3)),
            (199 * KIB, 2 * KIB, (KIB, 0)),
        ] {
            let found = client.call(command::BLOCK_STATUS, flag::REQ_ONE, offset, len).statuses();
            assert_eq!(found[&ALLOCATION], [extent], "{offset}+{len}");
            assert_eq!(found[&DEPTH].len(), 1);
        }
    }
}

#[test]
fn extents_never_reach_past_the_request() {
    for mode in CHUNKED {
        let mut client = both("sparse", mode);
        for offset in (0..3 * MIB).step_by(100_001) {
            for len in [1, 511, 4096, 100_000, 300 * KIB] {
                for extents in client.call(command::BLOCK_STATUS, 0, offset, len).statuses().values() {
                    assert_eq!(extents.iter().map(|(len, _)| len).sum::<u64>(), len, "{offset}+{len}");
                    assert!(extents.iter().all(|(len, _)| *len > 0));
                }
            }
        }
    }
}

#[test]
fn extent_of_more_than_4_gib_fits_extended_headers() {
    let mut client = both("huge", ReplyMode::Extended);
    let whole = client.call(command::BLOCK_STATUS, 0, 0, (9 << 30) + MIB).statuses();
    assert_eq!(whole[&ALLOCATION], [(9 << 30, 3), (MIB, 0)]);
}

#[test]
fn extent_of_nearly_4_gib_is_cut_and_nothing_follows_it() {
    let mut client = both("huge", ReplyMode::Structured);
    let len = u64::from(u32::MAX);
    let found = client.call(command::BLOCK_STATUS, 0, 0, len).statuses();
    assert_eq!(found[&ALLOCATION], [(len - 4095, 3)]);
    // The next extent would be at the wrong offset.
    let near_end = (9 << 30) - (len - 1000);
    let found = client.call(command::BLOCK_STATUS, 0, near_end, len).statuses();
    assert_eq!(found[&ALLOCATION], [(len - 4095, 3)]);
}

#[test]
fn status_of_many_extents_is_bounded_and_goes_on_where_it_ends() {
    for mode in CHUNKED {
        let part = |number| if number % 2 == 0 { Part::Data } else { Part::Zero };
        let disk = (0..5000).fold(TestDisk::new(), |disk, number| disk.and(part(number), 4096));
        let stripes = Shelf::only("stripes", disk);
        let mut client = chosen(stripes, "stripes", mode, &["base:allocation"]);
        let (mut at, mut count) = (0, 0);
        while at < 5000 * 4096 {
            let found = client.call(command::BLOCK_STATUS, 0, at, 5000 * 4096 - at).statuses();
            assert!(found[&ALLOCATION].len() <= 4096);
            count += found[&ALLOCATION].len();
            at += found[&ALLOCATION].iter().map(|(len, _)| len).sum::<u64>();
        }
        assert_eq!(count, 5000);
    }
}

#[test]
fn status_of_what_is_damaged_is_known() {
    for mode in CHUNKED {
        let found = both("damaged", mode).call(command::BLOCK_STATUS, 0, 0, 576 * KIB).statuses();
        assert_eq!(found[&ALLOCATION], [(576 * KIB, 0)]);
    }
}
