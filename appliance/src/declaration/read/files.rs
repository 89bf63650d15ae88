//! Files, folders, links, data disks and secrets.

use super::{
    super::{
        fault::{Fault, Rule, Spot, quoted},
        names::{self, MAX_DATA_NAME, MAX_NAME},
        paths::{AbsolutePath, Pattern, SourcePath},
        reader::{Section, Value},
        units::{MIB, Mode, Size},
        users::Owner,
        value::{
            ClosureKind, Copy, DataDisk, Directory, Files, GeneratedSecret, Link, Secret, Service, Setup,
            TextFile, Writes,
        },
    },
    Context,
};

/// Data disks at most: init tries each in turn.
const MAX_DATA: usize = 16;

pub(super) fn files(document: &Section<'_>) -> Result<Files, Fault> {
    let mut files = Files {
        keep: Vec::new(),
        drop: Vec::new(),
        closure: None,
        licences: true,
        all_programs: false,
        suid: Vec::new(),
    };
    let Some(table) = document.get("files") else {
        return Ok(files);
    };
    let section = table.table(&["keep", "drop", "closure", "licences", "programs", "suid"])?;
    let patterns = |value: &Value<'_>| value.each(|entry| entry.parse(Pattern::parse));
    files.keep = section.optional("keep", patterns)?.unwrap_or_default();
    files.drop = section.optional("drop", patterns)?.unwrap_or_default();
    files.closure = section.optional("closure", |value| value.parse(closure))?;
    files.licences = section.boolean("licences", true)?;
    files.all_programs = section.optional("programs", |value| value.parse(programs))?.unwrap_or(false);
    let suid = section.optional("suid", |value| value.each(|entry| entry.parse(AbsolutePath::parse)))?;
    files.suid = suid.unwrap_or_default();
    Ok(files)
}

fn closure(text: &str) -> Result<ClosureKind, Rule> {
    match text {
        "files" => Ok(ClosureKind::Files),
        "packages" => Ok(ClosureKind::Packages),
        _ => Err(Rule::Value { expected: "\"files\" or \"packages\"", found: quoted(text) }),
    }
}

fn programs(text: &str) -> Result<bool, Rule> {
    match text {
        "all" => Ok(true),
        "named" => Ok(false),
        _ => Err(Rule::Value { expected: "\"all\" or \"named\"", found: quoted(text) }),
    }
}

fn mode(section: &Section<'_>) -> Result<Option<Mode>, Fault> {
    section.optional("mode", |value| match value.octal() {
        Some(digits) => Mode::parse(&format!("{digits:0>3}")).map_err(|rule| value.fault(rule)),
        None => value.parse(Mode::parse),
    })
}

fn owner(context: &Context<'_>, section: &Section<'_>) -> Result<Option<Owner>, Fault> {
    section.optional("owner", |value| context.users.owner(value))
}

pub(super) fn texts(context: &mut Context<'_>, document: &Section<'_>) -> Result<Vec<TextFile>, Fault> {
    let mut files = Vec::new();
    for section in document.tables("file", &["path", "paths", "text", "mode", "owner"])? {
        section.exclusive("path", "paths")?;
        let mut paths = Vec::new();
        if let Some(list) = section.get("paths") {
            for value in list.list()? {
                paths.push(context.place(&value, "file")?);
            }
        } else {
            paths.push(context.place(&section.require("path")?, "file")?);
        }
        let text = section.optional("text", Value::text)?.unwrap_or_default();
        let mode = mode(&section)?.unwrap_or(Mode::new(0o644));
        let owner = owner(context, &section)?.unwrap_or(Owner::ROOT);
        for path in paths {
            files.push(TextFile { path, text: text.to_owned(), mode, owner: owner.clone() });
        }
    }
    Ok(files)
}

pub(super) fn copies(context: &mut Context<'_>, document: &Section<'_>) -> Result<Vec<Copy>, Fault> {
    let mut copies = Vec::new();
    for section in document.tables("copy", &["from", "to", "mode", "owner"])? {
        copies.push(Copy {
            from: section.require("from")?.parse(SourcePath::parse)?,
            to: context.place(&section.require("to")?, "copy")?,
            mode: mode(&section)?,
            owner: owner(context, &section)?.unwrap_or(Owner::ROOT),
        });
    }
    Ok(copies)
}

pub(super) fn directories(
    context: &mut Context<'_>,
    document: &Section<'_>,
) -> Result<Vec<Directory>, Fault> {
    let mut directories = Vec::new();
    for section in document.tables("dir", &["path", "mode", "owner"])? {
        directories.push(Directory {
            path: context.place(&section.require("path")?, "folder")?,
            mode: mode(&section)?.unwrap_or(Mode::new(0o755)),
            owner: owner(context, &section)?.unwrap_or(Owner::ROOT),
        });
    }
    Ok(directories)
}

pub(super) fn links(context: &mut Context<'_>, document: &Section<'_>) -> Result<Vec<Link>, Fault> {
    let mut links = Vec::new();
    for section in document.tables("link", &["path", "target"])? {
        let path = context.place(&section.require("path")?, "link")?;
        links.push(Link { path, target: section.require("target")?.parse(target)? });
    }
    Ok(links)
}

