//! Devices: reading, formatting, mounting.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use super::{
    choose::{Candidate, Choice, Content, Refusal, choose},
    copy::copy_content,
    inspect::{Ext4, HEAD, LEAST, TAIL, claim, claim_offset, file_system_size, growth, is_claimed, places},
};
use crate::{
    boot::disks,
    config::DataDisk,
    report::{Problem, Report},
    sys::{self, MountFlags},
};

/// The program that formats, in the image wherever there is a data disk.
const FORMAT: &str = "/usr/sbin/mke2fs";

/// Time without a new disk after which a blank one is formatted.
const QUIET: Duration = Duration::from_millis(300);
/// Time that a disk has to appear.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

/// A data disk that is mounted in [`folder`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Name.
    pub name: String,
    /// Mount point in the image.
    pub mount: PathBuf,
}

/// Returns the folder where a data disk is mounted first.
pub fn folder(name: &str) -> PathBuf {
    Path::new("/run/melv/data").join(name)
}

/// Finds all data disks, formats those that are blank, and mounts them.
pub fn open(wanted: &[DataDisk], tell: &mut dyn FnMut(Report)) -> Result<Vec<Opened>, Problem> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = wanted.iter().map(|disk| disk.name.as_str()).collect();
    let (candidates, choices) = settle(&names);
    let mut opened = Vec::new();
    for (disk, choice) in wanted.iter().zip(choices) {
        let choice = choice.map_err(|refusal| {
            Problem::new("data", &disk.name, io::Error::new(io::ErrorKind::NotFound, refusal.to_string()))
        })?;
        let at = |error| Problem::new("data", &disk.name, error);
        let (index, fresh) = match choice {
            Choice::Open(index) => (index, false),
            Choice::Format(index) => (index, true),
        };
        let device = Path::new("/dev").join(&candidates[index].device);
        fs::create_dir_all(folder(&disk.name)).map_err(at)?;
        if fresh {
            make(&device, disk).map_err(at)?;
        }
        mount(&device, &disk.name).map_err(at)?;
        let grown = !fresh && grow(&device, &disk.name).map_err(at)?;
        let state = if fresh {
            "formatted"
        } else if grown {
            "grown"
        } else {
            "opened"
        };
        tell(Report::Data(disk.name.clone(), state));
        opened.push(Opened { name: disk.name.clone(), mount: disk.mount.clone().into() });
    }
    Ok(opened)
}

