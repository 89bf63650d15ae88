//! The text that says what a disk consists of.
//!
//! Source: VMware, *Virtual Disk Format 5.0*, "The Disk Descriptor File"; what writers make of it
//! in the wild: any case, blanks anywhere, CR LF, comments anywhere, keys nobody knows.

use super::Fault;
use super::encoding;
use super::extent::{self, Access, Extent, ExtentKind};
use super::limits::{DESCRIPTOR_LEN_MAX, DISK_SECTORS_MAX, EXTENTS_MAX};

/// The content id of a parent that stands for none.
const NO_PARENT: u32 = u32::MAX;
/// Characters of a line that an error shows.
const SHOWN_CHARS: usize = 120;

/// Types of disks that are read: all whose extents are flat files, hosted sparse extents or zeros.
const READ: [&str; 13] = [
    "monolithicSparse",
    "monolithicFlat",
    "twoGbMaxExtentSparse",
    "2GbMaxExtentSparse",
    "twoGbMaxExtentFlat",
    "2GbMaxExtentFlat",
    "streamOptimized",
    "vmfs",
    "vmfsThin",
    "vmfsPreallocated",
    "vmfsEagerZeroedThick",
    "vmfsThick",
    "custom",
];

/// A descriptor's content, as far as reading the disk needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Descriptor {
    /// As written.
    pub create_type: String,
    /// The extents in the order of the disk, at least one.
    pub extents: Vec<Extent>,
    /// What says that the disk is a difference to another one.
    parent: Option<String>,
    /// There is no parent, and yet a name of its file.
    pub has_stale_hint: bool,
}

/// Keys that decide what is read: they may be there twice only if they say the same.
#[derive(Default)]
struct Keys {
    version: Option<String>,
    parent_cid: Option<String>,
    create_type: Option<String>,
    parent_hint: Option<String>,
}

impl Descriptor {
    /// The descriptor in `bytes`. It ends at the first NUL; in a file of its own (not `is_embedded`)
    /// only NULs may follow, for there an extent could be lost.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8], is_embedded: bool) -> Result<Self, Fault> {
        let len = bytes.len() as u64;
        if len > DESCRIPTOR_LEN_MAX {
            return Err(Fault::DescriptorLen { found: len, max: DESCRIPTOR_LEN_MAX });
        }
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        let (bytes, padding) = bytes.split_at(end);
        let text = encoding::decode(bytes)?;
        let (mut keys, mut extents, mut lines) = (Keys::default(), Vec::new(), 0);
        for (number, line) in text.replace("\r\n", "\n").split(['\n', '\r']).enumerate() {
            lines = number + 1;
            let fault = |expected| Fault::Descriptor { line: lines, text: shown(line.trim()), expected };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            } else if extent::is_extent(line) {
                extents.push(extent::parse(line).map_err(fault)?);
            } else {
                let (key, value) = key_and_value(line).ok_or_else(|| fault("a key, a = and a value"))?;
                if is_encryption(&key, value) {
                    return Err(Fault::unsupported(format!("an encrypted VMDK ({:?})", shown(&key))));
                }
                keys.set(&key, value).map_err(fault)?;
            }
            if extents.len() > EXTENTS_MAX {
                return Err(fault("no more than 4096 extents"));
            }
        }
        if !is_embedded && padding.iter().any(|&byte| byte != 0) {
            return Err(Fault::Descriptor {
                line: lines,
                text: "\0".into(),
                expected: "no NULs before its end",
            });
        }
        keys.finish(extents, lines)
    }

    /// Checks that the disk is one that is read.
    ///
    /// # Errors
    /// [`Fault::Unsupported`], saying what it is.
    pub fn check_supported(&self) -> Result<(), Fault> {
        if !READ.iter().any(|known| known.eq_ignore_ascii_case(&self.create_type)) {
            return Err(Fault::unsupported(format!("VMDKs of the type {:?}", shown(&self.create_type))));
        }
        if let Some(parent) = &self.parent {
            return Err(Fault::unsupported(format!("a VMDK that is a difference to a parent ({parent})")));
        }
        for extent in &self.extents {
            match extent.kind {
                ExtentKind::Zero => {}
                ExtentKind::Flat | ExtentKind::Sparse | ExtentKind::Vmfs if extent.access != Access::None => {
                }
                ExtentKind::Flat | ExtentKind::Sparse | ExtentKind::Vmfs => {
                    return Err(Fault::unsupported("an extent with data that is marked NOACCESS"));
                }
                kind => return Err(Fault::unsupported(format!("extents of the type {}", kind.word()))),
            }
        }
        Ok(())
    }

    /// Sectors of all extents together.
    pub fn sectors(&self) -> u64 {
        self.extents.iter().map(|extent| extent.sectors).sum()
    }
}

