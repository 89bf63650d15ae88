//! The machine around an image, for formats that hold one.

use melv::ova::{DataDisk, Firmware, Machine, MachineParts, Port, Protocol, SystemDisk};
use melv::{BlockDevice, Error, Image};
use melv_appliance::record::{self, APPLIANCE_KEY, ApplianceRecord, NetworkKind};

use crate::failure::Failure;

/// Memory of a machine whose image tells none.
const MEMORY_MIB_DEFAULT: u64 = 1024;
/// The network that a card is connected to: the default of ESXi and of VMware's templates.
const NETWORK: &str = "VM Network";
/// Bytes of a block of data.
const BLOCK_BYTES: u64 = 4096;

/// The user's choices.
#[derive(Debug, Clone, Copy)]
pub struct Choices {
    /// Firmware; the image's own where there is none.
    pub firmware: Option<Firmware>,
    /// Version of VMware's hardware.
    pub hardware: Option<u8>,
}

/// Returns the record of an image's machine, if it is an appliance.
pub fn record_of(image: &Image) -> Result<Option<ApplianceRecord>, Failure> {
    let Some(text) = image.manifest().metadata.get(APPLIANCE_KEY) else { return Ok(None) };
    let record = ApplianceRecord::from_json(text);
    record.map(Some).map_err(|error| Failure::Record { error: error.to_string() })
}

/// Returns the name of the machine for a reference: that of the image, or of the file of its bundle.
pub fn name_of(reference: &str) -> String {
    let last = reference.rsplit(['/', '#']).next().unwrap_or_default();
    let name = last.trim_start_matches('@').trim_end_matches(".melv").trim_end_matches(":latest");
    if name.is_empty() { "disk".into() } else { name.into() }
}

/// Returns the machine of an image called `name`.
pub fn of_image(image: &Image, name: &str, choices: Choices) -> Result<Machine, Failure> {
    let mut parts = MachineParts::new(name, image.size());
    parts.memory_mib = MEMORY_MIB_DEFAULT;
    parts.network = Some(NETWORK.into());
    let populated = image.manifest().data_blocks.saturating_mul(BLOCK_BYTES).min(image.size());
    parts.system_disk = SystemDisk { capacity: image.size(), populated: Some(populated) };
    if let Some(record) = record_of(image)? {
        apply(&record, &mut parts);
    }
    if let Some(firmware) = choices.firmware {
        parts.firmware = firmware;
    }
    if let Some(hardware) = choices.hardware {
        parts.hardware = hardware;
    }
    Machine::new(parts).map_err(|error| Error::from(error).into())
}

fn apply(record: &ApplianceRecord, parts: &mut MachineParts) {
    parts.memory_mib = (record.memory_bytes >> 20).next_multiple_of(4);
    parts.cpus = u32::from(record.cpus);
    if record.network == NetworkKind::None {
        parts.network = None;
    }
    if !record.firmware.contains(&record::Firmware::Uefi) {
        parts.firmware = Firmware::Bios;
    }
    parts.ports = record.ports.iter().filter_map(|port| read_port(port)).collect();
    let disk = |disk: &record::DataDiskRecord| DataDisk { name: disk.name.clone(), size: disk.size_bytes };
    parts.data_disks = record.data.iter().map(disk).collect();
    let services: Vec<&str> = record.services.iter().map(|service| service.name.as_str()).collect();
    parts.description =
        format!("{} on Debian {}, Linux {}", services.join(", "), record.suite, record.kernel);
    parts.description = parts.description.chars().take(255).collect();
}

fn read_port(text: &str) -> Option<Port> {
    let (number, protocol) = text.split_once('/')?;
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    Some(Port { number: number.parse().ok()?, protocol })
}
