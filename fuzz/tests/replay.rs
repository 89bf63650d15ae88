//! Replays the corpus of every target, and every input that once found a bug.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use melv_fuzz::{TARGETS, Target};

/// The time limit per input: on a busy machine, in a test build.
const TIME_MAX: Duration = Duration::from_secs(20);
const CORPUS_BYTES_MAX: u64 = 2 << 20;
const MEMORY_MAX_KIB: u64 = 512 << 10;

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Returns the files of a folder in order; none if there is no folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .map(|entries| entries.map(|entry| entry.expect("an entry").path()).collect())
        .unwrap_or_default();
    files.sort();
    files
}

fn replay(target: &Target, path: &Path) {
    let bytes = fs::read(path).expect("an input");
    let begun = Instant::now();
    let done = catch_unwind(AssertUnwindSafe(|| (target.call)(&bytes)));
    assert!(done.is_ok(), "{} breaks a promise of {}", path.display(), target.name);
    assert!(begun.elapsed() < TIME_MAX, "{} took {:?}", path.display(), begun.elapsed());
}

fn replay_corpus(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    let files = files(&here("corpus").join(name));
    assert!(files.len() >= 4, "the corpus of {name} has {} inputs", files.len());
    let bytes: u64 = files.iter().map(|path| path.metadata().expect("a file").len()).sum();
    assert!(bytes <= CORPUS_BYTES_MAX, "the corpus of {name} has {bytes} bytes");
    (target.call)(&[]);
    files.iter().for_each(|path| replay(target, path));
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.trim().split(' ').next()?.parse::<u64>().ok());
    assert!(peak.is_none_or(|peak| peak <= MEMORY_MAX_KIB), "{name}: {peak:?} KiB");
}

macro_rules! corpus {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                replay_corpus(stringify!($name));
            }
        )*

        const REPLAYED: &[&str] = &[$(stringify!($name)),*];
    };
}

mod corpus {
    //! Each target keeps its promises over its whole corpus.

    use super::replay_corpus;

    corpus! {
        objects manifest record map_leaf
        tables frames bundle_table segment
        bundle
        store_ops index
        journal names
        vmdk_text vmdk_sparse vmdk_stream
        nbd_handshake nbd_requests
    }

    #[test]
    fn every_target_is_replayed() {
        let targets: Vec<&str> = super::TARGETS.iter().map(|target| target.name).collect();
        assert_eq!(REPLAYED, targets);
    }
}

mod found {
    //! Bugs that fuzzing found, each by its name: they are fixed and stay so.

    use super::{TARGETS, files, here, replay};

    /// Replays `found/NAME-…`.
    fn found(file: &str) {
        let target = TARGETS.iter().filter(|target| file.starts_with(&format!("{}-", target.name)));
        let target = target.max_by_key(|target| target.name.len()).expect("a target");
        replay(target, &here("found").join(file));
    }

    const FOUND: &[&str] = &["bundle-root-of-a-later-minor-version"];

    #[test]
    fn a_root_of_a_later_minor_version_is_loaded_as_it_is() {
        found(FOUND[0]);
    }

    #[test]
    fn every_input_that_found_something_has_a_test() {
        let names: Vec<String> = files(&here("found"))
            .iter()
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .filter(|name| name != "README.md")
            .collect();
        assert_eq!(names, FOUND);
    }
}
