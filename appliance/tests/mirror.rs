//! Real runs by Debian's mirror, with the machine's apt.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use melv_appliance::apt::{AptError, Options, Question, Resolver};
use melv_appliance::closure::{PackageLookup, Wanted};
use melv_appliance::fetch::{self, Cache, FetchError, Fetcher};
use melv_appliance::lock::{Lock, PackageName, Request};

/// The folder of caches: kept between runs, so that a test run without changes fetches little.
fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache of melv")
}

fn options(suite: &str) -> Options {
    Options { max_age: Duration::from_secs(6 * 3600), ..Options::new(suite.parse().unwrap(), cache()) }
}

fn names(names: &[&str]) -> Vec<PackageName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn lock(suite: &str, packages: &[&str]) -> Lock {
    let resolver = Resolver::new(options(suite)).unwrap();
    let answer = resolver.resolve(&Question::needs(names(packages))).unwrap();
    Lock {
        recipe: "1".parse().unwrap(),
        suite: suite.parse().unwrap(),
        date: answer.date,
        epoch: answer.date,
        request: Request { packages: names(packages), updates: true, repositories: Vec::new() },
        archives: answer.archives,
        packages: answer.packages,
        boot: Vec::new(),
        kernel: None,
        files: Vec::new(),
        images: Vec::new(),
    }
}

