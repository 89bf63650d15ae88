//! The programs that building a kernel needs, and their versions.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::error::{TailoredError, Tool};

/// Programs beside those that every system has.
const PROGRAMS: [&str; 7] = ["make", "gcc", "ld", "flex", "bison", "bc", "awk"];
/// Longest text of a version that is read.
const MAX_VERSION: u64 = 64 << 10;
/// Folders of programs where the environment tells none.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The programs of this machine.
#[derive(Debug, Clone)]
pub(super) struct Tools {
    path: OsString,
    /// The makefile's program.
    pub(super) make: PathBuf,
    /// Versions of the programs that decide about the kernel's bytes: compiler, binutils, packer.
    pub(super) versions: Vec<String>,
}

impl Tools {
    /// Finds the programs in the folders of `PATH`.
    ///
    /// # Errors
    ///
    /// The first that is not there.
    pub(super) fn find(compressor: &'static str) -> Result<Self, TailoredError> {
        Self::find_in(env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into()), compressor)
    }

    pub(super) fn find_in(path: OsString, compressor: &'static str) -> Result<Self, TailoredError> {
        let program = |name| program(&path, name).ok_or(TailoredError::MissingTool(Tool::Program(name)));
        for name in PROGRAMS {
            program(name)?;
        }
        let compressor = program(compressor)?;
        let tools = Self { make: program("make")?, versions: Vec::new(), path: path.clone() };
        let gcc = program("gcc")?;
        if !tools.has_libelf(&gcc)? {
            return Err(TailoredError::MissingTool(Tool::LibelfHeaders));
        }
        let of = |program: &Path| tools.version(program);
        let versions = vec![of(&gcc)?, of(&program("ld")?)?, of(&compressor)?];
        Ok(Self { versions, ..tools })
    }

    /// Returns a command in a clean environment.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", &self.path).env("LC_ALL", "C").env("TZ", "UTC");
        command
    }

    /// Tells whether the compiler finds the header of libelf, which programs of the build include.
    fn has_libelf(&self, gcc: &Path) -> Result<bool, TailoredError> {
        let run = |source| TailoredError::Run { program: gcc.into(), source };
        let mut command = self.command(gcc);
        command
            .args(["-xc", "-fsyntax-only", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.spawn().map_err(run)?;
        if let Some(mut input) = child.stdin.take() {
            // A compiler that does not read tells so by its code.
            let _ = input.write_all(b"#include <gelf.h>\n");
        }
        Ok(child.wait().map_err(run)?.success())
    }

    /// Returns the first line that tells the version of a program.
    fn version(&self, program: &Path) -> Result<String, TailoredError> {
        let run = |source| TailoredError::Run { program: program.into(), source };
        let mut command = self.command(program);
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(run)?;
        let mut text = Vec::new();
        if let Some(output) = child.stdout.take() {
            output.take(MAX_VERSION).read_to_end(&mut text).map_err(run)?;
        }
        let status = child.wait().map_err(run)?;
        let line = String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned();
        if status.success() && !line.is_empty() {
            Ok(line)
        } else {
            Err(run(io::ErrorKind::InvalidData.into()))
        }
    }
}

fn program(path: &OsString, name: &str) -> Option<PathBuf> {
    let is_program = |path: &Path| {
        fs::metadata(path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
    };
    // A relative folder would be another one in the folder of the build.
    let folders = env::split_paths(path).filter(|folder| folder.is_absolute());
    folders.map(|folder| folder.join(name)).find(|place| is_program(place))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// Makes a folder of programs that do nothing, all but `missing`.
    pub(in crate::kernel::tailored) fn folder(missing: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in PROGRAMS.iter().chain(&["xz", "zstd"]).filter(|name| **name != missing) {
            let text = format!("#!/bin/sh\necho {name} 1.0\n");
            script(folder.path(), name, &text);
        }
        for name in ["sh", "sleep", "mkdir", "cp", "cat", "printf", "touch", "kill"] {
            let place = ["/bin", "/usr/bin"].map(|folder| Path::new(folder).join(name));
            if let Some(place) = place.iter().find(|place| place.exists()) {
                symlink(place, folder.path().join(name)).unwrap();
            }
        }
        folder
    }

    /// Writes a program. Another thread that starts one may hold it open for writing a moment longer, so that it is
    /// written under another name first.
    pub(in crate::kernel::tailored) fn script(folder: &Path, name: &str, text: &str) {
        let place = folder.join(name);
        let _ = fs::remove_file(&place);
        let status = Command::new("/bin/sh")
            .args(["-c", "printf %s \"$1\" >\"$2\" && chmod 755 \"$2\"", "sh", text])
            .arg(&place)
            .status();
        assert!(status.unwrap().success());
    }

    #[test]
    fn versions_of_what_decides_about_bytes_are_told() {
        let folder = folder("");
        let tools = Tools::find_in(folder.path().into(), "xz").unwrap();
        assert_eq!(tools.versions, ["gcc 1.0", "ld 1.0", "xz 1.0"]);
        assert_eq!(tools.make, folder.path().join("make"));
    }

    #[test]
    fn a_missing_program_is_named() {
        for name in PROGRAMS.into_iter().chain(["xz"]) {
            let fault = Tools::find_in(folder(name).path().into(), "xz").unwrap_err();
            assert!(
                matches!(fault, TailoredError::MissingTool(Tool::Program(found)) if found == name),
                "{fault}"
            );
            assert_eq!(
                fault.to_string(),
                format!("the program {name} is not there, and building a kernel needs it")
            );
        }
    }

    #[test]
    fn missing_headers_are_named() {
        let folder = folder("");
        script(folder.path(), "gcc", "#!/bin/sh\n[ \"$1\" = --version ] && echo gcc 1.0 || exit 1\n");
        let fault = Tools::find_in(folder.path().into(), "xz").unwrap_err();
        assert!(matches!(fault, TailoredError::MissingTool(Tool::LibelfHeaders)), "{fault}");
    }

    #[test]
    fn relative_folders_of_programs_do_not_count() {
        assert_eq!(program(&"bin:.:".into(), "sh"), None);
    }

    #[test]
    #[ignore = "needs what builds a kernel: make check-appliances"]
    fn the_compiler_of_this_machine_has_what_a_build_needs() {
        let tools = Tools::find("xz").unwrap();
        assert!(
            tools.versions[0].contains("gcc") || tools.versions[0].contains("cc"),
            "{:?}",
            tools.versions
        );
    }
}
