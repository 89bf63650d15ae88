//! Modules, initrd and bzImage of Debian's cloud kernels. Oracles: `cpio`, `modinfo` of kmod, `xz`, `lz4`, `zstd`.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use melv_appliance::{
    kernel::{
        bzimage::{BzImage, BzImageFault},
        initrd::{archive, initrd},
        module_info,
        modules::{LoadOrder, Modules, ModulesError, OPTIONAL, REQUIRED},
    },
    tree::{Content, Kind, Tree},
};
use support::{Loaded, Random, fetch, inode, insert};

fn package(suite: &str) -> PathBuf {
    let folders = fetch(suite, "kernel", &["linux-image-cloud-amd64"]);
    folders.into_iter().find(|folder| folder.to_string_lossy().contains("linux-image-6")).unwrap()
}

fn order(suite: &str) -> (LoadOrder, String) {
    let loaded = Loaded::of(&[package(suite)]);
    let modules = Modules::of(&loaded.tree, &loaded.spool).unwrap();
    let order = modules.load_order(&loaded.tree, &loaded.spool, &REQUIRED, &OPTIONAL).unwrap();
    (order, modules.release().to_owned())
}

fn names(order: &LoadOrder) -> Vec<&str> {
    order.modules.iter().map(|module| module.name.as_str()).collect()
}

fn pipe(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child =
        Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}");
    output.stdout
}

#[test]
#[ignore = "needs packages of Debian: make check-appliances"]
fn every_module_comes_after_those_that_it_needs() {
    for suite in ["bookworm", "trixie"] {
        let (order, release) = order(suite);
        let names = names(&order);
        eprintln!("{release}: {} modules {names:?}; absent {:?}", names.len(), order.absent);
        for (index, module) in order.modules.iter().enumerate() {
            let info = module_info(&module.bytes).unwrap();
            for need in &info.depends {
                let at = names.iter().position(|name| name == need);
                assert!(at.is_none_or(|at| at < index), "{need} comes after {}", module.name);
            }
            assert!(!names[..index].contains(&module.name.as_str()));
        }
        let place = |name: &str| names.iter().position(|other| *other == name).unwrap();
        assert!(place("libcrc32c") < place("erofs") && place("scsi_mod") < place("vmw_pvscsi"));
        assert!(place("net_failover") < place("virtio_net"));
    }
}

