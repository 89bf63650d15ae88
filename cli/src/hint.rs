//! What to do next, where the message of a failure does not say it.

use std::io::ErrorKind;
use std::path::Path;

use melv::{Error, vmdk};

use crate::exit::{Failure, is_lost_extent, is_lost_object};

/// The hint for a failure.
pub fn hint_of(failure: &Failure) -> Option<&'static str> {
    match failure {
        Failure::Melv(error) => of_error(error),
        Failure::NoOperand { .. } => Some("`melv ls` lists the images; a file can be given as ./NAME"),
        Failure::NotInBundle { .. } => Some("`melv inspect FILE.melv` lists its images"),
        Failure::SeveralImages { .. } => Some("add # and a name or @IMAGE-ID to the path"),
        Failure::InBundle { path, error } => Some(of_bundle(path, error)),
        Failure::NotBundle { .. } => Some("`melv import` takes disks of other formats"),
        Failure::ForeignFile { format, .. } => Some(of_format(format)),
        Failure::ForeignVmdk(_) => Some(
            "`qemu-img convert -O raw FILE OUT.raw` may read this VMDK; --format raw takes the bytes as they are",
        ),
        Failure::ForeignFormat { .. } => {
            Some("raw and VMDK are read and written; qemu-img converts between them and others")
        }
        Failure::Fuse(error) => of_mount(error),
        Failure::Daemon(_) | Failure::Usage(_) | Failure::NoFile { .. } | Failure::ReaderGone => None,
    }
}

/// What to do with a bundle that is damaged, in it or as a whole.
fn of_bundle(path: &Path, error: &Error) -> &'static str {
    match error {
        Error::Corrupt { object, .. } if *object == path.display().to_string() => {
            "nothing can be read of it; get the file again from where it came"
        }
        _ => "`melv verify FILE.melv --full` tells what is hurt; get the file again from where it came",
    }
}

/// What to do where images cannot be mounted or unmounted.
fn of_mount(error: &melv_fuse::Error) -> Option<&'static str> {
    use melv_fuse::Error as Mount;
    match error {
        Mount::Missing { .. } => Some("`mkdir DIR` makes it"),
        Mount::NotFolder { .. } | Mount::NotEmpty { .. } => Some("make an empty folder for the images"),
        Mount::Mounted { .. } => Some("`melv umount DIR` ends that; other images can go to another folder"),
        Mount::Dead { .. } => Some("`melv umount DIR` clears it away"),
        Mount::NotMounted { .. } => Some("`findmnt -t fuse.melv` lists what melv has mounted"),
        Mount::Busy { .. } => {
            Some("`lsof +f -- DIR` or `fuser -vm DIR` lists the programs, `losetup` the loop devices")
        }
        Mount::NoDevice { source } if source.kind() == ErrorKind::PermissionDenied => Some(
            "`ls -l /dev/fuse` shows who may open it (mode 0666 lets everybody); a container needs --device /dev/fuse",
        ),
        Mount::NoDevice { .. } => Some("`modprobe fuse` brings it; a container needs --device /dev/fuse"),
        Mount::Helper { said, .. } if said.contains("user_allow_other") => {
            Some("root permits --allow-other with the line user_allow_other in /etc/fuse.conf")
        }
        _ => None,
    }
}

/// What to do with a file that cannot be read.
fn of_format(format: &str) -> &'static str {
    match format {
        "tar or OVA" => {
            "take the disk out with `tar xf FILE`: the .vmdk of an OVA can be imported; \
             --format raw takes the bytes as they are"
        }
        _ => {
            "convert it with `qemu-img convert -O raw FILE OUT.raw`, or unpack it; \
             --format raw takes the bytes as they are"
        }
    }
}

fn of_error(error: &Error) -> Option<&'static str> {
    if is_lost_extent(error) {
        return Some("a VMDK may be several files: bring all of them into one folder");
    }
    if error.is_damage() || is_lost_object(error) {
        return Some("`melv verify --full` lists all that is damaged and whom it hurts");
    }
    match error {
        Error::NoStore { .. } => Some("--store DIR or $MELV_STORE names another place"),
        Error::Locked { .. } => Some("--wait SECONDS waits longer"),
        Error::NotFound { .. } => Some("`melv ls` lists the images"),
        Error::BaseMissing { .. } => Some(
            "bring that image into the store with `melv load`, or name the store that has it with --store",
        ),
        Error::ReadOnly { .. } => Some("`melv load FILE.melv` brings its images into the store"),
        Error::Ambiguous { .. } => Some("`melv ls --json` shows whole image ids"),
        Error::Exists { what: "file", .. } => Some("--force replaces it"),
        Error::Exists { .. } => {
            Some("choose another name, or take it from the image that has it with --replace")
        }
        Error::Vmdk { fault, .. } => Some(of_vmdk(fault)),
        Error::Unsupported { .. } => Some("a newer version of melv may have it"),
        Error::Changed { .. } => Some("stop whoever writes to it, or give a snapshot of it"),
        Error::Io { operation: "listen at the port", source, .. }
            if source.kind() == ErrorKind::PermissionDenied =>
        {
            Some(
                "ports below 1024 are root's: choose a higher one, let systemd open it (a .socket unit), or \
                 lower net.ipv4.ip_unprivileged_port_start",
            )
        }
        Error::Io { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
            Some("look at who owns it and at its mode")
        }
        _ => None,
    }
}

/// What to do with a VMDK that is not sound.
fn of_vmdk(fault: &vmdk::Fault) -> &'static str {
    match fault {
        vmdk::Fault::Extent { .. } => {
            "put the extents beside the descriptor, and only their plain names into it, if you trust it"
        }
        vmdk::Fault::NoDescriptor => "give the small .vmdk file that names this one",
        vmdk::Fault::Order { .. } => "save it to a file, and import that",
        vmdk::Fault::NotVmdk => "without --format the file is taken for what it looks like",
        _ => "get it again from where it came; --format raw takes the bytes as they are",
    }
}
