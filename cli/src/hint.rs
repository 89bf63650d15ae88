//! Hints: the next step after a failure whose message does not name it.

use std::io;
use std::path::Path;

use melv::vmdk::{Parent, VmdkViolation};
use melv::{BlockError, Container, DeviceState, DiskError, Error, StoreError, StoreErrors};

use melv_appliance::apt::AptError;
use melv_appliance::build::BuildError;
use melv_appliance::closure::ClosureError;
use melv_appliance::fetch::FetchError;
use melv_appliance::image::DeclaredError;
use melv_appliance::kernel::tailored::TailoredError;

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
        Failure::NotBundle { .. } => Some("if it is a disk, import it with `melv import FILE`"),
        Failure::ForeignVmdk(_) => Some(
            "import a raw copy: for ESX's sparse kinds, `qemu-img convert -f vmdk -O raw FILE OUT.raw` makes \
             one; --format raw takes the bytes as they are",
        ),
        Failure::ForeignFormat { verb: "write", .. } => Some(
            "`melv serve REF --run 'qemu-img convert -O FORMAT \"$uri\" OUT'` writes any format of qemu-img",
        ),
        Failure::ForeignFormat { .. } => Some(
            "if qemu-img can read it, `qemu-img convert -O raw FILE OUT.raw` makes a raw disk; import that",
        ),
        Failure::StoreNotFolder { path } if path.to_string_lossy().ends_with(SUFFIX) => {
            Some("a bundle needs no store: `melv inspect FILE.melv`, `melv export FILE.melv OUT`")
        }
        Failure::FolderNotEmpty { .. } => {
            Some("give an empty or a new folder with --store DIR or $MELV_STORE")
        }
        Failure::StoreNotFolder { .. } => Some("give a folder with --store DIR or $MELV_STORE"),
        Failure::NoFile { path } if path.to_string_lossy().ends_with(SUFFIX) => Some(
            "a reference that ends in .melv is the path of a bundle; for an image of that name, add its tag: NAME.melv:TAG",
        ),
        Failure::Fuse(error) => of_mount(error),
        Failure::PipedBundle { .. } => Some(
            "write it to a file; then `melv load FILE` loads its images, or `melv import FILE` imports its disk",
        ),
        Failure::OutOfMemory { .. } => Some(
            "raise the limit that `ulimit -v` shows, or use less: --threads 1, and for an import a lower --level and a smaller --chunk",
        ),
        Failure::Empty { .. } => {
            Some("if a command writes it, --from-command runs that command and checks that it succeeds")
        }
        Failure::Run { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            Some("melv runs it without a shell; `-- sh -c 'COMMAND'` runs a shell command")
        }
        Failure::Start { source, .. } if memory::is_refused(source) => {
            Some("`ulimit -u` shows the limit on processes and threads, `ulimit -v` the limit on memory")
        }
        Failure::Listen { port: Some(..1024), source, .. }
            if source.kind() == io::ErrorKind::PermissionDenied =>
        {
            Some(
                "only root may use ports below 1024: choose a higher one, let systemd open it (a .socket unit), or \
                 lower net.ipv4.ip_unprivileged_port_start",
            )
        }
        Failure::Run { source, .. } | Failure::Start { source, .. } | Failure::Listen { source, .. } => {
            of_refusal(source)
        }
        Failure::Build(error) => of_build(error),
        Failure::NotInAppliance { .. } => {
            Some("`melv build FILE.toml` lists the largest files; files.keep takes more into the appliance")
        }
        Failure::Declaration { .. } | Failure::Record { .. } => None,
        Failure::Daemon(_) | Failure::Usage(_) | Failure::NoFile { .. } | Failure::ReaderGone => None,
    }
}

/// Returns the hint for an appliance that cannot be built.
fn of_build(error: &BuildError) -> Option<&'static str> {
    match error {
        BuildError::Apt(AptError::NoApt { .. }) => Some(
            "a build from a lock needs no apt: make FILE.lock once on a machine with Debian or Ubuntu, and commit it",
        ),
        BuildError::Apt(AptError::NoKeys { .. }) => {
            Some("the package debian-archive-keyring has the keys of Debian")
        }
        BuildError::Apt(AptError::Unknown { .. }) => Some("`apt-cache search WORD` finds names of packages"),
        BuildError::Apt(AptError::NoLists { .. }) | BuildError::Fetch(FetchError::Offline { .. }) => {
            Some("build once without --offline; everything that is fetched stays in the cache")
        }
        BuildError::Apt(AptError::Unreachable { .. } | AptError::Refused { .. }) => {
            Some("--mirror URL names another mirror; proxies are those of apt and of the environment")
        }
        BuildError::Tailored(TailoredError::MissingTool(_)) => Some(
            "the packages build-essential, flex, bison, bc and libelf-dev have what a kernel takes; `use = \"cloud\"` takes Debian's",
        ),
        BuildError::NoLock { .. } => Some("build without --locked to make it"),
        BuildError::Stale { .. } => Some("build without --locked: only the difference is resolved anew"),
        BuildError::Recipe { .. } => {
            Some("build without --locked, or with the version of melv that made the lock")
        }
        BuildError::Changed { .. } => Some("if the change is wanted, --update makes a new lock"),
        BuildError::Declared(DeclaredError::NotAllowed { .. }) => {
            Some("--allow-dir DIR allows files of a folder elsewhere")
        }
        BuildError::Closure(ClosureError::Missing(_)) => {
            Some("add the package to `packages`, or leave out the file that needs it with files.drop")
        }
        _ => None,
    }
}

