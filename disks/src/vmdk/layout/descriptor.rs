//! The text file that lists a disk's extents.
//!
//! Source: VMware, *Virtual Disk Format 5.0*, "The Disk Descriptor File". Real writers vary it: any
//! case, blanks anywhere, CR LF, comments anywhere, unknown keys.

use crate::plain_name::name_refusal;
use crate::vmdk::VmdkViolation;
use crate::vmdk::layout::encoding;
use crate::vmdk::layout::extent::{self, Access, Extent, ExtentKind};
use crate::vmdk::layout::limits::{DESCRIPTOR_LEN_MAX, DISK_SECTORS_MAX, EXTENTS_MAX};
use crate::vmdk::layout::lines::{lines, shown};
use crate::vmdk::layout::parent::{self, Parent};
use crate::warning::Oddity;

/// log2 of the physical sector size if the descriptor gives a logical one but no usable physical one.
const PHYSICAL_BITS: u8 = 12;

/// Disk types that can be read: all whose extents are flat files, hosted sparse extents or zeros.
const READ: [&str; 15] = [
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
    // Readable only if the device is a plain file next to the descriptor.
    DEVICES[0],
    DEVICES[1],
];

/// Disk types that map devices.
const DEVICES: [&str; 2] = ["fullDevice", "partitionedDevice"];

/// The content of a descriptor, as far as reading the disk needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Descriptor {
    /// The disk type, as written.
    pub create_type: String,
    /// The extents in disk order, at least one.
    pub extents: Vec<Extent>,
    /// The parent of a differencing disk.
    pub parent: Option<Box<Parent>>,
    /// The disk's own content id, if the descriptor has one.
    pub cid: Option<u32>,
    /// The disk's own UUID, as VirtualBox writes it.
    pub uuid: Option<String>,
    /// The logical and the physical sector size, in bytes, each if the descriptor has it.
    sector_bytes: (Option<u64>, Option<u64>),
}

/// The keys that matter to a reader. `version` and `createType` may repeat only with the same
/// value; for the others the first valid value counts.
#[derive(Default)]
struct Keys {
    version: Option<String>,
    create_type: Option<String>,
    cid: Option<u32>,
    uuid: Option<String>,
    logical_bytes: Option<u64>,
    physical_bytes: Option<u64>,
}

impl Descriptor {
    /// Parses the descriptor in `bytes`, which ends at the first NUL. In a file of its own (not
    /// `is_embedded`), only NULs may follow; anything else could be a lost extent.
    ///
    /// # Errors
    /// The first fault in the text. If the text names a parent too, [`VmdkViolation::Difference`] replaces
    /// any fault but [`VmdkViolation::Unsupported`].
    pub fn parse(bytes: &[u8], is_embedded: bool) -> Result<Self, VmdkViolation> {
        let len = bytes.len() as u64;
        if len > DESCRIPTOR_LEN_MAX {
            return Err(VmdkViolation::DescriptorLen { found: len, max: DESCRIPTOR_LEN_MAX });
        }
        let (text, has_more) = encoding::decode(bytes)?;
        let parent = Parent::of(&text).map(Box::new);
        match (Self::parse_text(&text, has_more && !is_embedded), parent) {
            (Ok(descriptor), parent) => Ok(Self { parent, ..descriptor }),
            (Err(violation), Some(parent)) if !matches!(violation, VmdkViolation::Unsupported { .. }) => {
                Err(VmdkViolation::Difference { parent })
            }
            (Err(violation), _) => Err(violation),
        }
    }

    /// Parses everything but the parent.
    fn parse_text(text: &str, has_more: bool) -> Result<Self, VmdkViolation> {
        let (mut keys, mut extents, mut count) = (Keys::default(), Vec::new(), 0);
        for (number, line) in lines(text).enumerate() {
            count = number + 1;
            let violation = |expected| VmdkViolation::Descriptor { line: count, text: shown(line), expected };
            if line.is_empty() || line.starts_with('#') {
                continue;
            } else if extent::is_extent(line) {
                extents.push(extent::parse(line).map_err(violation)?);
            } else {
                let (key, value) = key_and_value(line).ok_or_else(|| violation("a key, = and a value"))?;
                if is_encryption(&key, value) {
                    return Err(VmdkViolation::unsupported(format!("an encrypted VMDK ({:?})", shown(&key))));
                }
                keys.set(&key, value).map_err(violation)?;
            }
            if extents.len() > EXTENTS_MAX {
                return Err(violation("at most 4096 extents"));
            }
        }
        if has_more {
            let expected = "no NUL before its end";
            return Err(VmdkViolation::Descriptor { line: count, text: "\0".into(), expected });
        }
        keys.finish(extents, count)
    }

