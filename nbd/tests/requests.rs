//! Tests of requests and their replies, one rule each; `melv_nbd`'s table of rules names them.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::sync::Arc;
use std::sync::atomic::Ordering;

use melv_nbd::negotiation::ReplyMode;
use melv_nbd::wire::{command, flag};
use melv_testing::nbd::*;

const MODES: [ReplyMode; 3] = [ReplyMode::Simple, ReplyMode::Structured, ReplyMode::Extended];
const CHUNKED: [ReplyMode; 2] = [ReplyMode::Structured, ReplyMode::Extended];
const EPERM: u32 = 1;
const EIO: u32 = 5;
const EINVAL: u32 = 22;
const EOVERFLOW: u32 = 75;

#[test]
fn reads_give_what_the_disk_has() {
    for mode in MODES {
        let mut client = usual("plain", mode);
        for (offset, len) in [(0, 1), (511, 2), (65535, 4097), (0, 128 << 10), (40 * MIB - 1, 1)] {
            let bytes = client.read(offset, len).bytes();
            assert!(bytes == data(offset..offset + len), "{mode:?} {offset}+{len}");
        }
    }
}

#[test]
fn long_simple_read_is_one_whole_reply() {
    let mut client = usual("plain", ReplyMode::Simple);
    for len in [(128 << 10) + 1, 300_001, 32 * MIB] {
        assert!(client.read(77, len).bytes() == data(77..77 + len), "{len}");
    }
}

#[test]
fn simple_read_that_fails_says_so_before_any_data() {
    let mut client = usual("damaged", ReplyMode::Simple);
    for len in [300 * KIB, 500 * KIB] {
        assert_eq!(client.read(0, len).errno(), EIO);
    }
    assert_eq!(client.read(0, 256 * KIB).bytes(), data(0..256 * KIB));
    assert_eq!(client.read(320 * KIB, 4096).bytes(), data(320 * KIB..324 * KIB));
}

#[test]
fn chunks_cover_a_read_of_32_mib() {
    for mode in CHUNKED {
        let mut client = usual("plain", mode);
        let answer = client.read(12345, 32 * MIB);
        assert!(answer.bytes() == data(12345..12345 + 32 * MIB));
        // Memory was bounded: no chunk exceeds the piece that is held in memory.
        let piece = |part: &Chunk| matches!(part, Chunk::Data { bytes, .. } if bytes.len() <= 128 << 10);
        assert!(answer.chunks.iter().all(piece));
    }
}

#[test]
fn zeros_are_sent_as_holes() {
    for mode in CHUNKED {
        let mut client = usual("sparse", mode);
        let answer = client.read(100 * KIB, 3 * MIB + 200 * KIB);
        assert!(answer.chunks.contains(&Chunk::Hole { at: 200 * KIB, len: 3 * MIB }), "{answer:?}");
        let bytes = answer.bytes();
        let zeros_end = 100 * KIB + 3 * MIB;
        assert!(bytes[..100 << 10] == data(100 * KIB..200 * KIB));
        assert!(bytes[100 << 10..zeros_end as usize].iter().all(|&byte| byte == 0));
        assert!(bytes[zeros_end as usize..] == data(200 * KIB + 3 * MIB..300 * KIB + 3 * MIB));
        let only = client.read(300 * KIB, 512).chunks;
        assert_eq!(only, [Chunk::Hole { at: 300 * KIB, len: 512 }]);
    }
}

#[test]
fn zeros_are_zeros_in_simple_replies() {
    let mut client = usual("sparse", ReplyMode::Simple);
    let bytes = client.read(199 * KIB, 2 * KIB).bytes();
    assert!(bytes[..1024] == data(199 * KIB..200 * KIB) && bytes[1024..] == [0; 1024]);
}

#[test]
fn df_gives_one_chunk() {
    for mode in CHUNKED {
        let mut client = usual("sparse", mode);
        for len in [512, 64 * KIB, MIB] {
            let answer = client.call(command::READ, flag::DF, 190 * KIB, len);
            let [Chunk::Data { bytes, .. }] = answer.chunks.as_slice() else { panic!("{answer:?}") };
            let of_data = (10 << 10).min(len as usize);
            assert!(bytes[..of_data] == data(190 * KIB..200 * KIB)[..of_data]);
            assert!(bytes[of_data..].iter().all(|&byte| byte == 0));
        }
    }
}

