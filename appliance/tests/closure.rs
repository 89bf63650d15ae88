//! Closures of real packages: figures, reasons, and programs that run from the kept files alone.
//!
//! Needs root for `chroot`, the mirror for packages that are not in `target/packages`.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::{
    os::unix::fs::PermissionsExt,
    process::{Command as Process, Output},
};

use melv_appliance::{
    closure::{
        Closure, ClosureError, Command, PackageLookup, Policy, Request, Rules, Wanted, close,
        commands as commands_of, named_packages,
    },
    declaration::{Declaration, Pattern},
    tree::{Content, Kind},
};
use support::{Loaded, fetch, inode};

/// Packages around Python.
const PYTHON: [&str; 6] = ["python3", "ca-certificates", "openssl", "tzdata", "libc-bin", "ncurses-base"];
const MIB: f64 = 1048576.0;

fn commands(paths: &[&str]) -> Vec<Command> {
    paths.iter().map(|path| Command { path: path.as_bytes().to_vec(), by: "the service x".into() }).collect()
}

fn policy() -> Policy {
    Policy { licences: true, ..Policy::default() }
}

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| Pattern::parse(text).unwrap()).collect()
}

fn closed(
    loaded: &Loaded,
    named: &[&str],
    paths: &[&str],
    policy: &Policy,
    rules: &Rules,
) -> Result<Closure, ClosureError> {
    let named: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
    close(Request {
        tree: &loaded.tree,
        contents: &loaded.spool,
        origins: &loaded.origins,
        commands: &commands(paths),
        named: &named,
        policy,
        rules,
        packages: &Lists,
    })
}

/// A lookup that knows two files.
struct Lists;

impl PackageLookup for Lists {
    fn holder(&self, wanted: Wanted<'_>) -> Option<String> {
        match wanted {
            Wanted::Library(b"libpcre2-8.so.0") => Some("libpcre2-8-0".into()),
            Wanted::Path(b"/usr/bin/sh") => Some("dash".into()),
            _ => None,
        }
    }
}

fn built_in(loaded: &Loaded, named: &[&str], paths: &[&str], policy: &Policy) -> Closure {
    let closure =
        closed(loaded, named, paths, policy, Rules::built_in()).unwrap_or_else(|error| panic!("{error}"));
    let figure = |bytes: u64| bytes as f64 / MIB;
    eprintln!(
        "{named:?}: {:.1} -> {:.1} MiB, {} paths",
        figure(loaded.bytes()),
        figure(closure.bytes()),
        closure.paths().count()
    );
    for (path, bytes) in closure.largest(10) {
        eprintln!(
            "  {:8.2} MiB {} {}",
            figure(bytes),
            String::from_utf8_lossy(path),
            closure.why(path).unwrap()
        );
    }
    for note in closure.notes() {
        eprintln!("  {note}");
    }
    closure
}

fn run(loaded: &Loaded, closure: &Closure, command: &[&str]) -> Output {
    run_as(loaded, closure, "0:0", command)
}

