//! Fetching from a server that plays mirror and snapshot archive: the locked file, or none.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "mirror_support/mod.rs"]
mod support;

use std::fs;
use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use melv_appliance::fetch::{Cache, FetchError, Fetcher, Options, Reason};
use melv_appliance::lock::{Lock, Package};

use support::{AT_DATE, AT_MIRROR, DAY_LATER, Reply, Server, lock, noise, package};

struct Scene {
    server: Server,
    folder: tempfile::TempDir,
    bytes: Vec<u8>,
    package: Package,
    lock: Lock,
    idle_limit: Duration,
    total_limit: Duration,
}

impl Scene {
    fn new() -> Self {
        let server = Server::start();
        let bytes = noise(1, 200_000);
        let package = package("tool", &bytes);
        let lock = lock(server.address(), vec![package.clone()]);
        let (idle_limit, total_limit) = (Duration::from_secs(60), Duration::from_secs(120));
        Self { folder: tempfile::tempdir().unwrap(), server, bytes, package, lock, idle_limit, total_limit }
    }

    fn options(&self) -> Options {
        Options {
            snapshot: Some(self.server.address().parse().unwrap()),
            idle_limit: self.idle_limit,
            total_limit: self.total_limit,
            ..Options::default()
        }
    }

    fn fetcher(&self) -> Fetcher {
        Fetcher::new(Cache::open(self.folder.path()).unwrap(), self.options())
    }

    fn get(&self) -> Result<Vec<u8>, FetchError> {
        let mut bytes = Vec::new();
        self.fetcher().get(&self.package, &self.lock)?.read_to_end(&mut bytes).unwrap();
        Ok(bytes)
    }

