//! The file systems of the kernel.

use std::{io, path::Path};

use crate::{
    report::Problem,
    sys::{self, MountFlags},
};

/// Mounts the file systems of the kernel where they are not mounted yet.
pub fn kernel_file_systems(root: &Path) -> Result<(), Problem> {
    let flags = MountFlags::NO_SUID.with(MountFlags::NO_EXEC).with(MountFlags::NO_DEVICES);
    let dev = MountFlags::NO_SUID;
    for (kind, name, flags) in [("proc", "proc", flags), ("sysfs", "sys", flags), ("devtmpfs", "dev", dev)] {
        let target = root.join(name);
        // An image without the folder and a read-only root are told by the mount's own error.
        let _ = std::fs::create_dir(&target);
        match sys::mount(Path::new(kind), &target, kind, flags, "") {
            // The kernel has mounted `/dev` itself where DEVTMPFS_MOUNT is on.
            Err(error) if error.kind() != io::ErrorKind::ResourceBusy => {
                return Err(Problem::new("mount", &target, error));
            }
            _ => {}
        }
    }
    Ok(())
}
