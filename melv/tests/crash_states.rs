//! Power loss at every change that a run of operations makes to the disk. Acknowledged data is there and
//! right, the rest is there whole or not at all, and its space is reclaimed.
//!
//! The disk is modelled below the code that syncs. `MELV_CRASH_STATES=N` adds random runs until N distinct
//! states were seen.

#[path = "crash_states/disks.rs"]
mod disks;
#[path = "crash_states/history.rs"]
mod history;
#[path = "crash_states/oracle.rs"]
mod oracle;
#[path = "crash_states/run.rs"]
mod run;

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use disks::Disks;
use melv::storage::model::{ModelFs, Names, SyncPoint};
use melv_testing::{Rng, on_threads};
use oracle::{Kind, RuleViolation, check, hash_of};
use run::{STEPS, Step, Workload};

/// The thoroughness of crashing a workload.
#[derive(Debug, Clone, Copy)]
struct Depth {
    /// One moment in this many is crashed.
    every: u64,
    /// The states made of each moment.
    states: u64,
}

/// The results so far.
#[derive(Debug, Default)]
struct Tally {
    counted: Mutex<HashSet<u64>>,
    checked: Mutex<HashSet<u64>>,
    made: AtomicU64,
    lost: AtomicU64,
    half: AtomicU64,
    unusable: AtomicU64,
    /// Faults by kind: the count and the first occurrence.
    kinds: Mutex<BTreeMap<String, (u64, String)>>,
}

impl Tally {
    fn distinct(&self) -> usize {
        self.counted.lock().expect("counted").len()
    }

    fn add(&self, fault: &RuleViolation, place: &str) {
        match fault.kind {
            Kind::Lost => &self.lost,
            Kind::Half => &self.half,
            Kind::Unusable => &self.unusable,
        }
        .fetch_add(1, Ordering::Relaxed);
        // Most faults are alike except for names and numbers.
        let kind: String = fault.to_string().chars().filter(|char| !char.is_ascii_digit()).take(60).collect();
        let mut kinds = self.kinds.lock().expect("kinds");
        kinds.entry(kind).or_insert_with(|| (0, format!("{fault}\n    {place}"))).0 += 1;
    }

    fn faults(&self) -> u64 {
        [&self.lost, &self.half, &self.unusable].iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

/// Runs a workload and crashes it. Returns the number of the state with the first fault.
fn crash(
    workload: &Workload,
    disks: &Disks,
    depth: Depth,
    broken: impl Fn(ModelFs) -> ModelFs,
    tally: &Tally,
) -> Option<u64> {
    let mut rng = Rng::new(workload.seed ^ 0x5eed);
    let mut states = 0;
    for (number, (moment, promise)) in workload.run(disks, broken).into_iter().enumerate() {
        if rng.below(depth.every) != 0 {
            continue;
        }
        for _ in 0..depth.states {
            let seed = rng.next();
            let machine = moment.crash(seed);
            tally.made.fetch_add(1, Ordering::Relaxed);
            let state = machine.moment();
            tally.counted.lock().expect("counted").insert(hash_of(&state));
            let mut hasher = DefaultHasher::new();
            (state.hash(|_| true), &promise).hash(&mut hasher);
            if !tally.checked.lock().expect("checked").insert(hasher.finish()) {
                continue;
            }
            states += 1;
            if let Err(fault) = check(&machine, &promise, disks, seed.is_multiple_of(16)) {
                tally.add(&fault, &format!("{workload:?}, moment {number}, crash {seed:#x}, {promise:?}"));
                return Some(states);
            }
        }
    }
    None
}

/// Calls `work` with each number below `count`, on up to four cores, until it returns false.
fn on_both_cores(count: usize, work: impl Fn(usize) -> bool + Sync) {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                on_threads(1, || {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count || !work(number) {
                            next.fetch_max(count, Ordering::Relaxed);
                            return;
                        }
                    }
                });
            });
        }
    });
}

/// Returns workload `number` of the 512 of three operations.
fn of_three(number: usize, names: Names, round: u64) -> Workload {
    let steps = vec![STEPS[number / 64], STEPS[number / 8 % 8], STEPS[number % 8]];
    let seed = round * 1024 + number as u64;
    let mut rng = Rng::new(seed ^ 0xabcd);
    // Half of them with a killed process, an eighth from an empty store.
    let kill = (rng.below(2) == 0).then(|| (rng.below(3) as usize, rng.below(90)));
    Workload { names, steps, seed, is_filled: rng.below(8) != 0, kill }
}