    /// Asks for the file with `reply` at the mirror, and returns the reason of the mirror.
    fn reason(&self, reply: Reply) -> Reason {
        self.server.on(AT_MIRROR, reply);
        let Err(FetchError::Unavailable { mut attempts, .. }) = self.get() else { panic!("it came") };
        assert_eq!(attempts.len(), 3);
        assert!(files(self.folder.path()).is_empty(), "a file is left");
        attempts.remove(0).reason
    }
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn a_file_comes_from_the_mirror_and_then_from_the_cache() {
    let scene = Scene::new();
    scene.server.on(AT_MIRROR, Reply::Bytes(scene.bytes.clone()));
    assert_eq!(scene.get().unwrap(), scene.bytes);
    scene.server.on(AT_MIRROR, Reply::Status(404));
    assert_eq!(scene.get().unwrap(), scene.bytes);
    assert_eq!(scene.server.asked(), [AT_MIRROR]);
}

#[test]
fn a_file_that_the_mirror_dropped_comes_from_the_snapshot_archive() {
    let scene = Scene::new();
    scene.server.on(DAY_LATER, Reply::Bytes(scene.bytes.clone()));
    assert_eq!(scene.get().unwrap(), scene.bytes);
    assert_eq!(scene.server.asked(), [AT_MIRROR, DAY_LATER]);
    let scene = Scene::new();
    scene.server.on(AT_DATE, Reply::Bytes(scene.bytes.clone()));
    assert_eq!(scene.get().unwrap(), scene.bytes);
    assert_eq!(scene.server.asked(), [AT_MIRROR, DAY_LATER, AT_DATE]);
}

#[test]
fn a_file_that_nobody_has_is_refused_and_each_address_is_named() {
    let scene = Scene::new();
    let error = scene.get().unwrap_err();
    assert!(error.is_gone() && !error.is_changed());
    let text = error.to_string();
    assert!([AT_MIRROR, DAY_LATER, AT_DATE].iter().all(|path| text.contains(path)), "{text}");
}

#[test]
fn a_changed_file_is_never_taken() {
    let scene = Scene::new();
    let mut changed = scene.bytes.clone();
    changed[100_000] ^= 1;
    assert!(matches!(scene.reason(Reply::Bytes(changed.clone())), Reason::Changed { .. }));
    assert!(scene.get().unwrap_err().is_changed());
    // The archive still has the right one.
    scene.server.on(DAY_LATER, Reply::Bytes(scene.bytes.clone()));
    assert_eq!(scene.get().unwrap(), scene.bytes);
}

#[test]
fn a_file_of_another_length_is_refused() {
    let scene = Scene::new();
    let longer = [scene.bytes.as_slice(), b"x"].concat();
    assert!(matches!(scene.reason(Reply::Bytes(longer.clone())), Reason::Long { expected: 200_000 }));
    assert!(matches!(scene.reason(Reply::Endless(longer)), Reason::Long { .. }));
    assert!(matches!(scene.reason(Reply::Endless(noise(2, 50 << 20))), Reason::Long { .. }));
    let half = scene.bytes[..1000].to_vec();
    assert!(matches!(
        scene.reason(Reply::Bytes(half.clone())),
        Reason::Short { found: 1000, expected: 200_000 }
    ));
    assert!(matches!(scene.reason(Reply::Endless(half)), Reason::Short { found: 1000, .. }));
    assert!(matches!(
        scene.reason(Reply::Truncated(scene.bytes.clone(), 1000)),
        Reason::Short { found: 1000, .. }
    ));
}

#[test]
fn a_slow_or_silent_server_is_left_in_time() {
    let minute = Duration::from_secs(60);
    let start = Instant::now();
    let scene = Scene { total_limit: Duration::from_millis(1500), ..Scene::new() };
    let pause = Duration::from_millis(20);
    assert!(matches!(scene.reason(Reply::Slow(scene.bytes.clone(), pause)), Reason::Time("all")));
    let scene = Scene { idle_limit: Duration::from_millis(400), ..Scene::new() };
    assert!(matches!(scene.reason(Reply::Silent(minute)), Reason::Time("waiting for the next bytes")));
    let stalls = Reply::Stalls(scene.bytes.clone(), 1000, minute);
    assert!(matches!(scene.reason(stalls), Reason::Time("waiting for the next bytes")));
    assert!(start.elapsed() < minute / 2, "{:?}", start.elapsed());
}

#[test]
fn redirects_are_followed_a_few_times_and_only_over_http() {
    let scene = Scene::new();
    scene.server.on("/elsewhere", Reply::Bytes(scene.bytes.clone()));
    scene.server.on(AT_MIRROR, Reply::Redirect("/elsewhere".to_owned()));
    assert_eq!(scene.get().unwrap(), scene.bytes);
    let scene = Scene::new();
    assert!(matches!(scene.reason(Reply::Redirect(AT_MIRROR.to_owned())), Reason::Redirects));
    let canary = scene.folder.path().join("canary");
    fs::write(&canary, &scene.bytes).unwrap();
    for scheme in ["file", "ftp", "data", "javascript"] {
        scene.server.on(AT_MIRROR, Reply::Redirect(format!("{scheme}://{}", canary.display())));
        let error = scene.get().unwrap_err();
        let reason = &error.attempts()[0].reason;
        assert!(matches!(reason, Reason::Scheme), "{scheme}: {reason}");
    }
}

#[test]
fn a_server_that_is_down_or_busy_is_told() {
    let scene = Scene::new();
    assert!(matches!(scene.reason(Reply::Status(403)), Reason::Status(403)));
    assert!(matches!(scene.reason(Reply::Status(503)), Reason::Status(503)));
    scene.server.on(AT_MIRROR, Reply::Status(200));
    let lock = lock("http://127.0.0.1:1", vec![scene.package.clone()]);
    let error = scene.fetcher().get(&scene.package, &lock).unwrap_err();
    assert!(matches!(error.attempts()[0].reason, Reason::Http(_)), "{error}");
    assert!(!error.is_gone() && !error.is_changed());
}

#[test]
fn a_server_that_fails_once_is_asked_twice() {
    let scene = Scene::new();
    scene.server.on(AT_MIRROR, Reply::Second(scene.bytes.clone()));
    assert_eq!(scene.get().unwrap(), scene.bytes);
    assert_eq!(scene.server.asked(), [AT_MIRROR, AT_MIRROR]);
}

#[test]
fn another_mirror_takes_the_place_of_the_locks() {
    let scene = Scene::new();
    let other = Server::start();
    other.on("/d/pool/main/t/tool/tool_1.0%2b1_amd64.deb", Reply::Bytes(scene.bytes.clone()));
    let mirror = format!("{}/d", other.address()).parse().unwrap();
    let options = Options { mirrors: vec![("debian".parse().unwrap(), mirror)], ..scene.options() };
    let fetcher = Fetcher::new(Cache::open(scene.folder.path()).unwrap(), options);
    fetcher.get(&scene.package, &scene.lock).unwrap();
    assert!(scene.server.asked().is_empty());
}

#[test]
fn a_cached_file_that_lost_its_bytes_is_fetched_again() {
    let scene = Scene::new();
    scene.server.on(AT_MIRROR, Reply::Bytes(scene.bytes.clone()));
    scene.get().unwrap();
    let path = scene.fetcher().cache().path(&scene.package.sha256);
    for broken in [vec![], scene.bytes[1..].to_vec(), noise(3, 200_000)] {
        fs::write(&path, broken).unwrap();
        assert_eq!(scene.get().unwrap(), scene.bytes);
    }
    assert_eq!(fs::read(&path).unwrap(), scene.bytes);
}

#[test]
fn the_cache_may_be_deleted_at_any_time() {
    let scene = Scene::new();
    scene.server.on(AT_MIRROR, Reply::Bytes(scene.bytes.clone()));
    let fetcher = scene.fetcher();
    fetcher.get(&scene.package, &scene.lock).unwrap();
    fs::remove_dir_all(scene.folder.path().join("files")).unwrap();
    fetcher.get(&scene.package, &scene.lock).unwrap();
    assert_eq!(scene.server.asked().len(), 2);
}

fn many(scene: &Scene, count: usize) -> (Vec<Package>, Lock) {
    let packages: Vec<Package> = (0..count)
        .map(|index| {
            let bytes = noise(index as u64 + 10, 30_000 + index);
            let package = package(&format!("tool{index}"), &bytes);
            let path = format!("/debian/pool/main/t/tool/tool{index}_1.0%2b1_amd64.deb");
            scene.server.on(&path, Reply::Bytes(bytes));
            package
        })
        .collect();
    let lock = lock(scene.server.address(), packages.clone());
    (packages, lock)
}

#[test]
fn many_files_come_four_at_a_time_and_progress_ends_at_all() {
    let scene = Scene::new();
    let (packages, lock) = many(&scene, 40);
    let (most, total) = (AtomicU64::new(0), packages.iter().map(|package| package.size).sum::<u64>());
    let asked: Vec<&Package> = packages.iter().chain(&packages).collect();
    let on_progress = |progress: melv_appliance::fetch::Progress| {
        assert_eq!(progress.total, total);
        most.fetch_max(progress.done, Ordering::Relaxed);
        ControlFlow::Continue(())
    };
    scene.fetcher().get_all(&asked, &lock, &on_progress).unwrap();
    assert_eq!(most.into_inner(), total);
    assert_eq!(scene.server.asked().len(), 40);
    assert_eq!(files(scene.folder.path()).len(), 40);
}

#[test]
fn one_file_that_is_lacking_fails_all_by_its_name() {
    let scene = Scene::new();
    let (packages, lock) = many(&scene, 20);
    scene.server.on("/debian/pool/main/t/tool/tool7_1.0%2b1_amd64.deb", Reply::Status(404));
    let asked: Vec<&Package> = packages.iter().collect();
    let error = scene.fetcher().get_all(&asked, &lock, &|_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, FetchError::Unavailable { name, .. } if name == "tool7 1.0+1"));
}

