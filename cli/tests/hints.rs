//! Hints: each command that a hint names is run in the situation of the hint, and works.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod common;

use std::collections::BTreeSet;
use std::process::Stdio;

use common::{Bed, Ran, bed, disk, later_disk};
use rustix::process::{Pid, Signal, kill_process};

/// Two disks, the first in the store, and a bundle of it.
fn scene() -> Bed {
    let bed = bed();
    bed.write("disk.raw", &disk());
    bed.write("new.raw", &later_disk());
    bed.melv(&["import", "disk.raw", "--name", "web"]).exits(0);
    bed.melv(&["save", "web", "web.melv"]).exits(0);
    bed
}

/// Two images in one bundle, `both.melv`, and a folder `mnt`.
fn larger_scene() -> Bed {
    let bed = scene();
    bed.melv(&["import", "new.raw", "--name", "new"]).exits(0);
    bed.melv(&["save", "web", "new", "both.melv"]).exits(0);
    std::fs::create_dir(bed.path("mnt")).unwrap();
    bed
}

/// Changes a byte in the middle of a file.
fn damage(bed: &Bed, name: &str) {
    let mut bytes = bed.read(name);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    bed.write(name, &bytes);
}

fn pack(bed: &Bed) -> String {
    let pack = std::fs::read_dir(bed.store().join("packs")).unwrap().next().unwrap().unwrap();
    format!("store/packs/{}", pack.file_name().to_str().unwrap())
}

