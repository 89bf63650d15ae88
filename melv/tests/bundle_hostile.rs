//! Malformed bundles, from single bit flips to forgeries with every digest recomputed. They are refused or
//! read as they claim, in bounded time and memory. An image with its original id reads its original bytes.
//!
//! `MELV_CASES` sets the number of cases.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use melv::digest::{ImageId, object_digest};
use melv::ondisk::bundle::{HEAD_LEN, Object, ObjectKind, Piece};
use melv::ondisk::list::{ListRoot, ListShape};
use melv::{BlockDevice, Digest, Error, ErrorKind, Images, StoreError, StoreErrors, VerifyOptions};
use melv_testing::Rng;
use melv_testing::hostile::forge::{CHOICES, Site, set_field, sites};
use melv_testing::hostile::model::{Model, Sound, open, read, sound};

const CASES: u64 = 20_000;
const CASE_TIME_MAX: Duration = Duration::from_secs(1);
const MEMORY_MAX_KIB: u64 = 256 << 10;

fn cases() -> u64 {
    std::env::var("MELV_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES)
}

/// The results of the cases.
#[derive(Default)]
struct Tally {
    cases: u64,
    /// Cases by the outcome of opening and reading.
    outcomes: BTreeMap<String, u64>,
    slowest: (Duration, String),
    wrong: Vec<String>,
}

/// Whether an error describes a fault of the bundle, not a failure of the system.
fn is_typed(error: &Error) -> bool {
    error.is_damage()
        || error.is_not_found()
        || matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Invalid | ErrorKind::Limit)
}

fn outcome_of(error: &Error) -> Result<String, String> {
    if !is_typed(error) {
        return Err(format!("not typed: {error:?}"));
    }
    Ok(match error.detail() {
        Some(StoreError::Corrupt { fault, .. }) => fault.rule().to_owned(),
        Some(StoreError::DigestMismatch { .. }) => "chunk-id".into(),
        Some(StoreError::BaseMissing { .. }) => "base-missing".into(),
        _ if error.kind() == ErrorKind::Unsupported => "unsupported".into(),
        _ => format!("{error:?}").chars().take_while(|char| char.is_alphanumeric()).collect(),
    })
}

/// Opens a bundle, then reads and verifies all of it. A broken promise is the error.
fn try_bundle(bytes: Vec<u8>, sound: &Sound) -> Result<String, String> {
    let store = match open(bytes, sound.base.as_ref()) {
        Ok(store) => store,
        Err(error) => return outcome_of(&error),
    };
    let read = read_all(&store, sound)?;
    let report = store.verify(&[], &VerifyOptions { full: true, ..Default::default() });
    let verified = match &report {
        Ok(report) => report.damaged.is_empty(),
        Err(error) => outcome_of(error).map(|_| false)?,
    };
    match (verified, &read) {
        (true, Err(outcome)) => Err(format!("verify finds nothing, reading finds {outcome}")),
        (_, Err(outcome)) => Ok(outcome.clone()),
        (verified, Ok(())) => Ok(if verified { "sound".into() } else { "reads".into() }),
    }
}

/// Reads all images; the inner error is the outcome of a refusal.
fn read_all(store: &Images, sound: &Sound) -> Result<Result<(), String>, String> {
    let images = match store.image_refs() {
        Ok(images) => images,
        Err(error) => return outcome_of(&error).map(Err),
    };
    let mut refused = Ok(());
    for reference in &images {
        let bytes = store.image(reference).and_then(|image| read(&image).map(|bytes| (image, bytes)));
        match bytes {
            Ok((image, bytes)) => {
                let expected = sound.disks.get(&image.id());
                if expected.is_some_and(|disk| *disk != bytes) {
                    return Err(format!("image {} of {} bytes reads wrong bytes", image.id(), image.size()));
                }
            }
            Err(error) => refused = Err(outcome_of(&error)?),
        }
    }
    Ok(refused)
}

impl Tally {
    /// Runs one case; `what` describes how to reproduce it.
    fn case(&mut self, bytes: Vec<u8>, sound: &Sound, what: impl Fn() -> String) {
        let start = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| try_bundle(bytes, sound)));
        let taken = start.elapsed();
        self.cases += 1;
        let wrong = match outcome {
            Ok(Ok(outcome)) => {
                *self.outcomes.entry(outcome).or_default() += 1;
                (taken > CASE_TIME_MAX).then(|| format!("took {taken:?}"))
            }
            Ok(Err(wrong)) => Some(wrong),
            Err(_) => Some("panicked".into()),
        };
        if taken > self.slowest.0 {
            self.slowest = (taken, format!("{}: {}", sound.name, what()));
        }
        if let Some(wrong) = wrong.filter(|_| self.wrong.len() < 20) {
            self.wrong.push(format!("{}: {}: {wrong}", sound.name, what()));
        }
    }

    /// Prints the figures and checks them against the promises.
    fn end(self, name: &str) {
        println!("{name}: {} cases, slowest {:?} ({})", self.cases, self.slowest.0, self.slowest.1);
        println!("{name}: {:?}", self.outcomes);
        assert!(self.wrong.is_empty(), "{:#?}", self.wrong);
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|peak| peak.trim().split(' ').next()?.parse::<u64>().ok());
        println!("{name}: peak memory {peak:?} KiB");
        assert!(peak.is_none_or(|peak| peak <= MEMORY_MAX_KIB), "{peak:?} KiB");
    }
}

