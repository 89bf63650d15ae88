//! What to do next, where the message of a failure does not say it.

use std::io::ErrorKind;
use std::path::Path;

use melv::{Error, vmdk};

use crate::bundle_ref::SUFFIX;
use crate::exit::{Failure, is_lost_extent, is_lost_object};

/// The hint for a failure.
pub fn hint_of(failure: &Failure) -> Option<&'static str> {
    match failure {
        Failure::Melv(error) => of_error(error),
        Failure::NoOperand { .. } => Some("`melv ls` lists the images; a file can be given as ./NAME"),
        Failure::NotInBundle { .. } => Some("`melv inspect FILE.melv` lists its images"),
        Failure::SeveralImages { .. } => Some("add # and a name or @IMAGE-ID to the path"),
        Failure::InBundle { path, error } if error.is_damage() => Some(of_bundle(path, error)),
        Failure::InBundle { error, .. } | Failure::InOneOf { error, .. } => of_error(error),
        Failure::NotBundle { .. } => Some("if it is a disk, `melv import FILE` takes it"),
        Failure::ForeignFile { format, .. } => Some(of_format(format)),
        Failure::ForeignVmdk(_) => Some(
            "`qemu-img convert -O raw FILE OUT.raw` may read this VMDK; --format raw takes the bytes as they are",
        ),
        Failure::ForeignFormat { verb: "write", .. } => Some(
            "`melv serve REF --run 'qemu-img convert -O FORMAT \"$uri\" OUT'` writes what qemu-img can write",
        ),
        Failure::ForeignFormat { .. } => Some(
            "`qemu-img convert -O raw FILE OUT.raw` makes a raw disk of what qemu-img can read; import that",
        ),
        Failure::StoreNotFolder { path } if path.to_string_lossy().ends_with(SUFFIX) => {
            Some("a bundle needs no store: `melv inspect FILE.melv`, `melv export FILE.melv OUT`")
        }
        Failure::FolderNotEmpty { .. } => {
            Some("name an empty folder, or one to be made, with --store DIR or $MELV_STORE")
        }
        Failure::StoreNotFolder { .. } => Some("name a folder with --store DIR or $MELV_STORE"),
        Failure::NoFile { path } if path.to_string_lossy().ends_with(SUFFIX) => {
            Some("a bundle is meant, by its ending; an image of that name is NAME.melv:TAG, with its tag")
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
        Mount::Busy { .. } => Some("`fuser -vm DIR` lists the programs, `losetup` the loop devices"),
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
    if matches!(error, Error::Corrupt { object, .. } if object.ends_with("/melv.store")) {
        return Some("every new store has the same header: `cp OTHER/melv.store STORE` puts it right");
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
        Error::Exists { what: "file", .. } => Some("--force replaces it"),
        Error::Exists { .. } => Some("--replace takes the name from the image that has it"),
        Error::Vmdk { fault, .. } => Some(of_vmdk(fault)),
        Error::Unsupported { .. } => Some("a newer version of melv may have it"),
        Error::NoSpace { .. } => Some("free some space there and try again; the store is as it was"),
        Error::Changed { .. } => Some("stop whoever writes to it, or give a snapshot of it"),
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
