//! Failures of resolving, by a server of our own and programs that stand in for apt.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "mirror_support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use melv_appliance::apt::{AptError, Options, Programs, Question, Repository, Resolver};

use support::{Reply, Server};

struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn options(&self, mirror: &str) -> Options {
        Options {
            mirror: format!("{mirror}/debian").parse().unwrap(),
            updates: false,
            ..Options::new("bookworm".parse().unwrap(), self.folder.path().join("a cache"))
        }
    }

    fn resolve(&self, options: Options) -> AptError {
        let question = Question::needs(vec!["nginx".parse().unwrap()]);
        Resolver::new(options).and_then(|resolver| resolver.resolve(&question)).unwrap_err()
    }

    /// Writes a program that stands in for apt.
    fn program(&self, script: &str) -> PathBuf {
        let path = self.folder.path().join("program");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

/// Bytes of Debian's own signed list, as a server of ours has them.
fn release() -> Vec<u8> {
    static RELEASE: OnceLock<Vec<u8>> = OnceLock::new();
    RELEASE.get_or_init(fetch_release).clone()
}

fn fetch_release() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let options =
        Options { updates: false, ..Options::new("bookworm".parse().unwrap(), folder.path().into()) };
    Resolver::new(options).unwrap().resolve(&Question::default()).unwrap();
    let state = fs::read_dir(folder.path().join("apt")).unwrap().next().unwrap().unwrap().path();
    fs::read(state.join("lists/deb.debian.org_debian_dists_bookworm_InRelease")).unwrap()
}

#[test]
#[ignore = "needs a mirror of Debian: make check-appliances"]
fn a_machine_without_apt_is_told_by_the_program() {
    let scene = Scene::new();
    for lacking in ["apt_get", "apt_config"] {
        let mut options = scene.options("http://127.0.0.1:1");
        let place = if lacking == "apt_get" {
            &mut options.programs.apt_get
        } else {
            &mut options.programs.apt_config
        };
        *place = "/nowhere/apt".into();
        assert!(
            matches!(scene.resolve(options), AptError::NoApt { program } if program == Path::new("/nowhere/apt"))
        );
    }
}

#[test]
#[ignore = "needs a mirror of Debian: make check-appliances"]
fn a_network_that_is_down_is_told() {
    let scene = Scene::new();
    for mirror in ["http://127.0.0.1:1", "http://nowhere.invalid"] {
        let error = scene.resolve(scene.options(mirror));
        assert!(
            matches!(&error, AptError::Unreachable { uri, .. } if uri.contains("InRelease")),
            "{error:?}"
        );
    }
}

#[test]
#[ignore = "needs a mirror of Debian: make check-appliances"]
fn a_suite_that_the_mirror_lacks_is_refused() {
    let scene = Scene::new();
    let server = Server::start();
    let error = scene.resolve(scene.options(server.address()));
    assert!(matches!(error, AptError::Refused { status: 404, .. }), "{error:?}");
    server.on("/debian/dists/bookworm/InRelease", Reply::Status(403));
    let error = scene.resolve(scene.options(server.address()));
    assert!(matches!(error, AptError::Refused { .. }), "{error:?}");
}

#[test]
#[ignore = "needs a mirror of Debian: make check-appliances"]
fn a_list_with_a_bad_signature_is_refused() {
    let scene = Scene::new();
    let server = Server::start();
    let mut bytes = release();
    let place = bytes.windows(5).position(|word| word == b"Date:").unwrap() + 12;
    bytes[place] ^= 1;
    server.on("/debian/dists/bookworm/InRelease", Reply::Bytes(bytes));
    let error = scene.resolve(scene.options(server.address()));
    assert!(matches!(error, AptError::Signature { .. }), "{error:?}");
}

#[test]
#[ignore = "needs a mirror of Debian: make check-appliances"]
fn a_repository_is_verified_by_its_own_key_alone() {
    let scene = Scene::new();
    let server = Server::start();
    server.on("/debian/dists/bookworm/InRelease", Reply::Bytes(release()));
    let key = scene.folder.path().join("other.gpg");
    // A key of Debian's team for another release signs nothing of bookworm's updates.
    fs::copy("/usr/share/keyrings/debian-archive-removed-keys.gpg", &key).unwrap();
    let options = Options { keyring: key.clone(), ..scene.options(server.address()) };
    assert!(matches!(scene.resolve(options), AptError::Signature { .. }));
    let repository = Repository {
        uri: format!("{}/debian", server.address()).parse().unwrap(),
        suite: "bookworm".parse().unwrap(),
        components: vec!["main".parse().unwrap()],
        key,
    };
    let base =
        Options { updates: false, ..Options::new("bookworm".parse().unwrap(), scene.folder.path().into()) };
    assert!(matches!(
        scene.resolve(Options { repositories: vec![repository], ..base }),
        AptError::Signature { .. }
    ));
}

