//! Hints: the next step after a failure whose message does not name it.

use std::io;
use std::path::Path;

use melv::{BlockError, Container, DeviceState, DiskError, Error, StoreError, StoreErrors, vmdk};

use crate::bundle_path::SUFFIX;
use crate::failure::{Failure, is_lost_object};
use crate::memory;

/// Returns the hint for a failure.
pub fn hint_of(failure: &Failure) -> Option<&'static str> {
    match failure {
        Failure::Melv(error) => of_error(error),
        Failure::NoOperand { .. } => Some("`melv ls` lists the images; a file can be given as ./NAME"),
        Failure::NotInBundle { .. } => Some("`melv inspect FILE.melv` lists its images"),
        Failure::SeveralImages { .. } => Some("add # and a name or @IMAGE-ID to the path"),
        Failure::InBundle { path, error } if error.is_damage() => Some(of_bundle(path, error)),
        Failure::InBundle { error, .. } | Failure::InOneOf { error, .. } => of_error(error),
        Failure::NotBundle { .. } => Some("if it is a disk, `melv import FILE` takes it"),
        Failure::ForeignFile { format, .. } => Some(of_container(*format)),
        Failure::ForeignVmdk(_) => Some(
            "a raw copy can be imported: of ESX's sparse kinds `qemu-img convert -f vmdk -O raw FILE OUT.raw` \
             makes one; --format raw takes the bytes as they are",
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
        Failure::PipedBundle { .. } => Some(
            "write it to a file: `melv load FILE` brings its images into the store, `melv import FILE` its disk",
        ),
        Failure::OutOfMemory { .. } => Some(
            "raise the limit, which `ulimit -v` shows, or take less: --threads 1, and for an import a lower --level and a smaller --chunk",
        ),
        Failure::Empty { .. } => {
            Some("if a command was to write it, --from-command runs that command and sees how it ends")
        }
        Failure::Run { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            Some("it is run without a shell; `-- sh -c 'COMMAND'` runs a line for the shell")
        }
        Failure::Start { source, .. } if memory::is_refused(source) => {
            Some("`ulimit -u` shows how many processes and threads are allowed, `ulimit -v` how much memory")
        }
        Failure::Listen { port: Some(..1024), source, .. }
            if source.kind() == io::ErrorKind::PermissionDenied =>
        {
            Some(
                "ports below 1024 are root's: choose a higher one, let systemd open it (a .socket unit), or \
                 lower net.ipv4.ip_unprivileged_port_start",
            )
        }
        Failure::Run { source, .. } | Failure::Start { source, .. } | Failure::Listen { source, .. } => {
            of_refusal(source)
        }
        Failure::Daemon(_) | Failure::Usage(_) | Failure::NoFile { .. } | Failure::ReaderGone => None,
    }
}

/// Returns the hint for a damaged bundle, or for one with damage inside.
fn of_bundle(path: &Path, error: &Error) -> &'static str {
    match error.detail() {
        Some(StoreError::Corrupt { object, .. }) if *object == path.display().to_string() => {
            "nothing can be read of it; get the file again from where it came"
        }
        _ => "`melv verify FILE.melv --full` tells what is hurt; get the file again from where it came",
    }
}

/// Returns the hint for a failure to mount or unmount images.
fn of_mount(error: &melv_fuse::Error) -> Option<&'static str> {
    use melv_fuse::Error as Mount;
    match error {
        Mount::Missing { .. } => Some("`mkdir DIR` makes it"),
        Mount::NotFolder { .. } | Mount::NotEmpty { .. } => Some("make an empty folder for the images"),
        Mount::Mounted { .. } => Some("`melv umount DIR` ends that; other images can go to another folder"),
        Mount::Dead { .. } => Some("`melv umount DIR` clears it away"),
        Mount::NotMounted { .. } => Some("`findmnt -t fuse.melv` lists what melv has mounted"),
        Mount::Busy { .. } => Some("`fuser -vm DIR` lists the programs, `losetup` the loop devices"),
        Mount::NoDevice { source } if source.kind() == io::ErrorKind::PermissionDenied => Some(
            "`ls -l /dev/fuse` shows who may open it (mode 0666 lets everybody); a container needs --device /dev/fuse",
        ),
        Mount::NoDevice { .. } => Some("`modprobe fuse` brings it; a container needs --device /dev/fuse"),
        Mount::Helper { said, .. } if said.contains("user_allow_other") => {
            Some("root permits --allow-other with the line user_allow_other in /etc/fuse.conf")
        }
        _ => None,
    }
}

