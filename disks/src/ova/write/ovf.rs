//! The descriptor: a pure function from a machine and its files to bytes.
//!
//! Source: DMTF DSP0243 1.1, *Open Virtualization Format Specification*, and its schema DSP8023. The children of an
//! `Item` stand in the order of the alphabet, as CIM's schema asks. Values that the specification leaves to
//! products (`VirtualSCSI`, `VmxNet3`, the keys of `vmw:Config`) are those of VMware's own templates.

use super::hardware::guest_id;
use super::machine::{Firmware, Machine, MachineParts};
use super::xml::Document;

const OVF: &str = "http://schemas.dmtf.org/ovf/envelope/1";
const RASD: &str = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData";
const VSSD: &str = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData";
const VMW: &str = "http://www.vmware.com/schema/ovf";
/// The format of disks with compressed grains. Blank disks without a file have it too, as VMware's exports do.
const STREAM_FORMAT: &str = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized";
/// CIM's number of a 64-bit Linux from 2.6 on (`CIM_OperatingSystem.OsType`). VMware reads its own identifier.
const LINUX_64: &str = "100";
/// The instance of the SCSI controller, which the disks name as their parent.
const CONTROLLER: &str = "3";
/// CIM's numbers of resources (`CIM_ResourceAllocationSettingData.ResourceType`).
const PROCESSOR: &str = "3";
const MEMORY: &str = "4";
const SCSI_CONTROLLER: &str = "6";
const ETHERNET: &str = "10";
const HARD_DISK: &str = "17";
/// The controller's own place on its bus.
const CONTROLLER_UNIT: usize = 7;

/// A disk that has a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DiskFile<'a> {
    /// The file's name.
    pub(super) href: &'a str,
    /// Its length, in bytes.
    pub(super) size: u64,
    /// The disk's size, in bytes.
    pub(super) capacity: u64,
    /// The bytes of it that hold data, if known.
    pub(super) populated: Option<u64>,
}

