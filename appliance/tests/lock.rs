//! The lock as a file.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "mirror_support/mod.rs"]
mod support;

use melv_appliance::lock::{
    Asked, Change, Component, Difference, Kernel, KernelKind, LocalFile, Lock, OciImage, Repository, Role,
    Rule, Stale, changes,
};
use melv_appliance::sha256::Sha256;

use support::{lock, noise, package};

const GOLDEN: &str = include_str!("golden/appliance.lock");

fn full() -> Lock {
    let mut full = lock("http://deb.debian.org", vec![package("zlib", b"z"), package("tool", b"t")]);
    full.request.packages = vec!["zlib".parse().unwrap(), "tool".parse().unwrap(), "zlib".parse().unwrap()];
    full.request.repositories = vec![Repository {
        uri: "https://example.org/apt".parse().unwrap(),
        suite: "stable".parse().unwrap(),
        components: vec!["main".parse::<Component>().unwrap()],
        key: Sha256::of(b"key"),
    }];
    full.boot = vec![package("syslinux", b"s")];
    full.kernel = Some(Kernel {
        kind: KernelKind::Cloud,
        sha256: Sha256::of(b"kernel"),
        packages: vec![package("linux-image", b"l")],
    });
    full.files = vec![LocalFile {
        path: "./my \"own\" \\ tööl.deb".parse().unwrap(),
        size: 3,
        sha256: Sha256::of(b"own"),
    }];
    full.images = vec![OciImage {
        path: "app.tar".parse().unwrap(),
        config: Sha256::of(b"c"),
        layers: vec![Sha256::of(b"1"), Sha256::of(b"0")],
    }];
    full
}

#[test]
fn the_text_of_a_lock_is_the_golden_one() {
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/appliance.lock"), full().to_toml())
            .unwrap();
    }
    assert_eq!(full().to_toml(), GOLDEN);
}

#[test]
fn a_lock_survives_its_text() {
    let read = Lock::parse(GOLDEN.as_bytes()).unwrap();
    assert_eq!(read.to_toml(), GOLDEN);
    assert_eq!(read.images[0].layers, full().images[0].layers);
    let plain = lock("http://h", Vec::new());
    assert_eq!(Lock::parse(plain.to_toml().as_bytes()).unwrap(), plain);
}

#[test]
fn any_order_of_entries_reads_as_the_same_lock() {
    let mut tables: Vec<&str> = GOLDEN.split("\n\n").collect();
    tables[1..].reverse();
    // A table of the kernel's packages must stand behind the kernel.
    let kernel = tables.iter().position(|table| table.starts_with("[kernel]")).unwrap();
    let of_kernel = tables.iter().position(|table| table.starts_with("[[kernel.package]]")).unwrap();
    tables.swap(kernel, of_kernel);
    assert_eq!(Lock::parse(tables.join("\n\n").as_bytes()).unwrap().to_toml(), GOLDEN);
}

#[test]
fn unknown_keys_are_refused_with_their_place() {
    for place in [
        "version = 1\n",
        "[[archive]]\n",
        "[[package]]\n",
        "[[boot]]\n",
        "[kernel]\n",
        "[[file]]\n",
        "[[oci]]\n",
        "[[repository]]\n",
    ] {
        let text = GOLDEN.replacen(place, &format!("{place}newer = 1\n"), 1);
        let error = Lock::parse(text.as_bytes()).unwrap_err();
        let line = text[..text.find("newer").unwrap()].lines().count() + 1;
        assert!(matches!(&error.rule, Rule::Form(words) if words.contains("newer")), "{error}");
        assert_eq!(error.line, line, "{error}");
    }
}

#[test]
fn a_lock_of_another_version_is_not_supported_whatever_its_keys() {
    let error = Lock::parse(b"version = 2\nnewer = true\n").unwrap_err();
    assert!(error.is_unsupported());
    assert_eq!((error.line, error.column), (1, 11));
    assert!(!Lock::parse(b"").unwrap_err().is_unsupported());
}

#[test]
fn values_that_are_not_a_locks_are_refused() {
    let changes = [
        ("size = 1\n", "size = 0\n"),
        ("size = 1\n", "size = -1\n"),
        ("size = 1\n", "size = 99999999999999\n"),
        ("path = \"pool/main/t/tool/tool", "path = \"pool/../tool"),
        ("name = \"tool\"", "name = \"-o\""),
        ("uri = \"http://deb.debian.org/debian\"", "uri = \"file:///debian\""),
        ("architecture = \"amd64\"", "architecture = \"arm64\""),
        ("kind = \"cloud\"", "kind = \"other\""),
        ("date = \"2025-05-17T09:12:21Z\"", "date = \"yesterday\""),
        ("sha256 = \"", "sha256 = \"0"),
        ("archive = \"debian\"", "archive = \"other\""),
    ];
    for (from, to) in changes {
        assert!(GOLDEN.contains(from), "{from}");
        assert!(Lock::parse(GOLDEN.replacen(from, to, 1).as_bytes()).is_err(), "{to}");
    }
    let twice = GOLDEN.replace("name = \"zlib\"", "name = \"tool\"");
    assert!(matches!(Lock::parse(twice.as_bytes()).unwrap_err().rule, Rule::Duplicate { .. }));
    assert!(matches!(Lock::parse(&vec![b'#'; 9 << 20]).unwrap_err().rule, Rule::TooLong { .. }));
    assert!(matches!(Lock::parse(b"# \xff").unwrap_err().rule, Rule::Encoding));
}

