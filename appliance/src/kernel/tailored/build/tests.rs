//! Builds by a `make` that plays Linux's.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
};

use super::*;
use crate::kernel::tailored::{
    error::Tool,
    testing::{Tar, package, xz},
    tools::tests::{folder, script},
};

const KCONFIG: &str =
    "config NUMA\n\tbool \"NUMA\"\n\tdepends on ACPI_NUMA\nconfig ACPI_NUMA\n\tbool \"x\"\n";
/// Takes all lines as they are, and compiles in three steps.
const GOOD: &str = "#!/bin/sh
echo \"$1 $KBUILD_BUILD_USER $KBUILD_BUILD_HOST $KBUILD_BUILD_VERSION $LC_ALL $LEAKED\" >>\"$TMPDIR/../../calls\"
case \"$1\" in
tinyconfig) printf '# CONFIG_EPOLL is not set\\nCONFIG_TINY=y\\n' >.config ;;
olddefconfig) ;;
*) echo a; echo b; echo c; printf elf >vmlinux; mkdir -p arch/x86/boot; cp image arch/x86/boot/bzImage ;;
esac
";

/// Returns the least that is a bzImage.
fn image() -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    bytes[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    bytes[0x202..0x206].copy_from_slice(b"HdrS");
    bytes[0x206] = 0x0f;
    bytes[0x207] = 2;
    bytes
}

struct World {
    programs: tempfile::TempDir,
    folder: tempfile::TempDir,
    sha256: Sha256,
}

impl World {
    fn new(make: &str) -> Self {
        let programs = folder("");
        script(programs.path(), "make", make);
        let folder = tempfile::tempdir().unwrap();
        let tar = Tar::default()
            .file("l/Makefile", "VERSION = 6\nPATCHLEVEL = 1\n")
            .file("l/Kconfig", KCONFIG)
            .add(b'0', "l/image", "", &image());
        let package = package(&xz(&tar.bytes()));
        fs::write(folder.path().join("source.deb"), &package).unwrap();
        fs::create_dir(folder.path().join("temporary")).unwrap();
        Self { programs, folder, sha256: Sha256::of(&package) }
    }

    fn build(
        &self,
        lines: &[&str],
        watch: &dyn Fn(Progress) -> bool,
    ) -> Result<TailoredKernel, TailoredError> {
        let [source, temporary, cache] =
            ["source.deb", "temporary", "cache"].map(|name| self.folder.path().join(name));
        let request = Request {
            source: &source,
            sha256: self.sha256,
            profile: Profile::Micro,
            config: &[],
            insecure: false,
            temporary: &temporary,
            cache: &cache,
        };
        let tools = Tools::find_in(self.programs.path().into(), "xz")?;
        let declared: Vec<Setting> = lines.iter().map(|line| Setting::parse(line).unwrap()).collect();
        build_with(&request, &declared, &tools, watch)
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.folder.path().join("temporary/calls")).unwrap_or_default()
    }

    /// Tells whether nothing of a build is left but the calls.
    fn is_clean(&self) -> bool {
        let names = fs::read_dir(self.folder.path().join("temporary")).unwrap();
        names.map(|entry| entry.unwrap().file_name()).all(|name| name == "calls")
    }

    fn kernels(&self) -> usize {
        let entries = fs::read_dir(self.folder.path().join("cache/kernels")).unwrap().flatten();
        entries.filter(|entry| entry.path().is_dir()).count()
    }
}

#[test]
fn a_kernel_is_built_once_and_then_taken_from_the_cache() {
    let world = World::new(GOOD);
    let steps = AtomicU64::new(0);
    let watch = |progress| {
        if let Progress::Compile { done, .. } = progress {
            steps.fetch_max(done, Relaxed);
        }
        true
    };
    let first = world.build(&["CONFIG_FOO=y"], &watch).unwrap();
    assert!(!first.from_cache && first.image.len() == 4096);
    assert!(first.config.ends_with("CONFIG_FOO=y\n") && first.config.contains("CONFIG_TINY=y\n"));
    assert_eq!(steps.load(Relaxed), 3);
    let jobs = thread::available_parallelism().unwrap();
    let calls = format!("tinyconfig melv melv 1 C \nolddefconfig melv melv 1 C \n-j{jobs} melv melv 1 C \n");
    assert_eq!(world.calls(), calls);
    assert!(world.is_clean());
    let second = world.build(&["CONFIG_FOO=y"], &watch).unwrap();
    assert!(second.from_cache && second.image == first.image && second.config == first.config);
    assert_eq!(world.calls(), calls);
    assert!(!world.build(&["CONFIG_FOO=n"], &watch).unwrap().from_cache);
    assert_eq!(world.kernels(), 2);
}

#[test]
fn two_builders_at_once_build_once() {
    let world = World::new(&GOOD.replace("echo a;", "echo a; sleep 0.5;"));
    let built = thread::scope(|scope| {
        let builders = [(); 3].map(|()| scope.spawn(|| world.build(&[], &|_| true).unwrap().from_cache));
        builders.map(|builder| builder.join().unwrap())
    });
    assert_eq!(built.iter().filter(|from_cache| !**from_cache).count(), 1);
    assert_eq!(world.calls().matches("tinyconfig").count(), 1);
}