#[test]
#[ignore = "needs packages of Debian: make check-appliances"]
fn facts_of_modules_are_those_that_kmod_reads() {
    let (order, _) = order("bookworm");
    for module in order.modules {
        let file = tempfile::Builder::new().suffix(".ko").tempfile().unwrap();
        fs::write(file.path(), &module.bytes).unwrap();
        let field = |name: &str| {
            let output =
                Command::new("/usr/sbin/modinfo").args(["-F", name]).arg(file.path()).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let info = module_info(&module.bytes).unwrap();
        assert_eq!(info.depends.join(","), field("depends").trim().replace('-', "_"), "{}", module.name);
        assert_eq!(info.vermagic.as_deref(), Some(field("vermagic").trim_end_matches('\n')));
        assert_eq!(info.aliases, field("alias").lines().collect::<Vec<_>>());
    }
}

#[test]
#[ignore = "needs packages of Debian: make check-appliances"]
fn an_initrd_is_the_same_each_time_and_cpio_reads_it() {
    let (order, _) = order("bookworm");
    let init = b"\x7fELF init";
    let packed = initrd(init, &order.modules).unwrap();
    assert_eq!(packed, initrd(init, &order.modules).unwrap());
    let plain = archive(init, &order.modules).unwrap();
    eprintln!("initrd: {} modules, {} bytes, {} packed", order.modules.len(), plain.len(), packed.len());
    assert_eq!(pipe("zstd", &["-dc"], &packed), plain);
    let folder = tempfile::tempdir().unwrap();
    let script = format!("cd {} && cpio -id --quiet", folder.path().display());
    pipe("sh", &["-c", &script], &plain);
    assert_eq!(fs::read(folder.path().join("init")).unwrap(), init);
    let lines = fs::read_to_string(folder.path().join("modules/order")).unwrap();
    assert_eq!(lines.lines().count(), order.modules.len());
    for (line, module) in lines.lines().zip(&order.modules) {
        assert_eq!(fs::read(folder.path().join("modules").join(line)).unwrap(), module.bytes);
    }
}

#[test]
#[ignore = "needs packages of Debian: make check-appliances"]
fn a_module_that_is_not_there_is_named() {
    let loaded = Loaded::of(&[package("bookworm")]);
    let modules = Modules::of(&loaded.tree, &loaded.spool).unwrap();
    let order = |names: &[&str]| modules.load_order(&loaded.tree, &loaded.spool, names, &[]);
    assert_eq!(
        order(&["amdgpu"]).unwrap_err().to_string(),
        format!("the kernel {} has no module amdgpu", modules.release())
    );
    assert!(order(&["ext4", "atkbd"]).unwrap().modules.is_empty(), "built in");
}

/// A module with the texts of its section, as an ELF file.
fn module(texts: &[u8]) -> Vec<u8> {
    let names = b"\0.modinfo\0.shstrtab\0";
    let mut bytes = vec![0; 64];
    bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    bytes[16..20].copy_from_slice(&[1, 0, 62, 0]);
    bytes[20] = 1;
    let texts_at = bytes.len() as u64;
    bytes.extend_from_slice(texts);
    let names_at = bytes.len() as u64;
    bytes.extend_from_slice(names);
    let sections = bytes.len() as u64;
    let section = |name: u32, kind: u32, at: u64, len: usize| {
        let mut header = vec![0; 64];
        header[..4].copy_from_slice(&name.to_le_bytes());
        header[4..8].copy_from_slice(&kind.to_le_bytes());
        header[24..32].copy_from_slice(&at.to_le_bytes());
        header[32..40].copy_from_slice(&(len as u64).to_le_bytes());
        header
    };
    bytes.extend(vec![0; 64]);
    bytes.extend(section(1, 1, texts_at, texts.len()));
    bytes.extend(section(10, 3, names_at, names.len()));
    bytes[40..48].copy_from_slice(&sections.to_le_bytes());
    bytes[52] = 64;
    bytes[58] = 64;
    bytes[60] = 3;
    bytes[62] = 2;
    bytes
}

fn tree(modules: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::new();
    for (name, texts) in modules {
        let texts = format!("vermagic=6.1 SMP\0{texts}\0");
        let content = Content::Bytes(module(texts.as_bytes()));
        insert(
            &mut tree,
            &format!("/usr/lib/modules/6.1/kernel/{name}.ko"),
            inode(Kind::File(content), 0o644),
        );
    }
    tree
}

fn small(modules: &[(&str, &str)], wanted: &[&str]) -> Result<Vec<String>, ModulesError> {
    let tree = tree(modules);
    let spool = &support::Spool::default() as &dyn melv_appliance::contents::Contents;
    let found = Modules::of(&tree, spool)?;
    let order = found.load_order(&tree, spool, wanted, &[])?;
    Ok(order.modules.into_iter().map(|module| module.name).collect())
}

#[test]
fn needs_come_first_soft_ones_where_they_are_there_and_circles_are_refused() {
    let all = [
        ("a", "depends=b,c-d"),
        ("b", "depends=c_d"),
        ("c-d", "softdep=pre: x named post: y"),
        ("y", ""),
        ("z", "alias=named"),
    ];
    assert_eq!(small(&all, &["a"]).unwrap(), ["z", "c_d", "y", "b", "a"]);
    let circle = small(&[("a", "depends=b"), ("b", "depends=a")], &["a"]);
    assert!(matches!(circle, Err(ModulesError::Circle(_))));
    let missing = small(&[("a", "depends=b")], &["a"]).unwrap_err();
    assert_eq!(missing.to_string(), "the kernel 6.1 has no module b, which a needs");
    let other = small(&[("a", "vermagic=5.0 SMP")], &["a"]);
    assert!(matches!(other, Err(ModulesError::OtherKernel { .. })));
    assert!(matches!(small(&[], &["a"]), Err(ModulesError::NoKernel)));
    // A chain as long as an archive has room for files is no recursion.
    let texts: Vec<(String, String)> =
        (0..20_000).map(|at| (format!("m{at}"), format!("depends=m{}", at + 1))).collect();
    let mut chain: Vec<(&str, &str)> =
        texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    chain.push(("m20000", ""));
    assert_eq!(small(&chain, &["m0"]).unwrap().len(), 20_001);
}

#[test]
#[ignore = "needs packages of Debian: make check-appliances"]
fn kernels_of_debian_unpack_to_their_elf_files() {
    for (suite, release) in [("bookworm", "6.1."), ("trixie", "6.12.")] {
        let boot = package(suite).join("data/boot");
        let file = fs::read_dir(boot)
            .unwrap()
            .map(|e| e.unwrap().path())
            .find(|p| p.to_string_lossy().contains("vmlinuz"));
        let bytes = fs::read(file.unwrap()).unwrap();
        let kernel = BzImage::parse(&bytes).unwrap();
        assert!(kernel.release().starts_with(release) && kernel.release().ends_with("cloud-amd64"));
        assert_eq!(kernel.protocol, 0x20f);
        let vmlinux = kernel.vmlinux().unwrap();
        eprintln!("{}: {} -> {} bytes", kernel.version, bytes.len(), vmlinux.len());
        assert!(vmlinux.len() > 30 << 20 && (vmlinux.len() as u64) < u64::from(kernel.init_size));
        // A text of the kernel proper, so that the whole of it was unpacked.
        assert!(vmlinux.windows(14).any(|part| part == b"Linux version "));
    }
}

fn bzimage(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 1024];
    bytes[0x1f1] = 1;
    bytes[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    bytes[0x202..0x206].copy_from_slice(b"HdrS");
    bytes[0x206..0x208].copy_from_slice(&[0x0f, 2]);
    bytes[0x20e] = 0xa0;
    bytes[0x20f] = 0;
    bytes[0x2a0..0x2a8].copy_from_slice(b"6.1.0 x\0");
    bytes[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Payloads as the kernel's build makes them: compressed by the program, the size behind.
fn payloads() -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let mut elf = b"\x7fELF".to_vec();
    elf.extend((0..3000_u32).flat_map(|at| (at * at / 7).to_le_bytes()));
    let sized = |mut packed: Vec<u8>| {
        packed.extend_from_slice(&(elf.len() as u32).to_le_bytes());
        packed
    };
    vec![
        ("xz", sized(pipe("xz", &["--check=crc32", "--x86", "--lzma2=dict=32MiB", "-c"], &elf)), elf.clone()),
        ("zstd", sized(pipe("zstd", &["--ultra", "-22", "-c"], &elf)), elf.clone()),
        ("lz4", sized(pipe("lz4", &["-l", "-9", "-c"], &elf)), elf.clone()),
        ("none", elf.clone(), elf),
    ]
}

#[test]
#[ignore = "needs zstd, xz, lz4 and cpio: make check-appliances"]
fn each_compression_of_the_kernels_build_is_read_and_others_are_refused_by_name() {
    for (name, payload, elf) in payloads() {
        assert_eq!(BzImage::parse(&bzimage(&payload)).unwrap().vmlinux().unwrap(), elf, "{name}");
    }
    for (start, name) in [
        (&b"\x1f\x8b\x08\0\0\0"[..], "gzip"),
        (b"BZh91AY", "bzip2"),
        (b"\x5d\0\0\x80\0", "LZMA"),
        (b"\x89LZO\0", "LZO"),
    ] {
        let error = BzImage::parse(&bzimage(start)).unwrap().vmlinux().unwrap_err();
        assert!(error.to_string().contains(&format!("{name} is not supported")), "{error}");
    }
    let mut wrong = payloads().remove(1).1;
    *wrong.last_mut().unwrap() ^= 1;
    assert!(matches!(BzImage::parse(&bzimage(&wrong)).unwrap().vmlinux(), Err(BzImageFault::Size { .. })));
}

#[test]
#[ignore = "needs zstd, xz, lz4 and cpio: make check-appliances"]
fn a_bomb_stops_at_the_limit() {
    let zeros = pipe("sh", &["-c", "(printf '\\177ELF'; head -c 300000000 /dev/zero) | zstd -q -c"], &[]);
    let error = BzImage::parse(&bzimage(&zeros)).unwrap().vmlinux().unwrap_err();
    assert!(error.to_string().contains("more than 268435456 bytes"), "{error}");
}

/// Body of a fuzz target: any bytes are a value or a fault.
fn any_bzimage(bytes: &[u8]) {
    if let Ok(kernel) = BzImage::parse(bytes) {
        let _ = (kernel.release(), kernel.vmlinux());
    }
}

#[test]
#[ignore = "needs zstd, xz, lz4 and cpio: make check-appliances"]
fn damaged_kernels_are_a_value_or_a_fault() {
    let mut random = Random(0x6b65_726e);
    let whole: Vec<Vec<u8>> = payloads().iter().map(|(_, payload, _)| bzimage(payload)).collect();
    for round in 0..100_000 {
        let mut bytes = whole[round % whole.len()].clone();
        random.mutate(&mut bytes, 1400);
        any_bzimage(&bytes);
    }
}

#[test]
fn damaged_modules_are_a_value_or_a_fault() {
    let mut random = Random(0x6d6f_6475);
    let whole = module(b"depends=a,b\0softdep=pre: c post: d\0alias=x\0vermagic=6.1 SMP\0name=y\0");
    assert_eq!(module_info(&whole).unwrap().depends, ["a", "b"]);
    for _ in 0..100_000 {
        let mut bytes = whole.clone();
        let all = bytes.len();
        random.mutate(&mut bytes, all);
        let _ = module_info(&bytes);
    }
}

/// Boots a kernel with the initrd and a shell beside it, which loads the modules in order.
fn boot(suite: &str) -> String {
    let (order, _) = order(suite);
    let busybox = fetch("bookworm", "busybox", &["busybox-static"])[0].join("data/bin/busybox");
    let init = b"#!/busybox sh\n/busybox mkdir /proc\n/busybox mount -t proc proc /proc\n\
        while read m; do /busybox insmod /modules/$m || echo refused $m; done < /modules/order\n\
        while read m rest; do echo loaded $m; done < /proc/modules\n/busybox cat /proc/filesystems\n\
        echo finished\n/busybox poweroff -f\n";
    let folder = tempfile::tempdir().unwrap();
    let shell = folder.path().join("shell");
    fs::create_dir(&shell).unwrap();
    fs::copy(busybox, shell.join("busybox")).unwrap();
    let script = format!("cd {} && echo busybox | cpio -o -H newc --quiet", shell.display());
    // The kernel reads archives one after the other, each compressed or not.
    let mut archives = pipe("sh", &["-c", &script], &[]);
    archives.extend(initrd(init, &order.modules).unwrap());
    let path = folder.path().join("initrd");
    fs::write(&path, archives).unwrap();
    let files = fs::read_dir(package(suite).join("data/boot")).unwrap().map(|e| e.unwrap().path());
    let kernel = files.into_iter().find(|p| p.to_string_lossy().contains("vmlinuz")).unwrap();
    let mut qemu = Command::new("timeout");
    qemu.args([
        "300",
        "qemu-system-x86_64",
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-machine",
        "pc",
    ]);
    qemu.args(["-cpu", "max", "-m", "512", "-no-reboot", "-serial", "stdio", "-device", "virtio-rng-pci"]);
    qemu.args(["-device", "pvscsi", "-device", "virtio-balloon-pci", "-net", "none"]);
    // Under load an emulated timer is late, and the kernel takes it for broken unless told not to try.
    qemu.args(["-append", "console=ttyS0 quiet panic=-1 no_timer_check", "-kernel"])
        .arg(kernel)
        .arg("-initrd")
        .arg(path);
    let output = qemu.stdin(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
#[ignore = "needs packages of Debian: make check-appliances"]
fn kernels_of_debian_load_the_modules_in_this_order() {
    for suite in ["bookworm", "trixie"] {
        let console = boot(suite);
        let (order, _) = order(suite);
        assert!(console.contains("finished"), "{suite}: {console}");
        for module in &order.modules {
            // The balloon of VMware refuses every other hypervisor, the CPU's instructions a CPU without them.
            let may_refuse =
                ["vmw_balloon", "vmw_vmci", "crc32c_intel", "crc32_pclmul"].contains(&module.name.as_str());
            let loaded = console.lines().any(|line| line.trim() == format!("loaded {}", module.name));
            assert!(loaded || may_refuse, "{suite}: {} is not loaded: {console}", module.name);
        }
        for name in ["erofs", "overlay"] {
            assert!(
                console.lines().any(|line| line.trim().ends_with(name) && line.starts_with(['n', '\t'])),
                "{console}"
            );
        }
    }
}
