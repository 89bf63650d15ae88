//! Paths on the EFI system partition that several files of it name.

/// Path of the kernel.
pub const KERNEL: &str = "melv/vmlinuz";

/// Path of the initrd.
pub const INITRD: &str = "melv/initrd";
