//! Runs a plan of reads against a disk and reports the time and a hash of the data.
//!
//! ```text
//! drive PLAN melv STORE NAME THREADS        in this process, through the library
//! drive PLAN file PATH readahead|random     a raw file, or one in a mounted image
//! drive PLAN file PATH cold                 the same, random, its pages dropped before each read
//! drive PLAN nbd SOCKET EXPORT DEPTH        from an NBD server, DEPTH reads under way at once
//! ```
//!
//! A plan is a text file with a line `OFFSET LENGTH` for each read, in order; `#` begins a comment. The data
//! is kept, and hashed in plan order after the clock has stopped. Two runs of one plan read the same data if
//! their hashes are equal. A latency runs from issuing a read until its last byte arrives. The time of a cold
//! run is the sum of its latencies, without the dropping of pages.

use std::fs::File;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use melv::{BlockDevice, Cache, Store, StoreOptions};
use melv_benches::nbd::Client;
use rustix::fs::{Advice, fadvise};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const USAGE: &str = "usage: drive PLAN melv STORE NAME THREADS | PLAN file PATH readahead|random|cold | \
                     PLAN nbd SOCKET EXPORT DEPTH";
const CACHE_BYTES: u64 = 64 << 20;

/// The reads to make, in order.
struct Plan(Vec<(u64, usize)>);

/// The times of a run: the total and each read's.
struct Taken {
    whole: Duration,
    each: Vec<Duration>,
}

impl Plan {
    fn load(path: &str) -> Result<Self> {
        let mut reads = Vec::new();
        for line in std::fs::read_to_string(path)?.lines().filter(|line| !line.starts_with('#')) {
            let (offset, len) = line.split_once(' ').ok_or_else(|| format!("{path}: not a read: {line}"))?;
            reads.push((offset.parse()?, len.parse()?));
        }
        if reads.is_empty() {
            return Err(format!("{path}: no reads").into());
        }
        Ok(Self(reads))
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|&(_, len)| len).sum()
    }

    /// Allocates room for every read and writes to it, so that no read's latency includes a page fault.
    fn room(&self) -> Vec<u8> {
        vec![0xa5; self.bytes()]
    }

    /// Returns the reads, each with its part of the room.
    fn with_room<'a>(&self, mut room: &'a mut [u8]) -> Vec<(u64, &'a mut [u8])> {
        let mut parts = Vec::with_capacity(self.0.len());
        for &(offset, len) in &self.0 {
            let (part, rest) = room.split_at_mut(len);
            parts.push((offset, part));
            room = rest;
        }
        parts
    }
}

/// Makes the reads on `threads` threads; each thread takes the next read as soon as it is free.
fn drive(
    plan: &Plan,
    room: &mut [u8],
    threads: usize,
    read: impl Fn(u64, &mut [u8]) -> Result<()> + Sync,
) -> Result<Taken> {
    let left = Mutex::new(plan.with_room(room).into_iter());
    let one_thread = || -> Result<Vec<Duration>> {
        let mut each = Vec::new();
        loop {
            let next = left.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((offset, part)) = next else { break };
            let begun = Instant::now();
            read(offset, part)?;
            each.push(begun.elapsed());
        }
        Ok(each)
    };
    let begun = Instant::now();
    let each = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(one_thread)).collect();
        let join =
            |thread: std::thread::ScopedJoinHandle<'_, _>| thread.join().map_err(|_| "a thread panicked")?;
        running.into_iter().map(join).collect::<Result<Vec<_>>>()
    })?;
    Ok(Taken { whole: begun.elapsed(), each: each.concat() })
}

fn drive_melv(plan: &Plan, room: &mut [u8], store: &str, name: &str, threads: usize) -> Result<Taken> {
    let options = StoreOptions { cache: Cache::new(CACHE_BYTES), ..Default::default() };
    let image = Store::open_folder(store, options)?.image(&name.parse()?)?;
    drive(plan, room, threads, |offset, part| Ok(image.read_at(offset, part)?))
}

