//! Kernels: modules and their order, the initrd, and the parts of a bzImage.
//!
//! A Debian kernel boots quickly once it has the modules that it needs and no others, in an order that needs no
//! `depmod`: each module names its needs in its section `.modinfo`, and the init loads a list from top to bottom.
//! [`modules`] makes that list, [`initrd`] packs it. [`bzimage`] takes the ELF kernel out of a bzImage, which a
//! hypervisor starts without unpacking it again.
//!
//! | file | job |
//! |---|---|
//! | `modinfo` | the section of a module, pure |
//! | `modules` | the modules of a kernel's package, and the order of loading |
//! | `initrd` | the archive, pure |
//! | `bzimage` | the setup header and the payload, pure |
//! | `tailored/`, `fragments/` | a kernel built from source, and its configuration |
//! | `unpack` | xz, zstd and LZ4 with a limit |

pub mod bzimage;
pub mod initrd;
mod modinfo;
pub mod modules;
pub mod tailored;
mod unpack;

pub use self::{
    modinfo::{ModuleInfo, module_info},
    unpack::UnpackFault,
};
