//! NBD conversations: whatever the client sends, the server sends nothing that the protocol forbids.

use std::cell::OnceCell;

use melv_nbd::TlsPolicy;
use melv_nbd::wire::{OPTION_MAGIC, Put, option};

use melv_testing::Rng;
use melv_testing::nbd::talk::bench::{Bench, Talked};
use melv_testing::nbd::talk::script;

/// Runs a whole conversation.
fn talk(said: &[u8], policy: TlsPolicy, seed: u64) {
    thread_local! {
        // A socket pair and a disk, made once and never changed.
        static BENCH: OnceCell<Bench> = const { OnceCell::new() };
    }
    BENCH.with(|bench| {
        let bench = bench.get_or_init(Bench::new);
        let done = bench.talk(said, policy, &mut Rng::new(seed), &mut Talked::default());
        assert!(done.is_ok(), "{done:?}");
    });
}

/// Fuzzes whole conversations. Input: TLS policy and splitting of bytes, then the client's bytes.
pub fn nbd_handshake(data: &[u8]) {
    let Some((&first, said)) = data.split_first() else { return };
    let policies = [TlsPolicy::Off, TlsPolicy::Allowed, TlsPolicy::Required];
    talk(said, policies[usize::from(first) % 3], u64::from(first));
}

/// Fuzzes requests after a sound handshake. Input: the negotiated options, then the bytes of the requests.
pub fn nbd_requests(data: &[u8]) {
    let Some((&first, requests)) = data.split_first() else { return };
    talk(&[&handshake(first), requests].concat(), TlsPolicy::Off, u64::from(first));
}

/// Returns the client's part of a handshake for the disk, with reply mode and contexts by `choice`.
fn handshake(choice: u8) -> Vec<u8> {
    let mut said = Vec::new();
    let mut put = |number: u32, data: &[u8]| {
        said.put_u64(OPTION_MAGIC);
        said.put_u32(number);
        said.put_u32(data.len() as u32);
        said.put(data);
    };
    match choice % 3 {
        1 => put(option::STRUCTURED_REPLY, &[]),
        2 => put(option::EXTENDED_HEADERS, &[]),
        _ => {}
    }
    let text = |text: &str| [&(text.len() as u32).to_be_bytes(), text.as_bytes()].concat();
    let contexts = [&["base:allocation"][..], &["x-melv:depth"], &["base:allocation", "x-melv:depth"]];
    if let Some(contexts) = contexts.get(usize::from(choice / 3 % 4)).filter(|_| !choice.is_multiple_of(3)) {
        let names: Vec<u8> = contexts.iter().flat_map(|name| text(name)).collect();
        put(
            option::SET_META_CONTEXT,
            &[&text("disk")[..], &(contexts.len() as u32).to_be_bytes(), &names].concat(),
        );
    }
    put(option::GO, &[&text("disk")[..], &[0, 0]].concat());
    [&3u32.to_be_bytes(), &said[..]].concat()
}

/// Returns all client bytes of the test conversation with number `seed`.
#[must_use]
pub fn scripted(seed: u64) -> Vec<u8> {
    script::conversation(&mut Rng::new(seed), &Bench::new().places)
}
