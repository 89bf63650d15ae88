//! Machines that cannot be described, and texts that come out unchanged.

mod common;

use common::{descriptor, fake_package, full, machine, minimal, run};
use melv_disks::ova::{
    BlankDisks, DataDisk, Machine, MachineParts, OvaError, Port, Protocol, SystemDisk, TextFault, vmx_files,
};

/// Texts that break quoting, paths, lines or limits somewhere.
fn hostile() -> Vec<String> {
    let texts = [
        "",
        " ",
        ".",
        "..",
        "../x",
        "a/b",
        "/",
        "a\\b",
        "a%2fb",
        "%",
        "~",
        "-rf",
        "--",
        "a\nb",
        "a\r\nb",
        "a\tb",
        "\0",
        "a\u{1b}[31m",
        "a\u{7f}",
        "a\u{85}b",
        "\"",
        "\"\"",
        "a\"b",
        "'",
        "<",
        ">",
        "&",
        "&amp;",
        "<!--",
        "]]>",
        "<![CDATA[",
        "<?xml?>",
        "<!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]>",
        "&#0;",
        "|",
        "|22",
        "a|0Ab",
        "#",
        "${x}",
        "$(id)",
        "`id`",
        "a = \"b\"",
        "größe",
        "日本語",
        "🙂",
        "e\u{301}",
        "\u{202e}abc",
        "\u{feff}a",
        "\u{fffe}",
        "\u{ffff}",
        "a\u{2028}b",
        " a",
        "a ",
        "a  b",
        ".hidden",
        "a.ovf",
        "CON",
        "x:y",
        "*?",
        "{{x}}",
        "@@x@@",
    ];
    let long = [
        "x".repeat(80),
        "x".repeat(81),
        "ü".repeat(80),
        "&".repeat(80),
        "<".repeat(255),
        "y".repeat(100_000),
    ];
    texts.into_iter().map(String::from).chain(long).collect()
}

/// Returns the text of an XPath expression, as xmllint reads it.
fn xpath(file: &str, expression: &str) -> String {
    let text = run("xmllint", &["--nonet", "--xpath", &format!("string({expression})"), file]);
    text.strip_suffix('\n').unwrap_or(&text).to_owned()
}

/// Returns the value of a key of a VMX file.
fn vmx_value(text: &str, key: &str) -> Option<String> {
    let quoted =
        text.lines().find_map(|line| line.strip_prefix(&format!("{key} = \"")))?.strip_suffix('"')?;
    assert!(!quoted.contains('"'), "{quoted}");
    let mut parts = quoted.split('|');
    let mut value = parts.next()?.to_owned();
    for part in parts {
        value.push(char::from(u8::from_str_radix(&part[..2], 16).expect("two digits")));
        value.push_str(&part[2..]);
    }
    Some(value)
}

/// A way to put a text into a machine, and its places in the descriptor and in the VMX file.
type Field = (fn(&mut MachineParts, String), &'static str, Option<&'static str>);

const FIELDS: [Field; 5] = [
    (|parts, text| parts.name = text, "//*[local-name()='Name']", Some("displayName")),
    (|parts, text| parts.description = text, "//*[local-name()='Annotation']", Some("annotation")),
    (|parts, text| parts.product = text, "//*[local-name()='Product']", None),
    (|parts, text| parts.version = text, "//*[local-name()='Version']", None),
    (
        |parts, text| parts.network = Some(text),
        "//*[local-name()='Network']/@*[local-name()='name']",
        Some("ethernet0.networkName"),
    ),
];

#[test]
fn any_text_is_refused_or_comes_out_unchanged() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a.ovf");
    let mut accepted = 0;
    for text in hostile() {
        for (set, place, key) in FIELDS {
            let mut parts = minimal();
            set(&mut parts, text.clone());
            let machine = match Machine::new(parts) {
                Ok(machine) => machine,
                Err(OvaError::Text { found, .. }) => {
                    assert!(text.starts_with(&found), "{text:?}");
                    continue;
                }
                Err(error) => panic!("{text:?}: {error}"),
            };
            accepted += 1;
            let ovf = descriptor(&fake_package(&machine, BlankDisks::Files));
            std::fs::write(&file, &ovf).expect("write");
            assert_eq!(xpath(common::path_str(&file), place), text, "{place}");
            let vmx = vmx_files(&machine, "a").expect("a VMX file").text;
            assert_eq!(vmx.lines().filter(|line| line.starts_with("displayName")).count(), 1);
            if let Some(value) = key.and_then(|key| vmx_value(&vmx, key)) {
                assert_eq!(value, text);
            }
            assert!(vmx.lines().all(|line| line.ends_with('"') && line.matches('"').count() == 2), "{vmx}");
        }
    }
    assert!((150..250).contains(&accepted), "{accepted} of {}", hostile().len() * FIELDS.len());
}

#[test]
fn names_of_files_are_plain_whatever_the_machine_is_called() {
    for name in hostile() {
        let Ok(machine) = Machine::new(MachineParts { name, ..minimal() }) else { continue };
        let ova = fake_package(&machine, BlankDisks::Files);
        for (file, _) in common::members(&ova) {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            assert!(
                file.bytes().all(is_plain) && !file.starts_with(['.', '-']) && file.len() < 100,
                "{file:?}"
            );
        }
    }
}

