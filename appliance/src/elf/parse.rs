//! Program headers and the dynamic section.

use object::{
    LittleEndian as LE,
    elf::{self, Dyn64, FileHeader64, ProgramHeader64},
    read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _},
};
use thiserror::Error;

use super::notes::{self, DlopenNote};

/// Libraries that one file may need. The largest programs of Debian need about 150.
pub const MAX_NEEDED: usize = 4096;
/// Longest string of the dynamic section in bytes: a path with some room, for lists of folders.
const MAX_STRING: usize = 16_384;
/// Entries of a dynamic section that are looked at. Real ones have below 200 beside the needed libraries.
const MAX_DYNAMIC: usize = 65_536;
/// Program headers that are looked at. Real files have below 20.
const MAX_HEADERS: usize = 1024;

/// Needs of an ELF file. All texts are slices of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Elf<'f> {
    /// The program that loads it (`PT_INTERP`).
    pub interpreter: Option<&'f [u8]>,
    /// Names of libraries (`DT_NEEDED`).
    pub needed: Vec<&'f [u8]>,
    /// Its own name as a library (`DT_SONAME`).
    pub soname: Option<&'f [u8]>,
    /// Folders of `DT_RUNPATH`, with colons.
    pub runpath: Option<&'f [u8]>,
    /// Folders of `DT_RPATH`, with colons. They count only where there is no `runpath`.
    pub rpath: Option<&'f [u8]>,
    /// Notes about libraries that it opens itself.
    pub dlopen: Vec<DlopenNote>,
}

/// A fault of an ELF file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ElfFault {
    /// The file does not begin as an ELF file.
    #[error("no ELF file")]
    NoElf,
    /// The file is for another machine, or neither program nor library.
    #[error(
        "an ELF file of class {class}, byte order {order}, machine {machine}, type {kind}; expected a program or library of x86-64 (2, 1, 62, 2 or 3)"
    )]
    Foreign {
        /// `EI_CLASS`.
        class: u8,
        /// `EI_DATA`.
        order: u8,
        /// `e_machine`.
        machine: u16,
        /// `e_type`.
        kind: u16,
    },
    /// A structure lies outside the file or has an impossible form.
    #[error("the {0} of the ELF file is damaged")]
    Damaged(&'static str),
    /// A list is longer than allowed.
    #[error("the ELF file has more than {limit} {thing}")]
    TooMany {
        /// The things counted.
        thing: &'static str,
        /// Most that are allowed.
        limit: usize,
    },
}

/// Whether bytes begin as an ELF file.
#[must_use]
pub fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(&elf::ELFMAG)
}

