//! Declarations: the examples, defaults, the text of each error with its place, any bytes.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::time::Duration;

use melv_appliance::declaration::{
    Capabilities, Declaration, EXAMPLES, ImageSource, KernelSource, NetworkMode, Owner, PackageSource,
    Profile, Ready, Restart, Rule, Suite, TimeServers, Writes,
};
use support::Random;

const HEAD: &str = "suite = \"bookworm\"\n";
const SERVICE: &str = "[[service]]\nname = \"x\"\ncommand = [\"/x\"]\n";

fn parse(text: &str) -> Declaration {
    Declaration::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn error(text: &str) -> String {
    Declaration::parse(text.as_bytes()).expect_err(text).to_string()
}

/// A declaration with more lines at its head (from line 2).
fn with(lines: &str) -> String {
    format!("{HEAD}{lines}\n{SERVICE}")
}

/// A declaration whose service has more lines (from line 5).
fn serving(lines: &str) -> String {
    format!("{HEAD}{SERVICE}{lines}\n")
}

#[test]
fn every_example_is_read() {
    for (name, text) in EXAMPLES {
        parse(text);
        assert_eq!(Declaration::example(name), Some(text));
    }
    assert_eq!(Declaration::example("nothing"), None);
}

#[test]
fn the_example_of_nginx_has_the_defaults() {
    let nginx = parse(Declaration::example("nginx").unwrap());
    assert_eq!(
        (nginx.suite, nginx.suite.name(), nginx.updates, nginx.shell),
        (Suite::Bookworm, "bookworm", true, false)
    );
    assert_eq!(nginx.packages, [PackageSource::Named("nginx".into())]);
    assert_eq!((nginx.machine.memory.bytes(), nginx.machine.cpus), (128 << 20, 1));
    assert!(nginx.machine.uefi && nginx.machine.bios);
    assert_eq!(nginx.kernel.source, KernelSource::Cloud { modules: Vec::new() });
    assert_eq!((&nginx.network.mode, &nginx.network.time), (&NetworkMode::Dhcp, &TimeServers::None));
    assert_eq!(nginx.writes, Writes::Memory);
    assert_eq!((nginx.texts[0].mode.bits(), &nginx.texts[0].owner), (0o644, &Owner::ROOT));
    let service = &nginx.services[0];
    assert_eq!(service.ready, Ready::Http { port: 80, path: "/".into() });
    assert_eq!((service.stop_signal.number(), service.stop_timeout), (15, Duration::from_secs(10)));
    assert_eq!((service.restart, service.ready_within), (Restart::OnFailure, Duration::from_secs(60)));
    assert_eq!(service.program.capabilities, Capabilities::Usual);
    assert!(nginx.files.licences && nginx.files.closure.is_none());
}

#[test]
fn the_example_of_postgresql_has_its_values() {
    let postgresql = parse(Declaration::example("postgresql").unwrap());
    let owner = Owner::Numbers { uid: 100, gid: 100 };
    let KernelSource::Tailored { profile, config, insecure } = &postgresql.kernel.source else { panic!() };
    assert_eq!((*profile, config.len(), *insecure), (Profile::Portable, 4, false));
    assert_eq!(postgresql.machine.sysctls[0], ("vm.overcommit_memory".into(), "2".into()));
    assert!(postgresql.files.drop[0].fits(b"/usr/lib/postgresql/15/lib/llvmjit.so"));
    assert_eq!((postgresql.data[0].size.bytes(), &postgresql.data[0].owner), (8 << 30, &owner));
    // The secret belongs to the one user of all programs, and is kept on the one data disk.
    let secret = &postgresql.secrets[0];
    assert_eq!((&secret.owner, secret.mode.bits()), (&owner, 0o400));
    assert_eq!(secret.generated.as_ref().unwrap().keep.as_deref(), Some("db"));
    assert_eq!((postgresql.setups[0].name.as_str(), &postgresql.setups[0].program.user), ("initdb", &owner));
    let service = &postgresql.services[0];
    assert_eq!((service.stop_signal.number(), service.stop_timeout), (2, Duration::from_secs(60)));
    assert!(matches!(&service.ready, Ready::Exec(command) if command.len() == 2));
}

#[test]
fn the_other_examples_have_their_values() {
    let nethack = parse(Declaration::example("nethack").unwrap());
    assert_eq!((nethack.texts.len(), &nethack.network.mode), (4, &NetworkMode::None));
    assert!(nethack.services[0].console && nethack.services[0].exit);
    assert_eq!(nethack.services[0].program.environment[0], ("TERM".into(), "linux".into()));
    let site = parse(Declaration::example("site").unwrap());
    assert_eq!(
        (site.suite, &site.writes, site.copies[0].from.is_beside()),
        (Suite::Trixie, &Writes::None, true)
    );
    assert_eq!(site.directories[0].owner, Owner::Numbers { uid: 33, gid: 33 });
    let oci = parse(Declaration::example("oci").unwrap());
    assert!(matches!(oci.image, Some(ImageSource::Oci(_))) && oci.services.is_empty());
    let tailored = parse(&with("kernel = { use = \"tailored\", profile = \"micro\" }"));
    assert_eq!(tailored.machine.memory.bytes(), 64 << 20);
    assert!(!tailored.machine.uefi && !tailored.machine.bios);
}

#[test]
fn names_of_an_image_are_left_to_it_and_numbers_are_not() {
    let text = "suite = \"trixie\"\nrootfs = \"x.tar\"\n[[service]]\nname = \"a\"\nuser = \"app:staff\"\ncommand = [\"/a\"]\n";
    let owner = &parse(text).services[0].program.user;
    assert_eq!(owner, &Owner::Names { user: "app".into(), group: Some("staff".into()) });
    let owner = &parse(&serving("user = \"1000:5\"")).services[0].program.user;
    assert_eq!(owner, &Owner::Numbers { uid: 1000, gid: 5 });
    let owner = &parse(&serving("user = \"www-data:tty\"")).services[0].program.user;
    assert_eq!(owner, &Owner::Numbers { uid: 33, gid: 5 });
}

/// Texts of errors. The head is line 1; the rows are from line 2 on.
const GOLDEN: &[(&str, &str)] = &[
    ("pakages = [\"nginx\"]", "line 2, column 1: pakages: unknown key; the nearest known key is `packages`"),
    ("zzz = 1", "line 2, column 1: zzz: unknown key"),
    ("packages = \"nginx\"", "line 2, column 12: packages: expected a list, found a string"),
    ("packages = [\"a1\", 2]", "line 2, column 19: packages[1]: expected a string, found an integer"),
    (
        "packages = [\"nginx\", \"nginx\"]",
        "line 2, column 22: packages[1]: the package \"nginx\" is declared twice; the first is on line 2",
    ),
    (
        "packages = [\"Nginx\"]",
        "line 2, column 13: packages[0]: expected the name of a package, or the path of one as \"./name.deb\", found \"Nginx\"",
    ),
    (
        "packages = [\"./x.rpm\"]",
        "line 2, column 13: packages[0]: expected the path of a package as \"./name.deb\", found \"./x.rpm\"",
    ),
    ("oci = \"a\"\nrootfs = \"b\"", "line 3, column 10: rootfs: `oci` and `rootfs` exclude each other"),
    (
        "parent = \"a b\"",
        "line 2, column 10: parent: expected the reference of an image, as \"nginx:latest\", found \"a b\"",
    ),
    (
        "writes = \"disk\"",
        "line 2, column 10: writes: expected \"memory\", \"none\" or \"data:NAME\", found \"disk\"",
    ),
    ("writes = \"data:db\"", "line 2, column 10: writes: no data disk has the name \"db\""),
    (
        "machine.memory = \"0M\"",
        "line 2, column 18: machine.memory: expected a size above 0 as \"64M\" or \"8G\" (K, M, G, T), found \"0M\"",
    ),
    (
        "machine.memory = \"99999999999999999999T\"",
        "line 2, column 18: machine.memory: expected a size above 0 as \"64M\" or \"8G\" (K, M, G, T), found \"99999999999999999999T\"",
    ),
    (
        "machine.memory = \"16777216T\"",
        "line 2, column 18: machine.memory: expected a size above 0 as \"64M\" or \"8G\" (K, M, G, T), found \"16777216T\"",
    ),
    (
        "machine.memory = \"1M\"",
        "line 2, column 18: machine.memory: expected memory of \"32M\" to \"4T\" in whole MiB, found \"1M\"",
    ),
    ("machine.memory = 128", "line 2, column 18: machine.memory: expected a string, found an integer"),
    ("machine.cpus = 0", "line 2, column 16: machine.cpus: expected 1 to 255 processors, found \"0\""),
    ("machine.cpus = -1", "line 2, column 16: machine.cpus: expected 1 to 255 processors, found \"-1\""),
    (
        "machine.ports = [\"80\"]",
        "line 2, column 18: machine.ports[0]: expected a port as \"80/tcp\" or \"53/udp\", found \"80\"",
    ),
    (
        "machine.ports = [\"80/tcp\", \"80/udp\", \"80/tcp\"]",
        "line 2, column 38: machine.ports[2]: the port \"80/tcp\" is declared twice; the first is on line 2",
    ),
    (
        "machine.ports = [\"65536/tcp\"]",
        "line 2, column 18: machine.ports[0]: expected a port as \"80/tcp\" or \"53/udp\", found \"65536/tcp\"",
    ),
    (
        "machine.firmware = []",
        "line 2, column 20: machine.firmware: expected \"uefi\", \"bios\" or both, found none",
    ),
    (
        "machine.hostname = \"-x\"",
        "line 2, column 20: machine.hostname: expected a host name of at most 64 letters, digits, `-`, `.`, found \"-x\"",
    ),
    (
        "machine.sysctl = { \"vm..x\" = 1 }",
        "line 2, column 20: machine.sysctl.\"vm..x\": expected a kernel setting as `vm.overcommit_memory`, found \"vm..x\"",
    ),
    (
        "machine.sysctl = { \"a.b\" = 1, \"a/b\" = 2 }",
        "line 2, column 31: machine.sysctl.\"a/b\": the kernel setting \"a.b\" is declared twice; the first is on line 2",
    ),
    (
        "kernel.use = \"big\"",
        "line 2, column 14: kernel.use: expected \"cloud\", \"tailored\" or \"file\", found \"big\"",
    ),
    (
        "kernel.config = [\"CONFIG_X=y\"]",
        "line 2, column 17: kernel.config: `config` has a meaning only with `use = \"tailored\"`",
    ),
    (
        "kernel = { use = \"tailored\", config = [\"X=y\"] }",
        "line 2, column 40: kernel.config[0]: expected a line as \"CONFIG_NUMA=y\", with y, n, a number or a text in quotes, found \"X=y\"",
    ),
    ("kernel = { use = \"file\" }", "line 2, column 10: kernel: the key `path` is missing"),
    (
        "kernel = { use = \"cloud\", from = \"x\" }",
        "line 2, column 34: kernel.from: `use` and `from` exclude each other",
    ),
    (
        "kernel.cmdline = \"a\\nb\"",
        "line 2, column 18: kernel.cmdline: expected a line of at most 1536 visible ASCII characters, found \"a\\nb\"",
    ),
    ("network.mode = \"static\"", "line 2, column 1: network: the key `address` is missing"),
    (
        "network.address = \"192.0.2.1/24\"",
        "line 2, column 19: network.address: `address` has a meaning only with `mode = \"static\"`",
    ),
    (
        "network = { mode = \"static\", address = \"192.0.2.1/33\" }",
        "line 2, column 40: network.address: expected an IPv4 address and its bits as \"192.0.2.7/24\", found \"192.0.2.1/33\"",
    ),
    (
        "files.keep = [\"usr/*\"]",
        "line 2, column 15: files.keep[0]: expected a pattern of absolute paths, that begins with `/` or `**/`, found \"usr/*\"",
    ),
    (
        "files.keep = [\"/[\"]",
        "line 2, column 15: files.keep[0]: expected a pattern of absolute paths, that begins with `/` or `**/`, found \"/[\"",
    ),
    ("[[user]]\nname = \"a\"", "line 2, column 1: user[0]: the key `uid` is missing"),
    (
        "[[user]]\nname = \"a\"\nuid = 1000\n[[user]]\nname = \"b\"\nuid = 1000",
        "line 6, column 8: user[1].name: user b (1000) is declared twice; the first is on line 3",
    ),
    (
        "[[user]]\nname = \"me\"\nuid = 0",
        "line 3, column 8: user[0].name: expected a name and number that are not those of a user of every Debian, found me 0, where Debian has root 0",
    ),
    (
        "[[file]]\npath = \"etc/x\"",
        "line 3, column 8: file[0].path: expected an absolute path, found \"etc/x\"",
    ),
    (
        "[[file]]\npath = \"/etc/../x\"",
        "line 3, column 8: file[0].path: expected an absolute path without `.`, `..`, empty or overlong parts, found \"/etc/../x\"",
    ),
    ("[[file]]\ntext = \"\"", "line 2, column 1: file[0]: the key `path` is missing"),
    (
        "[[file]]\npath = \"/a\"\npaths = [\"/b\"]",
        "line 4, column 9: file[0].paths: `path` and `paths` exclude each other",
    ),
    (
        "[[file]]\npath = \"/a\"\n[[dir]]\npath = \"/a\"",
        "line 5, column 8: dir[0].path: the path /a is declared twice; the first is on line 3",
    ),
    (
        "[[link]]\npath = \"/a\"\ntarget = \"b\"\n[[file]]\npath = \"/a/b\"",
        "line 6, column 8: file[0].path: /a/b lies below /a, which is declared as a link on line 3",
    ),
    (
        "[[file]]\npath = \"/run/x\"",
        "line 3, column 8: file[0].path: /run/x lies on a file system that is empty at every start",
    ),
    (
        "[[dir]]\npath = \"/etc/melv/x\"",
        "line 3, column 8: dir[0].path: expected a path outside the folders of melv's init, found /etc/melv/x, within /etc/melv",
    ),
    (
        "[[file]]\npath = \"/a\"\nmode = \"0999\"",
        "line 4, column 8: file[0].mode: expected a mode in octal as \"0755\", at most \"7777\", found \"0999\"",
    ),
    (
        "[[file]]\npath = \"/a\"\nmode = 755",
        "line 4, column 8: file[0].mode: expected a string, found an integer",
    ),
    (
        "[[file]]\npath = \"/a\"\nowner = \"www-date\"",
        "line 4, column 9: file[0].owner: no user has the name \"www-date\"; the nearest is www-data",
    ),
    (
        "[[data]]\nname = \"twelve-bytes\"",
        "line 3, column 8: data[0].name: expected a name of at most 11 letters, digits, `-`, `_`, `.`, other than `melv`, found \"twelve-bytes\"",
    ),
    (
        "[[data]]\nname = \"a\"\nsize = \"1K\"",
        "line 4, column 8: data[0].size: expected a size of \"4M\" to \"64T\" in whole MiB, found \"1K\"",
    ),
    (
        "[[secret]]\nname = \"a\"\nlength = 9",
        "line 4, column 10: secret[0].length: `length` has a meaning only with `generate = true`",
    ),
    (
        "[[repository]]\nuri = \"ftp://x\"\nsuite = \"s\"\nkey = \"k\"",
        "line 3, column 7: repository[0].uri: expected an address that begins with `http://` or `https://`, found \"ftp://x\"",
    ),
];

/// Texts of errors of a service. The service begins on line 2, the rows are from line 5 on.
const SERVICES: &[(&str, &str)] = &[
    (
        "comand = [\"/x\"]",
        "line 5, column 1: service[0].comand: unknown key; the nearest known key is `command`",
    ),
    ("user = \"alice\"", "line 5, column 8: service[0].user: no user has the name \"alice\""),
    (
        "restart = \"sometimes\"",
        "line 5, column 11: service[0].restart: expected \"never\", \"on-failure\" or \"always\", found \"sometimes\"",
    ),
    (
        "exit = true\nrestart = \"always\"",
        "line 6, column 11: service[0].restart: expected \"never\", since `exit` makes its end the machine's, found \"always\"",
    ),
    (
        "stop = { signal = \"SIGFOO\" }",
        "line 5, column 19: service[0].stop.signal: expected a signal as \"INT\", \"TERM\" or \"RTMIN+3\", found \"SIGFOO\"",
    ),
    (
        "stop = { timeout = \"60\" }",
        "line 5, column 20: service[0].stop.timeout: expected a time above 0 as \"500ms\", \"60s\", \"5m\" or \"1h\", found \"60\"",
    ),
    (
        "stop = { timeout = \"99999999999999999999h\" }",
        "line 5, column 20: service[0].stop.timeout: expected a time above 0 as \"500ms\", \"60s\", \"5m\" or \"1h\", found \"99999999999999999999h\"",
    ),
    (
        "ready = { http = \"80/\" }",
        "line 5, column 18: service[0].ready.http: expected a port and a path as \":80/\", found \"80/\"",
    ),
    (
        "ready = { tcp = \":0\" }",
        "line 5, column 17: service[0].ready.tcp: expected a port as \":5432\", found \":0\"",
    ),
    (
        "ready = { exec = [] }",
        "line 5, column 18: service[0].ready.exec: expected a program and its arguments, found an empty list",
    ),
    (
        "ready = { http = \":1/\", tcp = \":1\" }",
        "line 5, column 31: service[0].ready.tcp: `http` and `tcp` exclude each other",
    ),
    (
        "capabilities = [\"net_admn\"]",
        "line 5, column 17: service[0].capabilities[0]: no capability has the name \"net_admn\"; the nearest is net_admin",
    ),
    (
        "limits = { nofiles = 1 }",
        "line 5, column 12: service[0].limits.nofiles: no limit of a resource has the name \"nofiles\"; the nearest is nofile",
    ),
    (
        "limits = { nofile = \"9:8\" }",
        "line 5, column 21: service[0].limits.nofile: expected a limit as 65536, \"unlimited\" or \"1024:65536\" (in force, and at most), found \"9:8\"",
    ),
    (
        "env = { \"A=B\" = \"\" }",
        "line 5, column 9: service[0].env.\"A=B\": expected the name of a variable, found \"A=B\"",
    ),
    ("depends = [\"x\"]", "line 5, column 12: service[0].depends[0]: no other service has the name \"x\""),
    (
        "[[service]]\nname = \"x\"\ncommand = [\"/y\"]",
        "line 6, column 8: service[1].name: the service \"x\" is declared twice; the first is on line 3",
    ),
    (
        "depends = [\"y\"]\n[[service]]\nname = \"y\"\ncommand = [\"/y\"]\ndepends = [\"x\"]",
        "line 5, column 11: service[0].depends: the services x, y wait for one another",
    ),
    (
        "console = true\n[[service]]\nname = \"y\"\ncommand = [\"/y\"]\nconsole = true",
        "line 9, column 11: service[1].console: the service with `console` is declared twice; the first is on line 5",
    ),
    (
        "[[service]]\nname = \"y\"\ncommand = [\"y\"]",
        "line 7, column 12: service[1].command[0]: expected an absolute path, found \"y\"",
    ),
    (
        "[[setup]]\ncommand = [\"/s\"]\ncreates = \"x\"",
        "line 7, column 11: setup[0].creates: expected an absolute path, found \"x\"",
    ),
    (
        "[check]\ncommand = [\"/c\", \"\\u0000\"]",
        "line 6, column 18: check.command[1]: expected a word without NUL, below 128 KiB, found \"\\0\"",
    ),
];

#[test]
fn every_error_tells_line_column_key_and_rule() {
    let mut differences = String::new();
    let rows = GOLDEN.iter().map(|(lines, text)| (with(lines), *text));
    for (file, expected) in rows.chain(SERVICES.iter().map(|(lines, text)| (serving(lines), *text))) {
        let found = match Declaration::parse(file.as_bytes()) {
            Ok(_) => "no error".to_owned(),
            Err(error) => error.to_string(),
        };
        if found != expected {
            differences.push_str(&format!("{file}\n  found    {found}\n  expected {expected}\n"));
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn other_suites_are_refused_by_name_with_a_kind_of_their_own() {
    let error = Declaration::parse(b"suite = \"noble\"\n").unwrap_err();
    assert!(error.is_unsupported());
    assert_eq!(
        error.to_string(),
        "line 1, column 9: suite: the suite \"noble\" is not supported; supported are bookworm (Debian 12) and trixie (Debian 13)"
    );
    assert!(!Declaration::parse(b"suite = 12").unwrap_err().is_unsupported());
}

#[test]
fn files_that_are_no_toml_are_refused_at_their_place() {
    assert!(error("suite = \"bookworm\"\nx = = 1").starts_with("line 2, column 5: not TOML: "));
    assert!(
        error("suite = \"bookworm\"\nsuite = \"bookworm\"")
            .starts_with("line 2, column 1: not TOML: duplicate key")
    );
    assert_eq!(error(""), "line 1, column 1: the key `suite` is missing");
    assert_eq!(error(HEAD), "line 1, column 1: the key `service` is missing");
    let broken = Declaration::parse(b"suite = \"bookworm\"\n# \xc3\xa9 \xff").unwrap_err();
    assert_eq!((broken.line, broken.column, broken.rule), (2, 5, Rule::Encoding));
    let long = Declaration::parse(&vec![b'#'; 5 << 20]).unwrap_err();
    assert!(matches!(long.rule, Rule::TooLong { .. }));
    // Columns are characters.
    assert!(error(&with("parent = \"ü\"; x")).starts_with("line 2, column 13: "));
    let deep = format!("x = {}", "[".repeat(100_000));
    assert!(error(&deep).contains("not TOML"));
}

/// Body of a fuzz target: any bytes are a value, or a fault at a place in the file.
fn any_declaration(bytes: &[u8]) {
    if let Err(error) = Declaration::parse(bytes) {
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
        assert!((1..=lines).contains(&error.line) && error.column >= 1, "{error}");
        assert!(error.column <= bytes.len() + 1);
    }
}

#[test]
fn any_bytes_are_a_declaration_or_a_fault_with_a_place() {
    let mut random = Random(0x0064_6563);
    for round in 0..20_000 {
        let mut bytes = EXAMPLES[round % EXAMPLES.len()].1.as_bytes().to_vec();
        let all = bytes.len();
        if round % 3 == 0 {
            // Words change places, so that what is left is TOML more often.
            let words: Vec<&[u8]> =
                EXAMPLES[random.below(EXAMPLES.len())].1.as_bytes().split(|b| *b == b'\n').collect();
            let line = words[random.below(words.len())].to_vec();
            let at = random.below(all);
            let at = bytes[..at].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
            bytes.splice(at..at, [line, b"\n".to_vec()].concat());
        } else {
            random.mutate(&mut bytes, all);
        }
        any_declaration(&bytes);
    }
}