fn at_random(number: u64, names: Names) -> Workload {
    let mut rng = Rng::new(number ^ 0x00c0_ffee);
    let count = 2 + rng.below(4);
    let steps = (0..count).map(|_| STEPS[rng.below(8) as usize]).collect();
    let kill = (rng.below(3) != 0).then(|| (rng.below(count) as usize, rng.below(90)));
    Workload { names, steps, seed: number, is_filled: rng.below(8) != 0, kill }
}

fn report(tally: &Tally) {
    let kinds = tally.kinds.lock().expect("kinds");
    let told: Vec<_> = kinds.values().map(|(count, first)| format!("{count} times: {first}\n")).collect();
    assert!(told.is_empty(), "{} faults:\n{}", tally.faults(), told.concat());
}

#[test]
fn three_operations_survive_a_loss_of_power_at_any_moment() {
    let disks = Disks::new();
    let tally = Tally::default();
    let depth = Depth { every: 6, states: 1 };
    on_both_cores(1024, |number| {
        let names = if number.is_multiple_of(2) { Names::Ordered } else { Names::Loose };
        crash(&of_three(number / 2, names, 0), &disks, depth, |fs| fs, &tally);
        true
    });
    report(&tally);
    println!("{} states, {} distinct", tally.made.load(Ordering::Relaxed), tally.distinct());
    assert!(tally.distinct() > 5000, "only {} states", tally.distinct());
}

/// Runs the whole search: `make check-crash`.
#[test]
#[ignore = "takes minutes: make check-crash"]
fn check_crash() {
    let wanted =
        std::env::var("MELV_CRASH_STATES").ok().and_then(|text| text.parse().ok()).unwrap_or(300_000);
    let disks = Disks::new();
    let tally = Tally::default();
    let began = Instant::now();
    let depth = Depth { every: 1, states: 2 };
    let exhaustive = AtomicU64::new(0);
    let names = |number: usize| if number.is_multiple_of(2) { Names::Ordered } else { Names::Loose };
    on_both_cores(1024, |number| {
        let found = crash(&of_three(number / 2, names(number), 1), &disks, depth, |fs| fs, &tally);
        exhaustive.fetch_add(u64::from(found.is_none()), Ordering::Relaxed);
        true
    });
    on_both_cores(usize::MAX / 2, |number| {
        crash(&at_random(number as u64, names(number)), &disks, depth, |fs| fs, &tally);
        tally.distinct() < wanted && tally.faults() < 20
    });
    let row = |name: &str, value: u64, must: &str, is_ok: bool| {
        println!("{name:<28} {value:>10}  must {must:<12} {}", if is_ok { "ok" } else { "short" });
    };
    let distinct = tally.distinct() as u64;
    let checked = tally.checked.lock().expect("checked").len() as u64;
    let [lost, half, unusable] =
        [&tally.lost, &tally.half, &tally.unusable].map(|count| count.load(Ordering::Relaxed));
    row("crash_states_distinct", distinct, &format!(">= {wanted}"), distinct >= wanted as u64);
    row("crash_lost", lost, "0", lost == 0);
    row("crash_half", half, "0", half == 0);
    row("crash_unusable", unusable, "0", unusable == 0);
    let exhaustive = exhaustive.into_inner();
    row("crash_exhaustive", exhaustive, "1024", exhaustive == 1024);
    row("crash_states_per_second", checked * 1000 / began.elapsed().as_millis().max(1) as u64, "-", true);
    report(&tally);
    assert!(distinct >= wanted as u64 && exhaustive == 1024);
}

/// Returns first imports into nothing, killed after each of their changes. The next process must make a store
/// that lasts, regardless of the dead one's folders.
fn firsts(names: Names) -> impl Iterator<Item = Workload> {
    (0..140).map(move |changes| {
        let steps = vec![Step::Import, Step::Import];
        Workload { names, steps, seed: 77, is_filled: false, kill: Some((0, changes)) }
    })
}