/// Reads the needs of a program or library of x86-64.
///
/// # Errors
///
/// No ELF file, one of another machine, a damaged one, more than [`MAX_NEEDED`] libraries.
pub fn parse(bytes: &[u8]) -> Result<Elf<'_>, ElfFault> {
    let headers = program_headers(bytes)?;
    let mut found = Elf::default();
    for header in headers {
        match header.p_type(LE) {
            elf::PT_INTERP => {
                let path = header.interpreter(LE, bytes).map_err(|_| ElfFault::Damaged("interpreter"))?;
                found.interpreter = path.filter(|path| path.len() <= MAX_STRING);
                if found.interpreter.is_none() {
                    return Err(ElfFault::Damaged("interpreter"));
                }
            }
            elf::PT_DYNAMIC => {
                let entries = header.dynamic(LE, bytes).map_err(|_| ElfFault::Damaged("dynamic section"))?;
                dynamic(bytes, headers, entries.unwrap_or_default(), &mut found)?;
            }
            // A note that cannot be read tells nothing; ld.so passes it over as well.
            elf::PT_NOTE => {
                if let Ok(Some(notes)) = header.notes(LE, bytes) {
                    found.dlopen.extend(notes::dlopen(notes));
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

fn program_headers(bytes: &[u8]) -> Result<&[ProgramHeader64<LE>], ElfFault> {
    if !is_elf(bytes) {
        return Err(ElfFault::NoElf);
    }
    let ident = |at: usize| bytes.get(at).copied().unwrap_or_default();
    let word = |at: usize| u16::from_le_bytes([ident(at), ident(at + 1)]);
    let (class, order, kind, machine) = (ident(4), ident(5), word(16), word(18));
    let ours = (class, order, machine) == (elf::ELFCLASS64, elf::ELFDATA2LSB, elf::EM_X86_64);
    if !ours || !matches!(kind, elf::ET_EXEC | elf::ET_DYN) {
        return Err(ElfFault::Foreign { class, order, machine, kind });
    }
    let header = FileHeader64::<LE>::parse(bytes).map_err(|_| ElfFault::Damaged("header"))?;
    let headers =
        header.program_headers(LE, bytes).map_err(|_| ElfFault::Damaged("table of program headers"))?;
    if headers.len() > MAX_HEADERS {
        return Err(ElfFault::TooMany { thing: "program headers", limit: MAX_HEADERS });
    }
    Ok(headers)
}

fn dynamic<'f>(
    bytes: &'f [u8],
    headers: &[ProgramHeader64<LE>],
    entries: &[Dyn64<LE>],
    found: &mut Elf<'f>,
) -> Result<(), ElfFault> {
    let entries = entries.iter().take_while(|entry| entry.tag(LE) != elf::DT_NULL);
    let entries: Vec<(i64, u64)> =
        entries.take(MAX_DYNAMIC).map(|entry| (entry.tag(LE), entry.val(LE))).collect();
    let needed = entries.iter().filter(|(tag, _)| *tag == elf::DT_NEEDED).count();
    if needed > MAX_NEEDED {
        return Err(ElfFault::TooMany { thing: "needed libraries", limit: MAX_NEEDED });
    }
    let names = [elf::DT_NEEDED, elf::DT_SONAME, elf::DT_RUNPATH, elf::DT_RPATH];
    if !entries.iter().any(|(tag, _)| names.contains(tag)) {
        return Ok(());
    }
    let table = entries.iter().find(|(tag, _)| *tag == elf::DT_STRTAB).map(|(_, address)| *address);
    let table = table.and_then(|address| at_address(bytes, headers, address)).ok_or(STRINGS)?;
    for (tag, offset) in entries.iter().filter(|(tag, _)| names.contains(tag)) {
        let text = string(table, *offset)?;
        match *tag {
            elf::DT_NEEDED => found.needed.push(text),
            elf::DT_SONAME => found.soname = Some(text),
            elf::DT_RUNPATH => found.runpath = Some(text),
            _ => found.rpath = Some(text),
        }
    }
    Ok(())
}

const STRINGS: ElfFault = ElfFault::Damaged("table of dynamic strings");

/// Returns the bytes of the file from a virtual address to the end of its segment.
fn at_address<'f>(bytes: &'f [u8], headers: &[ProgramHeader64<LE>], address: u64) -> Option<&'f [u8]> {
    headers.iter().filter(|header| header.p_type(LE) == elf::PT_LOAD).find_map(|header| {
        let within =
            address.checked_sub(header.p_vaddr(LE)).filter(|within| *within < header.p_filesz(LE))?;
        let start = header.p_offset(LE).checked_add(within)?;
        let end = header.p_offset(LE).checked_add(header.p_filesz(LE))?;
        bytes.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
    })
}

/// Returns a string of a table without its NUL.
fn string(table: &[u8], offset: u64) -> Result<&[u8], ElfFault> {
    let rest = usize::try_from(offset).ok().and_then(|start| table.get(start..)).ok_or(STRINGS)?;
    let end = rest.iter().take(MAX_STRING).position(|byte| *byte == 0).ok_or(STRINGS)?;
    Ok(&rest[..end])
}