#[test]
fn an_update_tells_all_that_changed() {
    let old = full();
    assert!(changes(&old, &old).is_empty());
    let mut new = full();
    new.date = new.date.plus_hours(1);
    new.packages[0].version = "1.2".parse().unwrap();
    new.packages[1].sha256 = Sha256::of(b"other");
    new.packages.push(package("added", b"a"));
    new.boot.clear();
    new.kernel.as_mut().unwrap().sha256 = Sha256::of(b"other kernel");
    new.files[0].sha256 = Sha256::of(b"other");
    let version = |text: &str| text.parse().unwrap();
    let name = |text: &str| text.parse().unwrap();
    assert_eq!(
        changes(&old, &new),
        [
            Change::Date(old.date, new.date),
            Change::Package(Role::Files, name("added"), Difference::Added(version("1.0+1"))),
            Change::Package(Role::Files, name("tool"), Difference::Replaced(version("1.0+1"))),
            Change::Package(Role::Files, name("zlib"), Difference::Raised(version("1.0+1"), version("1.2"))),
            Change::Package(Role::Boot, name("syslinux"), Difference::Removed(version("1.0+1"))),
            Change::Kernel(Some(Sha256::of(b"kernel")), Some(Sha256::of(b"other kernel"))),
            Change::File(new.files[0].path.to_string()),
        ]
    );
}

#[test]
fn a_lock_answers_its_own_question_and_no_other() {
    let lock = Lock::parse(GOLDEN.as_bytes()).unwrap();
    let files = [lock.files[0].path.clone()];
    let images = [lock.images[0].path.clone()];
    let mut request = full().request;
    let kernel = Some(KernelKind::Cloud);
    let asked = Asked { suite: &lock.suite, request: &request, kernel, files: &files, images: &images };
    assert_eq!(lock.check(&asked), Ok(()));
    let trixie = "trixie".parse().unwrap();
    assert!(matches!(lock.check(&Asked { suite: &trixie, ..asked }), Err(Stale::Suite { .. })));
    let tailored = Some(KernelKind::Tailored);
    assert!(matches!(lock.check(&Asked { kernel: tailored, ..asked }), Err(Stale::Kernel { .. })));
    assert!(matches!(lock.check(&Asked { files: &[], ..asked }), Err(Stale::Files { .. })));
    assert!(matches!(lock.check(&Asked { images: &[], ..asked }), Err(Stale::Files { .. })));
    request.packages.push("redis".parse().unwrap());
    let asked = Asked { suite: &lock.suite, request: &request, kernel, files: &files, images: &images };
    let error = lock.check(&asked).unwrap_err();
    assert_eq!(
        error.to_string(),
        "packages: the lock lacks [redis] and has [] beside those of the declaration"
    );
    request.packages.pop();
    request.repositories[0].key = Sha256::of(b"other");
    let asked = Asked { suite: &lock.suite, request: &request, kernel, files: &files, images: &images };
    assert!(matches!(lock.check(&asked), Err(Stale::Repositories { .. })));
    request.updates = false;
    let asked = Asked { suite: &lock.suite, request: &request, kernel, files: &files, images: &images };
    assert!(matches!(lock.check(&asked), Err(Stale::Updates { locked: true, asked: false })));
}

/// Changes bytes of the golden lock, and feeds noise: no parser panics, and a lock that reads has one text.
#[test]
fn any_bytes_are_read_or_refused() {
    use melv_appliance::fuzzing;
    let targets = [fuzzing::lock, fuzzing::packages, fuzzing::contents, fuzzing::outputs];
    let stanza = b"Package: a\nVersion: 1\nArchitecture: all\nSource: b (2)\nFilename: ./p/a.deb\nSize: 1\nSHA256: 00\n\n";
    let output = b"'http://h/a%2b' a 1 SHA256:00\n <- http:400%20X%0aFailReason:%20HttpError404\nSHA256:\n 00 1 main/x\nDate: x\na b main/binary-amd64/P /l/a_P\n";
    let seeds: [&[u8]; 4] = [GOLDEN.as_bytes(), stanza, b"usr/bin/x a/b,c/d\n", output];
    for seed in 0..3000_u64 {
        let random = noise(seed + 1, 16);
        let number = |index: usize| usize::from(random[index]) << 8 | usize::from(random[index + 1]);
        let mut bytes = seeds[seed as usize % 4].to_vec();
        for change in 0..=(seed % 3) as usize {
            let place = number(change * 4) % bytes.len();
            match random[15] % 4 {
                0 => bytes[place] = random[14],
                1 => drop(bytes.drain(place..(place + number(2) % 40).min(bytes.len()))),
                2 => bytes.insert(place, b"\"[]\n= %\xff"[number(4) % 8]),
                _ => bytes.extend_from_within(place..(place + 50).min(bytes.len())),
            }
            if bytes.is_empty() {
                break;
            }
        }
        targets.iter().for_each(|target| target(&bytes));
        targets.iter().for_each(|target| target(&noise(seed, (seed % 300) as usize)));
    }
}