#[test]
fn a_stem_is_a_plain_name_of_a_file() {
    let machine = machine(full());
    for stem in ["my disk", "größe", "a'b", "web:1", "a|b", "-x", "$(id)", "&<>"] {
        let files = vmx_files(&machine, stem).expect("a VMX file");
        assert_eq!(vmx_value(&files.text, "scsi0:0.fileName"), Some(format!("{stem}.vmdk")));
        assert_eq!(vmx_value(&files.text, "scsi0:1.fileName"), Some(files.blank_disks[0].file.clone()));
    }
    for stem in [
        "",
        ".",
        "..",
        "/a",
        "a/b",
        "a\\b",
        "a\"b",
        "a\nb",
        "a\0",
        ".a",
        " a",
        &"x".repeat(250),
        &"ü".repeat(125),
    ] {
        assert!(matches!(vmx_files(&machine, stem), Err(OvaError::Text { .. })), "{stem:?}");
    }
}

#[test]
fn names_of_data_disks_are_plain_and_differ() {
    let with = |names: &[&str]| {
        let data_disks = names.iter().map(|&name| DataDisk { name: name.into(), size: 512 }).collect();
        Machine::new(MachineParts { data_disks, ..minimal() })
    };
    assert!(with(&["db", "log.1", "a_b-C"]).is_ok());
    for name in ["", ".", "..", ".a", "a/b", "a b", "ü", "a\n", &"x".repeat(65)] {
        assert!(matches!(with(&[name]), Err(OvaError::Text { .. })), "{name:?}");
    }
    assert_eq!(with(&["db", "DB"]), Err(OvaError::DuplicateDataDisk { name: "DB".into() }));
    let many: Vec<_> = (0..15).map(|number| format!("d{number}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert!(with(&many[..14]).is_ok());
    assert_eq!(with(&many), Err(OvaError::DataDisks { found: 15, max: 14 }));
}

#[test]
fn numbers_out_of_range_are_refused_with_the_range() {
    let refused = |parts: MachineParts, number: u64| {
        let error = Machine::new(parts).expect_err("a refusal");
        assert!(matches!(&error, OvaError::Number { found, .. } if *found == number), "{number}: {error}");
    };
    for memory_mib in [0, 3, 130, (4080 << 10) + 4, u64::MAX] {
        refused(MachineParts { memory_mib, ..minimal() }, memory_mib);
    }
    for (cpus, hardware) in [(0, 11), (129, 11), (65, 10), (33, 8), (u32::MAX, 21)] {
        refused(MachineParts { cpus, hardware, ..minimal() }, cpus.into());
    }
    for hardware in [0, 7, 22, 255] {
        refused(MachineParts { hardware, ..minimal() }, hardware.into());
    }
    for size in [0, 1, 511, 513, (62 << 40) + 512, u64::MAX] {
        refused(
            MachineParts { system_disk: SystemDisk { capacity: size, populated: None }, ..minimal() },
            size,
        );
        refused(MachineParts { data_disks: vec![DataDisk { name: "d".into(), size }], ..minimal() }, size);
    }
    let system_disk = SystemDisk { capacity: 512, populated: Some(513) };
    refused(MachineParts { system_disk, ..minimal() }, 513);
    for (memory_mib, cpus, hardware) in [(4, 1, 8), (1011 << 10, 32, 8), (4080 << 10, 128, 11), (128, 1, 21)]
    {
        assert!(Machine::new(MachineParts { memory_mib, cpus, hardware, ..minimal() }).is_ok());
    }
}

#[test]
fn ports_are_told_if_the_note_has_room_for_all_of_them() {
    let ports = vec![Port { number: 80, protocol: Protocol::Tcp }; 3];
    let note = |description: &str| {
        let parts = MachineParts { description: description.into(), ports: ports.clone(), ..minimal() };
        vmx_value(&vmx_files(&machine(parts), "a").expect("a VMX file").text, "annotation")
    };
    assert_eq!(note("").as_deref(), Some("Ports: 80/tcp, 80/tcp, 80/tcp"));
    assert_eq!(note("Web").as_deref(), Some("Web\nPorts: 80/tcp, 80/tcp, 80/tcp"));
    let long = "ü".repeat(255);
    assert_eq!(note(&long), Some(long));
    let too_long = MachineParts { description: "ü".repeat(256), ..minimal() };
    let fault = TextFault::Long { found: 256, max: 255 };
    assert!(matches!(Machine::new(too_long), Err(OvaError::Text { fault: found, .. }) if found == fault));
}

#[test]
fn random_text_never_breaks_a_descriptor() {
    // Numerical Recipes' generator: the same texts in every run.
    let mut state = 0x6d65_6c76u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    let folder = tempfile::tempdir().expect("a folder");
    let mut files = vec![];
    for number in 0..1000 {
        let len = 1 + next() % 30;
        let any = |value: u32| {
            char::from_u32(if value.is_multiple_of(2) { value % 0x80 } else { value % 0x11_0000 })
        };
        let text: String = (0..len).filter_map(|_| any(next())).filter(|char| !char.is_control()).collect();
        let parts = MachineParts {
            description: text.clone(),
            product: text.clone(),
            network: Some(text.clone()),
            name: text,
            ..full()
        };
        if let Ok(machine) = Machine::new(parts) {
            let file = folder.path().join(format!("{number}.ovf"));
            std::fs::write(&file, descriptor(&fake_package(&machine, BlankDisks::Files))).expect("write");
            files.push(common::path_str(&file).to_owned());
        }
    }
    assert!(files.len() > 100, "{}", files.len());
    let arguments: Vec<_> =
        ["--nonet", "--noout"].into_iter().chain(files.iter().map(String::as_str)).collect();
    run("xmllint", &arguments);
}
