//! `melv build`: makes the disk of an appliance from its declaration.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use melv::{BlockDevice, ErrorKind, ImportOptions, ImportReport, RawFile, RefName, Source, StoreError};
use melv_appliance::build::{Builder, FoundKernel, LockMode, Options, Phase, Plan};
use melv_appliance::declaration::{Declaration, EXAMPLES, MAX_DECLARATION_BYTES};
use melv_appliance::image::SourceFolders;
use melv_appliance::record::{BOOT_KEY, BootRecord};
use melv_appliance::{fetch, sbom};
use serde_json::json;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::log::note;
use crate::memory::Needs;
use crate::naming::{new_name, of_file};
use crate::operand::stored_ref;
use crate::progress::{Progress, Unit};
use crate::session::Session;
use crate::units::human;

/// Files whose reasons are told after a build.
const LARGEST: usize = 10;
/// The memory that a build takes: kernel and initrd, a compressor, the tree, and an import.
pub const NEEDS: Needs = Needs { base_bytes: 256 << 20, thread_bytes: 16 << 20 };
/// Most bytes of a kernel or initrd that is taken from another appliance.
const KERNEL_BYTES_MAX: u64 = 256 << 20;

const EXAMPLES_TEXT: &str = "\
Examples:
  $ melv build --example nginx >nginx.toml
  $ melv build nginx.toml
  $ melv build nginx.toml --name web:2 --locked
  $ melv build nginx.toml --update
  $ melv build nginx.toml --why /usr/lib/x86_64-linux-gnu/libcrypt.so.1
  $ melv build nginx.toml --sbom nginx.cdx.json

FILE.toml says which packages, files and services an appliance has; --example prints complete ones:
nginx, postgresql, nethack, redis, site, binary, oci. The packages come from Debian; only files that
something needs become part of the disk. The disk boots under BIOS and UEFI.

FILE.lock beside it records the exact packages. With a lock the build needs neither apt nor the lists
of the archive, and never takes another file than the recorded one. Commit it with the declaration.
Everything that is fetched is kept in $XDG_CACHE_HOME/melv, which may be deleted at any time.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES_TEXT)]
pub struct Args {
    /// Declaration of the appliance
    #[arg(value_name = "FILE.toml", required_unless_present = "example")]
    file: Option<PathBuf>,
    /// Name of the image [default: made from the file name]
    #[arg(long, value_name = "N[:T]")]
    name: Option<String>,
    /// Take the name from the image that has it
    #[arg(long)]
    replace: bool,
    /// Resolve packages anew: all, or those given
    #[arg(long, value_name = "PACKAGE", num_args = 0..)]
    update: Option<Vec<String>>,
    /// Fail unless the lock is there and answers the declaration
    #[arg(long, conflicts_with = "update")]
    locked: bool,
    /// Ask no server; everything must be in the cache
    #[arg(long)]
    offline: bool,
    /// Mirror of the archive of Debian [default: http://deb.debian.org/debian]
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// Folder beside that of the declaration, from which files may be copied
    #[arg(long, value_name = "DIR")]
    allow_dir: Vec<PathBuf>,
    /// zstd level, 1 to 19
    #[arg(long, value_name = "L", default_value_t = melv::limits::LEVEL_DEFAULT)]
    #[arg(value_parser = clap::value_parser!(i32).range(1..=19))]
    level: i32,
    /// Write the disk to a raw file instead of the store
    #[arg(long, value_name = "DISK.raw")]
    out: Option<PathBuf>,
    /// Write a bill of materials: CycloneDX, JSON
    #[arg(long, value_name = "FILE")]
    sbom: Option<PathBuf>,
    /// Write the exact source packages, one a line
    #[arg(long, value_name = "FILE")]
    sources: Option<PathBuf>,
    /// Tell why a file is part of the appliance; nothing is stored
    #[arg(long, value_name = "PATH")]
    why: Option<String>,
    /// Print an example of a declaration
    #[arg(long, value_name = "NAME", conflicts_with_all = ["file", "why", "out"])]
    example: Option<String>,
}