/// A hint, and the function that runs its commands in the situation of the hint.
type Tried = (&'static str, fn(&str));

/// Hints that name a command, with the scenes that try them.
const TRIED: [Tried; 17] = [
    ("`melv ls` lists the images; a file can be given as ./NAME", neither_image_nor_file),
    ("`melv inspect FILE.melv` lists its images", not_in_the_bundle),
    (
        "`melv verify FILE.melv --full` lists the damage; get another copy of the file from its source",
        hurt_bundle,
    ),
    ("if it is a disk, import it with `melv import FILE`", no_bundle),
    (
        "`melv serve REF --run 'qemu-img convert -O FORMAT \"$uri\" OUT'` writes any format of qemu-img",
        foreign_output,
    ),
    (
        "if qemu-img can read it, `qemu-img convert -O raw FILE OUT.raw` makes a raw disk; import that",
        foreign_input,
    ),
    ("a bundle needs no store: `melv inspect FILE.melv`, `melv export FILE.melv OUT`", bundle_as_store),
    ("`mkdir DIR` creates it", no_folder),
    ("`melv umount DIR` unmounts them; other images need another folder", mounted_twice),
    ("`melv umount DIR` removes the dead mount", dead_mount),
    ("`findmnt -t fuse.melv` lists the mounts of melv", not_mounted),
    ("`fuser -vm DIR` lists the programs, `losetup` the loop devices", busy_mount),
    ("`melv verify --full` lists all damage and the affected images", damaged_store),
    ("`melv ls` lists the images", not_in_the_store),
    ("load that image with `melv load`, or give the store that has it with --store", base_missing),
    ("`melv load FILE.melv` loads its images into the store", bundle_is_read_only),
    ("every new store has the same header: `cp OTHER/melv.store STORE` repairs it", header_damaged),
];

/// Hints for files of other formats, tried as printed.
const TRIED_AS_PRINTED: [&str; 3] = [
    "`qemu-img convert -O raw FILE OUT.raw` may read this VMDK; --format raw takes the bytes as they are",
    "extract the disk with `tar xf FILE`: the .vmdk of an OVA can be imported; --format raw takes the bytes as they are",
    "convert it with `qemu-img convert -O raw FILE OUT.raw`, or unpack it; \
     --format raw takes the bytes as they are",
];

/// Hints that name a command that cannot be tried everywhere, with the reason.
const NOT_TRIED: [(&str, &str); 13] = [
    ("`apt-cache search WORD` finds names of packages", "it needs the lists of the archive"),
    (
        "`melv build FILE.toml` lists the largest files; files.keep takes more into the appliance",
        "a build needs the archive",
    ),
    (
        "add the package to `packages`, or leave out the file that needs it with files.drop",
        "a build needs the archive",
    ),
    (
        "the packages build-essential, flex, bison, bc and libelf-dev have what a kernel takes; `use = \"cloud\"` takes Debian's",
        "a build needs the archive",
    ),
    (
        "it is a raw disk with a footer: `head -c -511 FILE | melv import - --name N` imports the disk alone; --format raw takes the bytes as they are",
        "Virtual PC wrote such footers before its version of 2004; the disk is cut as with 512",
    ),
    (
        "`modprobe fuse` loads the module; a container needs --device /dev/fuse",
        "it is for a system without the module, and the tests of mounting need one with it",
    ),
    (
        "`VBoxManage clonemedium disk FILE OUT.vmdk` merges both into one disk, which can be imported; so does deleting the machine's snapshots",
        "no package of Debian has it",
    ),
    (
        "`ewfmount FILE DIR` of libewf shows the disk as DIR/ewf1, which can be imported; --format raw takes the bytes as they are",
        "it needs a mount of its own, and an image that its own tools made",
    ),
    (
        "`simg2img FILE OUT.raw` converts it to a raw disk; --format raw takes the bytes as they are",
        "an image needs the system's own tools to be made",
    ),
    (
        "`vma extract FILE DIR` of Proxmox extracts the disks; --format raw takes the bytes as they are",
        "no package of Debian has it",
    ),
    (
        "import a raw copy: for ESX's sparse kinds, `qemu-img convert -f vmdk -O raw FILE OUT.raw` makes one; --format raw takes the bytes as they are",
        "only ESX writes such files",
    ),
    (
        "`ls -l /dev/fuse` shows its owner and mode (0666 lets every user open it); a container needs --device /dev/fuse",
        "it shows a mode, and the mode of the machine's own device is not for a test to change",
    ),
    (
        "check the result with `melv ls`, and check the storage for hardware faults",
        "a medium whose last sync fails is modelled beneath the library (`crash_states.rs`)",
    ),
];

/// Hints whose commands another test file runs.
const TRIED_ELSEWHERE: [(&str, &str); 15] = [
    (
        "with the parent at the path that the file gives, `qemu-img convert -f vmdk -O raw FILE OUT.raw` merges both into one disk, which can be imported; so does deleting the machine's snapshots",
        "hints.rs",
    ),
    (
        "raise the limit that `ulimit -v` shows, or use less: --threads 1, and for an import a lower --level and a smaller --chunk",
        "few_resources.rs",
    ),
    (
        "write it to a file; then `melv load FILE` loads its images, or `melv import FILE` imports its disk",
        "stdin.rs",
    ),
    ("QEMU reads it: `nbdcopy -- [ qemu-nbd -r ", "containers.rs"),
    (" ] - | melv import - --name N`; ", "containers.rs"),
    ("`", "containers.rs"),
    (
        " | melv import - --name N` unpacks and imports it; --format raw takes the bytes as they are",
        "containers.rs",
    ),
    (
        "it is a raw disk with a footer: `head -c -512 FILE | melv import - --name N` imports the disk alone; --format raw takes the bytes as they are",
        "hints.rs",
    ),
    ("--force overwrites it; `wipefs DEVICE` lists its contents", "devices.rs"),
    ("`blockdev --getro DEVICE` shows this; `blockdev --setrw DEVICE` makes it writable", "devices.rs"),
    ("`blockdev --getsize64 DEVICE` shows its size", "devices.rs"),
    ("`lsblk DEVICE` shows its mounts and the devices that use it", "devices.rs"),
    ("`melv load FILE` loads its images into the store", "bundles.rs"),
    (
        "`ulimit -u` shows the limit on processes and threads, `ulimit -v` the limit on memory",
        "few_resources.rs",
    ),
    ("melv runs it without a shell; `-- sh -c 'COMMAND'` runs a shell command", "from_command.rs"),
];

/// Files of other formats, with the commands that make them from `new.raw`.
const FOREIGN: [(&str, &str); 7] = [
    ("fixed.vhd", "qemu-img convert -O vpc -o subformat=fixed,force_size=on new.raw fixed.vhd"),
    ("x.qcow2", "qemu-img convert -O qcow2 new.raw x.qcow2"),
    ("x.vdi", "qemu-img convert -O vdi new.raw x.vdi"),
    ("x.vhdx", "qemu-img convert -O vhdx new.raw x.vhdx"),
    ("x.vhd", "qemu-img convert -O vpc -o force_size=on new.raw x.vhd"),
    (
        "x.ova",
        "melv import new.raw -q && melv export new disk.vmdk --format vmdk-stream -q && melv rm new -q && \
         tar cf x.ova disk.vmdk && rm disk.vmdk",
    ),
    (
        "x.vmdk",
        "qemu-img convert -O vmdk new.raw base.vmdk && qemu-img create -q -f vmdk -b base.vmdk -F vmdk x.vmdk",
    ),
];

/// Returns the string literals of a source file.
fn literals(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let code: String = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(|line| format!("{line}\n"))
        .collect();
    let mut chars = code.chars().peekable();
    while let Some(char) = chars.next() {
        if char != '"' {
            continue;
        }
        let mut literal = String::new();
        while let Some(char) = chars.next().filter(|char| *char != '"') {
            match char {
                '\\' if chars.peek() == Some(&'\n') => {
                    while chars.next_if(|next| next.is_whitespace()).is_some() {}
                }
                '\\' => literal.extend(chars.next()),
                char => literal.push(char),
            }
        }
        found.push(literal);
    }
    found
}

#[test]
fn every_hint_that_names_a_command_is_tried() {
    let source = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/hint.rs")).unwrap();
    let hints: BTreeSet<_> = literals(&source).into_iter().filter(|text| text.contains('`')).collect();
    let known = TRIED.iter().map(|(hint, _)| *hint).chain(TRIED_AS_PRINTED);
    let known = known.chain(TRIED_ELSEWHERE.map(|(hint, _)| hint)).chain(NOT_TRIED.map(|(hint, _)| hint));
    let known: BTreeSet<_> = known.map(str::to_owned).collect();
    assert!(hints.len() > 10, "the hints are in another file now");
    let untried: Vec<_> = hints.difference(&known).collect();
    assert!(untried.is_empty(), "each of these hints names a command that no test runs: {untried:#?}");
}

#[test]
fn commands_that_hints_name_help() {
    for (hint, scene) in TRIED {
        scene(hint);
    }
}

/// Returns the commands in a text, which are enclosed in backquotes.
fn commands(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn a_file_of_another_format_can_be_imported_as_its_hint_says() {
    for (file, making) in FOREIGN {
        let bed = scene();
        bed.sh(making).exits(0);
        let said = bed.melv(&["import", file, "--name", "x"]).exits(14).stderr();
        let hint = said.lines().find_map(|line| line.strip_prefix("hint: ")).unwrap();
        let commands = commands(hint);
        assert!(!commands.is_empty(), "{file}: {hint}");
        for command in commands {
            let command =
                command.replace("FILE", file).replace("OUT", "out").replace("--name N", "--name got");
            bed.sh(&command).exits(0);
        }
        // The commands made the disk, or a file that can be imported.
        if !bed.store().join("refs/got").exists() {
            let made = ["out.raw", "disk.vmdk"].into_iter().find(|made| bed.path(made).exists());
            bed.melv(&["import", made.unwrap(), "--name", "got"]).exits(0);
        }
        bed.melv(&["export", "got", "back.raw"]).exits(0);
        let (back, new) = (bed.read("back.raw"), later_disk());
        // A format may round the size up.
        assert!(back.starts_with(&new) && back[new.len()..].iter().all(|byte| *byte == 0), "{file}");
    }
}

fn neither_image_nor_file(hint: &str) {
    let bed = scene();
    bed.write("web", &later_disk());
    bed.melv(&["inspect", "nobody"]).exits(13).says(hint);
    assert!(bed.melv(&["ls"]).exits(0).stdout().contains("web:latest"));
    assert!(bed.melv(&["inspect", "./web"]).exits(0).stdout().contains("raw"));
}

fn not_in_the_store(hint: &str) {
    let bed = scene();
    bed.melv(&["export", "nobody", "x"]).exits(13).says(hint);
    assert!(bed.melv(&["ls"]).exits(0).stdout().contains("web:latest"));
}

fn not_in_the_bundle(hint: &str) {
    let bed = larger_scene();
    for bundle in ["web.melv", "both.melv"] {
        bed.melv(&["export", &format!("{bundle}#nobody"), "x"]).exits(13).says(hint);
        assert!(bed.melv(&["inspect", bundle]).exits(0).stdout().contains("web:latest"));
    }
}

fn hurt_bundle(hint: &str) {
    let bed = scene();
    damage(&bed, "web.melv");
    bed.melv(&["export", "web.melv", "x"]).exits(4).says(hint);
    assert!(bed.melv(&["verify", "web.melv", "--full"]).exits(4).stdout().contains("damaged"));
}

fn no_bundle(hint: &str) {
    let bed = scene();
    bed.melv(&["load", "new.raw"]).exits(14).says(hint);
    bed.melv(&["import", "new.raw"]).exits(0);
    bed.melv(&["compare", "new", "new.raw"]).exits(0);
}

fn foreign_output(hint: &str) {
    let bed = scene();
    for (format, name) in [("qcow2", "qcow2"), ("vdi", "vdi"), ("vhdx", "vhdx"), ("vhd", "vpc")] {
        bed.melv(&["export", "web", "out", "--format", format]).exits(14).says(hint);
        let line = format!(r#"melv serve web --run 'qemu-img convert -O {name} "$uri" out'"#);
        bed.sh(&line).exits(0);
        bed.sh(&format!("rm -f back.raw; qemu-img convert -f {name} -O raw out back.raw")).exits(0);
        // The format may round the size up.
        assert!(bed.read("back.raw").starts_with(&disk()), "{format}");
    }
}

fn foreign_input(hint: &str) {
    let bed = scene();
    bed.sh("qemu-img convert -O vdi new.raw new.vdi").exits(0);
    bed.melv(&["import", "new.vdi", "--format", "vdi"]).exits(14).says(hint);
    bed.sh("qemu-img convert -O raw new.vdi out.raw && melv import out.raw --name new").exits(0);
    bed.melv(&["export", "new", "back.raw"]).exits(0);
    assert!(bed.read("back.raw").starts_with(&later_disk()));
}

fn bundle_as_store(hint: &str) {
    let bed = scene();
    bed.melv(&["ls", "--store", "web.melv"]).exits(10).says("web.melv is a file, not a store").says(hint);
    bed.melv(&["inspect", "web.melv"]).exits(0);
    bed.melv(&["export", "web.melv", "out.raw"]).exits(0);
}

fn damaged_store(hint: &str) {
    let bed = scene();
    damage(&bed, &pack(&bed));
    bed.melv(&["export", "web", "x"]).exits(4).says(hint);
    let found = bed.melv(&["verify", "--full"]).exits(4).stdout();
    assert!(found.contains("packs/"), "{found}");
}

fn header_damaged(hint: &str) {
    let bed = scene();
    damage(&bed, "store/melv.store");
    bed.melv(&["ls"]).exits(4).says("store/melv.store is damaged").says(hint);
    bed.melv(&["import", "new.raw", "--store", "other"]).exits(0);
    bed.sh("cp other/melv.store store && melv verify --full && melv compare web disk.raw").exits(0);
}

fn base_missing(hint: &str) {
    let bed = larger_scene();
    bed.melv(&["save", "new", "patch.melv", "--without", "web"]).exits(0);
    bed.melv(&["export", "patch.melv", "x", "--store", "other"]).exits(13).says(hint);
    bed.melv(&["export", "patch.melv", "x"]).exits(0);
    bed.sh("melv load web.melv --store other && melv export patch.melv y --store other && cmp x y").exits(0);
}

fn bundle_is_read_only(hint: &str) {
    let bed = scene();
    bed.melv(&["tag", "web.melv", "x", "--store", "other"]).exits(1).says(hint);
    bed.sh("melv load web.melv --store other && melv tag web x --store other").exits(0);
}

#[test]
fn options_that_hints_name_help() {
    let bed = larger_scene();
    let cases: [(&[&str], i32, &str, &[&str]); 9] = [
        (&["import", "new.raw", "--name", "web"], 1, "--replace takes the name", &["--replace"]),
        (&["tag", "new", "web"], 1, "--replace takes the name", &["--replace"]),
        (&["load", "web.melv"], 1, "--replace takes the name", &["--replace"]),
        (&["export", "web", "disk.raw"], 1, "--force replaces it", &["--force"]),
        (&["save", "web", "web.melv"], 1, "--force replaces it", &["--force"]),
        (&["ls", "--store", "nowhere"], 10, "--store DIR or $MELV_STORE", &["--store", "store"]),
        (&["ls", "--store", "disk.raw"], 10, "--store DIR or $MELV_STORE", &["--store", "store"]),
        (&["import", "disk.raw", "--store", "."], 10, "--store DIR or $MELV_STORE", &["--store", "made"]),
        (&["export", "both.melv", "x"], 2, "add # and a name or @IMAGE-ID", &[]),
    ];
    for (arguments, code, hint, option) in cases {
        bed.melv(arguments).exits(code).says(hint);
        let again: Vec<_> = match option {
            ["--store", _] => [&arguments[..arguments.len() - 2], option].concat(),
            _ => [arguments, option].concat(),
        };
        if !option.is_empty() {
            bed.melv(&again).exits(0);
        }
    }
    bed.melv(&["export", "both.melv#new", "x"]).exits(0);
    let lock = std::fs::File::options().write(true).open(bed.store().join("lock")).unwrap();
    lock.lock().unwrap();
    bed.melv(&["tag", "web", "late", "--wait", "0"]).exits(11).says("--wait SECONDS waits longer");
    let late = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        lock.unlock().unwrap();
    });
    bed.melv(&["tag", "web", "late", "--wait", "20"]).exits(0);
    late.join().unwrap();
}

/// Unmounts the leftovers of a failed scene.
struct Mounted<'a>(&'a Bed);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = self.0.command("umount").args(["-l", "mnt"]).stderr(Stdio::null()).status();
    }
}