fn target(text: &str) -> Result<String, Rule> {
    if text.is_empty() || text.len() > 4095 || text.contains('\0') {
        return Err(Rule::Value { expected: "the target of a link", found: quoted(text) });
    }
    Ok(text.to_owned())
}

pub(super) fn data(context: &mut Context<'_>, document: &Section<'_>) -> Result<Vec<DataDisk>, Fault> {
    let mut seen: Vec<(String, Spot)> = Vec::new();
    let mut disks = Vec::new();
    for section in document.tables("data", &["name", "size", "mount", "owner", "mode"])? {
        let value = section.require("name")?;
        let name = value.parse(|text| names::name(text, MAX_DATA_NAME))?;
        context.unique("the data disk", &mut seen, &name, &value.spot)?;
        disks.push(DataDisk {
            name,
            size: section.require("size")?.parse(data_size)?,
            mount: context.place(&section.require("mount")?, "data disk")?,
            owner: owner(context, &section)?.unwrap_or(Owner::ROOT),
            mode: mode(&section)?.unwrap_or(Mode::new(0o755)),
        });
    }
    if let (true, Some(value)) = (disks.len() > MAX_DATA, document.get("data")) {
        return Err(value.fault(Rule::TooMany { found: disks.len(), limit: MAX_DATA }));
    }
    Ok(disks)
}

/// Reads the size of a data disk. Below 4 MiB ext4 has no journal; 64 TiB is the largest virtual disk of VMware.
fn data_size(text: &str) -> Result<Size, Rule> {
    let size = Size::parse(text)?;
    if (4 * MIB..=64 << 40).contains(&size.bytes()) && size.bytes() % MIB == 0 {
        return Ok(size);
    }
    Err(Rule::Value { expected: "a size of \"4M\" to \"64T\" in whole MiB", found: quoted(text) })
}

pub(super) fn writes(document: &Section<'_>, data: &[DataDisk]) -> Result<Writes, Fault> {
    let Some(value) = document.get("writes") else {
        return Ok(Writes::Memory);
    };
    value.parse(|text| match text {
        "memory" => Ok(Writes::Memory),
        "none" => Ok(Writes::None),
        _ => {
            let expected = "\"memory\", \"none\" or \"data:NAME\"";
            let name =
                text.strip_prefix("data:").ok_or_else(|| Rule::Value { expected, found: quoted(text) })?;
            known_disk(name, data).map(Writes::Data)
        }
    })
}

fn known_disk(name: &str, data: &[DataDisk]) -> Result<String, Rule> {
    let names = || data.iter().map(|disk| disk.name.as_str());
    if names().any(|known| known == name) {
        return Ok(name.to_owned());
    }
    let nearest = super::super::fault::nearest(name, names()).map(str::to_owned);
    Err(Rule::Undeclared { thing: "data disk", name: quoted(name), nearest })
}

/// Returns the user of all programs, if they have one in common; root if not.
pub(super) fn sole_user(setups: &[Setup], services: &[Service]) -> Owner {
    let mut users = setups
        .iter()
        .map(|setup| &setup.program.user)
        .chain(services.iter().map(|service| &service.program.user));
    match users.next() {
        Some(first) if users.all(|user| user == first) => first.clone(),
        _ => Owner::ROOT,
    }
}

pub(super) fn secrets(
    context: &Context<'_>,
    document: &Section<'_>,
    data: &[DataDisk],
    sole_user: &Owner,
) -> Result<Vec<Secret>, Fault> {
    let mut seen: Vec<(String, Spot)> = Vec::new();
    let mut secrets = Vec::new();
    for section in document.tables("secret", &["name", "generate", "length", "keep", "mode", "owner"])? {
        let value = section.require("name")?;
        let name = value.parse(|text| names::name(text, MAX_NAME))?;
        context.unique("the secret", &mut seen, &name, &value.spot)?;
        secrets.push(Secret {
            name,
            owner: owner(context, &section)?.unwrap_or_else(|| sole_user.clone()),
            mode: mode(&section)?.unwrap_or(Mode::new(0o400)),
            generated: generated(&section, data)?,
        });
    }
    Ok(secrets)
}

fn generated(section: &Section<'_>, data: &[DataDisk]) -> Result<Option<GeneratedSecret>, Fault> {
    if !section.boolean("generate", false)? {
        section.only_with("length", "`generate = true`")?;
        section.only_with("keep", "`generate = true`")?;
        return Ok(None);
    }
    let length =
        section.optional("length", |value| value.integer(8, 128, "a length of 8 to 128"))?.unwrap_or(32);
    let sole = match data {
        [disk] => Some(disk.name.clone()),
        _ => None,
    };
    let keep = section.optional("keep", |value| value.parse(|text| known_disk(text, data)))?.or(sole);
    Ok(Some(GeneratedSecret { length: u16::try_from(length).unwrap_or(32), keep }))
}
