//! Scratch.
use melv::VerifyMode;
use melv_benches::figures::{cold, hot, import, sequential};
use melv_benches::paired::median;
use melv_benches::workload::{self, Result};
use std::path::Path;
fn main() -> Result<()> {
    let corpus = Path::new("/root/.cache/melv/corpus");
    let folder = Path::new("/var/tmp/melv-fig/store");
    let which: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| which.iter().any(|w| w == name);
    let runs = std::env::var("RUNS").map_or(9, |v| v.parse().unwrap());
    if !folder.exists() {
        std::fs::create_dir_all("/var/tmp/melv-fig")?;
        workload::import_all(folder, corpus, &workload::DISKS)?;
    }
    let name = "base";
    let frames = if has("cold") || has("seq") { workload::frames(folder, name)? } else { Default::default() };
    println!("{} frames", frames.frames.len());
    if has("cold") {
        for verify in [VerifyMode::Guard, VerifyMode::Full] {
            let cold = cold::measure(folder, name, &frames, verify, runs)?;
            let (us, floor) = cold.micros();
            println!("cold {verify:?} {us:.2} us floor {floor:.2} ratio {:.3}", median(&cold.pairs.slower()));
        }
    }
    if has("hot") {
        let hot = hot::measure(folder, name, &workload::disk_path(corpus, name), runs)?;
        println!(
            "hot {:.0} ns pread {:.0} ratio {:.3}",
            median(&hot.ours) / hot::READS as f64 * 1e9,
            median(&hot.floor) / hot::READS as f64 * 1e9,
            median(&hot.slower())
        );
    }
    if has("seq") {
        for verify in [VerifyMode::Guard, VerifyMode::Full] {
            for threads in [1, 2] {
                let (pairs, bytes) = sequential::measure(folder, name, &frames, verify, threads, runs)?;
                println!(
                    "seq {verify:?} {threads} threads {:.0} MB/s floor {:.0} ratio {:.3}",
                    bytes as f64 / median(&pairs.ours) / 1e6,
                    bytes as f64 / median(&pairs.floor) / 1e6,
                    median(&pairs.faster())
                );
            }
        }
    }
    if has("amp") {
        for name in workload::DISKS {
            let storage = melv_benches::watched::Watched::new(melv::FileStorage::new(folder));
            let reads = storage.reads.clone();
            let image = melv::Store::open(storage, melv::StoreOptions::default())?.image(&name.parse()?)?;
            let requests = sequential::requests(&image)?;
            let _ = reads.take();
            sequential::read_all(&image, &requests, 1)?;
            let got = reads.take();
            let decoded = got.iter().filter(|r| r.name.starts_with("packs/") && r.offset > 0).count();
            let distinct: std::collections::HashSet<_> = got
                .iter()
                .filter(|r| r.name.starts_with("packs/") && r.offset > 0)
                .map(|r| (r.name.clone(), r.offset))
                .collect();
            let bytes: usize = requests.iter().map(|r| r.1).sum();
            println!(
                "{name}: {} requests {} frames read, {} distinct, {} data chunks amp {:.3}",
                requests.len(),
                decoded,
                distinct.len(),
                bytes / 32768,
                decoded as f64 * 32768.0 / bytes as f64
            );
        }
    }
    if has("ours-seq") {
        let requests = sequential::requests(&workload::image(folder, name, 64 << 20, VerifyMode::Guard)?)?;
        for _ in 0..12 {
            let image = workload::image(folder, name, 64 << 20, VerifyMode::Guard)?;
            sequential::read_all(&image, &requests, 1)?;
        }
    }
    if has("ours-cold") {
        let frames = workload::frames(folder, name)?;
        for i in 0..12 {
            let image = workload::image(folder, name, 64 << 20, VerifyMode::Guard)?;
            let mut b = [0; 4096];
            for n in cold::mixed(frames.guests.len(), i + 4) {
                melv::BlockDevice::read_at(&image, frames.guests[n], &mut b)?;
            }
        }
    }
    if has("ours-unique") {
        let folder = Path::new("/dev/shm/melv-fig2");
        for _ in 0..4 {
            let _ = std::fs::remove_dir_all(folder);
            workload::import_all(folder, corpus, &["base"])?;
        }
    }
    if has("ours-shared") {
        let folder = Path::new("/dev/shm/melv-fig2");
        let _ = std::fs::remove_dir_all(folder);
        workload::import_all(folder, corpus, &["base"])?;
        for _ in 0..20 {
            let store = melv::Store::open_folder(folder, melv::StoreOptions::default())?;
            let disk = melv::source::RawFile::open(&workload::disk_path(corpus, "base"), false)?;
            store.import(
                melv::Source::device(&disk),
                &melv::ImportOptions { replace: true, ..melv::ImportOptions::named("two".parse()?) },
            )?;
        }
    }
    if has("import") {
        let folder = Path::new("/dev/shm/melv-fig");
        std::fs::create_dir_all(folder)?;
        for (what, (pairs, bytes)) in ["unique", "shared"].iter().zip(import::measure(
            folder,
            &workload::disk_path(corpus, name),
            2,
            runs,
        )?) {
            println!(
                "import {what} {:.0} MB/s floor {:.0} ratio {:.3}",
                bytes as f64 / median(&pairs.ours) / 1e6,
                bytes as f64 / median(&pairs.floor) / 1e6,
                median(&pairs.faster())
            );
        }
    }
    Ok(())
}