/// Returns the hint for a damaged bundle, or for one with damage inside.
fn of_bundle(path: &Path, error: &Error) -> &'static str {
    match error.detail() {
        Some(StoreError::Corrupt { object, .. }) if *object == path.display().to_string() => {
            "nothing in it can be read; get another copy of the file from its source"
        }
        _ => "`melv verify FILE.melv --full` lists the damage; get another copy of the file from its source",
    }
}

/// Returns the hint for a failure to mount or unmount images.
fn of_mount(error: &melv_fuse::Error) -> Option<&'static str> {
    use melv_fuse::Error as Mount;
    match error {
        Mount::Missing { .. } => Some("`mkdir DIR` creates it"),
        Mount::NotFolder { .. } | Mount::NotEmpty { .. } => Some("create an empty folder for the images"),
        Mount::Mounted { .. } => Some("`melv umount DIR` unmounts them; other images need another folder"),
        Mount::Dead { .. } => Some("`melv umount DIR` removes the dead mount"),
        Mount::NotMounted { .. } => Some("`findmnt -t fuse.melv` lists the mounts of melv"),
        Mount::Busy { .. } => Some("`fuser -vm DIR` lists the programs, `losetup` the loop devices"),
        Mount::NoDevice { source } if source.kind() == io::ErrorKind::PermissionDenied => Some(
            "`ls -l /dev/fuse` shows its owner and mode (0666 lets every user open it); a container needs --device /dev/fuse",
        ),
        Mount::NoDevice { .. } => {
            Some("`modprobe fuse` loads the module; a container needs --device /dev/fuse")
        }
        Mount::Helper { said, .. } if said.contains("user_allow_other") => {
            Some("root can permit --allow-other with the line user_allow_other in /etc/fuse.conf")
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
            " | melv import - --name N` unpacks and imports it; --format raw takes the bytes as they are"
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
            "it is a raw disk with a footer: `head -c -512 FILE | melv import - --name N` imports the disk alone; --format raw takes the bytes as they are"
        }
        Container::VhdFixedOld => {
            "it is a raw disk with a footer: `head -c -511 FILE | melv import - --name N` imports the disk alone; --format raw takes the bytes as they are"
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
            "extract the disk with `tar xf FILE`: the .vmdk of an OVA can be imported; \
             --format raw takes the bytes as they are"
        }
        Container::Ewf => {
            "`ewfmount FILE DIR` of libewf shows the disk as DIR/ewf1, which can be imported; \
             --format raw takes the bytes as they are"
        }
        Container::AndroidSparse => {
            "`simg2img FILE OUT.raw` converts it to a raw disk; --format raw takes the bytes as they are"
        }
        Container::Vma => {
            "`vma extract FILE DIR` of Proxmox extracts the disks; --format raw takes the bytes as they are"
        }
        Container::VmdkSparse | Container::VmdkDescriptor => "--format vmdk reads it",
        Container::Bundle => "`melv load FILE` loads its images into the store",
        Container::Xml | Container::WebPage | Container::Vmx => {
            "give the disk itself; --format raw takes the bytes as they are"
        }
        _ => {
            "convert it to a raw disk with the program that wrote it; --format raw takes the bytes as they are"
        }
    }
}