#[test]
fn df_over_1_mib_is_overflow() {
    for mode in CHUNKED {
        let mut client = usual("plain", mode);
        for len in [MIB + 1, 32 * MIB] {
            assert_eq!(client.call(command::READ, flag::DF, 0, len).errno(), EOVERFLOW);
        }
        assert_eq!(client.read(0, 512).bytes(), data(0..512));
    }
}

#[test]
fn df_without_structured_replies_is_invalid() {
    let mut client = usual("plain", ReplyMode::Simple);
    assert_eq!(client.call(command::READ, flag::DF, 0, 512).errno(), EINVAL);
}

#[test]
fn read_past_the_end_is_invalid() {
    for mode in MODES {
        let mut client = usual("größe", mode);
        for (offset, len) in [(MIB, 1), (MIB - 511, 512), (0, MIB + 1), (5 * MIB, 512), (MIB + 1, 0)] {
            assert_eq!(client.read(offset, len).errno(), EINVAL, "{mode:?} {offset}+{len}");
        }
        assert_eq!(client.read(MIB - 512, 512).bytes(), data(MIB - 512..MIB));
    }
}

#[test]
fn offsets_that_overflow_are_invalid() {
    for mode in MODES {
        let mut client = usual("plain", mode);
        for number in [command::READ, command::CACHE, command::BLOCK_STATUS] {
            for offset in [u64::MAX, u64::MAX - 511, 1 << 63] {
                assert_eq!(client.call(number, 0, offset, 512).errno(), EINVAL, "{mode:?} {number}");
            }
        }
    }
    let mut client = usual("plain", ReplyMode::Extended);
    assert_eq!(client.read(1, u64::MAX).errno(), EINVAL);
}

#[test]
fn read_of_nothing_is_no_reason_to_leave() {
    for mode in MODES {
        let mut client = usual("plain", mode);
        for flags in [0, flag::FUA] {
            let answer = client.call(command::READ, flags, 4096, 0);
            assert_eq!((answer.errno(), answer.bytes().len()), (0, 0), "{mode:?}");
        }
        assert_eq!(client.read(0, 512).bytes(), data(0..512));
    }
}

#[test]
fn read_over_32_mib_is_invalid() {
    for mode in MODES {
        let mut client = usual("plain", mode);
        assert_eq!(client.read(0, 32 * MIB + 1).errno(), EINVAL);
        assert_eq!(client.read(0, 512).bytes(), data(0..512));
    }
}

#[test]
fn write_is_drained_and_not_permitted() {
    for mode in MODES {
        let flags = if mode == ReplyMode::Extended { flag::PAYLOAD_LEN } else { 0 };
        let mut client = usual("plain", mode);
        for len in [0, 512, 100_000, 40 * MIB] {
            let mut request = client.request(command::WRITE, flags, 0, len);
            request.resize(request.len() + len as usize, 0x25);
            client.send(&request);
            assert_eq!(client.answer().errno(), EPERM, "{mode:?} {len}");
        }
        assert_eq!(client.read(0, 512).bytes(), data(0..512));
    }
}

#[test]
fn write_with_wrong_flags_is_drained_as_well() {
    let mut client = usual("plain", ReplyMode::Structured);
    let mut request = client.request(command::WRITE, flag::DF, 0, 70_000);
    request.resize(request.len() + 70_000, 0x25);
    client.send(&request);
    assert_eq!(client.answer().errno(), EINVAL);
    assert_eq!(client.read(0, 512).bytes(), data(0..512));
}

#[test]
fn trim_and_write_zeroes_are_not_permitted() {
    for mode in MODES {
        let mut client = usual("plain", mode);
        assert_eq!(client.call(command::TRIM, 0, 0, 4096).errno(), EPERM);
        for flags in [0, flag::NO_HOLE, flag::FAST_ZERO, flag::FUA] {
            assert_eq!(client.call(command::WRITE_ZEROES, flags, 0, 4096).errno(), EPERM);
        }
    }
}

#[test]
fn unknown_commands_are_invalid() {
    for mode in MODES {
        let mut client = usual("plain", mode);
        for number in [8, 9, 1000, u16::MAX] {
            // A length is not a payload: no payload follows.
            assert_eq!(client.call(number, 0, 0, 4096).errno(), EINVAL, "{mode:?} {number}");
        }
        assert_eq!(client.read(0, 512).bytes(), data(0..512));
    }
}

#[test]
fn payload_that_a_flag_announces_is_drained() {
    let mut client = usual("plain", ReplyMode::Extended);
    for number in [77, command::READ, command::BLOCK_STATUS, command::FLUSH] {
        let mut request = client.request(number, flag::PAYLOAD_LEN, 0, 100_000);
        request.resize(request.len() + 100_000, 0x21);
        client.send(&request);
        assert_eq!(client.answer().errno(), EINVAL, "{number}");
    }
    assert_eq!(client.read(0, 512).bytes(), data(0..512));
}