fn drive_file(plan: &Plan, room: &mut [u8], path: &str, advice: Advice) -> Result<Taken> {
    let file = File::open(path)?;
    fadvise(&file, 0, None, advice)?;
    drive(plan, room, 1, |offset, part| Ok(file.read_exact_at(part, offset)?))
}

/// Drops all pages of the file before each read, since a file system may cache more than the read asked for.
fn drive_cold_file(plan: &Plan, room: &mut [u8], path: &str) -> Result<Taken> {
    let file = File::open(path)?;
    fadvise(&file, 0, None, Advice::Random)?;
    let mut each = Vec::with_capacity(plan.0.len());
    for (offset, part) in plan.with_room(room) {
        fadvise(&file, 0, None, Advice::DontNeed)?;
        let begun = Instant::now();
        file.read_exact_at(part, offset)?;
        each.push(begun.elapsed());
    }
    Ok(Taken { whole: each.iter().sum(), each })
}

/// Accepts replies in any order.
fn drive_nbd(plan: &Plan, room: &mut [u8], socket: &str, export: &str, depth: usize) -> Result<Taken> {
    let mut client = Client::connect(Path::new(socket), export)?;
    if let Some(beyond) = plan.0.iter().find(|&&(offset, len)| offset + len as u64 > client.size()) {
        return Err(format!("the export ends before the read at {}", beyond.0).into());
    }
    let mut parts = plan.with_room(room);
    let mut each = vec![Duration::ZERO; parts.len()];
    let mut asked_at = vec![None; parts.len()];
    let begun = Instant::now();
    let mut asked = 0;
    for answered in 0..parts.len() {
        while asked < parts.len() && asked - answered < depth {
            asked_at[asked] = Some(Instant::now());
            client.send(asked as u64, parts[asked].0, u32::try_from(parts[asked].1.len())?)?;
            asked += 1;
        }
        let at = usize::try_from(client.reply()?)?;
        let since = asked_at.get_mut(at).and_then(Option::take).ok_or("a reply to no request")?;
        client.payload(parts[at].1)?;
        each[at] = since.elapsed();
    }
    Ok(Taken { whole: begun.elapsed(), each })
}

fn some(number: &str) -> Result<usize> {
    Ok(number.parse::<NonZeroUsize>()?.get())
}

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    let [plan, how @ ..] = words.as_slice() else { return Err(USAGE.into()) };
    let plan = Plan::load(plan)?;
    let mut room = plan.room();
    let mut taken = match how {
        ["melv", store, name, threads] => drive_melv(&plan, &mut room, store, name, some(threads)?)?,
        ["file", path, "readahead"] => drive_file(&plan, &mut room, path, Advice::Normal)?,
        ["file", path, "random"] => drive_file(&plan, &mut room, path, Advice::Random)?,
        ["file", path, "cold"] => drive_cold_file(&plan, &mut room, path)?,
        ["nbd", socket, export, depth] => drive_nbd(&plan, &mut room, socket, export, some(depth)?)?,
        _ => return Err(USAGE.into()),
    };
    taken.each.sort_unstable();
    let micros = |percent: usize| taken.each[(taken.each.len() - 1) * percent / 100].as_secs_f64() * 1e6;
    let seconds = taken.whole.as_secs_f64();
    println!("{{\"reads\": {}, \"bytes\": {}, \"seconds\": {seconds:.6},", plan.0.len(), plan.bytes());
    println!(" \"reads_per_second\": {:.1},", plan.0.len() as f64 / seconds);
    println!(" \"mb_per_second\": {:.2},", plan.bytes() as f64 / seconds / 1e6);
    println!(" \"median_us\": {:.2}, \"p99_us\": {:.2},", micros(50), micros(99));
    println!(" \"blake3\": \"{}\"}}", blake3::hash(&room).to_hex());
    Ok(())
}