impl Keys {
    /// Takes in a key; those that are not known mean nothing here.
    fn set(&mut self, key: &str, value: &str) -> Result<(), &'static str> {
        let slot = match key {
            "version" => &mut self.version,
            "parentcid" => &mut self.parent_cid,
            "createtype" => &mut self.create_type,
            "parentfilenamehint" => &mut self.parent_hint,
            _ => return Ok(()),
        };
        match slot {
            Some(before) if !before.eq_ignore_ascii_case(value) => Err("what the same key says before"),
            _ => {
                *slot = Some(value.to_owned());
                Ok(())
            }
        }
    }

    fn finish(self, extents: Vec<Extent>, line: usize) -> Result<Descriptor, Fault> {
        let fault = |text: &str, expected| Fault::Descriptor { line, text: shown(text), expected };
        if let Some(version) = self.version.filter(|version| !["1", "2", "3"].contains(&version.as_str())) {
            return Err(match version.parse::<u64>() {
                Ok(number) => Fault::unsupported(format!("version {number} of descriptors")),
                Err(_) => fault(&version, "version=1, 2 or 3"),
            });
        }
        let create_type = self.create_type.ok_or_else(|| fault("", "a createType in the descriptor"))?;
        let parent_cid = match self.parent_cid {
            Some(text) => u32::from_str_radix(&text, 16)
                .ok()
                .filter(|_| !text.starts_with('+'))
                .map(Some)
                .ok_or_else(|| fault(&text, "parentCID= and a hexadecimal number of 32 bits"))?,
            None => None,
        };
        let hint = self.parent_hint.filter(|hint| !hint.is_empty());
        // Who made a disk whole again may have left the name of its parent there.
        let has_stale_hint = hint.is_some() && parent_cid == Some(NO_PARENT);
        let parent = match (hint, parent_cid) {
            (_, Some(NO_PARENT)) | (None, None) => None,
            (Some(hint), _) => Some(format!("{:?}", shown(&hint))),
            (None, Some(parent_cid)) => Some(format!("content id {parent_cid:08x}")),
        };
        if extents.is_empty() {
            return Err(fault("", "an extent in the descriptor"));
        }
        let mut sectors = 0u64;
        for extent in &extents {
            // Each is below 2^54, and there are few: the sum fits.
            sectors += extent.sectors;
            if sectors >= DISK_SECTORS_MAX {
                let what = "the sum of the extents' sectors";
                return Err(Fault::Value { what, found: sectors, expected: "less than 2^54" });
            }
        }
        Ok(Descriptor { create_type, extents, parent, has_stale_hint })
    }
}

/// A key in lower case, and its value without the quotes around it.
fn key_and_value(line: &str) -> Option<(String, &str)> {
    let (key, value) = line.split_once('=')?;
    let key = key.trim_end();
    if key.is_empty() || key.contains(|char: char| char.is_whitespace() || char == '"') {
        return None;
    }
    let value = value.trim();
    let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    Some((key.to_lowercase(), bare.trim()))
}

/// Whether a key, in lower case, or its value tells that data and keys are encrypted.
fn is_encryption(key: &str, value: &str) -> bool {
    key.starts_with("encryption")
        || key.starts_with("keysafe")
        || value.to_ascii_lowercase().contains("vmware:key")
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}
