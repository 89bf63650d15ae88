//! The line of an extent in a descriptor.
//!
//! `ACCESS SECTORS TYPE ["NAME" [OFFSET [PARTITION-UUID DEVICE-ID]]]`: three to seven fields.
//! Sources: VMware, *Virtual Disk Format 5.0*, "The Extent Description"; libyal, *VMWare Virtual
//! Disk Format (VMDK)*, "Extent descriptions".

use crate::vmdk::layout::encoding::NO_TEXT;
use crate::vmdk::layout::limits::DISK_SECTORS_MAX;

/// The access that a descriptor grants to an extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// `RW`.
    ReadWrite,
    /// `RDONLY`. Streams always have it, so it means nothing to a reader.
    ReadOnly,
    /// `NOACCESS`: the guest may not see the extent's content. Type `ZERO` reads as zeros; any
    /// other type is refused, because neither its bytes nor zeros would be right.
    None,
}

/// The storage behind an extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtentKind {
    /// `FLAT`: a raw file.
    Flat,
    /// `SPARSE`: a hosted sparse extent.
    Sparse,
    /// `ZERO`: no file, all zeros.
    Zero,
    /// `VMFS`: a raw file on an ESX host.
    Vmfs,
    /// `VMFSSPARSE`: ESX's copy-on-write file.
    VmfsSparse,
    /// `VMFSRDM`: a mapped device.
    VmfsRdm,
    /// `VMFSRAW`: a device.
    VmfsRaw,
    /// `SESPARSE`: ESX's space-efficient sparse file.
    SeSparse,
}

const KINDS: [(&str, ExtentKind); 8] = [
    ("FLAT", ExtentKind::Flat),
    ("SPARSE", ExtentKind::Sparse),
    ("ZERO", ExtentKind::Zero),
    ("VMFS", ExtentKind::Vmfs),
    ("VMFSSPARSE", ExtentKind::VmfsSparse),
    ("VMFSRDM", ExtentKind::VmfsRdm),
    ("VMFSRAW", ExtentKind::VmfsRaw),
    ("SESPARSE", ExtentKind::SeSparse),
];

impl ExtentKind {
    /// Returns the descriptor's keyword for this type.
    #[must_use]
    pub fn word(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(word, _)| word)
    }
}

/// An extent, as its line describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// The access to it.
    pub access: Access,
    /// Its length, in sectors of 512 bytes.
    pub sectors: u64,
    /// The storage behind it.
    pub kind: ExtentKind,
    /// The name of its file, as written in the descriptor.
    pub name: Option<String>,
    /// Its offset in the file, in sectors.
    pub offset_sectors: u64,
}

/// Whether a line describes an extent: its first word is an access keyword and not a key.
pub(crate) fn is_extent(line: &str) -> bool {
    let (word, rest) = first_word(line);
    access(word).is_some() && !rest.starts_with('=')
}

/// Parses the line of an extent.
///
/// # Errors
/// The syntax that was expected.
pub(crate) fn parse(line: &str) -> Result<Extent, &'static str> {
    let (word, rest) = first_word(line);
    let access = access(word).ok_or("RW, RDONLY or NOACCESS")?;
    let (word, rest) = first_word(rest);
    let sectors = number(word).filter(|sectors| (1..DISK_SECTORS_MAX).contains(sectors));
    let sectors = sectors.ok_or("the extent's sectors, 1 to 2^54 - 1, after the access")?;
    let (word, rest) = first_word(rest);
    let kind = KINDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, kind)| *kind);
    let kind = kind.ok_or("a type of extent (FLAT, SPARSE, ZERO, VMFS, …) after the sectors")?;
    let (name, rest) = name(rest)?;
    if name.is_none() && kind != ExtentKind::Zero {
        return Err("the name of the extent's file in quotes");
    }
    if name.as_deref().is_some_and(|name| name.contains(NO_TEXT)) {
        return Err("a name in the encoding that the descriptor names, or in UTF-8 if it names none");
    }
    let mut fields = rest.split_whitespace();
    let offset = fields.next().map(|word| number(word).filter(|sectors| *sectors < DISK_SECTORS_MAX));
    let offset_sectors = offset.unwrap_or(Some(0)).ok_or("the extent's offset in sectors after its name")?;
    if fields.count() > 2 {
        return Err("at most seven fields");
    }
    if kind == ExtentKind::Sparse && offset_sectors != 0 {
        return Err("no offset into a sparse extent");
    }
    Ok(Extent { access, sectors, kind, name, offset_sectors })
}

fn first_word(line: &str) -> (&str, &str) {
    let line = line.trim_start();
    let end = line.find(char::is_whitespace).unwrap_or(line.len());
    (&line[..end], line[end..].trim_start())
}

fn access(word: &str) -> Option<Access> {
    let words = [("RW", Access::ReadWrite), ("RDONLY", Access::ReadOnly), ("NOACCESS", Access::None)];
    words.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, access)| *access)
}

/// Parses a decimal number without the sign that `parse` would accept.
fn number(word: &str) -> Option<u64> {
    word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok()).flatten()
}

/// Splits off the quoted name, if there is one; also returns the rest.
fn name(rest: &str) -> Result<(Option<String>, &str), &'static str> {
    if rest.is_empty() {
        return Ok((None, rest));
    }
    let (name, rest) = rest
        .strip_prefix('"')
        .and_then(|rest| rest.split_once('"'))
        .ok_or("a name between two quotes after the type")?;
    if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
        return Err("a blank after the name");
    }
    Ok((Some(name.to_owned()), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_to_seven_fields_in_any_case() {
        let flat = Extent {
            access: Access::ReadWrite,
            sectors: 4192256,
            kind: ExtentKind::Flat,
            name: Some("a b=c.vmdk".into()),
            offset_sectors: 63,
        };
        assert_eq!(parse("RW 4192256 FLAT \"a b=c.vmdk\" 63"), Ok(flat.clone()));
        assert_eq!(parse("rw\t4192256  flat \"a b=c.vmdk\"  63 uuid device"), Ok(flat));
        let zero = parse("NOACCESS 1 zero").unwrap();
        assert_eq!((zero.access, zero.kind, zero.name), (Access::None, ExtentKind::Zero, None));
        for line in [
            "RW",
            "RW 1",
            "RW 1 FLAT",
            "RW 0 ZERO",
            "RW +1 ZERO",
            "RW -1 ZERO",
            "RW 0x10 ZERO",
            "RW 18014398509481984 ZERO",
            "RW 99999999999999999999999999 ZERO",
            "RW 1 FLATTER \"a\"",
            "RW 1 FLAT a",
            "RW 1 FLAT \"a",
            "RW 1 FLAT \"a\"0",
            "RW 1 FLAT \"a\" x",
            "RW 1 FLAT \"a\" 0 1 2 3",
            "RW 1 SPARSE \"a\" 1",
            "RW 1 FLAT \"\u{fffd}\"",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert!(is_extent("rdonly 1 ZERO") && is_extent("RW x"));
        assert!(!is_extent("RW = 1") && !is_extent("RWX 1 ZERO") && !is_extent(""));
    }
}