fn fetches_and_needs_no_network_then(suite: &str) -> Lock {
    let lock = lock(suite, &["nginx"]);
    let packages: Vec<_> = lock.packages.iter().collect();
    let fetcher = |offline| {
        let options = fetch::Options { offline, ..fetch::Options::default() };
        Fetcher::new(Cache::open(cache()).unwrap(), options)
    };
    fetcher(false).get_all(&packages, &lock, &|_| ControlFlow::Continue(())).unwrap();
    let total = std::sync::atomic::AtomicU64::new(0);
    fetcher(true)
        .get_all(&packages, &lock, &|progress| {
            total.fetch_max(progress.done, std::sync::atomic::Ordering::Relaxed);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(total.into_inner(), packages.iter().map(|package| package.size).sum::<u64>());
    for package in packages {
        assert_eq!(fetcher(true).get(package, &lock).unwrap().metadata().unwrap().len(), package.size);
    }
    assert_eq!(Lock::parse(lock.to_toml().as_bytes()).unwrap(), lock);
    lock
}

#[test]
#[ignore = "needs a mirror of Debian: make check-appliances"]
fn nginx_of_bookworm_is_29_packages_and_a_second_run_needs_no_network() {
    let lock = fetches_and_needs_no_network_then("bookworm");
    assert_eq!(lock.packages.len(), 29);
    let nginx = lock.packages.iter().find(|package| package.name.as_str() == "nginx").unwrap();
    assert_eq!(nginx.source.as_str(), "nginx");
    assert!(nginx.version.as_str().starts_with("1.22.1-9"));
    assert!(lock.date.to_string().as_str() > "2025-06-01");
}

#[test]
#[ignore = "needs a mirror of Debian: make check-appliances"]
fn nginx_of_trixie_is_resolved_and_fetched() {
    let lock = fetches_and_needs_no_network_then("trixie");
    assert!(lock.packages.iter().any(|package| package.name.as_str() == "libc6"));
}

#[test]
#[ignore = "needs a mirror of Debian: make check-appliances"]
fn a_second_question_takes_a_second() {
    let resolver = Resolver::new(options("bookworm")).unwrap();
    resolver.resolve(&Question::needs(names(&["nginx"]))).unwrap();
    let start = Instant::now();
    resolver.resolve(&Question::needs(names(&["redis-server"]))).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    println!("second question {seconds:.2} s");
    // A second on a quiet machine; the limit leaves room for other work beside this test.
    assert!(seconds < 10.0, "{seconds}");
}

#[test]
#[ignore = "needs a mirror of Debian: make check-appliances"]
fn the_kernel_and_the_boot_loader_come_without_programs_that_install_them() {
    for suite in ["bookworm", "trixie"] {
        let resolver = Resolver::new(options(suite)).unwrap();
        let alone = |name| {
            let answer = resolver.resolve(&Question::alone(names(&[name]))).unwrap();
            answer.packages.iter().map(|package| package.name.to_string()).collect::<Vec<_>>()
        };
        let kernel = alone("linux-image-cloud-amd64");
        assert_eq!(kernel.len(), 2, "{kernel:?}");
        assert!(
            kernel.iter().any(|name| name.starts_with("linux-image-6.") && name.ends_with("-cloud-amd64"))
        );
        assert!(alone("linux-source").iter().any(|name| name.starts_with("linux-source-6.")));
        assert_eq!(alone("systemd-boot-efi"), ["systemd-boot-efi"]);
        assert_eq!(alone("busybox-static"), ["busybox-static"]);
        let tools = Question::needs(names(&["syslinux", "syslinux-common", "mtools", "e2fsprogs"]));
        let tools: BTreeSet<_> = resolver
            .resolve(&tools)
            .unwrap()
            .packages
            .into_iter()
            .map(|package| package.name.to_string())
            .collect();
        assert!(["syslinux", "libc6", "mtools"].iter().all(|name| tools.contains(*name)), "{tools:?}");
    }
}

#[test]
#[ignore = "needs a mirror of Debian: make check-appliances"]
fn without_updates_only_the_release_counts() {
    let options = Options { updates: false, ..options("bookworm") };
    let answer = Resolver::new(options).unwrap().resolve(&Question::needs(names(&["nginx"]))).unwrap();
    assert_eq!(answer.archives.len(), 1);
    assert_eq!(answer.archives[0].name.as_str(), "debian");
}

#[test]
#[ignore = "needs a mirror of Debian: make check-appliances"]
fn unknown_packages_are_named_with_their_neighbours() {
    let resolver = Resolver::new(options("bookworm")).unwrap();
    let question = Question::needs(names(&["ngimx", "nginx", "mail-transport-agent"]));
    let Err(AptError::Unknown { unknown, .. }) = resolver.resolve(&question) else { panic!() };
    assert_eq!(unknown.len(), 2);
    assert_eq!(unknown[0].name, "ngimx");
    assert!(unknown[0].nearest.contains(&"nginx".to_owned()), "{unknown:?}");
    assert!(unknown[1].providers.contains(&"postfix".to_owned()), "{unknown:?}");
}

#[test]
#[ignore = "needs a mirror of Debian: make check-appliances"]
fn packages_that_exclude_each_other_are_a_conflict() {
    let resolver = Resolver::new(options("bookworm")).unwrap();
    let question = Question::needs(names(&["postfix", "exim4-daemon-light"]));
    let Err(AptError::Conflict { words }) = resolver.resolve(&question) else { panic!() };
    assert!(words.contains("Conflicts: mail-transport-agent"), "{words}");
    assert!(!words.contains("<-"), "{words}");
}

#[test]
#[ignore = "needs a mirror of Debian: make check-appliances"]
fn the_needs_of_a_package_file_are_resolved() {
    let lock = lock("bookworm", &["libgdbm6"]);
    let package = lock.packages.iter().find(|package| package.name.as_str() == "libgdbm6").unwrap();
    let fetcher = Fetcher::new(Cache::open(cache()).unwrap(), fetch::Options::default());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("libgdbm6 of ours.deb");
    std::io::copy(&mut fetcher.get(package, &lock).unwrap(), &mut std::fs::File::create(&path).unwrap())
        .unwrap();
    let question = Question { files: vec![path], ..Question::default() };
    let answer = Resolver::new(options("bookworm")).unwrap().resolve(&question).unwrap();
    let found: Vec<_> = answer.packages.iter().map(|package| package.name.as_str()).collect();
    assert!(found.contains(&"libc6"), "{found:?}");
}

#[test]
#[ignore = "needs a mirror of Debian: make check-appliances"]
fn two_resolvers_at_once_answer_alike() {
    let folder = tempfile::tempdir().unwrap();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let options = Options {
                        updates: false,
                        ..Options::new("trixie".parse().unwrap(), folder.path().into())
                    };
                    Resolver::new(options)
                        .unwrap()
                        .resolve(&Question::needs(names(&["redis-server"])))
                        .unwrap()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(answers[0], answers[1]);
}

#[test]
#[ignore = "needs a mirror of Debian: make check-appliances"]
fn the_package_of_a_missing_library_is_found() {
    let resolver = Resolver::new(options("bookworm")).unwrap();
    resolver.resolve(&Question::default()).unwrap();
    let fetcher = Fetcher::new(Cache::open(cache()).unwrap(), fetch::Options::default());
    let contents = resolver.contents(&fetcher).unwrap();
    assert_eq!(contents.holder(Wanted::Library(b"libpcre2-8.so.0")).as_deref(), Some("libpcre2-8-0"));
    assert_eq!(
        contents.holder(Wanted::Path(b"/usr/share/nginx/html/index.html")).as_deref(),
        Some("nginx-common")
    );
}

#[test]
#[ignore = "needs a mirror of Debian: make check-appliances"]
fn offline_without_lists_or_files_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        Options { offline: true, ..Options::new("bookworm".parse().unwrap(), folder.path().into()) };
    let resolver = Resolver::new(options).unwrap();
    assert!(matches!(resolver.resolve(&Question::default()), Err(AptError::NoLists { .. })));
    let lock = lock("bookworm", &["nginx"]);
    let options = fetch::Options { offline: true, ..fetch::Options::default() };
    let fetcher = Fetcher::new(Cache::open(folder.path()).unwrap(), options);
    assert!(matches!(fetcher.get(&lock.packages[0], &lock), Err(FetchError::Offline { .. })));
}
