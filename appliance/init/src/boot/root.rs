//! The root of the image.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    cmdline::Cmdline,
    gpt::Table,
    kernel_mounts::kernel_file_systems,
    modules::{FOLDER, Modules},
};
use crate::{
    report::{Problem, Report},
    sys::{self, MountFlags},
};

/// Time that disks have to appear. Controllers of real machines take seconds.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(5);
/// Folder of the initrd where the root is mounted first.
const NEW_ROOT: &str = "/root";

/// Makes the root of the image the root of this process, unless it is already. Returns modules that were not needed
/// for that.
pub fn enter(tell: &mut dyn FnMut(Report)) -> Result<Modules, Problem> {
    kernel_file_systems(Path::new("/"))?;
    if !Path::new(FOLDER).is_dir() {
        return Ok(Modules::default());
    }
    let (early, late) = Modules::open(tell).map_err(|error| Problem::new("modules", FOLDER, error))?;
    // The initrd is memory as long as its files are there; open ones go when they are closed.
    let _ = fs::remove_dir_all(FOLDER);
    let _ = fs::remove_file("/init");
    early.load(tell);
    let line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let none = || Problem::new("command line", "root=PARTUUID=", io::Error::from(io::ErrorKind::NotFound));
    let guid = Cmdline::parse(&line).root.ok_or_else(none)?;
    let (device, late) = match find(&guid) {
        Some(device) => (device, late),
        None => {
            late.load(tell);
            (wait(&guid)?, Modules::default())
        }
    };
    let root = Path::new(NEW_ROOT);
    fs::create_dir_all(root).map_err(|error| Problem::new("folder", root, error))?;
    sys::mount(&device, root, "erofs", MountFlags::READ_ONLY, "")
        .map_err(|error| Problem::new("mount", &device, error))?;
    for name in ["proc", "sys", "dev"] {
        let (from, to) = (Path::new("/").join(name), root.join(name));
        sys::mount(&from, &to, "", MountFlags::MOVE, "")
            .map_err(|error| Problem::new("mount", &to, error))?;
    }
    sys::change_root(root).map_err(|error| Problem::new("root", root, error))?;
    Ok(late)
}

/// Waits for the partition and returns its device.
fn wait(guid: &[u8; 16]) -> Result<PathBuf, Problem> {
    let end = sys::since_boot() + PATIENCE;
    loop {
        if let Some(device) = find(guid) {
            return Ok(device);
        }
        if sys::since_boot() >= end {
            let disks = disks();
            let seen = if disks.is_empty() { "no disk".into() } else { disks.join(" ") };
            return Err(Problem::new("root partition on", seen, io::Error::from(io::ErrorKind::NotFound)));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Returns the device of the partition, if it is there.
fn find(guid: &[u8; 16]) -> Option<PathBuf> {
    disks().iter().find_map(|disk| partition(disk, guid))
}

/// Returns the names of whole disks, in the order of their names.
pub fn disks() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/sys/class/block") else { return Vec::new() };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| !entry.path().join("partition").exists())
        .filter_map(|entry| entry.file_name().into_string().ok())
        // Memory, loops, floppies and CD-ROMs hold neither roots nor data.
        .filter(|name| {
            !["ram", "loop", "zram", "fd", "sr", "dm-", "md"].iter().any(|kind| name.starts_with(kind))
        })
        .collect();
    // By length first, so that `vdb` comes before `vdaa`.
    names.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    names
}

/// Returns the device of the partition of `disk` with this GUID, if the table has it and the kernel sees it.
fn partition(disk: &str, guid: &[u8; 16]) -> Option<PathBuf> {
    let folder = Path::new("/sys/class/block").join(disk);
    let size = fs::read_to_string(folder.join("queue/logical_block_size")).ok()?;
    let block: u64 = size.trim().parse().ok().filter(|size| (512..=65536).contains(size))?;
    let mut device = File::open(Path::new("/dev").join(disk)).ok()?;
    let mut header = vec![0; block as usize];
    device.seek(SeekFrom::Start(block)).ok()?;
    device.read_exact(&mut header).ok()?;
    let table = Table::parse(&header)?;
    let mut entries = vec![0; table.len()];
    device.seek(SeekFrom::Start(table.block.checked_mul(block)?)).ok()?;
    device.read_exact(&mut entries).ok()?;
    let number = table.find(&entries, guid)?;
    let parts = fs::read_dir(folder).ok()?.flatten();
    let name = parts.filter(|part| {
        let text = fs::read_to_string(part.path().join("partition")).unwrap_or_default();
        text.trim().parse() == Ok(number)
    });
    let device = name.map(|part| Path::new("/dev").join(part.file_name())).next()?;
    device.exists().then_some(device)
}