#[test]
fn a_line_that_vanishes_is_named_with_its_need() {
    let dropping = GOOD.replace("olddefconfig) ;;", "olddefconfig) printf 'CONFIG_TINY=y\\n' >.config ;;");
    let world = World::new(&dropping);
    let fault = world.build(&["CONFIG_NUMA=y"], &|_| true).unwrap_err();
    let TailoredError::Fallen(fallen) = &fault else { panic!("{fault}") };
    let last = fallen.last().unwrap();
    assert_eq!(last.to_string(), "CONFIG_NUMA=y is not set; it needs ACPI_NUMA");
    assert!(fallen.iter().any(|line| line.fragment == Some("common") && line.line == "CONFIG_EROFS_FS=y"));
    assert!(!world.calls().contains("-j"));
    assert_eq!(world.kernels(), 0);
}

#[test]
fn a_make_that_fails_is_told_by_its_last_words() {
    let world = World::new(&GOOD.replace("echo a;", "echo 'fs/x.c:1: error: no' >&2; exit 2;"));
    let fault = world.build(&[], &|_| true).unwrap_err();
    let jobs = thread::available_parallelism().unwrap();
    assert_eq!(fault.to_string(), format!("make -j{jobs} bzImage failed with code 2:\nfs/x.c:1: error: no"));
    assert!(world.is_clean());
    assert_eq!(world.kernels(), 0);
}

#[test]
fn a_make_that_is_killed_is_told() {
    let world = World::new(&GOOD.replace("tinyconfig)", "tinyconfig) kill -9 $$;"));
    let fault = world.build(&[], &|_| true).unwrap_err();
    assert_eq!(fault.to_string(), "make tinyconfig was ended by a signal");
}

#[test]
fn a_make_that_hangs_ends_with_the_callers_patience() {
    let world = World::new(&GOOD.replace("echo a;", "echo a; sleep 100;"));
    let start = Instant::now();
    let fault =
        world.build(&[], &|progress| !matches!(progress, Progress::Compile { done: 1, .. })).unwrap_err();
    assert!(matches!(fault, TailoredError::Interrupted), "{fault}");
    assert!(start.elapsed() < Duration::from_secs(20) && world.is_clean());
}

#[test]
fn a_make_that_builds_nothing_is_no_kernel() {
    let world = World::new(&GOOD.replace("cp image", "true"));
    let fault = world.build(&[], &|_| true).unwrap_err();
    assert!(matches!(fault, TailoredError::Kernel(_)), "{fault}");
}

#[test]
fn a_kernel_with_the_path_of_its_folder_is_refused() {
    let world = World::new(&GOOD.replace("printf elf", "printf %s \"$PWD/fs/x.c\""));
    let fault = world.build(&[], &|_| true).unwrap_err();
    assert!(matches!(fault, TailoredError::PathInKernel(_)), "{fault}");
}

#[test]
fn another_source_never_runs() {
    let mut world = World::new(GOOD);
    world.sha256 = Sha256::of(b"another");
    let fault = world.build(&[], &|_| true).unwrap_err();
    assert!(matches!(fault, TailoredError::Digest { .. }), "{fault}");
    assert_eq!(world.calls(), "");
}

#[test]
fn a_missing_program_is_named_before_anything_is_unpacked() {
    let world = World::new(GOOD);
    fs::remove_file(world.programs.path().join("flex")).unwrap();
    let fault = world.build(&[], &|_| panic!("no step")).unwrap_err();
    assert!(matches!(fault, TailoredError::MissingTool(Tool::Program("flex"))), "{fault}");
}

#[test]
fn folders_that_linux_cannot_be_built_in_are_refused() {
    for name in ["a b", "a:b", "größe", "a$b"] {
        let world = World::new(GOOD);
        let temporary = world.folder.path().join("temporary").join(name);
        fs::create_dir(&temporary).unwrap();
        let tools = Tools::find_in(world.programs.path().into(), "xz").unwrap();
        let fault = Build::new(&temporary, &tools, &|_| true).err().unwrap();
        assert!(matches!(fault, TailoredError::WorkFolder(_)), "{name}: {fault}");
    }
}

#[test]
fn failures_of_a_full_file_system_are_told_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let full = || io::Error::from(io::ErrorKind::StorageFull);
    let path = folder.path().to_owned();
    let write = SourceError::Write { path: path.clone(), source: full() };
    for error in [
        TailoredError::Io { path: path.clone(), source: full() },
        TailoredError::Source { path: path.clone(), source: write.into() },
    ] {
        assert!(matches!(explained(&path, error), TailoredError::NoSpace { .. }));
    }
    let other = TailoredError::Io { path: path.clone(), source: io::ErrorKind::PermissionDenied.into() };
    assert!(matches!(explained(&path, other), TailoredError::Io { .. }));
}

#[test]
fn lines_that_are_none_are_refused_first() {
    let config = ["CONFIG_LOCALVERSION=\"$(shell id)\"".to_owned()];
    let nowhere = Path::new("/nowhere");
    let request = Request {
        source: nowhere,
        sha256: Sha256::of(b""),
        profile: Profile::Portable,
        config: &config,
        insecure: false,
        temporary: nowhere,
        cache: nowhere,
    };
    assert!(matches!(build(&request, &|_| true), Err(TailoredError::Line(_))));
}
