//! The VMX file of a machine, for a VMDK that lies beside it.
//!
//! A line holds `key = "value"`. VMware writes a quotation mark, a bar and a control character of a value as `|`
//! and two hexadecimal digits; libvirt and virt-v2v read that. No value is a path, and none asks: `uuid.action`
//! answers "moved or copied" before it is asked, and the host makes identifiers, addresses and NVRAM.

use std::fmt::Write;

use super::blank::BlankDisk;
use super::error::OvaError;
use super::hardware::guest_os;
use super::machine::Machine;
use super::ovf::unit;
use super::text::check_file_name;

/// A VMX file, and the names of the disks that it expects beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmxFiles {
    /// The text of `STEM.vmx`.
    pub text: String,
    /// The name of the system disk's file, `STEM.vmdk`.
    pub system_disk: String,
    /// The blank disks, to be written as `monolithicSparse` VMDKs.
    pub blank_disks: Vec<VmxDisk>,
}

/// A blank disk beside a VMX file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmxDisk {
    /// The name of its file, `STEM-NAME.vmdk`.
    pub file: String,
    /// Its content.
    pub content: BlankDisk,
}

/// Returns the VMX file `STEM.vmx` of `machine`, where `stem` is the name of a file without its ending.
///
/// # Errors
/// [`OvaError::Text`] if `stem` or a name made from it is no plain name of a file of at most 255 bytes.
pub fn vmx_files(machine: &Machine, stem: &str) -> Result<VmxFiles, OvaError> {
    let parts = machine.parts();
    let file = |name: String| check_file_name("name of a file", &name).map(|()| name);
    check_file_name("name of a file", stem)?;
    let system_disk = file(format!("{stem}.vmdk"))?;
    let blank_disks = parts.data_disks.iter().map(|disk| {
        let content = BlankDisk { name: disk.name.clone(), size: disk.size };
        Ok(VmxDisk { file: file(format!("{stem}-{}.vmdk", disk.name))?, content })
    });
    let blank_disks = blank_disks.collect::<Result<Vec<_>, OvaError>>()?;
    let files =
        std::iter::once(system_disk.as_str()).chain(blank_disks.iter().map(|disk| disk.file.as_str()));
    let text = text(machine, files);
    Ok(VmxFiles { text, system_disk, blank_disks })
}

fn text<'a>(machine: &Machine, disks: impl Iterator<Item = &'a str>) -> String {
    let parts = machine.parts();
    let mut vmx = Lines(String::new());
    // Before all values in other letters than ASCII.
    vmx.set(".encoding", "UTF-8");
    vmx.set("config.version", "8");
    vmx.set("virtualHW.version", &parts.hardware.to_string());
    vmx.set("displayName", &parts.name);
    let note = machine.note();
    if !note.is_empty() {
        vmx.set("annotation", &note);
    }
    vmx.set("guestOS", guest_os(parts.hardware));
    vmx.set("firmware", parts.firmware.word());
    vmx.set("memsize", &parts.memory_mib.to_string());
    vmx.set("numvcpus", &parts.cpus.to_string());
    vmx.set("uuid.action", "create");
    vmx.set("hpet0.present", "TRUE");
    // Without it hosts add a drive, and ask for its medium.
    vmx.set("floppy0.present", "FALSE");
    bridges(&mut vmx);
    vmx.set("scsi0.present", "TRUE");
    vmx.set("scsi0.virtualDev", "pvscsi");
    for (number, disk) in (1..).zip(disks) {
        let place = format!("scsi0:{}", unit(number));
        vmx.set(&format!("{place}.present"), "TRUE");
        vmx.set(&format!("{place}.deviceType"), "scsi-hardDisk");
        vmx.set(&format!("{place}.fileName"), disk);
    }
    if let Some(network) = &parts.network {
        vmx.set("ethernet0.present", "TRUE");
        vmx.set("ethernet0.virtualDev", "vmxnet3");
        // Workstation reads the type, ESXi the name. Behind NAT nobody reaches a machine that was just started.
        vmx.set("ethernet0.connectionType", "nat");
        vmx.set("ethernet0.networkName", network);
        vmx.set("ethernet0.addressType", "generated");
    }
    vmx.0
}

/// Writes the PCI Express ports that PVSCSI and VMXNET3 sit on; without them a host finds no slot.
fn bridges(vmx: &mut Lines) {
    vmx.set("pciBridge0.present", "TRUE");
    for number in 4..8 {
        vmx.set(&format!("pciBridge{number}.present"), "TRUE");
        vmx.set(&format!("pciBridge{number}.virtualDev"), "pcieRootPort");
        vmx.set(&format!("pciBridge{number}.functions"), "8");
    }
}

struct Lines(String);

impl Lines {
    fn set(&mut self, key: &str, value: &str) {
        let _ = write!(self.0, "{key} = \"");
        for char in value.chars() {
            if char.is_ascii_control() || matches!(char, '"' | '|') {
                let _ = write!(self.0, "|{:02X}", u32::from(char));
            } else {
                self.0.push(char);
            }
        }
        self.0.push_str("\"\n");
    }
}