// ---- changes -----------------------------------------------------------------------------

/// Changes bytes anywhere, with no digest recomputed.
fn damage(sound: &Sound, rng: &mut Rng) -> Vec<u8> {
    let mut bytes = sound.bytes.clone();
    let at = rng.below(bytes.len() as u64) as usize;
    match rng.below(5) {
        0 => bytes.truncate(at),
        1 => bytes.extend((0..1 + rng.below(600)).map(|_| 0)),
        2 => {
            let len = (rng.below(600) as usize).min(bytes.len() - at);
            bytes[at..at + len].fill(0);
        }
        _ => (0..1 + rng.below(4)).for_each(|_| {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << rng.below(8);
        }),
    }
    bytes
}

/// Changes fields of the objects, mostly with all digests above them recomputed.
fn forge_objects(sound: &Sound, sites: &[Site], rng: &mut Rng) -> Vec<u8> {
    let mut model = sound.model.clone();
    for _ in 0..1 + rng.below(2) {
        let site = &sites[rng.below(sites.len() as u64) as usize];
        let object = model.table.objects[site.object].clone();
        let Some(mut bytes) = model.gather(&object, site.at, site.len) else { continue };
        // Mostly near the start, where the fields are; large tables are uniform.
        let near = (bytes.len() as u64).min(if rng.below(4) == 0 { u64::MAX } else { 400 });
        let at = rng.below(near) as usize;
        let (at, width) = [(at, 1), (at / 4 * 4, 4), (at / 4 * 4, 8)][rng.below(3) as usize];
        set_field(&mut bytes, at, width, rng.next(), rng);
        model.scatter(&object, site.at, &bytes);
    }
    if rng.below(8) > 0 {
        model.put_right(&sound.model, sites);
    }
    model.bytes()
}

/// Changes pieces and entries of the table, within its encoding.
fn forge_table(sound: &Sound, rng: &mut Rng) -> Vec<u8> {
    let mut model = sound.model.clone();
    for _ in 0..1 + rng.below(2) {
        forge_entry(&mut model, rng);
    }
    if rng.below(2) == 0 {
        model.table.objects.sort_by_key(|object| (object.kind, object.id));
    }
    model.bytes()
}

fn forge_entry(model: &mut Model, rng: &mut Rng) {
    let mut some = |len: usize| rng.below(len.max(1) as u64) as usize;
    let table = &mut model.table;
    if table.objects.is_empty() {
        return;
    }
    let (one, other) = (some(table.objects.len()), some(table.objects.len()));
    let pieces = table.objects[one].pieces.len();
    let (piece, number) = (some(pieces), [0, 1, 2, 511, 513, 4096, 1 << 20, 1 << 40, u64::MAX - 1][some(9)]);
    match some(14) {
        0 => table.objects.swap(one, other),
        1 => table.objects.insert(one, table.objects[other].clone()),
        2 => drop(table.objects.remove(one)),
        3 => table.objects[one].id = table.objects[other].id,
        4 => table.objects[one].len = number,
        5 => table.objects[one].len = table.objects[one].len.wrapping_add(number),
        6 => {
            // Two objects in each other's place: consistent if their lengths are equal.
            let pieces = std::mem::take(&mut table.objects[one].pieces);
            let others = std::mem::replace(&mut table.objects[other].pieces, pieces);
            table.objects[one].pieces = others;
        }
        7 => table.objects[one].kind = [ObjectKind::Record, ObjectKind::List, ObjectKind::Locator][some(3)],
        8 if pieces > 0 => {
            // One piece as two: still sound.
            let whole = table.objects[one].pieces[piece];
            let cut = 1 + some(whole.len.saturating_sub(1).min(1 << 20) as usize) as u64;
            if cut < whole.len {
                table.objects[one].pieces[piece].len = cut;
                let (at, offset) = (whole.at.wrapping_add(cut), whole.offset.wrapping_add(cut));
                let rest = Piece { at, offset, len: whole.len - cut };
                table.objects[one].pieces.insert(piece + 1, rest);
            }
        }
        9 if pieces > 0 => table.objects[one].pieces[piece].at = number,
        10 if pieces > 0 => table.objects[one].pieces[piece].len = number,
        11 if pieces > 0 => {
            let again = table.objects[one].pieces[piece];
            table.objects[one].pieces.push(again);
        }
        12 => table.names.push((["a:b", "z:z", "z", "A:1", "a:b:c"][some(5)].into(), number as u32)),
        _ => table.bases.push(ImageId::new(table.objects[other].id)),
    }
}

