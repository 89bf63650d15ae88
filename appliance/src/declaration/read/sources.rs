//! Suite, packages, repositories and images.

use super::{
    super::{
        fault::{Fault, Rule, quoted},
        names,
        paths::SourcePath,
        reader::{Section, Value},
        value::{ImageSource, PackageSource, Repository, Suite},
    },
    Context,
};

pub(super) fn suite(text: &str) -> Result<Suite, Rule> {
    match text {
        "bookworm" => Ok(Suite::Bookworm),
        "trixie" => Ok(Suite::Trixie),
        _ => {
            let supported = "bookworm (Debian 12) and trixie (Debian 13)";
            Err(Rule::Unsupported { thing: "the suite", found: quoted(text), supported })
        }
    }
}

pub(super) fn image(document: &Section<'_>) -> Result<Option<ImageSource>, Fault> {
    document.exclusive("oci", "rootfs")?;
    let read = |value: &Value<'_>| value.parse(SourcePath::parse);
    let oci = document.optional("oci", read)?.map(ImageSource::Oci);
    Ok(oci.or(document.optional("rootfs", read)?.map(ImageSource::RootFs)))
}

pub(super) fn packages(context: &Context<'_>, document: &Section<'_>) -> Result<Vec<PackageSource>, Fault> {
    let Some(list) = document.get("packages") else {
        return Ok(Vec::new());
    };
    let mut seen = Vec::new();
    list.each(|entry| {
        let text = entry.text()?;
        context.unique("the package", &mut seen, text, &entry.spot)?;
        entry.parse(package)
    })
}

fn package(text: &str) -> Result<PackageSource, Rule> {
    if text.contains('/') {
        if !text.ends_with(".deb") {
            return Err(Rule::Value {
                expected: "the path of a package as \"./name.deb\"",
                found: quoted(text),
            });
        }
        return SourcePath::parse(text).map(PackageSource::File);
    }
    names::package(text).map(PackageSource::Named)
}

pub(super) fn repositories(document: &Section<'_>) -> Result<Vec<Repository>, Fault> {
    let tables = document.tables("repository", &["uri", "suite", "components", "key"])?;
    tables.iter().map(repository).collect()
}

fn repository(section: &Section<'_>) -> Result<Repository, Fault> {
    let components = section.optional("components", |value| value.each(|entry| entry.parse(word)))?;
    Ok(Repository {
        uri: section.require("uri")?.parse(uri)?,
        suite: section.require("suite")?.parse(word)?,
        components: components.unwrap_or_default(),
        key: section.require("key")?.parse(SourcePath::parse)?,
    })
}

/// Reads an address. It becomes a line of apt's list of sources, so that spaces and brackets are refused.
fn uri(text: &str) -> Result<String, Rule> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let good = |byte: u8| byte.is_ascii_graphic() && !b"[]#\"'\\<>".contains(&byte);
    if rest.is_some_and(|rest| !rest.is_empty()) && text.len() <= 1024 && text.bytes().all(good) {
        return Ok(text.to_owned());
    }
    Err(Rule::Value { expected: "an address that begins with `http://` or `https://`", found: quoted(text) })
}

fn word(text: &str) -> Result<String, Rule> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./+~".contains(&byte);
    if (1..=128).contains(&text.len()) && text.bytes().all(good) && !text.starts_with('-') {
        return Ok(text.to_owned());
    }
    Err(Rule::Value { expected: "a word of letters, digits, `-`, `_`, `.`, `/`", found: quoted(text) })
}

/// Reads the reference of an image in a store. The store knows its exact form; here it is kept to one line.
pub(super) fn reference(text: &str) -> Result<String, Rule> {
    let good =
        !text.is_empty() && text.len() <= 512 && !text.chars().any(|c| c.is_control() || c.is_whitespace());
    if good {
        return Ok(text.to_owned());
    }
    Err(Rule::Value { expected: "the reference of an image, as \"nginx:latest\"", found: quoted(text) })
}