#[test]
fn the_caller_can_stop() {
    let scene = Scene::new();
    let (packages, lock) = many(&scene, 20);
    let asked: Vec<&Package> = packages.iter().collect();
    let error = scene.fetcher().get_all(&asked, &lock, &|_| ControlFlow::Break(())).unwrap_err();
    assert!(matches!(error, FetchError::Interrupted));
    assert!(scene.server.asked().len() < 20);
}

#[test]
fn a_full_or_forbidden_disk_is_an_error_of_the_disk() {
    let scene = Scene::new();
    scene.server.on(AT_MIRROR, Reply::Bytes(scene.bytes.clone()));
    let fetcher = scene.fetcher();
    fs::remove_dir_all(scene.folder.path().join("files/partial")).unwrap();
    fs::write(scene.folder.path().join("files/partial"), b"").unwrap();
    assert!(matches!(fetcher.get(&scene.package, &scene.lock), Err(FetchError::Io { .. })));
}

#[test]
fn temporary_files_of_dead_processes_are_removed_after_a_day() {
    let scene = Scene::new();
    let partial = scene.folder.path().join("files/partial");
    fs::create_dir_all(&partial).unwrap();
    fs::write(partial.join("file-new"), b"x").unwrap();
    let old = fs::File::create(partial.join("file-old")).unwrap();
    old.set_modified(std::time::SystemTime::now() - Duration::from_secs(25 * 3600)).unwrap();
    scene.fetcher();
    assert_eq!(files(scene.folder.path()), [partial.join("file-new")]);
}

/// The process of the test below: fetches what its environment tells.
#[test]
#[ignore = "another test runs it as a process"]
fn child() {
    let (Ok(address), Ok(folder)) = (std::env::var("ADDRESS"), std::env::var("FOLDER")) else { return };
    let bytes = noise(1, 200_000);
    let package = package("tool", &bytes);
    let lock = lock(&address, vec![package.clone()]);
    let options = Options { snapshot: None, ..Options::default() };
    Fetcher::new(Cache::open(folder).unwrap(), options).get(&package, &lock).unwrap();
}

fn spawn(scene: &Scene) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored"])
        .env("ADDRESS", scene.server.address())
        .env("FOLDER", scene.folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_killed_process_leaves_nothing_half_there() {
    let scene = Scene::new();
    for round in 0..6_u64 {
        let count = 30_000 * round as usize;
        scene.server.on(AT_MIRROR, Reply::Stalls(scene.bytes.clone(), count, Duration::from_secs(20)));
        let before = scene.server.asked().len();
        let mut child = spawn(&scene);
        while scene.server.asked().len() == before {
            thread::sleep(Duration::from_millis(2));
        }
        thread::sleep(Duration::from_millis(10 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let named = files(&scene.folder.path().join("files/sha256"));
        assert!(named.is_empty(), "{named:?}");
    }
    scene.server.on(AT_MIRROR, Reply::Bytes(scene.bytes.clone()));
    assert_eq!(scene.get().unwrap(), scene.bytes);
}

#[test]
fn two_processes_at_once_both_get_the_file() {
    let scene = Scene::new();
    scene.server.on(AT_MIRROR, Reply::Bytes(scene.bytes.clone()));
    let children: Vec<_> = (0..4).map(|_| spawn(&scene)).collect();
    assert!(children.into_iter().all(|mut child| child.wait().unwrap().success()));
    assert_eq!(files(scene.folder.path()), [scene.fetcher().cache().path(&scene.package.sha256)]);
}
