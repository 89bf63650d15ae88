//! VMware's packages of machines.

mod write;

pub use write::{
    BlankDisk, BlankDisks, DataDisk, DiskWriter, Firmware, Machine, MachineParts, OvaError, PackageDisk,
    Port, Protocol, SystemDisk, TextFault, VmxDisk, VmxFiles, export_ova, export_ova_file, export_vmx,
    vmx_files, write_ova,
};