/// Looks at all disks and chooses, once no more disks come.
///
/// Some drivers find their disks after the kernel says that it is done. A disk with the right label needs no
/// patience; but a blank one must not be formatted because the right one came a moment later.
fn settle(names: &[&str]) -> (Vec<Candidate>, Vec<Result<Choice, Refusal>>) {
    let start = sys::since_boot();
    let mut seen: Vec<String> = Vec::new();
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut last_change = start;
    loop {
        let now = sys::since_boot();
        for device in disks().into_iter().filter(|device| !seen.contains(device)).collect::<Vec<_>>() {
            seen.push(device.clone());
            candidates.extend(look(device, names));
            last_change = now;
        }
        // The order of names is the order of blank disks, whenever they came.
        candidates.sort_by(|a, b| (a.device.len(), &a.device).cmp(&(b.device.len(), &b.device)));
        let choices = choose(names, &candidates);
        let open = choices.iter().all(|choice| matches!(choice, Ok(Choice::Open(_))));
        let lacking = choices.contains(&Err(Refusal::None));
        let quiet = now.saturating_sub(last_change) >= QUIET;
        if open || quiet && (!lacking || now.saturating_sub(start) >= PATIENCE) {
            return (candidates, choices);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Reads as much of a disk as decides its content. A disk that cannot be read is foreign.
fn look(device: String, names: &[&str]) -> Option<Candidate> {
    let serial = serial(&device);
    let size = disk_size(&device)?;
    let file = File::open(Path::new("/dev").join(&device)).ok()?;
    let content = content(&file, size, names).unwrap_or(Content::Foreign);
    Some(Candidate { device, content, serial })
}

fn content(file: &File, size: u64, names: &[&str]) -> io::Result<Content> {
    if size < LEAST {
        return Ok(Content::Foreign);
    }
    let mut tail = vec![0; TAIL];
    file.read_exact_at(&mut tail, claim_offset(size))?;
    if let Some(name) = names.iter().find(|name| is_claimed(&tail, name)) {
        return Ok(Content::Claimed((*name).into()));
    }
    let mut head = vec![0; HEAD];
    file.read_exact_at(&mut head, 0)?;
    if let Some(name) = Ext4::parse(&head).and_then(|file_system| file_system.name) {
        return Ok(Content::Ours(name));
    }
    let mut buffer = vec![0; 1 << 20];
    // Slices are compared many bytes at a time; a loop over bytes would take seconds on an emulated processor.
    let zeros = vec![0; buffer.len()];
    for place in places(size) {
        let mut at = place.start;
        while at < place.end {
            let length = (place.end - at).min(buffer.len() as u64) as usize;
            file.read_exact_at(&mut buffer[..length], at)?;
            if buffer[..length] != zeros[..length] {
                return Ok(Content::Foreign);
            }
            at += length as u64;
        }
    }
    Ok(Content::Blank)
}

/// Returns the size of a disk in bytes. The kernel tells it in sectors of 512 bytes, whatever the disk has.
fn disk_size(device: &str) -> Option<u64> {
    let text = fs::read_to_string(Path::new("/sys/class/block").join(device).join("size")).ok()?;
    text.trim().parse::<u64>().ok()?.checked_mul(512)
}

/// Returns the serial number of a disk, as virtio, NVMe and SCSI tell it.
fn serial(device: &str) -> String {
    let folder = Path::new("/sys/class/block").join(device);
    for name in ["serial", "device/serial"] {
        if let Ok(text) = fs::read_to_string(folder.join(name)) {
            return text.trim().to_owned();
        }
    }
    // The page 0x80 of SCSI: four bytes, then the number.
    let page = fs::read(folder.join("device/vpd_pg80")).unwrap_or_default();
    String::from_utf8_lossy(page.get(4..).unwrap_or_default()).trim().to_owned()
}

/// Formats a disk and fills it. The claim stands from before the first byte until after the last.
fn make(device: &Path, disk: &DataDisk) -> io::Result<()> {
    let name = device.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let size = disk_size(name).ok_or(io::ErrorKind::NotFound)?;
    write_tail(device, size, &claim(&disk.name))?;
    format(device, size, &disk.name)?;
    mount(device, &disk.name)?;
    let root = folder(&disk.name);
    let image = Path::new(&disk.mount);
    if image.is_dir() {
        copy_content(image, &root)?;
    }
    chown(&root, Some(disk.owner.uid), Some(disk.owner.gid))?;
    fs::set_permissions(&root, fs::Permissions::from_mode(disk.mode.into()))?;
    sys::unmount(&root)?;
    write_tail(device, size, &[0; TAIL])
}

fn write_tail(device: &Path, size: u64, tail: &[u8; TAIL]) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(device)?;
    file.write_all_at(tail, claim_offset(size))?;
    file.sync_all()
}

fn format(device: &Path, size: u64, name: &str) -> io::Result<()> {
    let blocks = (file_system_size(size) / 4096).to_string();
    let label = format!("melv-{name}");
    let output = Command::new(FORMAT)
        .args(["-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-L", &label])
        .args(["-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard"])
        .arg(device)
        .arg(blocks)
        .env_clear()
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).chars().take(300).collect::<String>();
    Err(io::Error::other(format!("{FORMAT}: {said}")))
}

fn mount(device: &Path, name: &str) -> io::Result<()> {
    let flags = MountFlags::NO_SUID.with(MountFlags::NO_DEVICES).with(MountFlags::NO_TIMES);
    sys::mount(device, &folder(name), "ext4", flags, "errors=remount-ro")
}

/// Grows a mounted file system to its disk.
fn grow(device: &Path, name: &str) -> io::Result<bool> {
    let size = device.file_name().and_then(|name| disk_size(name.to_str()?)).unwrap_or(0);
    let mut head = vec![0; HEAD];
    File::open(device)?.read_exact_at(&mut head, 0)?;
    let Some(blocks) = Ext4::parse(&head).and_then(|file_system| growth(&file_system, size)) else {
        return Ok(false);
    };
    sys::grow_ext4(&File::open(folder(name))?, blocks)?;
    Ok(true)
}
