//! Members of a package in their order, the last of them into the tree.

use std::io::Read;

use crate::sources::{
    compression::Decoder,
    insert::{Inserter, Replaces, Report, Rules},
    limits::{CONTROL_ARCHIVE_BYTES, CONTROL_BYTES, Limits},
    spool::Spool,
    tar::{EntryKind, Reader},
    unpack::{self, Brought},
};

use super::{
    ar::Member,
    control::{self, Control},
    error::DebError,
    members::Members,
};

/// A package whose files are in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Package {
    /// Its facts.
    pub control: Control,
    /// Its facts as they stand in the package, for the record of what is installed.
    pub paragraph: Vec<u8>,
    /// Absolute paths of its configuration files, as it names them.
    pub conffiles: Vec<Vec<u8>>,
    /// Absolute paths of the tree that it brought, folders included: `/usr` merged, no links in their folders.
    pub paths: Vec<Vec<u8>>,
    /// Counts.
    pub report: Report,
}

/// Reads a package, whose bytes come once, into a tree.
pub(crate) fn read(
    input: &mut dyn Read,
    mut replaces: Replaces,
    limits: &Limits,
    spool: &mut Spool,
    inserter: &mut Inserter,
) -> Result<Package, DebError> {
    let mut members = Members::new(input)?;
    format(&mut members)?;
    let facts = facts(&mut members)?;
    let control = control::parse(&facts.control).map_err(DebError::Control)?;
    let member = members.next("data.tar")?;
    expect_tar(&member, "data.tar")?;
    replaces.names.extend(control.replaces.iter().cloned());
    inserter.begin(&control.package, Rules::Package(replaces));
    let mut brought = Brought::default();
    let package = || control.package.clone();
    let unpacked = match Decoder::new(&mut members, limits.archive_bytes) {
        Ok(data) => unpack::unpack(data, spool, inserter, Some(&mut brought))
            .map_err(|source| DebError::Data { package: package(), source }),
        Err(source) => Err(DebError::DataStream { package: package(), source }),
    };
    members.check("data.tar")?;
    unpacked?;
    members.finish("data.tar")?;
    let conffiles = conffiles(&facts.conffiles);
    let report = inserter.report_mut().clone();
    Ok(Package { paragraph: facts.control, conffiles, paths: brought.paths, report, control })
}

/// Reads the member with the version of the format.
pub(super) fn format(members: &mut Members<'_>) -> Result<(), DebError> {
    let member = members.next("debian-binary")?;
    if member.name != b"debian-binary" {
        return Err(DebError::Member { found: member.name, expected: "debian-binary" });
    }
    let mut version = Vec::new();
    let read = members.take(64).read_to_end(&mut version);
    members.check("debian-binary")?;
    read.map_err(|source| DebError::Read { offset: 0, source })?;
    // A later minor version may add lines.
    if version.starts_with(b"2.0\n") { Ok(()) } else { Err(DebError::Format(version)) }
}

pub(super) fn expect_tar(member: &Member, expected: &'static str) -> Result<(), DebError> {
    let suffix = member.name.strip_prefix(expected.as_bytes());
    // The form is told by the bytes; the name tells only that some program can read it.
    let known: [&[u8]; 6] = [b"", b".gz", b".xz", b".zst", b".bz2", b".lzma"];
    if suffix.is_some_and(|suffix| known.contains(&suffix)) {
        return Ok(());
    }
    Err(DebError::Member { found: member.name.clone(), expected })
}

/// The files of `control.tar` that are read. Scripts and check sums are not.
#[derive(Debug, Default)]
struct Facts {
    control: Vec<u8>,
    conffiles: Vec<u8>,
}

fn facts(members: &mut Members<'_>) -> Result<Facts, DebError> {
    let member = members.next("control.tar")?;
    expect_tar(&member, "control.tar")?;
    let facts = match Decoder::new(&mut *members, CONTROL_ARCHIVE_BYTES) {
        Ok(stream) => facts_of(stream),
        Err(source) => Err(DebError::ControlStream(source)),
    };
    members.check("control.tar")?;
    facts
}

fn facts_of(stream: impl Read) -> Result<Facts, DebError> {
    let mut reader = Reader::new(stream);
    let (mut control, mut conffiles) = (None, None);
    while let Some(entry) = reader.next_entry().map_err(DebError::ControlArchive)? {
        let path = entry.path.strip_prefix(b"./").unwrap_or(&entry.path);
        let (name, file) = match path {
            b"control" => ("control", &mut control),
            b"conffiles" => ("conffiles", &mut conffiles),
            _ => continue,
        };
        let EntryKind::File { size, ranges: None } = entry.kind else {
            return Err(DebError::ControlFile(name));
        };
        if file.is_some() || size > CONTROL_BYTES {
            return Err(DebError::ControlFile(name));
        }
        *file = Some(content(&mut reader, size).map_err(DebError::ControlArchive)?);
    }
    reader.drain().map_err(DebError::ControlArchive)?;
    Ok(Facts {
        control: control.ok_or(DebError::Missing("control"))?,
        conffiles: conffiles.unwrap_or_default(),
    })
}

/// Reads a content whose size was checked.
fn content<R: Read>(reader: &mut Reader<R>, size: u64) -> Result<Vec<u8>, crate::sources::TarError> {
    let mut bytes = vec![0; size as usize];
    let mut filled = 0;
    while filled < bytes.len() {
        match reader.read_content(&mut bytes[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(bytes)
}

/// Returns the paths of configuration files. A flag before a path tells that a later version has no such file.
///
/// Layout: deb-conffiles(5).
fn conffiles(bytes: &[u8]) -> Vec<Vec<u8>> {
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| line.starts_with(b"/")).map(<[u8]>::to_vec).collect()
}