#[test]
fn a_store_that_a_dead_process_began_lasts_once_something_is_acknowledged() {
    let disks = Disks::new();
    let tally = Tally::default();
    on_both_cores(280, |number| {
        let names = if number.is_multiple_of(2) { Names::Ordered } else { Names::Loose };
        let workload = firsts(names).nth(number / 2).expect("one of them");
        crash(&workload, &disks, Depth { every: 3, states: 1 }, |fs| fs, &tally);
        true
    });
    report(&tally);
}

/// Returns the number of changes that a step makes at most before it is done.
const CHANGES_OF_A_NAME: u64 = 24;

/// Returns names given, replaced and removed, killed after each of their changes, then another writer of any
/// kind. In half of them, the first writer lives and the second one is killed.
fn of_names(number: usize, names: Names) -> Workload {
    const SECOND: [Step; 4] = [Step::Tag, Step::Remove, Step::Import, Step::Load];
    let (number, kill) = (number / CHANGES_OF_A_NAME as usize, number as u64 % CHANGES_OF_A_NAME);
    let (number, second) = (number / SECOND.len(), SECOND[number % SECOND.len()]);
    let (number, first) = (number / 2, [Step::Tag, Step::Remove][number % 2]);
    let (seed, is_late) = (number / 2, number % 2 == 1);
    let steps = if is_late { vec![Step::Tag, first, second] } else { vec![first, second] };
    Workload { names, steps, seed: seed as u64, is_filled: true, kill: Some((usize::from(is_late), kill)) }
}

/// The number of workloads of `of_names` for each seed.
const OF_NAMES: usize = CHANGES_OF_A_NAME as usize * 4 * 2 * 2;

#[test]
fn a_name_given_replaced_or_removed_survives_a_kill_and_a_loss_of_power_at_any_moment() {
    let disks = Disks::new();
    let tally = Tally::default();
    on_both_cores(4 * OF_NAMES, |number| {
        let names = if number.is_multiple_of(2) { Names::Ordered } else { Names::Loose };
        crash(&of_names(number / 2, names), &disks, Depth { every: 3, states: 1 }, |fs| fs, &tally);
        true
    });
    report(&tally);
    println!("{} states, {} distinct", tally.made.load(Ordering::Relaxed), tally.distinct());
    assert!(tally.distinct() > 1000, "only {} states", tally.distinct());
}

/// Leaves out one sync after the other: each time data is lost, and a check notices.
#[test]
fn every_sync_is_missed_if_it_is_left_out() {
    let points = [
        SyncPoint::Object,
        SyncPoint::Target,
        SyncPoint::Chain,
        SyncPoint::AboveRoot,
        SyncPoint::MadePlace,
        SyncPoint::AbovePlace,
        SyncPoint::Removal,
        SyncPoint::Settle,
    ];
    let disks = Disks::new();
    for point in points {
        let tally = Tally::default();
        let found: Arc<Mutex<Option<String>>> = Arc::default();
        let begun = AtomicU64::new(0);
        on_both_cores(4000, |number| {
            let workload = match number {
                0..140 => firsts(Names::Loose).nth(number).expect("one of them"),
                _ if number.is_multiple_of(2) => of_three(number % 512, Names::Loose, number as u64 / 512),
                _ => at_random(number as u64, Names::Loose),
            };
            begun.fetch_add(1, Ordering::Relaxed);
            let depth = Depth { every: 1, states: 2 };
            if let Some(states) = crash(&workload, &disks, depth, |fs| fs.without(point), &tally) {
                let mut found = found.lock().expect("found");
                found.get_or_insert_with(|| {
                    format!("after {states} states of {:?}, seed {}", workload.steps, workload.seed)
                });
                return false;
            }
            found.lock().expect("found").is_none()
        });
        let (found, begun) = (found.lock().expect("found").take(), begun.into_inner());
        let made = tally.made.load(Ordering::Relaxed);
        let kinds = tally.kinds.lock().expect("kinds");
        let what =
            kinds.values().next().and_then(|(_, first)| first.lines().next()).unwrap_or_default().to_owned();
        println!(
            "{point:?}: workload {begun}, {made} states in all, {found:?}: {}",
            what.rsplit("}: ").next().unwrap_or_default()
        );
        assert!(found.is_some(), "{point:?}: nobody notices that it is left out");
    }
}