pub fn run(args: &Args, session: &Session<'_>) -> Result<Exit, Failure> {
    if let Some(name) = &args.example {
        return example(name, session);
    }
    let Some(path) = &args.file else {
        return Err(Failure::Usage("give a declaration, or --example NAME for one to begin with".into()));
    };
    let declaration = read(path)?;
    let name = match &args.name {
        Some(name) => new_name(name)?,
        None => of_file(path).ok_or_else(|| {
            Failure::Usage(format!("cannot make a name from {:?}; give one with --name", path.display()))
        })?,
    };
    let job = Job { args, session, path, declaration, name };
    job.run()
}

/// Prints an example.
fn example(name: &str, session: &Session<'_>) -> Result<Exit, Failure> {
    let text = Declaration::example(name).ok_or_else(|| {
        let names = EXAMPLES.map(|(name, _)| name).join(", ");
        Failure::Usage(format!("there is no example {name:?}; there are {names}"))
    })?;
    session.out().data(&json!({"name": name, "declaration": text}), text)?;
    Ok(Exit::Done)
}

fn read(path: &Path) -> Result<Declaration, Failure> {
    let file = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => Failure::NoFile { path: path.into() },
        _ => melv::Error::io("read", path.display().to_string(), source).into(),
    };
    // One byte more than a declaration may have, so that its parser tells the limit.
    let limit = MAX_DECLARATION_BYTES as u64 + 1;
    let mut bytes = Vec::new();
    File::open(path).and_then(|opened| opened.take(limit).read_to_end(&mut bytes)).map_err(file)?;
    Declaration::parse(&bytes)
        .map_err(|error| Failure::Declaration { path: path.into(), error: error.into() })
}

struct Job<'a> {
    args: &'a Args,
    session: &'a Session<'a>,
    path: &'a Path,
    declaration: Declaration,
    name: RefName,
}