/// The hint for a disk in a format that QEMU reads, by QEMU's name for it. It uses a pipe, so that the raw
/// disk is not written anywhere.
macro_rules! by_qemu {
    ($format:literal) => {
        by_qemu!(image "-f ", $format, " FILE")
    };
    (image $($option:literal),+) => {
        concat!(
            "QEMU reads it: `nbdcopy -- [ qemu-nbd -r ", $($option,)+ " ] - | melv import - --name N`; ",
            "--format raw takes the bytes as they are"
        )
    };
}

/// The hint for a compressed file, with the command that decompresses it.
macro_rules! unpacked_by {
    ($command:literal) => {
        concat!(
            "`",
            $command,
            " | melv import - --name N` unpacks it on the way; --format raw takes the bytes as they are"
        )
    };
}

/// Returns a way to extract the disk from a file of another format, or to import the file itself.
pub fn of_container(container: Container) -> &'static str {
    match container {
        Container::Qcow => by_qemu!("qcow"),
        Container::Qcow2 => by_qemu!("qcow2"),
        Container::Qed => by_qemu!("qed"),
        // Without this, QEMU computes the size from the geometry, which may be smaller.
        Container::Vhd => {
            by_qemu!(image "--image-opts driver=vpc,force_size_calc=current_size,file.filename=FILE")
        }
        Container::Vhdx => by_qemu!("vhdx"),
        Container::Vdi => by_qemu!("vdi"),
        Container::Parallels => by_qemu!("parallels"),
        Container::Bochs => by_qemu!("bochs"),
        Container::Dmg => by_qemu!("dmg"),
        Container::VmdkCowd | Container::VmdkSeSparse => by_qemu!("vmdk"),
        Container::VhdFixed => {
            "it is a raw disk with a footer: `head -c -512 FILE | melv import - --name N` takes the disk; --format raw takes the bytes as they are"
        }
        Container::VhdFixedOld => {
            "it is a raw disk with a footer: `head -c -511 FILE | melv import - --name N` takes the disk; --format raw takes the bytes as they are"
        }
        Container::Gzip | Container::Compress => unpacked_by!("gunzip -c FILE"),
        Container::Xz | Container::Lzma => unpacked_by!("xz -dc FILE"),
        Container::Bzip2 => unpacked_by!("bzip2 -dc FILE"),
        Container::Zstd => unpacked_by!("zstd -dc FILE"),
        Container::Lz4 => unpacked_by!("lz4 -dc FILE"),
        Container::Lzip => unpacked_by!("lzip -dc FILE"),
        Container::Lzop => unpacked_by!("lzop -dc FILE"),
        Container::Zip => unpacked_by!("unzip -p FILE"),
        Container::SevenZip => unpacked_by!("7z x -so FILE"),
        Container::Rar => unpacked_by!("unrar p -inul FILE"),
        Container::Tar => {
            "take the disk out with `tar xf FILE`: the .vmdk of an OVA can be imported; \
             --format raw takes the bytes as they are"
        }
        Container::Ewf => {
            "`ewfmount FILE DIR` of libewf shows the disk as DIR/ewf1, which can be imported; \
             --format raw takes the bytes as they are"
        }
        Container::AndroidSparse => {
            "`simg2img FILE OUT.raw` makes a raw disk of it; --format raw takes the bytes as they are"
        }
        Container::Vma => {
            "`vma extract FILE DIR` of Proxmox takes the disks out; --format raw takes the bytes as they are"
        }
        Container::VmdkSparse | Container::VmdkDescriptor => "--format vmdk reads it",
        Container::Bundle => "`melv load FILE` brings its images into the store",
        Container::Xml | Container::WebPage | Container::Vmx => {
            "give the disk itself; --format raw takes the bytes as they are"
        }
        _ => "make a raw disk of it with the program that wrote it; --format raw takes the bytes as they are",
    }
}