#[test]
fn fua_is_accepted_on_everything() {
    for mode in MODES {
        let mut client = usual("plain", mode);
        for (number, errno) in [
            (command::READ, 0),
            (command::FLUSH, 0),
            (command::CACHE, 0),
            (command::TRIM, EPERM),
            (command::WRITE_ZEROES, EPERM),
        ] {
            let len = if number == command::FLUSH { 0 } else { 512 };
            assert_eq!(client.call(number, flag::FUA, 0, len).errno(), errno, "{mode:?} {number}");
        }
        let request = client.request(command::WRITE, flag::FUA, 0, 1);
        client.send(&[request, vec![1]].concat());
        assert_eq!(client.answer().errno(), EPERM);
    }
}

#[test]
fn flags_that_were_not_agreed_on_are_invalid() {
    for mode in MODES {
        let mut client = usual("plain", mode);
        for flags in [flag::NO_HOLE, flag::REQ_ONE, flag::FAST_ZERO, 1 << 6, 1 << 15] {
            assert_eq!(client.call(command::READ, flags, 0, 512).errno(), EINVAL, "{mode:?} {flags}");
        }
        assert_eq!(client.call(command::FLUSH, flag::DF, 0, 0).errno(), EINVAL);
        assert_eq!(client.call(command::CACHE, flag::REQ_ONE, 0, 512).errno(), EINVAL);
        assert_eq!(client.call(command::TRIM, flag::NO_HOLE, 0, 512).errno(), EINVAL);
    }
}

#[test]
fn flush_is_well() {
    for mode in MODES {
        assert_eq!(usual("plain", mode).call(command::FLUSH, 0, 0, 0).chunks, [Chunk::None]);
    }
}

/// Creates a disk that caches data once it was read.
fn remembering() -> (Arc<TestDisk>, Shelf) {
    let disk = Arc::new(TestDisk::new().and(Part::Data, 8 * MIB).held(Held::WhatWasRead));
    (disk.clone(), Shelf::default().with("disk", disk))
}

#[test]
fn cache_makes_later_reads_held() {
    for mode in MODES {
        let (disk, shelf) = remembering();
        let mut client = reading(&server(shelf), "disk", mode);
        assert_eq!(client.call(command::CACHE, 0, 100_000, MIB).errno(), 0);
        let reads = disk.reads.load(Ordering::SeqCst);
        assert!(reads > 0);
        assert!(client.read(100_000, 100_000).bytes() == data(100_000..200_000));
        assert_eq!(disk.reads.load(Ordering::SeqCst), reads, "it was read again");
    }
}

#[test]
fn cache_of_what_is_damaged_is_no_error() {
    let mut client = usual("damaged", ReplyMode::Structured);
    assert_eq!(client.call(command::CACHE, 0, 0, 576 * KIB).errno(), 0);
    assert_eq!(client.call(command::CACHE, 0, 0, 0).errno(), 0);
    assert_eq!(client.call(command::CACHE, 0, 1, 576 * KIB).errno(), EINVAL);
}

#[test]
fn damage_is_an_error_at_its_first_byte_and_neighbours_are_readable() {
    for mode in CHUNKED {
        let mut client = usual("damaged", mode);
        for (offset, len) in [(0, 576 * KIB), (200 * KIB, 100 * KIB), (256 * KIB, 4096), (0, 257 * KIB)] {
            let answer = client.read(offset, len);
            assert_eq!((answer.errno(), answer.error_at()), (EIO, Some(256 * KIB)), "{offset}+{len}");
            // The data before the error is right.
            let before = answer.bytes();
            assert!(before == data(offset..offset + before.len() as u64));
        }
        assert!(client.read(0, 256 * KIB).bytes() == data(0..256 * KIB));
        assert!(client.read(320 * KIB, 256 * KIB).bytes() == data(320 * KIB..576 * KIB));
    }
}

#[test]
fn damage_in_a_df_read_is_the_only_chunk() {
    let mut client = usual("damaged", ReplyMode::Structured);
    let answer = client.call(command::READ, flag::DF, 200 * KIB, 128 * KIB);
    assert_eq!(answer.chunks, [Chunk::Error { errno: EIO, at: Some(256 * KIB) }]);
}

