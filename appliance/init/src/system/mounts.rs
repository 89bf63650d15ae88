//! Mounts, first to last and back.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    config::Writes,
    data::{Opened, folder},
    report::Problem,
    sys::{self, MountFlags},
};

const PLAIN: MountFlags = MountFlags::NO_SUID.with(MountFlags::NO_DEVICES);
/// Folder in which the layers of `/` are.
const LAYERS: &str = "/run/melv/root";

/// Mounts `/run`, which everything after it needs.
pub fn first() -> Result<(), Problem> {
    // Half of the memory, so that files cannot take the programs' own.
    temporary(Path::new("/run"), "mode=0755,size=50%")
}

/// Makes `/` writable as the configuration says: an overlay over the image, in memory or on a data disk.
///
/// The first `/run` stays below the new root, hidden, as the place of the overlay and of its layer in memory: a
/// mount cannot move into one that lies in it, and the image is known to have no other folder for it.
pub fn root(writes: &Writes, disks: &[Opened]) -> Result<(), Problem> {
    let layers = Path::new(LAYERS);
    let problem = |place: &Path, error| Problem::new("root", place, error);
    let upper = match writes {
        Writes::None => return run_folders(Path::new("/")),
        Writes::Memory => PathBuf::from("/run/melv/memory"),
        Writes::Data(name) => folder(name).join(".melv/root"),
    };
    let (files, work) = (upper.join("upper"), upper.join("work"));
    for place in [&files, &work, &layers.to_path_buf()] {
        fs::create_dir_all(place).map_err(|error| problem(place, error))?;
    }
    let options = format!("lowerdir=/,upperdir={},workdir={}", files.display(), work.display());
    sys::mount(Path::new("overlay"), layers, "overlay", MountFlags::NONE, &options)
        .map_err(|error| problem(layers, error))?;
    temporary(&layers.join("run"), "mode=0755,size=25%")?;
    run_folders(layers)?;
    let data: Vec<PathBuf> = disks.iter().map(|disk| folder(&disk.name)).collect();
    let kernel = ["/proc", "/sys", "/dev"].map(PathBuf::from);
    for from in data.iter().chain(&kernel) {
        let to = layers.join(from.strip_prefix("/").unwrap_or(from));
        let _ = fs::create_dir_all(&to);
        sys::mount(from, &to, "", MountFlags::MOVE, "").map_err(|error| problem(&to, error))?;
    }
    sys::change_root(layers).map_err(|error| problem(layers, error))
}

fn run_folders(root: &Path) -> Result<(), Problem> {
    for (name, mode) in [("run/melv", 0o755), ("run/log", 0o755), ("run/lock", 0o1777)] {
        let place = root.join(name);
        super::files::folder(&place, mode, 0, 0).map_err(|error| Problem::new("folder", &place, error))?;
    }
    Ok(())
}

/// Mounts what programs expect. Each of these is missed by few programs, and told if it fails.
pub fn rest(writes: &Writes, note: &mut dyn FnMut(Problem)) {
    let mut mount = |kind: &str, target: &str, flags, options: &str| {
        let _ = fs::create_dir_all(target);
        if let Err(error) = sys::mount(Path::new(kind), Path::new(target), kind, flags, options) {
            note(Problem::new("mount", target, error));
        }
    };
    let devices = MountFlags::NO_SUID.with(MountFlags::NO_EXEC);
    mount("devpts", "/dev/pts", devices, "gid=5,mode=0620,ptmxmode=0666");
    mount("tmpfs", "/dev/shm", PLAIN, "mode=1777");
    let kernel = devices.with(MountFlags::NO_DEVICES);
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if known.contains("hugetlbfs") {
        mount("hugetlbfs", "/dev/hugepages", PLAIN, "mode=1770");
    }
    if known.contains("cgroup2") {
        mount("cgroup2", "/sys/fs/cgroup", kernel, "nsdelegate");
        let _ = fs::create_dir("/sys/fs/cgroup/melv");
    }
    if *writes == Writes::None {
        for target in ["/tmp", "/var/tmp"].into_iter().filter(|target| Path::new(target).is_dir()) {
            mount("tmpfs", target, PLAIN, "mode=1777,size=25%");
        }
    }
    // Names that programs open and that devtmpfs leaves to others.
    for (target, link) in [("/proc/self/fd", "fd"), ("fd/0", "stdin"), ("fd/1", "stdout"), ("fd/2", "stderr")]
    {
        let _ = std::os::unix::fs::symlink(target, Path::new("/dev").join(link));
    }
}

/// Mounts data disks at their places in the image.
pub fn bind_data(disks: &[Opened]) -> Result<(), Problem> {
    for disk in disks {
        let _ = fs::create_dir_all(&disk.mount);
        sys::mount(&folder(&disk.name), &disk.mount, "", MountFlags::BIND, "")
            .map_err(|error| Problem::new("data", &disk.mount, error))?;
    }
    Ok(())
}

/// Writes all data out and unmounts the data disks, or makes them read-only where something still uses them.
pub fn end(disks: &[Opened]) {
    sys::sync();
    for disk in disks {
        let _ = sys::unmount(&disk.mount).or_else(|_| sys::unmount_lazily(&disk.mount));
    }
    // An overlay on a data disk keeps that disk in use.
    let _ =
        sys::mount(Path::new("/"), Path::new("/"), "", MountFlags::REMOUNT.with(MountFlags::READ_ONLY), "");
    for disk in disks {
        let place = folder(&disk.name);
        if sys::unmount(&place).is_err() {
            let flags = MountFlags::REMOUNT.with(MountFlags::READ_ONLY).with(PLAIN);
            let _ = sys::mount(&place, &place, "", flags, "");
        }
    }
    sys::sync();
}

fn temporary(target: &Path, options: &str) -> Result<(), Problem> {
    let _ = fs::create_dir_all(target);
    sys::mount(Path::new("tmpfs"), target, "tmpfs", PLAIN, options)
        .map_err(|error| Problem::new("mount", target, error))
}