#[track_caller]
fn mount(bed: &Bed) -> Ran {
    bed.melv(&["mount", "mnt", "--json"]).exits(0)
}

fn no_folder(hint: &str) {
    let bed = scene();
    if !bed.can_mount() {
        return;
    }
    let _end = Mounted(&bed);
    bed.melv(&["mount", "mnt"]).exits(13).says(hint);
    bed.sh("mkdir mnt && melv mount mnt && melv umount mnt").exits(0);
}

fn mounted_twice(hint: &str) {
    let bed = larger_scene();
    if !bed.can_mount() {
        return;
    }
    let _end = Mounted(&bed);
    mount(&bed);
    bed.melv(&["mount", "mnt"]).exits(1).says(hint);
    bed.sh("melv umount mnt && melv mount mnt web && melv umount mnt").exits(0);
}

fn dead_mount(hint: &str) {
    let bed = larger_scene();
    if !bed.can_mount() {
        return;
    }
    let _end = Mounted(&bed);
    let process = mount(&bed).json()["pid"].as_i64().unwrap();
    kill_process(Pid::from_raw(process as i32).unwrap(), Signal::KILL).unwrap();
    while bed.path("mnt/web").exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    bed.melv(&["mount", "mnt"]).exits(1).says(hint);
    bed.sh("melv umount mnt && melv mount mnt && melv umount mnt").exits(0);
}