    /// Checks that the disk is of a supported kind.
    ///
    /// # Errors
    /// [`VmdkViolation::Unsupported`] with the kind, or [`VmdkViolation::Difference`].
    pub fn check_supported(&self) -> Result<(), VmdkViolation> {
        if let Some(parent) = &self.parent {
            return Err(VmdkViolation::Difference { parent: parent.clone() });
        }
        if !READ.iter().any(|known| known.eq_ignore_ascii_case(&self.create_type)) {
            return Err(VmdkViolation::unsupported(format!(
                "VMDKs of the type {:?}",
                shown(&self.create_type)
            )));
        }
        self.check_devices()?;
        for extent in &self.extents {
            match extent.kind {
                ExtentKind::Zero => {}
                ExtentKind::Flat | ExtentKind::Sparse | ExtentKind::Vmfs if extent.access != Access::None => {
                }
                ExtentKind::Flat | ExtentKind::Sparse | ExtentKind::Vmfs => {
                    return Err(VmdkViolation::unsupported("an extent with data that is marked NOACCESS"));
                }
                kind => {
                    return Err(VmdkViolation::unsupported(format!("extents of the type {}", kind.word())));
                }
            }
        }
        Ok(())
    }

    /// Refuses a disk over a device. Only a plain file next to the descriptor is ever opened in its place.
    fn check_devices(&self) -> Result<(), VmdkViolation> {
        if !DEVICES.iter().any(|known| known.eq_ignore_ascii_case(&self.create_type)) {
            return Ok(());
        }
        let names = self.extents.iter().filter_map(|extent| extent.name.as_deref());
        match names.into_iter().find(|name| name_refusal(name).is_some()) {
            None => Ok(()),
            Some(name) => Err(VmdkViolation::unsupported(format!(
                "a VMDK of the type {:?} over {:?}, since melv opens no disk or device that a file \
                 names; give it directly",
                shown(&self.create_type),
                shown(name)
            ))),
        }
    }

    /// Returns log2 of the logical and of the physical sector size, if the logical one is valid and
    /// not 512 bytes. The second value is a warning for any logical size other than 512.
    pub fn sector_bits(&self) -> (Option<(u8, u8)>, Option<Oddity>) {
        let bits = |bytes: u64| {
            let fits = bytes.is_power_of_two() && (512..=4096).contains(&bytes);
            fits.then(|| bytes.trailing_zeros() as u8)
        };
        match self.sector_bytes {
            (None | Some(512), _) => (None, None),
            (Some(bytes), physical) => match bits(bytes) {
                Some(logical) => {
                    let physical = physical.and_then(bits).unwrap_or(PHYSICAL_BITS).max(logical);
                    (Some((logical, physical)), Some(Oddity::SectorSize { bytes }))
                }
                None => (None, Some(Oddity::OddSectorSize { bytes })),
            },
        }
    }

    /// Returns the sum of the sectors of all extents.
    pub fn sectors(&self) -> u64 {
        self.extents.iter().map(|extent| extent.sectors).sum()
    }
}

impl Keys {
    /// Stores the value of a known key; unknown keys are ignored.
    fn set(&mut self, key: &str, value: &str) -> Result<(), &'static str> {
        let slot = match key {
            "version" => &mut self.version,
            "createtype" => &mut self.create_type,
            "cid" => {
                self.cid = self.cid.or(parent::cid(value));
                return Ok(());
            }
            "ddb.uuid.image" => {
                self.uuid.get_or_insert_with(|| parent::bare(value));
                return Ok(());
            }
            "ddb.logicalsectorsize" => {
                self.logical_bytes = self.logical_bytes.or(value.parse().ok());
                return Ok(());
            }
            "ddb.physicalsectorsize" => {
                self.physical_bytes = self.physical_bytes.or(value.parse().ok());
                return Ok(());
            }
            "parentcid" if parent::cid(value).is_none() => {
                return Err("parentCID= and a hexadecimal number of 32 bits");
            }
            _ => return Ok(()),
        };
        match slot {
            Some(before) if !before.eq_ignore_ascii_case(value) => {
                Err("the value of the earlier line with this key")
            }
            _ => {
                *slot = Some(value.to_owned());
                Ok(())
            }
        }
    }

    fn finish(self, extents: Vec<Extent>, line: usize) -> Result<Descriptor, VmdkViolation> {
        let violation =
            |text: &str, expected| VmdkViolation::Descriptor { line, text: shown(text), expected };
        if let Some(version) = self.version.filter(|version| !["1", "2", "3"].contains(&version.as_str())) {
            return Err(match version.parse::<u64>() {
                Ok(number) => VmdkViolation::unsupported(format!("version {number} of descriptors")),
                Err(_) => violation(&version, "version=1, 2 or 3"),
            });
        }
        let create_type = self.create_type.ok_or_else(|| violation("", "a createType in the descriptor"))?;
        if extents.is_empty() {
            return Err(violation("", "an extent in the descriptor"));
        }
        let mut sectors = 0u64;
        for extent in &extents {
            // Each is below 2^54, and there are at most 4096: the sum fits.
            sectors += extent.sectors;
            if sectors >= DISK_SECTORS_MAX {
                let what = "the sum of the extents' sectors";
                return Err(VmdkViolation::Value { what, found: sectors, expected: "less than 2^54" });
            }
        }
        let sector_bytes = (self.logical_bytes, self.physical_bytes);
        Ok(Descriptor { create_type, extents, parent: None, cid: self.cid, uuid: self.uuid, sector_bytes })
    }
}

/// Splits a line into its key, in lower case, and its value without quotes.
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

/// Whether a key (in lower case) or its value indicates encryption.
fn is_encryption(key: &str, value: &str) -> bool {
    key.starts_with("encryption")
        || key.starts_with("keysafe")
        || value.to_ascii_lowercase().contains("vmware:key")
}
