//! Modules of the kernel.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use crate::{report::Report, sys};

/// Folder of the modules in the initrd.
pub const FOLDER: &str = "/modules";
/// Word before modules that find further disks.
const LATE: &str = "late ";

/// A module that was opened and not loaded.
#[derive(Debug)]
struct Module {
    name: String,
    file: File,
    parameters: String,
}

/// Modules in the order of loading.
#[derive(Debug, Default)]
pub struct Modules(Vec<Module>);

impl Modules {
    /// Opens the modules that `/modules/order` names: those for every machine, and those for further disks.
    ///
    /// A line is a file's name, then parameters after a space. `late ` before it says that the module finds disks
    /// of other kinds: it is loaded only where the root was not found without it, or where data disks are wanted.
    /// A controller without disks takes most of a second until its driver is sure of that.
    pub fn open(tell: &mut dyn FnMut(Report)) -> io::Result<(Self, Self)> {
        let order = fs::read_to_string(Path::new(FOLDER).join("order"))?;
        let (mut early, mut late) = (Self::default(), Self::default());
        for line in order.lines().filter(|line| !line.is_empty()) {
            let (modules, line) = match line.strip_prefix(LATE) {
                Some(rest) => (&mut late, rest),
                None => (&mut early, line),
            };
            let (name, parameters) = line.split_once(' ').unwrap_or((line, ""));
            match File::open(Path::new(FOLDER).join(name)) {
                Ok(file) => modules.0.push(Module { name: name.into(), file, parameters: parameters.into() }),
                Err(error) => tell(Report::Note(format!("module {name}: {error}"))),
            }
        }
        Ok((early, late))
    }

    /// Loads the modules.
    ///
    /// A module that fails is told and left out: the machine at hand may have no use for it, and a driver that is
    /// needed is missed when the root does not come.
    pub fn load(self, tell: &mut dyn FnMut(Report)) {
        const EEXIST: i32 = 17;
        const ENODEV: i32 = 19;
        for module in self.0 {
            match sys::load_module(&module.file, &module.parameters) {
                Err(error) if !matches!(error.raw_os_error(), Some(EEXIST | ENODEV)) => {
                    tell(Report::Note(format!("module {}: {error}", module.name)));
                }
                _ => {}
            }
        }
    }
}