/// Runs a command in a folder with the kept files alone.
fn run_as(loaded: &Loaded, closure: &Closure, user: &str, command: &[&str]) -> Output {
    let root = tempfile::tempdir().unwrap();
    loaded.write(closure, root.path());
    for folder in ["dev", "tmp", "run", "etc", "proc", "var/tmp"] {
        std::fs::create_dir_all(root.path().join(folder)).unwrap();
    }
    std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(root.path().join("tmp"), std::fs::Permissions::from_mode(0o1777)).unwrap();
    let users = "root:x:0:0::/:/bin/sh\nwww-data:x:33:33::/:/bin/sh\npostgres:x:100:100::/:/bin/sh\n";
    std::fs::write(root.path().join("etc/passwd"), users).unwrap();
    std::fs::write(root.path().join("etc/group"), "root:x:0:\nwww-data:x:33:\npostgres:x:100:\n").unwrap();
    // `ld.so` learns $ORIGIN from /proc. The mounts end with their namespace.
    let script = "u=$1; shift; mount -t proc proc \"$0/proc\" && mount --rbind /dev \"$0/dev\" && \
        exec chroot --userspec=$u \"$0\" \"$@\"";
    let mut process = Process::new("/usr/bin/unshare");
    process.args(["-m", "/bin/sh", "-c", script]).arg(root.path()).arg(user).args(command);
    let process = process.env_clear().env("PATH", "/usr/sbin:/usr/bin").env("TERM", "linux");
    process.output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn mebibytes(closure: &Closure) -> f64 {
    closure.bytes() as f64 / MIB
}

fn nginx() -> Loaded {
    Loaded::of(&fetch("bookworm", "nginx", &["nginx", "libc-bin", "ncurses-base"]))
}

fn postgresql() -> Loaded {
    let names = ["postgresql-15", "tzdata", "dash", "libc-bin", "ncurses-base"];
    Loaded::of(&fetch("bookworm", "postgresql-15", &names))
}

#[test]
#[ignore = "needs packages of Debian and root: make check-appliances"]
fn nginx_is_a_third_of_its_packages_and_runs_from_them() {
    let loaded = nginx();
    let closure = built_in(&loaded, &["nginx"], &["/usr/sbin/nginx"], &policy());
    // By hand 9.3 MiB, with nothing of the packages but the program and three files; C.utf8 and licences come to it.
    assert!((8.0..11.0).contains(&mebibytes(&closure)), "{}", mebibytes(&closure));
    assert!(closure.keeps(b"/etc/nginx/mime.types") && closure.keeps(b"/usr/share/nginx/html/index.html"));
    assert!(closure.keeps(b"/usr/lib/x86_64-linux-gnu/libgcc_s.so.1"), "libc names it in a string");
    assert!(closure.keeps(b"/usr/lib/locale/C.utf8/LC_CTYPE"));
    assert!(
        closure.keeps(b"/usr/share/doc/libssl3/copyright")
            && !closure.keeps(b"/usr/share/doc/libssl3/changelog.gz")
    );
    assert!(!closure.keeps(b"/usr/lib/systemd/system/nginx.service"));
    let output = run(&loaded, &closure, &["/usr/sbin/nginx", "-v"]);
    assert!(output.status.success() && text(&output).contains("nginx/1.22"), "{}", text(&output));
}

#[test]
#[ignore = "needs packages of Debian and root: make check-appliances"]
fn a_chain_of_reasons_ends_at_the_service() {
    let loaded = nginx();
    let closure = closed(&loaded, &["nginx"], &["/usr/sbin/nginx"], &policy(), Rules::built_in()).unwrap();
    let why = |path: &str| closure.why(path.as_bytes()).unwrap().to_string();
    assert_eq!(why("/usr/sbin/nginx"), "nginx: run by the service x");
    assert_eq!(
        why("/usr/lib/x86_64-linux-gnu/libcrypto.so.3"),
        "libcrypto.so.3: needed by nginx: run by the service x"
    );
    assert_eq!(
        why("/etc/nginx/mime.types"),
        "mime.types: kept because nginx-common has the source of nginx, which is named"
    );
    assert!(closure.why(b"/usr/bin/nothing").is_none());
}

#[test]
#[ignore = "needs packages of Debian and root: make check-appliances"]
fn redis_and_nethack_run_from_their_closures() {
    let loaded =
        Loaded::of(&fetch("bookworm", "redis-server", &["redis-server", "libc-bin", "ncurses-base"]));
    let closure = built_in(&loaded, &["redis-server"], &["/usr/bin/redis-server"], &policy());
    assert!((15.0..19.0).contains(&mebibytes(&closure)), "{}", mebibytes(&closure));
    let output = run(&loaded, &closure, &["/usr/bin/redis-server", "--version"]);
    assert!(output.status.success() && text(&output).contains("v=7.0"), "{}", text(&output));

    let loaded =
        Loaded::of(&fetch("bookworm", "nethack-console", &["nethack-console", "ncurses-base", "libc-bin"]));
    let program = "/usr/lib/games/nethack/nethack-console";
    let closure = built_in(&loaded, &["nethack-console", "ncurses-base"], &[program], &policy());
    assert!((6.0..8.5).contains(&mebibytes(&closure)), "{}", mebibytes(&closure));
    let output = run(&loaded, &closure, &[program, "-d", "/usr/lib/games/nethack", "-s"]);
    assert!(text(&output).to_lowercase().contains("record"), "{:?} {}", output.status, text(&output));
}

#[test]
#[ignore = "needs packages of Debian and root: make check-appliances"]
fn postgresql_without_llvm_is_a_fifth_and_makes_a_database() {
    let loaded = postgresql();
    let bin = |name: &str| format!("/usr/lib/postgresql/15/bin/{name}");
    let (postgres, initdb) = (bin("postgres"), bin("initdb"));
    let named = ["postgresql-15", "tzdata"];
    let whole = built_in(&loaded, &named, &[&postgres, &initdb], &policy());
    let why = whole.why(b"/usr/lib/x86_64-linux-gnu/libLLVM-14.so.1").unwrap().to_string();
    assert_eq!(why, "libLLVM-14.so.1: needed by llvmjit.so: kept because postgresql-15 is named");
    let drop = Policy { drop: patterns(&["**/llvmjit.so", "**/bitcode/**"]), ..policy() };
    let closure = built_in(&loaded, &named, &[&postgres, &initdb], &drop);
    assert!(mebibytes(&whole) - mebibytes(&closure) > 100.0);
    assert!((70.0..90.0).contains(&mebibytes(&closure)), "{}", mebibytes(&closure));
    let output = run(&loaded, &closure, &[&postgres, "--version"]);
    assert!(text(&output).contains("PostgreSQL) 15"), "{}", text(&output));
}

#[test]
#[ignore = "needs packages of Debian and root: make check-appliances"]
fn python_imports_its_compiled_modules() {
    let loaded = Loaded::of(&fetch("bookworm", "python3", &PYTHON));
    let closure = built_in(&loaded, &["python3"], &["/usr/bin/python3"], &policy());
    let check = "import ssl, sqlite3, json, hashlib, lzma, asyncio, curses; print(sqlite3.sqlite_version, ssl.OPENSSL_VERSION)";
    let output = run(&loaded, &closure, &["/usr/bin/python3", "-c", check]);
    assert!(output.status.success() && text(&output).contains("OpenSSL 3"), "{}", text(&output));
    let without = closed(
        &loaded,
        &["python3"],
        &["/usr/bin/python3"],
        &policy(),
        &Rules::built_in().without("python-library"),
    );
    let output = run(&loaded, &without.unwrap(), &["/usr/bin/python3", "-c", check]);
    assert!(!output.status.success(), "the rule is not needed");
}

#[test]
#[ignore = "needs packages of Debian and root: make check-appliances"]
fn perl_and_node_load_their_libraries_and_openjdk_its_machine() {
    let loaded = Loaded::of(&fetch("bookworm", "perl", &["perl", "libc-bin", "ncurses-base"]));
    let closure = built_in(&loaded, &["perl"], &["/usr/bin/perl"], &policy());
    let script = "use strict; use POSIX; use Encode; use Data::Dumper; print encode('UTF-8', \"\\x{263a}\"), floor(1.5)";
    let output = run(&loaded, &closure, &["/usr/bin/perl", "-e", script]);
    assert!(output.status.success(), "{}", text(&output));

    let loaded = Loaded::of(&fetch("bookworm", "nodejs", &["nodejs", "libc-bin", "ncurses-base"]));
    let closure = built_in(&loaded, &["nodejs"], &["/usr/bin/node"], &policy());
    let script = "require('fs'); import('node:url').then(() => console.log(new Intl.DateTimeFormat('en').format(0), 'ok'))";
    let output = run(&loaded, &closure, &["/usr/bin/node", "-e", script]);
    assert!(text(&output).contains("ok"), "{}", text(&output));

    let loaded =
        Loaded::of(&fetch("bookworm", "openjdk", &["openjdk-17-jre-headless", "libc-bin", "ncurses-base"]));
    let java = "/usr/lib/jvm/java-17-openjdk-amd64/bin/java";
    let closure = built_in(&loaded, &["openjdk-17-jre-headless"], &[java], &policy());
    let output = run(&loaded, &closure, &[java, "-Xint", "-Xshare:off", "-version"]);
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
#[ignore = "needs packages of Debian and root: make check-appliances"]
fn a_missing_library_tells_who_needs_it_and_the_package_that_has_it() {
    let folders = fetch("bookworm", "nginx", &["nginx", "libc-bin", "ncurses-base"]);
    let some: Vec<_> =
        folders.into_iter().filter(|folder| !folder.to_string_lossy().contains("libpcre2")).collect();
    let error = closed(&Loaded::of(&some), &["nginx"], &["/usr/sbin/nginx"], &policy(), Rules::built_in());
    assert_eq!(
        error.unwrap_err().to_string(),
        "libpcre2-8.so.0 is not there: needed by nginx: run by the service x; the package libpcre2-8-0 has it"
    );
}

#[test]
#[ignore = "needs packages of Debian and root: make check-appliances"]
fn a_needed_file_that_a_pattern_leaves_out_is_an_error_that_names_the_pattern() {
    let drop = Policy { drop: patterns(&["**/libcrypt.so.1*"]), ..policy() };
    let error =
        closed(&nginx(), &["nginx"], &["/usr/sbin/nginx"], &drop, Rules::built_in()).unwrap_err().to_string();
    assert!(
        error.contains("libcrypt.so.1") && error.contains("the pattern **/libcrypt.so.1* leaves it out"),
        "{error}"
    );
}

#[test]
#[ignore = "needs packages of Debian and root: make check-appliances"]
fn initdb_without_a_shell_is_an_error_that_names_the_package() {
    let names = ["postgresql-15", "tzdata", "dash", "libc-bin", "ncurses-base"];
    let folders = fetch("bookworm", "postgresql-15", &names);
    let some: Vec<_> =
        folders.into_iter().filter(|folder| !folder.to_string_lossy().contains("/dash_")).collect();
    let initdb = "/usr/lib/postgresql/15/bin/initdb";
    let error = closed(&Loaded::of(&some), &["postgresql-15"], &[initdb], &policy(), Rules::built_in());
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("/usr/bin/sh is not there") && error.contains("the package dash has it"),
        "{error}"
    );
}

#[test]
#[ignore = "needs packages of Debian and root: make check-appliances"]
fn a_command_that_is_no_program_is_refused() {
    let mut loaded = nginx();
    for (path, bytes, mode, expected) in [
        ("/opt/text", &b"hello"[..], 0o755, "neither an ELF file nor a script"),
        ("/opt/empty", b"", 0o755, "neither an ELF file nor a script"),
        ("/opt/nothing", b"#!\n", 0o755, "names no program"),
        ("/opt/mode", b"#!/usr/sbin/nginx\n", 0o644, "nobody may run"),
        ("/opt/cut", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0", 0o755, "damaged"),
        ("/opt/arm", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\xb7\0", 0o755, "machine 183"),
        ("/opt/i386", b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x03\0", 0o755, "class 1"),
        (
            "/opt/interpreter",
            b"#!/usr/bin/lost -x\n",
            0o755,
            "/usr/bin/lost is not there: `#!` of interpreter",
        ),
        ("/opt/env", b"#!/usr/sbin/nginx\n", 0o755, ""),
    ] {
        loaded.insert(path, inode(Kind::File(Content::Bytes(bytes.to_vec())), mode));
        let result = closed(&loaded, &[], &[path], &policy(), Rules::built_in());
        match result {
            Ok(_) => assert_eq!(expected, "", "{path}"),
            Err(error) => {
                assert!(!expected.is_empty() && error.to_string().contains(expected), "{path}: {error}")
            }
        }
    }
}

#[test]
fn circles_of_links_end() {
    let mut loaded = Loaded::default();
    loaded.insert("/a", inode(Kind::Symlink(b"b".to_vec()), 0o777));
    loaded.insert("/b", inode(Kind::Symlink(b"/a".to_vec()), 0o777));
    loaded.insert("/c/self", inode(Kind::Symlink(b"../c".to_vec()), 0o777));
    let error = closed(&loaded, &[], &["/a"], &policy(), Rules::built_in()).unwrap_err().to_string();
    assert!(error.contains("circle of links"), "{error}");
    let error =
        closed(&loaded, &[], &["/c/self/self/self/x"], &policy(), Rules::built_in()).unwrap_err().to_string();
    assert!(error.contains("is not there"), "{error}");
    let error = closed(&loaded, &[], &["/c/self"], &policy(), Rules::built_in()).unwrap_err().to_string();
    assert!(error.contains("a folder"), "{error}");
}

#[test]
#[ignore = "needs packages of Debian and root: make check-appliances"]
fn setuid_goes_unless_it_is_asked_for() {
    let mut loaded = nginx();
    loaded.insert("/opt/su", inode(Kind::File(Content::Bytes(b"x".to_vec())), 0o4755));
    let closure = closed(&loaded, &[], &["/usr/sbin/nginx"], &policy(), Rules::built_in()).unwrap();
    assert!(closure.cleared().contains(&b"/opt/su"[..]));
    let stay = Policy { suid: vec![b"/opt/su".to_vec()], ..policy() };
    let closure = closed(&loaded, &[], &["/usr/sbin/nginx"], &stay, Rules::built_in()).unwrap();
    assert!(closure.cleared().is_empty());
    let stay = Policy { suid: vec![b"/opt/sudo".to_vec()], ..policy() };
    assert!(closed(&loaded, &[], &["/usr/sbin/nginx"], &stay, Rules::built_in()).is_err());
}

#[test]
#[ignore = "needs packages of Debian and root: make check-appliances"]
fn patterns_keep_folders_whole_and_must_name_something() {
    let loaded = nginx();
    let keep =
        Policy { keep: patterns(&["/usr/share/doc/nginx", "/lib/x86_64-linux-gnu/libz.so.1"]), ..policy() };
    let closure = closed(&loaded, &[], &["/usr/sbin/nginx"], &keep, Rules::built_in()).unwrap();
    assert!(closure.paths().filter(|path| path.starts_with(b"/usr/share/doc/nginx/")).count() > 1);
    let keep = Policy { keep: patterns(&["/opt/**/lost*"]), ..policy() };
    let error = closed(&loaded, &[], &["/usr/sbin/nginx"], &keep, Rules::built_in()).unwrap_err().to_string();
    assert_eq!(error, "/opt/**/lost* is not there: kept by the pattern /opt/**/lost*");
}

#[test]
#[ignore = "needs packages of Debian and root: make check-appliances"]
fn whole_packages_are_larger_and_never_smaller() {
    let loaded = nginx();
    let files = closed(&loaded, &["nginx"], &["/usr/sbin/nginx"], &policy(), Rules::built_in()).unwrap();
    let whole = Policy { whole_packages: true, ..policy() };
    let whole = closed(&loaded, &["nginx"], &["/usr/sbin/nginx"], &whole, Rules::built_in()).unwrap();
    assert!(files.paths().all(|path| whole.keeps(path)));
    assert!(whole.bytes() > files.bytes());
    // A plugin of `tc` wants a library that its package only suggests: no error, and not silent.
    assert!(whole.notes().iter().any(|note| note.to_string().starts_with("libatm.so.1, which ")));
}

#[test]
#[ignore = "needs packages of Debian and root: make check-appliances"]
fn the_same_question_has_the_same_answer() {
    let loaded = nginx();
    let ask = || closed(&loaded, &["nginx"], &["/usr/sbin/nginx"], &policy(), Rules::built_in()).unwrap();
    let (one, two) = (ask(), ask());
    let reasons = |closure: &Closure| {
        closure.paths().map(|path| closure.why(path).unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(reasons(&one), reasons(&two));
}

#[test]
fn companions_are_the_packages_that_rules_need() {
    let rules = Rules::built_in();
    assert_eq!(rules.companions(&["nginx"]), ["libc-bin", "ncurses-base", "tzdata"]);
    assert_eq!(rules.companions(&["postgresql-15", "ncurses-base"]), ["dash", "libc-bin", "tzdata"]);
    assert!(rules.rules().iter().all(|rule| rule.fact().len() > 40));
}

#[test]
#[ignore = "needs packages of Debian and root: make check-appliances"]
fn the_bundle_of_certificates_is_that_of_the_packages_script() {
    let loaded = Loaded::of(&fetch("bookworm", "python3", &PYTHON));
    let bundle = melv_appliance::closure::certificates::bundle(&loaded.tree, &loaded.spool).unwrap().unwrap();
    let bundle = String::from_utf8(bundle).unwrap();
    assert!((100..200).contains(&bundle.matches("-----BEGIN CERTIFICATE-----").count()));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &bundle).unwrap();
    let openssl =
        Process::new("openssl").args(["storeutl", "-noout", "-certs"]).arg(file.path()).output().unwrap();
    assert!(openssl.status.success(), "{}", text(&openssl));
}

/// A program that does a job with a rule and not without it.
struct Job {
    rule: &'static str,
    named: &'static [&'static str],
    /// Programs that the closure is told of.
    programs: &'static [&'static str],
    command: &'static [&'static str],
    user: &'static str,
}

fn hold_against_rule(loaded: &Loaded, job: &Job) {
    let drop = Policy { drop: patterns(&["**/llvmjit.so", "**/bitcode/**"]), ..policy() };
    let ask = |rules: &Rules| closed(loaded, job.named, job.programs, &drop, rules).unwrap();
    let output = run_as(loaded, &ask(Rules::built_in()), job.user, job.command);
    assert!(output.status.success(), "{}: {}", job.rule, text(&output));
    let output = run_as(loaded, &ask(&Rules::built_in().without(job.rule)), job.user, job.command);
    assert!(!output.status.success(), "{}: the rule is not needed: {}", job.rule, text(&output));
}

#[test]
#[ignore = "needs packages of Debian and root: make check-appliances"]
fn each_rule_of_postgresql_is_needed_for_a_new_database() {
    const BIN: &[&str] = &["/usr/lib/postgresql/15/bin/initdb", "/usr/lib/postgresql/15/bin/postgres"];
    let command = &[
        "/usr/lib/postgresql/15/bin/initdb",
        "-D",
        "/tmp/d",
        "--locale=C.UTF-8",
        "-A",
        "trust",
        "--no-sync",
    ];
    let loaded = postgresql();
    for rule in ["glibc-locale", "postgresql-shell"] {
        hold_against_rule(
            &loaded,
            &Job { rule, named: &["postgresql-15", "tzdata"], programs: BIN, command, user: "100:100" },
        );
    }
}

#[test]
#[ignore = "needs packages of Debian and root: make check-appliances"]
fn each_rule_beside_python_is_needed() {
    let loaded = Loaded::of(&fetch("bookworm", "python3", &PYTHON));
    let python = |rule, script| (rule, vec!["/usr/bin/python3", "-c", script]);
    let iconv = vec!["/usr/bin/iconv", "-f", "ISO-8859-15", "-t", "UTF-16", "/etc/passwd"];
    let openssl = vec!["/usr/bin/openssl", "list", "-provider", "legacy", "-providers"];
    for (rule, command) in [
        python("ncurses-terminals", "import curses; curses.setupterm('vt220', 1)"),
        python("tzdata-utc", "import zoneinfo; zoneinfo.ZoneInfo('UTC')"),
        python("python-library", "import json"),
        ("glibc-gconv", iconv),
        ("openssl-modules", openssl),
    ] {
        let command: Vec<&'static str> = command;
        let program: &'static [&'static str] = match command[0] {
            "/usr/bin/iconv" => &["/usr/bin/iconv"],
            "/usr/bin/openssl" => &["/usr/bin/openssl"],
            _ => &["/usr/bin/python3"],
        };
        hold_against_rule(
            &loaded,
            &Job { rule, named: &[], programs: program, command: command.leak(), user: "0:0" },
        );
    }
}

/// Body of a fuzz target: a tree of any links and files has a closure or an error.
fn any_tree(random: &mut support::Random) {
    let names = ["a", "b", "usr", "lib", "libx.so.1", "etc", "ld.so.conf", "..", "x.so", "sh"];
    let path = |random: &mut support::Random| {
        let parts = 1 + random.below(4);
        (0..parts).map(|_| format!("/{}", names[random.below(names.len())])).collect::<String>()
    };
    let mut loaded = Loaded::default();
    for _ in 0..random.below(30) {
        let at = path(random).replace("/..", "/c");
        let kind = match random.below(4) {
            0 => Kind::Symlink(path(random).as_bytes()[random.below(2)..].to_vec()),
            1 => Kind::File(Content::Bytes(format!("#!{}\n", path(random)).into_bytes())),
            2 => Kind::File(Content::Bytes(format!("include /etc/*\n{}\n", path(random)).into_bytes())),
            _ => Kind::File(Content::Zeros { len: u64::MAX }),
        };
        support::try_insert(&mut loaded.tree, &at, inode(kind, 0o755));
    }
    let wanted = path(random);
    let keep = Policy {
        keep: patterns(&[&path(random), "/**/b"]),
        suid: vec![path(random).into_bytes()],
        ..policy()
    };
    for policy in [&policy(), &keep] {
        if let Ok(closure) = closed(&loaded, &[], &[&wanted], policy, Rules::built_in()) {
            assert!(
                closure.paths().all(|path| closure.why(path).is_some_and(|why| !why.to_string().is_empty()))
            );
        }
    }
}

#[test]
fn any_tree_has_a_closure_or_an_error() {
    let mut random = support::Random(0x7472_6565);
    for _ in 0..5_000 {
        any_tree(&mut random);
    }
}

#[test]
#[ignore = "needs packages of Debian and root: make check-appliances"]
fn examples_have_closures_from_their_declarations_alone() {
    let sets: [(&str, Loaded); 3] = [
        ("nginx", nginx()),
        ("postgresql", postgresql()),
        (
            "nethack",
            Loaded::of(&fetch(
                "bookworm",
                "nethack-console",
                &["nethack-console", "ncurses-base", "libc-bin"],
            )),
        ),
    ];
    for (name, loaded) in &sets {
        let declaration = Declaration::parse(Declaration::example(name).unwrap().as_bytes()).unwrap();
        let (commands, named) = (commands_of(&declaration), named_packages(&declaration));
        let closure = close(Request {
            tree: &loaded.tree,
            contents: &loaded.spool,
            origins: &loaded.origins,
            commands: &commands,
            named: &named,
            policy: &Policy::of(&declaration),
            rules: Rules::built_in(),
            packages: &(),
        });
        let closure = closure.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(commands.iter().all(|command| closure.why(&command.path).is_some()), "{name}");
    }
}