fn not_mounted(hint: &str) {
    let bed = larger_scene();
    if !bed.can_mount() {
        return;
    }
    let _end = Mounted(&bed);
    std::fs::create_dir(bed.path("other")).unwrap();
    mount(&bed);
    bed.melv(&["umount", "other"]).exits(1).says(hint);
    let listed = bed.sh("findmnt -t fuse.melv").exits(0).stdout();
    assert!(listed.contains(bed.path("mnt").canonicalize().unwrap().to_str().unwrap()), "{listed}");
    bed.melv(&["umount", "mnt"]).exits(0);
}

fn busy_mount(hint: &str) {
    let bed = larger_scene();
    if !bed.can_mount() {
        return;
    }
    let _end = Mounted(&bed);
    mount(&bed);
    let mut program = bed.command("sleep").arg("60").current_dir(bed.path("mnt")).spawn().unwrap();
    let refused = bed.melv(&["umount", "mnt"]);
    let number = program.id().to_string();
    let listed = bed.sh("fuser -vm mnt");
    let devices = bed.sh("losetup");
    program.kill().unwrap();
    program.wait().unwrap();
    refused.exits(1).says(hint);
    devices.exits(0);
    let text = listed.stdout() + &listed.stderr();
    assert!(text.contains(&number), "{text}");
    bed.melv(&["umount", "mnt"]).exits(0);
}
