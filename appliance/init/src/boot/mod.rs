//! From the kernel's start to the root of the image.
//!
//! With an initrd the init is `/init` of it: it loads the modules that `/modules/order` names, finds the partition
//! of the root by its GUID, mounts it, removes the modules, which are memory, and makes it the root. The same
//! process goes on: no second copy of the init is read from the image. A kernel with all drivers built in mounts
//! the root itself and starts the init in it; then only the last part is done here: `/proc`, `/sys` and `/dev`.

mod cmdline;
mod gpt;
mod kernel_mounts;
mod modules;
mod root;

pub use self::root::{disks, enter};
