//! The kernel.

use super::{
    super::{
        fault::{Fault, Rule, quoted},
        paths::SourcePath,
        reader::Section,
        value::{Kernel, KernelSource, Profile},
    },
    sources::reference,
};

const KEYS: &[&str] =
    &["use", "path", "initrd", "modules", "profile", "config", "insecure", "cmdline", "from"];
/// Longest command line of the declaration: x86 has 2048 bytes with those that melv adds.
const MAX_COMMAND_LINE: usize = 1536;

/// Reads the kernel, and whether it is made for direct boot alone.
pub(super) fn kernel(document: &Section<'_>) -> Result<(Kernel, bool), Fault> {
    let Some(table) = document.get("kernel") else {
        let source = KernelSource::Cloud { modules: Vec::new() };
        return Ok((Kernel { source, command_line: String::new() }, false));
    };
    let section = table.table(KEYS)?;
    let command_line = section.optional("cmdline", |value| value.parse(command_line))?.unwrap_or_default();
    section.exclusive("use", "from")?;
    let source = source(&section)?;
    let micro = matches!(source, KernelSource::Tailored { profile: Profile::Micro, .. });
    Ok((Kernel { source, command_line }, micro))
}

fn source(section: &Section<'_>) -> Result<KernelSource, Fault> {
    let choice = match section.get("use") {
        Some(value) => value.parse(choice)?,
        None if section.get("from").is_some() => "from",
        None => "cloud",
    };
    if choice != "tailored" {
        for key in ["profile", "config", "insecure"] {
            section.only_with(key, "`use = \"tailored\"`")?;
        }
    }
    if choice != "file" {
        section.only_with("path", "`use = \"file\"`")?;
        section.only_with("initrd", "`use = \"file\"`")?;
    }
    if choice != "cloud" {
        section.only_with("modules", "`use = \"cloud\"`")?;
    }
    Ok(match choice {
        "from" => KernelSource::From(section.require("from")?.parse(reference)?),
        "file" => KernelSource::File {
            path: section.require("path")?.parse(SourcePath::parse)?,
            initrd: section.optional("initrd", |value| value.parse(SourcePath::parse))?,
        },
        "tailored" => KernelSource::Tailored {
            profile: section.optional("profile", |value| value.parse(profile))?.unwrap_or(Profile::Portable),
            config: section
                .optional("config", |value| value.each(|line| line.parse(config)))?
                .unwrap_or_default(),
            insecure: section.boolean("insecure", false)?,
        },
        _ => KernelSource::Cloud {
            modules: section
                .optional("modules", |value| value.each(|name| name.parse(module)))?
                .unwrap_or_default(),
        },
    })
}

fn choice(text: &str) -> Result<&'static str, Rule> {
    ["cloud", "tailored", "file"]
        .into_iter()
        .find(|known| *known == text)
        .ok_or_else(|| Rule::Value { expected: "\"cloud\", \"tailored\" or \"file\"", found: quoted(text) })
}

fn profile(text: &str) -> Result<Profile, Rule> {
    match text {
        "portable" => Ok(Profile::Portable),
        "micro" => Ok(Profile::Micro),
        _ => Err(Rule::Value { expected: "\"portable\" or \"micro\"", found: quoted(text) }),
    }
}

/// Reads a line of `.config`: `CONFIG_X=y`, `=n`, a number or a text in quotes. Modules are not built.
fn config(text: &str) -> Result<String, Rule> {
    let fault = || Rule::Value {
        expected: "a line as \"CONFIG_NUMA=y\", with y, n, a number or a text in quotes",
        found: quoted(text),
    };
    let (name, value) =
        text.strip_prefix("CONFIG_").and_then(|rest| rest.split_once('=')).ok_or_else(fault)?;
    let named = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let hexadecimal = |text: &str| {
        !text.is_empty() && text.len() <= 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let string =
        inner.is_some_and(|inner| !inner.contains(['"', '\\']) && !inner.chars().any(char::is_control));
    let good = matches!(value, "y" | "n")
        || number(value.strip_prefix('-').unwrap_or(value))
        || value.strip_prefix("0x").is_some_and(hexadecimal)
        || string;
    if named && good && text.len() <= 512 { Ok(text.to_owned()) } else { Err(fault()) }
}

fn module(text: &str) -> Result<String, Rule> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if (1..=64).contains(&text.len()) && text.bytes().all(good) {
        return Ok(text.to_owned());
    }
    Err(Rule::Value { expected: "the name of a kernel module as \"virtio_net\"", found: quoted(text) })
}

fn command_line(text: &str) -> Result<String, Rule> {
    let good = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    if text.len() <= MAX_COMMAND_LINE && text.bytes().all(good) {
        return Ok(text.to_owned());
    }
    Err(Rule::Value { expected: "a line of at most 1536 visible ASCII characters", found: quoted(text) })
}