#[test]
#[ignore = "needs a mirror of Debian: make check-appliances"]
fn a_list_that_does_not_fit_its_digest_is_refused() {
    let scene = Scene::new();
    let server = Server::start();
    server.on("/debian/dists/bookworm/InRelease", Reply::Bytes(release()));
    let text = String::from_utf8(release()).unwrap();
    for line in text.lines().filter(|line| line.contains(" main/binary-amd64/Packages")) {
        let mut words = line.split_ascii_whitespace();
        let (digest, size) = (words.next().unwrap(), words.next().unwrap().parse().unwrap());
        let path = format!("/debian/dists/bookworm/main/binary-amd64/by-hash/SHA256/{digest}");
        server.on(&path, Reply::Bytes(support::noise(5, size)));
    }
    let error = scene.resolve(scene.options(server.address()));
    assert!(matches!(error, AptError::Signature { .. }), "{error:?}");
}

#[test]
#[ignore = "needs a mirror of Debian: make check-appliances"]
fn keys_that_are_not_there_or_not_keys_are_told() {
    let scene = Scene::new();
    let options = |keyring: PathBuf| Options { keyring, ..scene.options("http://127.0.0.1:1") };
    assert!(matches!(scene.resolve(options("/nowhere".into())), AptError::NoKeys { .. }));
    let path = scene.folder.path().join("keys");
    fs::write(&path, "hello").unwrap();
    assert!(matches!(scene.resolve(options(path)), AptError::InvalidKeys { .. }));
}

#[test]
#[ignore = "needs a mirror of Debian: make check-appliances"]
fn an_apt_that_hangs_is_killed_with_its_children() {
    let scene = Scene::new();
    let pids = scene.folder.path().join("pids");
    let script = format!("sleep 1000 & echo $! >'{0}'; sleep 1000", pids.display());
    let program = scene.program(&script);
    let options = Options {
        programs: Programs { apt_get: program, ..scene.options("http://h").programs },
        time_limit: Duration::from_secs(5),
        ..scene.options("http://h")
    };
    let start = Instant::now();
    assert!(matches!(scene.resolve(options), AptError::TimeLimit { .. }));
    assert!(start.elapsed() < Duration::from_secs(60));
    // A killed process takes its time on a machine that is busy.
    let child = format!("/proc/{}/stat", fs::read_to_string(pids).unwrap().trim());
    let is_gone = || fs::read_to_string(&child).map_or(true, |state| state.contains(") Z "));
    while !is_gone() {
        assert!(start.elapsed() < Duration::from_secs(120));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "needs a mirror of Debian: make check-appliances"]
fn lists_that_another_process_updates_are_waited_for_in_bounds() {
    let scene = Scene::new();
    let (started, stop) = (scene.folder.path().join("started"), scene.folder.path().join("stop"));
    let script =
        format!("touch '{}'; while [ ! -e '{}' ]; do sleep 0.1; done", started.display(), stop.display());
    let slow = scene.program(&script);
    let options = |limit| Options {
        programs: Programs { apt_get: slow.clone(), ..scene.options("http://h").programs },
        time_limit: Duration::from_secs(limit),
        ..scene.options("http://h")
    };
    std::thread::scope(|scope| {
        scope.spawn(|| scene.resolve(options(300)));
        while !started.exists() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let error = scene.resolve(options(5));
        fs::write(stop, "").unwrap();
        assert!(matches!(error, AptError::Busy { .. }), "{error:?}");
    });
}

#[test]
#[ignore = "needs a mirror of Debian: make check-appliances"]
fn outputs_that_are_not_apts_are_faults_and_not_answers() {
    let scene = Scene::new();
    for (script, expected) in [
        ("exit 3", "failed"),
        ("kill -9 $$", "failed"),
        ("head -c 100000000 /dev/zero; exit 1", "failed"),
        ("exit 0", "no lists"),
    ] {
        let programs = Programs { apt_get: scene.program(script), ..scene.options("http://h").programs };
        let error = scene.resolve(Options { programs, ..scene.options("http://h") });
        let found = match error {
            AptError::Failed { .. } => "failed",
            AptError::NoLists { .. } => "no lists",
            other => panic!("{other:?}"),
        };
        assert_eq!(found, expected, "{script}");
    }
}
