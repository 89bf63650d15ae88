//! Measures all figures in one run, or only the named groups (`reads imports opening stored frontier index`).
//! Prints each figure beside its floor and writes `bench/report.json`, `bench/report.html` and plots into the
//! target folder. Needs the disks built by `benches/corpus/build`, the `zstd` command, and the results of
//! `benches/index-scale`.
//!
//! `make bench` runs everything. Files go to a new folder in `$MELV_WORK` (default: `/var/tmp`); imports go
//! to memory (`/dev/shm`).

use std::path::{Path, PathBuf};
use std::process::Command;

use melv::VerifyMode;
use melv_benches::figures::{boot, cold, frontier, hot, import, open, sequential, stored};
use melv_benches::paired::median;
use melv_benches::report::{Better, Report};
use melv_benches::workload::{self, DISKS, Frames, Result};

/// Pairs of runs per ratio.
const RUNS: usize = 11;
/// The disk that reads are timed on. It is imported first, so its frames lie in its own order; the cost of
/// other orders is a separate figure.
const DISK: &str = "base";
/// The disk that imports are timed on: the one with the most data.
const IMPORTED: &str = "postgresql";
/// The disk built separately, so that its blocks share no order with the other disks.
const APART: &str = "apart-ext4";
const THREADS: u32 = 2;
const IMAGES: &str = "100";

/// The folders of a run.
struct Places {
    corpus: PathBuf,
    work: tempfile::TempDir,
    memory: tempfile::TempDir,
    target: PathBuf,
}

impl Places {
    fn find() -> Result<Self> {
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let cache = || variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
        let corpus =
            variable("MELV_CORPUS").or_else(|| Some(cache()?.join("melv/corpus"))).ok_or("no HOME")?;
        if !workload::disk_path(&corpus, DISK).exists() {
            return Err(format!("no disks in {}: run benches/corpus/build", corpus.display()).into());
        }
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        Ok(Self {
            corpus,
            work: tempfile::tempdir_in(variable("MELV_WORK").unwrap_or("/var/tmp".into()))?,
            memory: tempfile::tempdir_in("/dev/shm")?,
            target: variable("CARGO_TARGET_DIR").unwrap_or(manifest.join("../target")).join("bench"),
        })
    }

    fn store(&self) -> PathBuf {
        self.work.path().join("store")
    }

    fn disk(&self, name: &str) -> PathBuf {
        workload::disk_path(&self.corpus, name)
    }
}

/// A function that measures one group of figures.
type Group = fn(&Places, &mut Report) -> Result<()>;

fn main() -> Result<()> {
    // `cargo bench` and `cargo test --benches` pass their own arguments: a filter, `--test`, `--list`.
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return Ok(());
    }
    let places = Places::find()?;
    let mut report = Report::new(RUNS);
    workload::import_all(&places.store(), &places.corpus, &DISKS)?;
    let groups: [(&str, Group); 6] = [
        ("reads", reads),
        ("imports", imports),
        ("opening", opening),
        ("stored", the_store),
        ("frontier", the_frontier),
        ("index", from_index),
    ];
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    for (_, group) in
        groups.iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|word| word == name))
    {
        group(&places, &mut report)?;
    }
    report.write(&places.target)?;
    report.print();
    println!("{}", places.target.join("report.html").display());
    if report.is_broken() { Err("the report is broken: see above".into()) } else { Ok(()) }
}

fn reads(places: &Places, report: &mut Report) -> Result<()> {
    let frames = workload::frames(&places.store(), DISK)?;
    single_reads(places, &frames, report)?;
    sequential_reads(places, &frames, report)
}

fn single_reads(places: &Places, frames: &Frames, report: &mut Report) -> Result<()> {
    for (verify, us, ratio) in [
        (VerifyMode::Guard, "cold_4k_us", "cold_4k_ratio"),
        (VerifyMode::Full, "cold_4k_full_us", "cold_4k_full_ratio"),
    ] {
        let cold = cold::measure(&places.store(), DISK, frames, verify, RUNS)?;
        let (ours, floor) = cold.micros();
        report.number(us, ours);
        report.floor(us, floor);
        report.ratio_to_floor(ratio, cold.pairs.slower(), Better::Lower);
        let mode = if verify == VerifyMode::Guard { "cold" } else { "cold, ids checked" };
        report.latencies(mode, cold.nanos);
        report.latencies(&format!("floor, {mode}"), cold.floor_nanos);
    }
    let bare = cold::decode(frames, RUNS, &places.memory.path().join("plain"))?;
    report.floor("decode_32k_us", bare.floor_us);
    report.number("zstd_b_decode_32k_us", bare.command_us);
    if (bare.floor_us / bare.command_us - 1.0).abs() > 0.15 {
        let text = format!("bare decode: {:.1} us; by zstd -b {:.1}", bare.floor_us, bare.command_us);
        report.broken(text);
    }
    let hot = hot::measure(&places.store(), DISK, &places.disk(DISK), RUNS)?;
    report.number("hot_4k_ns", median(&hot.pairs.ours) / hot::READS as f64 * 1e9);
    report.floor("hot_4k_ns", median(&hot.pairs.floor) / hot::READS as f64 * 1e9);
    report.ratio("hot_4k_vs_pread", hot.pairs.slower());
    report.latencies("hot", hot.nanos);
    report.latencies("floor, pread", hot.floor_nanos);
    Ok(())
}

