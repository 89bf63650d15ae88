//! Files that every appliance has: those that no package brings, and those that a package's script would have made.

use std::collections::BTreeMap;

use crate::{
    closure::{Closure, certificates},
    declaration::Suite,
    tree::{Content, Timestamp, Tree},
};

use super::{
    place::{Access, PlaceError, Placer},
    users::{GROUP, PASSWD, Users},
};

/// Folders of every appliance with their permission bits. The init mounts file systems on the first four.
const FOLDERS: [(&str, u16); 13] = [
    ("/dev", 0o755),
    ("/proc", 0o555),
    ("/run", 0o755),
    ("/sys", 0o555),
    ("/etc", 0o755),
    ("/root", 0o700),
    ("/tmp", 0o1777),
    ("/usr", 0o755),
    ("/var", 0o755),
    ("/var/lib", 0o755),
    ("/var/log", 0o755),
    ("/var/tmp", 0o1777),
    ("/mnt", 0o755),
];
/// Links of every appliance. A file that is there stays.
const LINKS: [(&str, &str); 5] = [
    ("/etc/resolv.conf", "/run/resolv.conf"),
    ("/etc/mtab", "/proc/self/mounts"),
    ("/var/run", "/run"),
    ("/var/lock", "/run/lock"),
    ("/etc/os-release", "../usr/lib/os-release"),
];
/// Folder of libraries that `ld.so` looks into without a cache.
const LIBRARIES: &str = "/usr/lib/x86_64-linux-gnu";
/// Folder of records of packages, which scanners read where there is no `dpkg`.
pub const STATUS_FOLDER: &str = "/var/lib/dpkg/status.d";

/// Texts of files that every appliance has unless something brings them.
const TEXTS: [(&str, &str); 4] = [
    ("/etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"),
    (
        "/etc/nsswitch.conf",
        "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n",
    ),
    ("/etc/host.conf", "multi on\n"),
    ("/etc/shells", ""),
];

/// The content of the files that every appliance has.
#[derive(Debug)]
pub struct SystemFiles<'a> {
    /// Release of Debian, for `os-release`.
    pub suite: Suite,
    /// Users and groups.
    pub users: &'a Users,
    /// Text for the init.
    pub init_config: Vec<u8>,
    /// The init itself, where the kernel starts it without an initrd.
    pub init: Option<&'static [u8]>,
    /// The bundle of certificates, where there are some.
    pub certificates: Option<Vec<u8>>,
    /// Control paragraphs of the packages that went in, by name.
    pub packages: BTreeMap<String, Vec<u8>>,
}

/// Adds the files that every appliance has. Those that something brought stay, but for users and the init's.
///
/// # Errors
///
/// A file in place of a folder, or a folder in place of a file.
pub fn add(tree: &mut Tree, time: Timestamp, files: SystemFiles<'_>) -> Result<(), PlaceError> {
    let mut placer = Placer { tree, time };
    for (path, mode) in FOLDERS {
        placer.folder_there(path, Access::root(mode))?;
    }
    for (path, text) in TEXTS {
        missing(&mut placer, path, text.as_bytes())?;
    }
    missing(&mut placer, "/usr/lib/os-release", os_release(files.suite).as_bytes())?;
    for (path, target) in LINKS {
        if !is_there(&placer, path) {
            placer.link(path, target.as_bytes())?;
        }
    }
    let text = |bytes: &[u8]| Content::Bytes(bytes.to_vec());
    placer.file(PASSWD, text(files.users.passwd().as_bytes()), Access::root(0o644))?;
    placer.file(GROUP, text(files.users.group().as_bytes()), Access::root(0o644))?;
    placer.file(melv_init::config::PATH, Content::Bytes(files.init_config), Access::root(0o644))?;
    if let Some(init) = files.init {
        placer.file("/usr/sbin/init", text(init), Access::root(0o755))?;
    }
    if let Some(bundle) = files.certificates {
        placer.file(certificates::BUNDLE, Content::Bytes(bundle), Access::root(0o644))?;
    }
    for (name, paragraph) in files.packages {
        let path = format!("{STATUS_FOLDER}/{name}");
        placer.file(&path, Content::Bytes(paragraph), Access::root(0o644))?;
    }
    Ok(())
}

/// Adds links to libraries that only `ld.so.conf` leads to, since an appliance has no cache of it.
///
/// # Errors
///
/// As [`add`].
pub fn link_libraries(tree: &mut Tree, time: Timestamp, closure: &Closure) -> Result<(), PlaceError> {
    let mut placer = Placer { tree, time };
    for (name, path) in closure.linked() {
        let link = format!("{LIBRARIES}/{}", String::from_utf8_lossy(name));
        if !is_there(&placer, &link) {
            placer.link(&link, path)?;
        }
    }
    Ok(())
}

fn missing(placer: &mut Placer<'_>, path: &str, text: &[u8]) -> Result<(), PlaceError> {
    if !is_there(placer, path) {
        placer.file(path, Content::Bytes(text.to_vec()), Access::root(0o644))?;
    }
    Ok(())
}

/// Whether something has this name, be it a link that leads nowhere.
fn is_there(placer: &Placer<'_>, path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let folder = if folder.is_empty() { "/" } else { folder };
    crate::closure::lookup::resolve(placer.tree, folder.as_bytes())
        .is_ok_and(|found| placer.tree.child(found.id, name.as_bytes()).is_some())
}

/// Returns the text by which scanners know the release.
fn os_release(suite: Suite) -> String {
    let (version, name) = match suite {
        Suite::Bookworm => ("12", "bookworm"),
        Suite::Trixie => ("13", "trixie"),
    };
    format!(
        "PRETTY_NAME=\"Debian GNU/Linux {version} ({name}), as an appliance\"\nNAME=\"Debian GNU/Linux\"\n\
         VERSION_ID=\"{version}\"\nVERSION=\"{version} ({name})\"\nVERSION_CODENAME={name}\nID=debian\n\
         HOME_URL=\"https://www.debian.org/\"\n"
    )
}
