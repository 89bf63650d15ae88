//! Promises of the configuration's format.

use std::{net::Ipv4Addr, time::Duration};

use super::*;

/// A generator of numbers by a seed (xorshift64*).
pub(crate) struct Rng(pub u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// The text of a database with all kinds of lines.
const DATABASE: &str = "\
melv-init 1
hostname db
network static
 address 192.0.2.7/24
 gateway 192.0.2.1
 dns 192.0.2.53 2001:db8::53
time 192.0.2.123
writes data db
sysctl vm.overcommit_memory 2
data db
 mount /var/lib/postgresql
 owner 100 103
 mode 0750
directory /run/postgresql 2775 100 103
secret password 0400 100 103 generated 24 db
secret token 0440 0 103 given
setup initdb
 command /usr/lib/postgresql/15/bin/initdb -D /var/lib/postgresql/d --pwfile=/run/melv/secrets/password
 user 100 103
 creates /var/lib/postgresql/d/PG_VERSION
service postgresql
 command /usr/lib/postgresql/15/bin/postgres -c search_path=\"a%20b\" %
 user 100 103 110 111
 environment LANG C.UTF-8
 environment EMPTY %
 directory /var/lib/postgresql
 capabilities chown net_bind_service
 limit nofile 1024 unlimited
 new-privileges
 restart always
 stop 2 60000
 ready exec /usr/lib/postgresql/15/bin/pg_isready -q
 patience 30000
service watch
 command /usr/bin/watch 100%25
 capabilities all
 depends postgresql
 ready http 80 /health?x=1
 console
 exit
end
";

fn database() -> Config {
    parse(DATABASE.as_bytes()).expect("the text is right")
}

fn rule(text: &str) -> Rule {
    parse(text.as_bytes()).expect_err("the text is wrong").rule
}

#[test]
fn a_configuration_has_one_text() {
    let config = database();
    assert_eq!(String::from_utf8(write(&config).unwrap()).unwrap(), DATABASE);
}

#[test]
fn words_keep_every_character() {
    let config = database();
    let service = &config.services[0];
    assert_eq!(service.process.command[2..], ["search_path=\"a b\"".to_owned(), String::new()]);
    assert_eq!(service.process.environment[1], ("EMPTY".to_owned(), String::new()));
    assert_eq!(config.services[1].process.command[1], "100%");
    assert_eq!(service.stop, Stop { signal: 2, timeout: Duration::from_secs(60) });
    assert_eq!(service.process.capabilities, 1 << 10 | 1);
    assert_eq!(config.services[1].process.capabilities, ALL_CAPABILITIES);
}

#[test]
fn the_shortest_configuration_is_three_lines() {
    let config = parse(b"melv-init 1\nhostname a\nend\n").unwrap();
    assert_eq!(config, Config { hostname: "a".into(), ..Config::default() });
}

#[test]
fn a_text_that_was_cut_is_refused() {
    for length in 0..DATABASE.len() {
        assert!(parse(&DATABASE.as_bytes()[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn another_version_is_refused_and_told() {
    assert_eq!(rule("melv-init 2\nhostname a\nend\n"), Rule::Version("melv-init 2".into()));
}

#[test]
fn an_unknown_key_is_refused_with_its_line() {
    let fault = parse(b"melv-init 1\nhostname a\nservice x\n command /x\n colour red\nend\n").unwrap_err();
    assert_eq!(fault, Fault { line: 5, rule: Rule::Key("colour".into()) });
    assert_eq!(fault.to_string(), "line 5: unknown key \"colour\"");
}

#[test]
fn texts_that_break_a_rule_are_refused() {
    let with = |lines: &str| rule(&format!("melv-init 1\nhostname a\n{lines}end\n"));
    assert_eq!(with("hostname b\n"), Rule::Twice("hostname".into()));
    assert_eq!(with(" inner x\n"), Rule::Key("inner".into()));
    assert_eq!(with("writes data db\n"), Rule::Unknown { thing: "data disk", name: "db".into() });
    assert_eq!(with("service a\n"), Rule::Missing("command"));
    assert_eq!(with("service a\n command /a\n command /b\n"), Rule::Twice("command".into()));
    assert_eq!(with("service a\n command /a\nservice a\n command /b\n"), Rule::Twice("a".into()));
    assert_eq!(with("sysctl a %41\n"), Rule::Word);
    assert_eq!(with("sysctl a %00\n"), Rule::Word);
    assert_eq!(with("sysctl a  b\n"), Rule::Word);
    assert_eq!(with("sysctl a %C3%28\n"), Rule::Word);
    assert_eq!(with("sysctl a %2\n"), Rule::Word);
    for lines in [
        "data abcdefghijkl\n mount /d\n",
        "data a\n mount d\n",
        "data a\n mount /d/../e\n",
        "service melv\n command /a\n",
        "service a/b\n command /a\n",
        "service a\n command /a\n user 4294967295 0\n",
        "service a\n command /a\n user 007 0\n",
        "service a\n command /a\n restart always\n exit\n",
        "service a\n command /a\n stop 0 1\n",
        "service a\n command /a\n ready http 80 /a%0D%0AHost:\n",
        "service a\n command /a\n ready tcp 0\n",
        "service a\n command /a\n limit nofile 2 1\n",
        "service a\n command /a\n environment A=B c\n",
        "service a\n command %\n",
        "directory /a 10000 0 0\n",
        "directory /a 755 0 0\n",
        "secret a 0400 0 0 generated 7\n",
        "network dhcpd\n",
        "network static\n address 1.2.3.4/33\n",
    ] {
        assert!(matches!(with(lines), Rule::Value { .. }), "{lines}");
    }
}

#[test]
fn services_that_wait_for_one_another_are_refused() {
    let text = "melv-init 1\nhostname a\nservice a\n command /a\n depends b\nservice b\n command /b\n depends a\nend\n";
    assert_eq!(rule(text), Rule::Circle("a".into()));
}

#[test]
fn a_value_that_could_not_be_read_is_not_written() {
    let mut config = database();
    config.services[0].stop.timeout = Duration::from_nanos(1);
    assert!(write(&config).is_err());
    let mut config = database();
    config.services[0].process.command[0] = "a\0b".into();
    assert_eq!(write(&config).unwrap_err().rule, Rule::Word);
}

fn random_word(rng: &mut Rng) -> String {
    let letters = ['a', 'Z', '0', ' ', '%', '\n', '"', 'ß', '磁', '\u{7f}', '-', '\t', '\u{1f600}'];
    (0..rng.below(9)).map(|_| letters[rng.below(letters.len() as u64) as usize]).collect()
}

fn random_process(rng: &mut Rng) -> Process {
    let mut process = Process { command: vec![format!("/bin/{}", random_word(rng))], ..Process::default() };
    process.command.extend((0..rng.below(5)).map(|_| random_word(rng)));
    process.uid = rng.below(3) as u32 * 1000;
    process.gid = rng.below(3) as u32 * 1000;
    process.groups = (0..rng.below(3)).map(|group| group as u32).collect();
    process.environment = (0..rng.below(4)).map(|n| (format!("V{n} ß"), random_word(rng))).collect();
    process.directory = rng.one_in(2).then(|| format!("/d/x{}", random_word(rng)));
    process.capabilities = if rng.one_in(3) { ALL_CAPABILITIES } else { rng.next() & ((1 << 41) - 1) };
    process.new_privileges = rng.one_in(2);
    if rng.one_in(2) {
        let soft = rng.next() >> 1;
        process.limits.push(Limit { resource: rng.below(16) as u32, soft, hard: u64::MAX });
    }
    process
}

fn random_config(rng: &mut Rng) -> Config {
    let mut config = Config { hostname: format!("h{}", rng.below(100)), ..Config::default() };
    if rng.one_in(2) {
        let address = Ipv4Addr::from(rng.next() as u32);
        let gateway = rng.one_in(2).then_some(address);
        let prefix = rng.below(33) as u8;
        config.network =
            Network::Static(StaticNetwork { address, prefix, gateway, dns: vec![address.into()] });
    }
    for index in 0..rng.below(3) {
        let name = format!("d{index}");
        config.writes = Writes::Data(name.clone());
        let owner = Owner { uid: rng.next() as u32, gid: rng.next() as u32 };
        let mount = format!("/m{index}/{name}");
        config.data.push(DataDisk { name, mount, owner, mode: rng.below(0o10000) as u16 });
    }
    for index in 0..rng.below(3) {
        config.sysctls.push(Sysctl { name: format!("a.b{index}"), value: random_word(rng) });
        config.setups.push(Setup { name: "s".into(), process: random_process(rng), creates: None });
        config.secrets.push(Secret {
            name: format!("s{index}"),
            owner: Owner::default(),
            mode: 0o400,
            source: SecretSource::Generated { length: 8 + index as u16, keep: None },
        });
    }
    for index in 0..rng.below(5) {
        config.services.push(Service {
            name: format!("n{index}"),
            process: random_process(rng),
            depends: (0..index).filter(|_| rng.one_in(2)).map(|other| format!("n{other}")).collect(),
            restart: [Restart::Never, Restart::OnFailure, Restart::Always][rng.below(3) as usize],
            stop: Stop {
                signal: 1 + rng.below(64) as u8,
                timeout: Duration::from_millis(rng.below(1 << 32)),
            },
            ready: match rng.below(4) {
                0 => Ready::Started,
                1 => Ready::Tcp(1 + rng.below(65535) as u16),
                2 => Ready::Http(80, "/~a".into()),
                _ => Ready::Exec(vec![random_word(rng), random_word(rng)]),
            },
            patience: Duration::from_millis(rng.below(1 << 32)),
            console: index == 1,
            exit: false,
        });
    }
    config
}

#[test]
fn every_configuration_is_read_as_it_was_written() {
    let mut rng = Rng(7);
    for round in 0..3000 {
        let config = random_config(&mut rng);
        let text = write(&config).unwrap_or_else(|fault| panic!("round {round}: {fault}"));
        let read = parse(&text).unwrap_or_else(|fault| panic!("round {round}: {fault}"));
        assert_eq!(read, config, "round {round}");
        assert_eq!(write(&read).unwrap(), text, "round {round}");
    }
}

#[test]
fn any_bytes_are_refused_or_mean_something_that_can_be_written() {
    let mut rng = Rng(11);
    let mut accepted = 0;
    for _ in 0..60_000 {
        let mut text = DATABASE.as_bytes().to_vec();
        for _ in 0..1 + rng.below(4) {
            let at = rng.below(text.len().max(1) as u64) as usize;
            if text.is_empty() {
                break;
            }
            match rng.below(4) {
                0 => text[at] = rng.next() as u8,
                1 => drop(text.remove(at)),
                2 => text.insert(at, b" \n%0a"[rng.below(5) as usize]),
                _ => text.truncate(at.max(1)),
            }
        }
        if let Ok(config) = parse(&text) {
            accepted += 1;
            let again = write(&config).unwrap();
            assert_eq!(parse(&again).unwrap(), config);
        }
    }
    assert!(accepted > 1000, "{accepted} texts were accepted: the changes are too strong to test much");
}