/// Returns the descriptor of `machine`. `files` belong to its first disks, in order; the rest have none.
pub(super) fn descriptor(machine: &Machine, files: &[DiskFile<'_>]) -> Vec<u8> {
    let mut xml = Document::new();
    let namespaces =
        [("xmlns", OVF), ("xmlns:ovf", OVF), ("xmlns:rasd", RASD), ("xmlns:vmw", VMW), ("xmlns:vssd", VSSD)];
    xml.element("Envelope", &namespaces, |xml| {
        references(xml, files);
        disk_section(xml, machine.parts(), files);
        if let Some(network) = &machine.parts().network {
            xml.element("NetworkSection", &[], |xml| {
                xml.text("Info", "Logical networks");
                xml.element("Network", &[("ovf:name", network)], |xml| {
                    xml.text("Description", "The network of the machine");
                });
            });
        }
        virtual_system(xml, machine);
    });
    xml.finish()
}

fn references(xml: &mut Document, files: &[DiskFile<'_>]) {
    xml.element("References", &[], |xml| {
        for (number, file) in (1..).zip(files) {
            let (id, size) = (file_id(number), file.size.to_string());
            xml.empty("File", &[("ovf:href", file.href), ("ovf:id", &id), ("ovf:size", &size)]);
        }
    });
}

fn disk_section(xml: &mut Document, parts: &MachineParts, files: &[DiskFile<'_>]) {
    let sizes =
        std::iter::once(parts.system_disk.capacity).chain(parts.data_disks.iter().map(|disk| disk.size));
    xml.element("DiskSection", &[], |xml| {
        xml.text("Info", "Virtual disks");
        for (index, size) in sizes.enumerate() {
            let number = index.saturating_add(1);
            let file = files.get(index);
            let capacity = file.map_or(size, |file| file.capacity).to_string();
            let (disk, reference) = (disk_id(number), file.map(|_| file_id(number)));
            let populated = file.and_then(|file| file.populated).map(|bytes| bytes.to_string());
            let mut attributes = vec![
                ("ovf:capacity", capacity.as_str()),
                ("ovf:capacityAllocationUnits", "byte"),
                ("ovf:diskId", disk.as_str()),
            ];
            attributes.extend(reference.as_deref().map(|id| ("ovf:fileRef", id)));
            attributes.push(("ovf:format", STREAM_FORMAT));
            attributes.extend(populated.as_deref().map(|bytes| ("ovf:populatedSize", bytes)));
            xml.empty("Disk", &attributes);
        }
    });
}

fn virtual_system(xml: &mut Document, machine: &Machine) {
    let parts = machine.parts();
    // An identifier must not need an escape in an XPath expression or a URI; the name may hold anything.
    xml.element("VirtualSystem", &[("ovf:id", &machine.file_stem())], |xml| {
        xml.text("Info", "A virtual machine");
        xml.text("Name", &parts.name);
        let system = [("ovf:id", LINUX_64), ("vmw:osType", guest_id(parts.hardware))];
        xml.element("OperatingSystemSection", &system, |xml| {
            xml.text("Info", "The operating system");
            xml.text("Description", "Other Linux (64-bit)");
        });
        xml.element("ProductSection", &[], |xml| {
            xml.text("Info", "The product");
            xml.text("Product", &parts.product);
            if !parts.version.is_empty() {
                xml.text("Version", &parts.version);
            }
        });
        let note = machine.note();
        if !note.is_empty() {
            xml.element("AnnotationSection", &[], |xml| {
                xml.text("Info", "Notes");
                xml.text("Annotation", &note);
            });
        }
        hardware(xml, parts, &machine.file_stem());
    });
}

fn hardware(xml: &mut Document, parts: &MachineParts, identifier: &str) {
    xml.element("VirtualHardwareSection", &[], |xml| {
        xml.text("Info", "Virtual hardware");
        xml.element("System", &[], |xml| {
            xml.text("vssd:ElementName", "Virtual Hardware Family");
            xml.text("vssd:InstanceID", "0");
            xml.text("vssd:VirtualSystemIdentifier", identifier);
            // VMware writes two digits, as in vmx-08.
            xml.text("vssd:VirtualSystemType", &format!("vmx-{:02}", parts.hardware));
        });
        processors(xml, parts.cpus);
        memory(xml, parts.memory_mib);
        controller(xml);
        hard_disk(xml, 1, "The system");
        for (number, disk) in (2..).zip(&parts.data_disks) {
            hard_disk(xml, number, &format!("Data disk {}, blank", disk.name));
        }
        if let Some(network) = &parts.network {
            ethernet(xml, network, parts.data_disks.len().saturating_add(5));
        }
        configuration(xml, parts.firmware);
    });
}

fn processors(xml: &mut Document, cpus: u32) {
    xml.element("Item", &[], |xml| {
        xml.text("rasd:AllocationUnits", "hertz * 10^6");
        xml.text("rasd:Description", "Number of virtual CPUs");
        xml.text("rasd:ElementName", &format!("{cpus} virtual CPU(s)"));
        xml.text("rasd:InstanceID", "1");
        xml.text("rasd:ResourceType", PROCESSOR);
        xml.text("rasd:VirtualQuantity", &cpus.to_string());
    });
}

fn memory(xml: &mut Document, mib: u64) {
    xml.element("Item", &[], |xml| {
        xml.text("rasd:AllocationUnits", "byte * 2^20");
        xml.text("rasd:Description", "Memory size");
        xml.text("rasd:ElementName", &format!("{mib} MB of memory"));
        xml.text("rasd:InstanceID", "2");
        xml.text("rasd:ResourceType", MEMORY);
        xml.text("rasd:VirtualQuantity", &mib.to_string());
    });
}

fn controller(xml: &mut Document) {
    xml.element("Item", &[], |xml| {
        xml.text("rasd:Address", "0");
        xml.text("rasd:Description", "SCSI controller");
        xml.text("rasd:ElementName", "SCSI controller 0");
        xml.text("rasd:InstanceID", CONTROLLER);
        xml.text("rasd:ResourceSubType", "VirtualSCSI");
        xml.text("rasd:ResourceType", SCSI_CONTROLLER);
    });
}

/// Writes the disk of a number from 1.
fn hard_disk(xml: &mut Document, number: usize, description: &str) {
    xml.element("Item", &[], |xml| {
        xml.text("rasd:AddressOnParent", &unit(number).to_string());
        xml.text("rasd:Description", description);
        xml.text("rasd:ElementName", &format!("Hard disk {number}"));
        xml.text("rasd:HostResource", &format!("ovf:/disk/{}", disk_id(number)));
        xml.text("rasd:InstanceID", &number.saturating_add(3).to_string());
        xml.text("rasd:Parent", CONTROLLER);
        xml.text("rasd:ResourceType", HARD_DISK);
    });
}

fn ethernet(xml: &mut Document, network: &str, instance: usize) {
    xml.element("Item", &[], |xml| {
        // The first place of a network card on VMware's bus.
        xml.text("rasd:AddressOnParent", "7");
        xml.text("rasd:AutomaticAllocation", "true");
        xml.text("rasd:Connection", network);
        xml.text("rasd:Description", "VMXNET3 network card");
        xml.text("rasd:ElementName", "Network adapter 1");
        xml.text("rasd:InstanceID", &instance.to_string());
        xml.text("rasd:ResourceSubType", "VmxNet3");
        xml.text("rasd:ResourceType", ETHERNET);
    });
}

fn configuration(xml: &mut Document, firmware: Firmware) {
    let firmware = [("ovf:required", "false"), ("vmw:key", "firmware"), ("vmw:value", firmware.word())];
    xml.empty("vmw:Config", &firmware);
}

/// Returns the place of a disk on the controller's bus.
pub(super) fn unit(number: usize) -> usize {
    let index = number.saturating_sub(1);
    if index < CONTROLLER_UNIT { index } else { index.saturating_add(1) }
}

fn file_id(number: usize) -> String {
    format!("file{number}")
}

fn disk_id(number: usize) -> String {
    format!("vmdisk{number}")
}