impl Job<'_> {
    fn run(&self) -> Result<Exit, Failure> {
        let begun = Instant::now();
        let cancel = self.session.cancel()?;
        let options = self.options()?;
        let lock_path = self.path.with_extension("lock");
        // A name that is taken is told before the work.
        if self.args.out.is_none() && self.args.why.is_none() {
            self.check_name()?;
        }
        let bar = self.session.progress(format!("build {}", self.name), Unit::Bytes);
        let progress = |phase: Phase| {
            show(&bar, phase);
            !cancel.load(Ordering::Relaxed)
        };
        let foreign = |reference: &str| self.kernel_of(reference);
        let builder = Builder {
            declaration: &self.declaration,
            name: self.name.name(),
            lock_path: &lock_path,
            options: &options,
            foreign_kernel: &foreign,
            progress: &progress,
        };
        let plan = builder.plan()?;
        if let Some(path) = &self.args.why {
            return why(&plan, path, self.session);
        }
        self.write_lists(&plan)?;
        let stored = self.store(&plan, &options, cancel)?;
        drop(bar);
        self.print(&plan, &stored, &lock_path, begun.elapsed().as_secs_f64())
    }

    fn options(&self) -> Result<Options, Failure> {
        let cache = fetch::default_folder().ok_or_else(|| {
            Failure::Usage("set $XDG_CACHE_HOME or $HOME: downloaded files are kept in a cache there".into())
        })?;
        let temporary = std::env::temp_dir();
        let base = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let base = base.unwrap_or(Path::new(".")).to_owned();
        let usage = |what: &str, error: &dyn std::fmt::Display| Failure::Usage(format!("{what}: {error}"));
        let mirror = self.args.mirror.as_deref().map(|text| text.trim_end_matches('/').parse()).transpose();
        let lock = match &self.args.update {
            None if self.args.locked => LockMode::Locked,
            None => LockMode::Use,
            Some(names) if names.is_empty() => LockMode::UpdateAll,
            Some(names) => {
                let names = names.iter().map(|name| name.parse()).collect::<Result<Vec<_>, _>>();
                LockMode::Update(names.map_err(|error| usage("--update", &error))?)
            }
        };
        Ok(Options {
            cache,
            temporary,
            mirror: mirror.map_err(|error| usage("--mirror", &error))?,
            offline: self.args.offline,
            lock,
            folders: SourceFolders { base, allowed: self.args.allow_dir.clone() },
        })
    }

    fn check_name(&self) -> Result<(), Failure> {
        if self.args.replace {
            return Ok(());
        }
        let store = match self.session.store() {
            Ok(store) => store,
            // The build makes it.
            Err(Failure::Melv(error)) if error.kind() == ErrorKind::NoStore => return Ok(()),
            Err(failure) => return Err(failure),
        };
        let is_taken = store.image(&melv::ImageRef::Name(self.name.clone())).is_ok();
        if is_taken {
            let taken = StoreError::Exists { what: "name", name: self.name.to_string() };
            return Err(melv::Error::from(taken).into());
        }
        Ok(())
    }

    /// Reads the kernel of another appliance out of the store.
    fn kernel_of(&self, reference: &str) -> FoundKernel {
        let failed = |failure: Failure| match failure {
            Failure::Melv(error) => (error.to_string(), error.kind()),
            other => (other.to_string(), ErrorKind::Invalid),
        };
        let image_ref = stored_ref(reference).map_err(failed)?;
        let store = self.session.store().map_err(failed)?;
        let melv = |error: melv::Error| (error.to_string(), error.kind());
        let image = store.image(&image_ref).map_err(melv)?;
        let record = image.manifest().metadata.get(BOOT_KEY);
        let record = record.ok_or_else(|| ("it is no appliance".to_owned(), ErrorKind::Invalid))?;
        let record = BootRecord::from_json(record, image.size())
            .map_err(|error| (error.to_string(), ErrorKind::Damaged))?;
        let read = |place: &melv_appliance::record::FilePlace| {
            if place.length > KERNEL_BYTES_MAX {
                return Err((format!("a file of {} bytes", place.length), ErrorKind::Limit));
            }
            let mut bytes = vec![0; place.length as usize];
            image.read_at(place.offset, &mut bytes).map_err(melv)?;
            if melv_appliance::record::digest(&bytes) != place.blake3 {
                return Err(("its bytes do not have the recorded digest".to_owned(), ErrorKind::Damaged));
            }
            Ok(bytes)
        };
        Ok((read(&record.kernel)?, record.initrd.as_ref().map(read).transpose()?))
    }

    fn write_lists(&self, plan: &Plan) -> Result<(), Failure> {
        let lists = [
            (&self.args.sbom, sbom::cyclonedx(&plan.lock, Some(&plan.package_names()))),
            (&self.args.sources, sbom::sources(&plan.lock)),
        ];
        for (path, text) in lists {
            if let Some(path) = path {
                std::fs::write(path, text)
                    .map_err(|error| melv::Error::io("write", path.display().to_string(), error))?;
            }
        }
        Ok(())
    }

    /// Writes the disk, into the store unless a file is given.
    fn store(&self, plan: &Plan, options: &Options, cancel: &AtomicBool) -> Result<Stored, Failure> {
        if let Some(out) = &self.args.out {
            let failed = |error| melv::Error::io("create", out.display().to_string(), error);
            let file = new_file(out, self.args.replace).map_err(failed)?;
            let disk = plan.write(options, &file)?;
            file.sync_all().map_err(|error| melv::Error::io("sync", out.display().to_string(), error))?;
            return Ok(Stored { size_bytes: disk.size_bytes, kernel_bytes: disk.kernel_bytes, report: None });
        }
        let temporary = melv::Error::io;
        let folder = options.temporary.display().to_string();
        let failed = |error| temporary("create a file in", folder.clone(), error);
        let file = tempfile::NamedTempFile::new_in(&options.temporary).map_err(failed)?;
        let disk = plan.write(options, file.as_file())?;
        let device = RawFile::open(file.path(), false)?;
        let store = self.session.store_or_new()?;
        let parent = self.declaration.parent.as_deref().map(stored_ref).transpose()?;
        let import = ImportOptions {
            replace: self.args.replace,
            level: self.args.level,
            parent,
            metadata: disk.metadata.into_iter().collect(),
            cancel: Some(cancel),
            ..ImportOptions::named(self.name.clone())
        };
        let report = store.import(Source::device(&device), &import)?;
        Ok(Stored { size_bytes: disk.size_bytes, kernel_bytes: disk.kernel_bytes, report: Some(report) })
    }

    fn print(&self, plan: &Plan, stored: &Stored, lock: &Path, seconds: f64) -> Result<Exit, Failure> {
        let summary = plan.summary(LARGEST);
        let largest = summary.largest.iter();
        let changes: Vec<String> = plan.changes.iter().map(ToString::to_string).collect();
        let report = stored.report.as_ref();
        let json = json!({
            "image": report.map(|report| report.image.to_string()),
            "content": report.map(|report| report.content.to_string()),
            "name": report.map(|report| report.name.to_string()),
            "size": stored.size_bytes,
            "data_bytes": report.map(|report| report.data_bytes),
            "new_bytes": report.map(|report| report.new_bytes),
            "stored_bytes": report.map(|report| report.stored_bytes),
            "kernel_bytes": stored.kernel_bytes,
            "kernel": plan.kernel.release,
            "files": summary.files,
            "file_bytes": summary.bytes,
            "packages": summary.packages,
            "lock": lock.display().to_string(),
            "lock_changes": changes,
            "largest": largest.clone().map(|file| json!({"path": file.path, "bytes": file.bytes, "why": file.why})).collect::<Vec<_>>(),
            "notes": summary.notes,
            "out": self.args.out.as_ref().map(|out| out.display().to_string()),
            "seconds": seconds,
        });
        let mut text = String::new();
        match report {
            Some(report) => {
                text += &format!("{}  @{}\n", report.name, report.image.short());
            }
            None => text += &format!("{}\n", self.args.out.as_deref().unwrap_or(Path::new("")).display()),
        }
        text += &format!(
            "{} packages, {} files, {}; kernel {}, {}\n",
            summary.packages,
            summary.files,
            human(summary.bytes),
            plan.kernel.release,
            human(stored.kernel_bytes),
        );
        for file in largest {
            text += &format!("  {:>9}  {}: {}\n", human(file.bytes), file.path, file.why);
        }
        if plan.is_lock_new {
            text += &format!("{} written; commit it with the declaration\n", lock.display());
        }
        for change in &changes {
            text += &format!("  {change}\n");
        }
        let new = report.map_or_else(String::new, |report| {
            format!(", {} of it new, stored in {}", human(report.new_bytes), human(report.stored_bytes))
        });
        text += &format!("{} disk{new}; {seconds:.1} s\n", human(stored.size_bytes));
        for told in &summary.notes {
            if !self.session.globals.quiet {
                note(&format!("melv: note: {told}"));
            }
        }
        self.session.out().summary(&json, &text)?;
        Ok(Exit::Done)
    }
}

/// A disk that was written.
struct Stored {
    size_bytes: u64,
    kernel_bytes: u64,
    /// The report of the import; none for a file.
    report: Option<ImportReport>,
}

fn new_file(path: &Path, replace: bool) -> std::io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).mode(0o644);
    if replace { options.create(true).truncate(true) } else { options.create_new(true) }.open(path)
}

fn show(bar: &Progress, phase: Phase) {
    if let Phase::Fetch { done, total } = phase {
        bar.update(done, Some(total));
    }
}

/// Tells why a file is part of the appliance.
fn why(plan: &Plan, path: &str, session: &Session<'_>) -> Result<Exit, Failure> {
    let Some(chain) = plan.why(path) else {
        return Err(Failure::NotInAppliance { path: path.into() });
    };
    let json = json!({"path": path, "why": chain});
    session.out().data(&json, &format!("{chain}\n"))?;
    Ok(Exit::Done)
}
