//! The machine that a package describes: a plain value, checked once.

use std::collections::BTreeSet;
use std::fmt;

use super::error::OvaError;
use super::hardware::{VERSION_DEFAULT, VERSION_MAX, VERSION_MIN, cpus_max, memory_mib_max};
use super::text::{DESCRIPTION_CHARS_MAX, check_line, check_lines, check_name, check_plain, plain_name};

/// The unit of a disk's size, in bytes.
const SECTOR_LEN: u64 = 512;
/// The largest disk of VMware's products, in bytes: 62 TiB.
const DISK_LEN_MAX: u64 = 62 << 40;
/// VMware counts memory in these units, in MiB.
const MEMORY_STEP_MIB: u64 = 4;
/// The places of a SCSI controller, without its own (7) and the system disk's (0).
const DATA_DISKS_MAX: usize = 14;

/// The firmware that starts the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Firmware {
    /// UEFI.
    #[default]
    Uefi,
    /// A BIOS.
    Bios,
}

impl Firmware {
    /// Returns VMware's word for it, in descriptors and VMX files.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Uefi => "efi",
            Self::Bios => "bios",
        }
    }
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port that the machine serves. It is told to people; no product opens it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// The number.
    pub number: u16,
    /// The protocol.
    pub protocol: Protocol,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        write!(f, "{}/{protocol}", self.number)
    }
}

/// The disk that the machine starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SystemDisk {
    /// Its size, in bytes: a multiple of 512, at most 62 TiB.
    pub capacity: u64,
    /// The bytes of it that hold data, if known; at most the size.
    pub populated: Option<u64>,
}

/// A blank disk that the machine formats itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDisk {
    /// Its name: 1 to 64 letters and digits of ASCII, `-`, `_`, `.`.
    pub name: String,
    /// Its size, in bytes: a multiple of 512, at most 62 TiB.
    pub size: u64,
}

/// The parts of a machine before they are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineParts {
    /// The name that products show: 1 to 80 characters.
    pub name: String,
    /// A description of several lines, at most 255 characters; may be empty.
    pub description: String,
    /// The product's name: 1 to 80 characters.
    pub product: String,
    /// The product's version: at most 80 characters; may be empty.
    pub version: String,
    /// The memory, in MiB: a multiple of 4.
    pub memory_mib: u64,
    /// The number of processors: from 1.
    pub cpus: u32,
    /// The firmware.
    pub firmware: Firmware,
    /// The name of the network that the card is connected to, or none for a machine without a card.
    pub network: Option<String>,
    /// The ports that the machine serves, for people.
    pub ports: Vec<Port>,
    /// The disk that the machine starts from.
    pub system_disk: SystemDisk,
    /// The blank disks: at most 14.
    pub data_disks: Vec<DataDisk>,
    /// The version of VMware's virtual hardware: 8 to 21.
    pub hardware: u8,
}

impl MachineParts {
    /// Returns a machine of 128 MiB, one processor, UEFI, a card on ESXi's default network, no data disks and
    /// hardware version 11, which every supported release of VMware's products runs.
    #[must_use]
    pub fn new(name: &str, capacity: u64) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            product: name.into(),
            version: String::new(),
            memory_mib: 128,
            cpus: 1,
            firmware: Firmware::Uefi,
            network: Some("VM Network".into()),
            ports: Vec::new(),
            system_disk: SystemDisk { capacity, populated: None },
            data_disks: Vec::new(),
            hardware: VERSION_DEFAULT,
        }
    }
}

/// A machine whose parts are in range, and whose texts every descriptor can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine(MachineParts);

impl Machine {
    /// Checks the parts of a machine.
    ///
    /// # Errors
    /// [`OvaError::Text`] for a text that is too long, that holds a control character, or, as a name, a slash or
    /// a leading dot; [`OvaError::Number`] for memory, processors, sizes or a hardware version out of range;
    /// [`OvaError::DataDisks`]; [`OvaError::DuplicateDataDisk`].
    pub fn new(parts: MachineParts) -> Result<Self, OvaError> {
        check_name("name of the machine", &parts.name)?;
        check_lines("description", &parts.description)?;
        check_line("product", &parts.product)?;
        if !parts.version.is_empty() {
            check_line("version of the product", &parts.version)?;
        }
        if let Some(network) = &parts.network {
            check_line("name of the network", network)?;
        }
        check_hardware(&parts)?;
        check_disks(&parts)?;
        Ok(Self(parts))
    }

    /// Returns the parts.
    #[must_use]
    pub fn parts(&self) -> &MachineParts {
        &self.0
    }

    /// Returns the machine's name as a part of file names: ASCII, without blanks, at most 64 bytes.
    #[must_use]
    pub fn file_stem(&self) -> String {
        plain_name(&self.0.name)
    }

    /// Returns the note that products show: the description, and the ports if both fit into 255 characters.
    pub(super) fn note(&self) -> String {
        let MachineParts { description, ports, .. } = &self.0;
        if ports.is_empty() {
            return description.clone();
        }
        let ports: Vec<_> = ports.iter().map(Port::to_string).collect();
        let ports = format!("Ports: {}", ports.join(", "));
        let note = if description.is_empty() { ports } else { format!("{description}\n{ports}") };
        if note.chars().count() <= DESCRIPTION_CHARS_MAX { note } else { description.clone() }
    }
}

fn check_hardware(parts: &MachineParts) -> Result<(), OvaError> {
    let versions = (VERSION_MIN.into(), VERSION_MAX.into());
    check_number("hardware version", parts.hardware.into(), versions, 1)?;
    let memory = (MEMORY_STEP_MIB, memory_mib_max(parts.hardware));
    check_number("memory in MiB", parts.memory_mib, memory, MEMORY_STEP_MIB)?;
    check_number("number of processors", parts.cpus.into(), (1, cpus_max(parts.hardware)), 1)
}

fn check_disks(parts: &MachineParts) -> Result<(), OvaError> {
    let sizes = (SECTOR_LEN, DISK_LEN_MAX);
    let SystemDisk { capacity, populated } = parts.system_disk;
    check_number("size of the system disk in bytes", capacity, sizes, SECTOR_LEN)?;
    if let Some(populated) = populated {
        check_number("size of the system disk's data in bytes", populated, (0, capacity), 1)?;
    }
    let found = parts.data_disks.len();
    if found > DATA_DISKS_MAX {
        return Err(OvaError::DataDisks { found, max: DATA_DISKS_MAX });
    }
    let mut names = BTreeSet::new();
    for disk in &parts.data_disks {
        check_plain("name of a data disk", &disk.name)?;
        check_number("size of a data disk in bytes", disk.size, sizes, SECTOR_LEN)?;
        // File systems of Windows and macOS take names that differ in case alone for one.
        if !names.insert(disk.name.to_ascii_lowercase()) {
            return Err(OvaError::DuplicateDataDisk { name: disk.name.clone() });
        }
    }
    Ok(())
}

fn check_number(field: &'static str, found: u64, (min, max): (u64, u64), step: u64) -> Result<(), OvaError> {
    if (min..=max).contains(&found) && found.is_multiple_of(step) {
        Ok(())
    } else {
        Err(OvaError::Number { field, found, min, max, step })
    }
}