fn sequential_reads(places: &Places, frames: &Frames, report: &mut Report) -> Result<()> {
    let store = places.store();
    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    for threads in 1..=THREADS {
        let measured = sequential::measure(&store, DISK, frames, VerifyMode::Guard, threads as usize, RUNS)?;
        let mbps = |seconds: &[f64]| measured.1 as f64 / median(seconds) / 1e6;
        ours.push((threads, mbps(&measured.0.ours)));
        floors.push((threads, mbps(&measured.0.floor)));
        if threads == THREADS {
            report.number("seq_mbps", mbps(&measured.0.ours));
            report.floor("seq_mbps", mbps(&measured.0.floor));
            report.ratio_to_floor("seq_ratio", measured.0.faster(), Better::Higher);
        }
    }
    report.throughput("sequential read", ours);
    report.throughput("floor, sequential read", floors);
    let full = sequential::measure(&store, DISK, frames, VerifyMode::Full, THREADS as usize, RUNS)?;
    report.number("seq_full_mbps", full.1 as f64 / median(&full.0.ours) / 1e6);
    report.ratio_to_floor("seq_full_ratio", full.0.faster(), Better::Higher);
    let scaling = sequential::scaling(&store, DISK, frames, THREADS as usize, RUNS)?;
    report.number("seq_scaling", median(&scaling.ours));
    report.floor("seq_scaling", median(&scaling.floor));
    report.ratio("seq_scaling_ratio", scaling.slower());
    report.number("seq_decode_amplification", sequential::amplification(&store, APART)?);
    Ok(())
}

fn imports(places: &Places, report: &mut Report) -> Result<()> {
    let threads = THREADS as usize;
    let [unique, shared] = import::measure(places.memory.path(), &places.disk(IMPORTED), threads, RUNS)?;
    for (measured, mbps, ratio) in [
        (unique, "import_unique_mbps", "import_unique_ratio"),
        (shared, "import_shared_mbps", "import_shared_ratio"),
    ] {
        report.number(mbps, measured.1 as f64 / median(&measured.0.ours) / 1e6);
        report.floor(mbps, measured.1 as f64 / median(&measured.0.floor) / 1e6);
        report.ratio_to_floor(ratio, measured.0.faster(), Better::Higher);
    }
    Ok(())
}

fn opening(places: &Places, report: &mut Report) -> Result<()> {
    let open = open::one_tib(&places.memory.path().join("wide"))?;
    report.number("open_ms", open.millis);
    report.number("open_reads", open.reads as f64);
    report.number("open_bytes", open.bytes as f64);
    let generations = open::Generations::make(&places.disk("base"), 64)?;
    report.ratio("lookup_64_ratio", generations.reads(RUNS)?.slower());
    report.ratio("lookup_64_map_ratio", generations.maps(RUNS)?.slower());
    let trace = boot::trace(&Path::new(env!("CARGO_MANIFEST_DIR")).join("boot/nginx.trace"))?;
    let replays = boot::replay(&places.store(), "nginx", &trace, RUNS)?;
    report.number("boot_replay_cpu_ms", median(&replays));
    Ok(())
}

fn the_store(places: &Places, report: &mut Report) -> Result<()> {
    let stored = stored::stored(&places.store())?;
    report.number("stored_mib", stored.stored_mib);
    report.number("unique_mib", stored.unique_mib);
    report.number("data_mib", stored.data_mib);
    let maps = stored::map_mib_per_tib(&places.store())?;
    report.number("map_mib_per_tib", maps.iter().map(|map| map.1).fold(0.0, f64::max));
    for (name, mib) in &maps {
        report.number(&format!("map_mib_per_tib_{name}"), *mib);
    }
    let hundred = places.work.path().join("hundred");
    run(env!("CARGO_BIN_EXE_hundred_images"), |command| {
        command.arg("make").arg(&hundred).arg(places.disk("base")).arg(IMAGES)
    })?;
    let text = run(env!("CARGO_BIN_EXE_hundred_images"), |command| {
        command.arg("read").arg(&hundred).args([IMAGES, "8"])
    })?;
    let field = |name: &str| -> Result<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(line.ok_or_else(|| format!("hundred_images does not tell {name}"))?.parse()?)
    };
    report.number("rss_100_images_mib", (field("peak_kib")? - field("start_kib")?) / 1024.0);
    Ok(())
}

fn the_frontier(places: &Places, report: &mut Report) -> Result<()> {
    report.frontier(frontier::measure(&places.disk("base"))?);
    Ok(())
}

/// Runs a command and returns its standard output; a non-zero exit is an error.
fn run(program: &str, arguments: impl FnOnce(&mut Command) -> &mut Command) -> Result<String> {
    let mut command = Command::new(program);
    let output = arguments(&mut command).output()?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr)).into())
}

/// Adds the block index figures at 1 TiB, measured by a separate run.
fn from_index(places: &Places, report: &mut Report) -> Result<()> {
    let path = places.target.join("index.json");
    let Ok(bytes) = std::fs::read(&path) else {
        report.broken(format!("no {}: run benches/index-scale", path.display()));
        return Ok(());
    };
    let found: serde_json::Value = serde_json::from_slice(&bytes)?;
    for name in ["index_ram_mib_per_tib", "index_lookup_gbps"] {
        if let Some(value) = found["figures"][name]["value"].as_f64() {
            report.number(name, value);
        }
    }
    // There is one per disk; report the largest.
    let figures = found["figures"].as_object().into_iter().flatten();
    let lost = figures.filter(|(name, _)| name.starts_with("index_sharing_lost_percent"));
    if let Some(worst) = lost.filter_map(|(_, figure)| figure["value"].as_f64()).max_by(f64::total_cmp) {
        report.number("index_sharing_lost_percent", worst);
    }
    Ok(())
}