fn of_error(error: &Error) -> Option<&'static str> {
    if let Some(failure) = error.detail() {
        return of_store(error, failure);
    }
    match error.detail() {
        Some(DiskError::Vmdk { violation, .. }) => return Some(of_vmdk(violation)),
        Some(DiskError::ForeignFormat { format, .. }) => return Some(of_container(*format)),
        Some(DiskError::Difference { parent, .. }) => return Some(of_parent(parent)),
        Some(DiskError::MissingExtent { .. }) => {
            return Some("a VMDK may consist of several files: put all of them into one folder");
        }
        _ => {}
    }
    match error.detail()? {
        BlockError::FileExists { .. } => Some("--force replaces it"),
        BlockError::OddSize { .. } => Some("--pad adds zeros up to the next multiple"),
        BlockError::NotDisk { .. } => Some("to read a pipe, redirect it to standard input and give -"),
        BlockError::Unsupported { .. } => Some("a newer version of melv may support it"),
        BlockError::NoSpace { .. } => Some("free some space there and try again; the store is unchanged"),
        BlockError::Changed { .. } => Some("stop the program that writes to it, or use a snapshot"),
        BlockError::Device { state, .. } => of_device(state),
        BlockError::Io { source, .. } => of_refusal(source),
        _ => None,
    }
}

const LIST_DAMAGE: &str = "`melv verify --full` lists all damage and the affected images";

/// The hint for a failure of a store or a bundle.
fn of_store(error: &Error, failure: &StoreError) -> Option<&'static str> {
    match failure {
        StoreError::ForeignOwner { .. } => {
            Some("--trust-owner treats it as your own; use it only if you trust that user")
        }
        StoreError::Corrupt { object, .. } if object.ends_with("/melv.store") => {
            Some("every new store has the same header: `cp OTHER/melv.store STORE` repairs it")
        }
        _ if error.is_damage() || is_lost_object(error) => Some(LIST_DAMAGE),
        StoreError::NoStore { .. } => {
            Some("the first import creates one; --store DIR or $MELV_STORE selects another folder")
        }
        StoreError::Locked { .. } => Some("--wait SECONDS waits longer"),
        StoreError::NoLocks { .. } => {
            Some("put the store elsewhere with --store DIR, or mount that file system with support for locks")
        }
        StoreError::NotFound { .. } => Some("`melv ls` lists the images"),
        StoreError::Ambiguous { .. } => Some("give more digits"),
        StoreError::Conflict { .. } => Some("try again"),
        StoreError::BaseMissing { .. } => {
            Some("load that image with `melv load`, or give the store that has it with --store")
        }
        StoreError::ReadOnly { .. } => Some("`melv load FILE.melv` loads its images into the store"),
        StoreError::Exists { .. } => Some("--replace takes the name from the image that has it"),
        StoreError::OutcomeUnknown { .. } => {
            Some("check the result with `melv ls`, and check the storage for hardware faults")
        }
        StoreError::SizeMismatch { .. } | StoreError::ContentMismatch { .. } => {
            Some("this is not the expected disk; get another copy from its source")
        }
        _ => None,
    }
}

/// The hint for a refusal of the system.
fn of_refusal(refusal: &io::Error) -> Option<&'static str> {
    (refusal.kind() == io::ErrorKind::PermissionDenied).then_some("check its owner and its mode")
}

/// Returns a way to turn a difference into a whole disk. Each program finds only the parents that it wrote.
fn of_parent(parent: &Parent) -> &'static str {
    if parent.uuid.is_some() {
        "`VBoxManage clonemedium disk FILE OUT.vmdk` merges both into one disk, which can be imported; \
         so does deleting the machine's snapshots"
    } else if parent.file.is_some() {
        "with the parent at the path that the file gives, `qemu-img convert -f vmdk -O raw FILE OUT.raw` merges \
         both into one disk, which can be imported; so does deleting the machine's snapshots"
    } else {
        "delete the machine's snapshots, then import the disk that is left"
    }
}

/// Returns a way to make a refused block device writable.
fn of_device(state: &DeviceState) -> Option<&'static str> {
    match state {
        DeviceState::ReadOnly => {
            Some("`blockdev --getro DEVICE` shows this; `blockdev --setrw DEVICE` makes it writable")
        }
        DeviceState::Busy => Some("`lsblk DEVICE` shows its mounts and the devices that use it"),
        DeviceState::TooSmall { .. } => Some("`blockdev --getsize64 DEVICE` shows its size"),
        DeviceState::Holds(_) => Some("--force overwrites it; `wipefs DEVICE` lists its contents"),
        _ => None,
    }
}

/// Returns the hint for an invalid VMDK.
fn of_vmdk(violation: &VmdkViolation) -> &'static str {
    match violation {
        VmdkViolation::Extent { .. } => {
            "if you trust it, put the extents beside the descriptor, and only their plain names into it"
        }
        VmdkViolation::NoDescriptor => "give the small .vmdk file that names this one",
        VmdkViolation::Order { .. } => "save it to a file and import that file",
        VmdkViolation::NotVmdk => "without --format, melv detects the format from the content",
        _ => "get another copy from its source; --format raw takes the bytes as they are",
    }
}