fn of_error(error: &Error) -> Option<&'static str> {
    if let Some(failure) = error.detail() {
        return of_store(error, failure);
    }
    match error.detail() {
        Some(DiskError::Vmdk { fault, .. }) => return Some(of_vmdk(fault)),
        Some(DiskError::Difference { parent, .. }) => return Some(of_parent(parent)),
        Some(DiskError::MissingExtent { .. }) => {
            return Some("a VMDK may be several files: bring all of them into one folder");
        }
        _ => {}
    }
    match error.detail()? {
        BlockError::FileExists { .. } => Some("--force replaces it"),
        BlockError::OddSize { .. } => Some("--pad adds zeros up to the next multiple"),
        BlockError::NotDisk { .. } => Some("a pipe is read as -"),
        BlockError::Unsupported { .. } => Some("a newer version of melv may have it"),
        BlockError::NoSpace { .. } => Some("free some space there and try again; the store is as it was"),
        BlockError::Changed { .. } => Some("stop the program that writes to it, or use a snapshot"),
        BlockError::Device { state, .. } => of_device(state),
        BlockError::Io { source, .. } => of_refusal(source),
        _ => None,
    }
}

const LIST_DAMAGE: &str = "`melv verify --full` lists all that is damaged and whom it hurts";

/// The hint for a failure of a store or a bundle.
fn of_store(error: &Error, failure: &StoreError) -> Option<&'static str> {
    match failure {
        StoreError::ForeignOwner { .. } => {
            Some("--trust-owner writes to it as to your own; do so only where you trust who wrote it")
        }
        StoreError::Corrupt { object, .. } if object.ends_with("/melv.store") => {
            Some("every new store has the same header: `cp OTHER/melv.store STORE` puts it right")
        }
        _ if error.is_damage() || is_lost_object(error) => Some(LIST_DAMAGE),
        StoreError::NoStore { .. } => {
            Some("the first import creates one; --store DIR or $MELV_STORE names another place")
        }
        StoreError::Locked { .. } => Some("--wait SECONDS waits longer"),
        StoreError::NoLocks { .. } => {
            Some("put the store elsewhere with --store DIR, or mount that file system with locks")
        }
        StoreError::NotFound { .. } => Some("`melv ls` lists the images"),
        StoreError::Ambiguous { .. } => Some("give more digits"),
        StoreError::Conflict { .. } => Some("try again"),
        StoreError::BaseMissing { .. } => Some(
            "bring that image into the store with `melv load`, or name the store that has it with --store",
        ),
        StoreError::ReadOnly { .. } => Some("`melv load FILE.melv` brings its images into the store"),
        StoreError::Exists { .. } => Some("--replace takes the name from the image that has it"),
        StoreError::OutcomeUnknown { .. } => Some("look with `melv ls`, and at the medium: it fails"),
        StoreError::SizeMismatch { .. } | StoreError::ContentMismatch { .. } => {
            Some("the disk is not the one that was expected; get it again from where it came")
        }
        _ => None,
    }
}

/// The hint for a refusal of the system.
fn of_refusal(refusal: &io::Error) -> Option<&'static str> {
    (refusal.kind() == io::ErrorKind::PermissionDenied).then_some("look at who owns it and at its mode")
}

/// Returns a way to turn a difference into a whole disk. Each program finds only the parents that it wrote.
fn of_parent(parent: &vmdk::Parent) -> &'static str {
    if parent.uuid.is_some() {
        "`VBoxManage clonemedium disk FILE OUT.vmdk` makes one disk of both, which can be imported; \
         so does deleting the machine's snapshots"
    } else if parent.file.is_some() {
        "with the parent where the file names it, `qemu-img convert -f vmdk -O raw FILE OUT.raw` makes one \
         disk of both, which can be imported; so does deleting the machine's snapshots"
    } else {
        "import the disk that is left when the machine's snapshots have been deleted"
    }
}

/// Returns a way to make a refused block device writable.
fn of_device(state: &DeviceState) -> Option<&'static str> {
    match state {
        DeviceState::ReadOnly => {
            Some("`blockdev --getro DEVICE` tells; `blockdev --setrw DEVICE` lets it be written")
        }
        DeviceState::Busy => Some("`lsblk DEVICE` tells by what"),
        DeviceState::TooSmall { .. } => Some("`blockdev --getsize64 DEVICE` tells its size"),
        DeviceState::Holds(_) => Some("--force overwrites it; `wipefs DEVICE` lists what is on it"),
        _ => None,
    }
}

/// Returns the hint for an invalid VMDK.
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