/// Shifts pieces of a list or locator so that bytes are absent; the object grows by as much, or twice.
fn forge_absence(sound: &Sound, rng: &mut Rng) -> Vec<u8> {
    let mut model = sound.model.clone();
    let objects = &mut model.table.objects;
    let may_lack = |kind| matches!(kind, ObjectKind::List | ObjectKind::Locator);
    let chosen: Vec<_> = (0..objects.len()).filter(|number| may_lack(objects[*number].kind)).collect();
    let Some(&number) = chosen.get(rng.below(chosen.len().max(1) as u64) as usize) else {
        return model.bytes();
    };
    let shift = [1, 8, 24, 32, 1 << 15, 1 << 20, 1 << 32, 1 << 60][rng.below(8) as usize];
    let from = rng.below(objects[number].pieces.len() as u64) as usize;
    objects[number].pieces[from..].iter_mut().for_each(|piece| piece.at += shift);
    objects[number].len += if rng.below(4) == 0 { 2 * shift } else { shift };
    if rng.below(2) == 0 {
        model.put_right(&sound.model, &[]);
    }
    model.bytes()
}

/// Sets a field of head or table, under valid digests.
fn forge_field(sound: &Sound, at: usize, width: usize, choice: u64, rng: &mut Rng) -> Vec<u8> {
    let head_len = HEAD_LEN as usize;
    if at < head_len {
        let mut bytes = sound.bytes.clone();
        set_field(&mut bytes[..head_len - 32], at, width, choice, rng);
        let checksum = object_digest(&bytes[..head_len - 32]);
        bytes[head_len - 32..head_len].copy_from_slice(&checksum.0);
        return bytes;
    }
    let mut table = sound.model.table.encode();
    set_field(&mut table, at - head_len, width, choice, rng);
    sound.model.with_table(&table)
}

// ---- promises ----------------------------------------------------------------------------

#[test]
fn every_field_of_head_and_table_may_be_anything() {
    let all = sound();
    let mut fields: Vec<(&Sound, usize, usize, u64)> = Vec::new();
    for sound in &all {
        let (head, table) = ((0..100).step_by(4), 512..512 + sound.model.head.table_len as usize);
        for at in head.chain(table.step_by(4)) {
            fields.extend((0..CHOICES).flat_map(|choice| [(sound, at, 4, choice), (sound, at, 8, choice)]));
        }
    }
    let mut tally = Tally::default();
    let mut rng = Rng::new(2027);
    // An odd step covers all choices and widths.
    let step = (fields.len() as u64).div_ceil(cases() / 2).max(1) as usize | 1;
    for (sound, at, width, choice) in fields.into_iter().step_by(step) {
        let bytes = forge_field(sound, at, width, choice, &mut rng);
        tally.case(bytes, sound, || format!("byte {at}, {width} bytes, choice {choice}"));
    }
    tally.end("fields");
}

#[test]
fn any_change_is_survived_and_no_image_reads_other_bytes() {
    let all: Vec<_> = sound().into_iter().map(|sound| (sites(&sound.model), sound)).collect();
    let mut tally = Tally::default();
    for seed in 0..cases() / 2 {
        let mut rng = Rng::new(seed + 1);
        let (sites, sound) = &all[rng.below(all.len() as u64) as usize];
        let (what, bytes) = match rng.below(8) {
            0 => ("damage", damage(sound, &mut rng)),
            1 | 2 => ("table", forge_table(sound, &mut rng)),
            3 => ("absence", forge_absence(sound, &mut rng)),
            _ => ("objects", forge_objects(sound, sites, &mut rng)),
        };
        tally.case(bytes, sound, || format!("seed {seed}, {what}"));
    }
    tally.end("changes");
}

/// Tests a list that no image uses, with the maximum number of chunks and nearly all bytes absent.
#[test]

fn a_huge_list_that_is_not_there_costs_little() {
    let all = sound();
    let sound = all.iter().find(|sound| sound.name == "whole.bundle").expect("the vector");
    let pages = vec![Digest([7; 32]); 1 << 14];
    let root = ListRoot { shape: ListShape { chunk_blocks: 1, blocks: 1 << 24 }, pages }.encode();
    let mut model = sound.model.clone();
    let ended = [&root[..], &(root.len() as u64).to_le_bytes()].concat();
    let piece = Piece { at: 32 << 24, offset: HEAD_LEN + model.body.len() as u64, len: ended.len() as u64 };
    let (id, len) = (object_digest(&root), piece.at + piece.len);
    model.body.extend(ended);
    model.table.objects.push(Object { kind: ObjectKind::List, id, len, pieces: vec![piece] });
    model.table.objects.sort_by_key(|object| (object.kind, object.id));
    let mut tally = Tally::default();
    tally.case(model.bytes(), sound, || "a list of 2^24 chunks".into());
    tally.end("huge list");
}

#[test]
fn a_forger_who_changes_nothing_is_not_noticed() {
    for sound in sound() {
        let sites = sites(&sound.model);
        let mut model = sound.model.clone();
        model.put_right(&sound.model, &sites);
        assert!(model.bytes() == sound.bytes, "{}", sound.name);
        assert!(matches!(try_bundle(sound.bytes.clone(), &sound).as_deref(), Ok("sound")), "{}", sound.name);
    }
}