#[test]
fn damage_does_not_touch_other_requests() {
    for mode in MODES {
        let mut client = usual("damaged", mode);
        let offsets = (0..32).flat_map(|at| [260 * KIB, at * KIB]);
        let all: Vec<u8> = offsets.flat_map(|at| client.request(command::READ, 0, at, KIB)).collect();
        client.send(&all);
        let mut good = 0;
        for _ in 0..64 {
            let answer = client.answer();
            match answer.errno() {
                0 => good += usize::from(answer.bytes().len() == KIB as usize),
                errno => assert_eq!(errno, EIO),
            }
        }
        assert_eq!(good, 32, "{mode:?}");
    }
}

/// Creates a disk whose first mebibyte waits at a gate.
fn gated() -> (Gate, Shelf) {
    let gate = Gate::default();
    let disk = TestDisk::new().and(Part::Slow(gate.clone()), MIB).and(Part::Data, MIB);
    (gate, Shelf::only("disk", disk))
}

#[test]
fn slow_read_does_not_hold_back_a_later_one() {
    for mode in MODES {
        let (gate, shelf) = gated();
        let mut client = reading(&server(shelf), "disk", mode);
        let slow = client.request(command::READ, 0, 0, 4096);
        let fast = client.request(command::READ, 0, MIB, 4096);
        client.send(&[slow, fast].concat());
        assert!(client.answer().bytes() == data(MIB..MIB + 4096), "{mode:?}");
        gate.open();
        assert!(client.answer().bytes() == data(0..4096), "{mode:?}");
    }
}

#[test]
fn slow_reads_do_not_hold_back_one_for_which_there_is_a_helper() {
    // The state of a helper that was called varies from run to run.
    for _ in 0..50 {
        let (gate, shelf) = gated();
        let mut client = reading(&server(shelf), "disk", ReplyMode::Structured);
        let send = |client: &mut Client, offsets: &[u64]| {
            let read = |offset: &u64| client.request(command::READ, 0, *offset, 4096);
            let requests: Vec<u8> = offsets.iter().flat_map(read).collect();
            client.send(&requests);
        };
        // After this, one or two helpers are idle; the maximum is four.
        send(&mut client, &[MIB, MIB + 4096]);
        client.answer();
        client.answer();
        send(&mut client, &[0, 4096, 8192, MIB]);
        assert!(client.answer().bytes() == data(MIB..MIB + 4096));
        gate.open();
        (0..3).for_each(|_| assert_eq!(client.answer().bytes().len(), 4096));
    }
}

#[test]
fn disconnect_comes_after_replies_that_are_under_way() {
    for mode in MODES {
        let (gate, shelf) = gated();
        let mut client = reading(&server(shelf), "disk", mode);
        let mut all: Vec<u8> =
            (0..3).flat_map(|at| client.request(command::READ, 0, at * 4096, 4096)).collect();
        all.extend(client.request(command::DISC, 0, 0, 0));
        client.send(&all);
        gate.open();
        let mut found: Vec<u64> = (0..3).map(|_| client.answer().cookie).collect();
        found.sort_unstable();
        assert_eq!(found, [1, 2, 3]);
        client.is_closed();
        client.ends();
    }
}

#[test]
fn disconnect_has_no_reply() {
    for mode in MODES {
        let mut client = usual("plain", mode);
        client.ask(command::DISC, 0, 0, 0);
        client.is_closed();
    }
}

#[test]
fn requests_behind_a_disconnect_are_not_answered() {
    let mut client = usual("held", ReplyMode::Structured);
    let gone = client.request(command::DISC, 0, 0, 0);
    let late = client.request(command::READ, 0, 0, 512);
    client.send(&[gone, late].concat());
    client.is_closed();
}

#[test]
fn thousands_of_requests_at_once_are_all_answered_once() {
    for (export, mode) in [("plain", ReplyMode::Simple), ("held", ReplyMode::Extended)] {
        let mut client = usual(export, mode);
        let all: Vec<u8> =
            (0..5000).flat_map(|at| client.request(command::READ, 0, at * 512 % MIB, 512)).collect();
        let mut other = client.stream.try_clone().unwrap();
        let sender = std::thread::spawn(move || std::io::Write::write_all(&mut other, &all).unwrap());
        let mut found: Vec<u64> = Vec::new();
        for _ in 0..5000 {
            let answer = client.answer();
            let offset = (answer.cookie - 1) * 512 % MIB;
            assert!(answer.bytes() == data(offset..offset + 512));
            found.push(answer.cookie);
        }
        sender.join().unwrap();
        found.sort_unstable();
        assert!(found.into_iter().eq(1..=5000));
    }
}
