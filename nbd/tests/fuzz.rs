//! Corrupted conversations. The protocol's pure code must survive them all, in bounded time and
//! memory, and never send anything that the protocol forbids.
//!
//! `MELV_CASES` sets the number of cases, `MELV_SEED` the first seed.

#![allow(clippy::big_endian_bytes, reason = "so is the protocol")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use melv_nbd::TlsPolicy;
use melv_testing::Rng;
use melv_testing::nbd::talk::bench::{Bench, Talked};
use melv_testing::nbd::talk::model::Wrong;
use melv_testing::nbd::talk::script;
use melv_testing::nbd::{MIB, resident_bytes};

const CASES: u64 = 20_000;
const CASE_TIME_MAX: Duration = Duration::from_secs(2);
const MEMORY_MAX: u64 = 256 * MIB;
const WRONG_MAX: usize = 20;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// The results of all conversations.
#[derive(Default)]
struct Tally {
    conversations: u64,
    talked: Talked,
    wrong: Vec<String>,
    slowest: Duration,
}

fn conversation(bench: &Bench, seed: u64, talked: &mut Talked) -> Result<(), Wrong> {
    let mut rng = Rng::new(seed);
    let said = script::conversation(&mut rng, &bench.places);
    let policy =
        if rng.one_in(12) { TlsPolicy::Required } else { rng.pick(&[TlsPolicy::Off, TlsPolicy::Allowed]) };
    bench.talk(&said, policy, &mut rng, talked)
}

#[test]
fn changed_conversations_get_no_reply_that_the_protocol_forbids() {
    let (cases, first) = (number("MELV_CASES", CASES), number("MELV_SEED", 1));
    let (bench, mut tally) = (Bench::new(), Tally::default());
    let begun = Instant::now();
    for seed in first..first + cases {
        let case = Instant::now();
        let done = catch_unwind(AssertUnwindSafe(|| conversation(&bench, seed, &mut tally.talked)));
        let wrong = done.unwrap_or_else(|_| Err("a panic".into())).err();
        tally.conversations += 1;
        tally.slowest = tally.slowest.max(case.elapsed());
        tally.wrong.extend(wrong.map(|wrong| format!("seed {seed}: {wrong}")));
        if tally.wrong.len() >= WRONG_MAX {
            break;
        }
    }
    println!(
        "{} conversations in {:.1} s, {} with a disk, {} requests, {} bytes of handshakes, errors {:?}, \
         slowest {:?}, {} MiB of memory, {} wrong",
        tally.conversations,
        begun.elapsed().as_secs_f64(),
        tally.talked.begun,
        tally.talked.requests,
        tally.talked.options_len,
        tally.talked.errors,
        tally.slowest,
        resident_bytes() >> 20,
        tally.wrong.len(),
    );
    assert!(tally.wrong.is_empty(), "{:#?}", tally.wrong);
    assert!(tally.slowest < CASE_TIME_MAX, "a conversation took {:?}", tally.slowest);
    assert!(resident_bytes() < MEMORY_MAX, "{} bytes of memory", resident_bytes());
    // The conversations were useful: most reached their requests, which met all kinds of results.
    assert!(
        tally.talked.begun > cases / 4 && tally.talked.requests > cases / 4,
        "{} {}",
        tally.talked.begun,
        tally.talked.requests
    );
    assert!(
        [0, 1, 5, 22].iter().all(|errno| tally.talked.errors.contains_key(errno)),
        "{:?}",
        tally.talked.errors
    );
}
