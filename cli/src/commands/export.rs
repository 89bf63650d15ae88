//! `melv export`: writes a disk from the store or a bundle.

use std::fs::File;
use std::io::{ErrorKind, IsTerminal, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use melv::{
    BlockDevice, BlockError, Error, ExportOptions, Image, export, export_into, export_stream, ova, vmdk,
};
use serde_json::json;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::format::{OutFormat, write_format};
use crate::log::note;
use crate::machine::{self, Choices};
use crate::opened_image::OpenedImage;
use crate::operand;
use crate::output_file::{check_not_read, note_rest};
use crate::progress::Unit;
use crate::session::Session;
use crate::stdout;
use crate::units::human;

const EXAMPLES: &str = "\
Examples:
  $ melv export web out.raw
  $ melv export web out.raw --force
  $ melv export web.melv - | sha256sum
  $ melv export web web.vmdk --format vmdk
  $ melv export web - --format vmdk-stream >stream.vmdk
  $ melv export web web.ova --format ova

Formats: raw; vmdk, which a virtual machine can run from (monolithicSparse); vmdk-stream, compressed
and written front to back, as in an OVA (streamOptimized); ova, a machine with its disks in one file;
vmx, a machine beside its disk. An appliance tells its memory, processors, ports and data disks; of all
other images the machine has 1 GiB, one processor and a network card.

Zeros become holes, also if standard output is a new file. Only --force overwrites a block device that
holds a file system, a partition table, swap, or a part of a volume group or RAID. The bytes after the
end of the disk stay unchanged.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Image of the store or of a bundle
    #[arg(value_name = "REF")]
    image: String,
    /// File to create, or block device to overwrite; - writes to standard output
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// Format to write: raw, vmdk, vmdk-stream, ova or vmx [default: by the ending .ova or .vmx, else raw]
    #[arg(long, value_name = "F")]
    format: Option<String>,
    /// Firmware of the machine, for ova and vmx: uefi or bios [default: uefi where the disk has it]
    #[arg(long, value_name = "F")]
    firmware: Option<String>,
    /// Version of VMware's virtual hardware, for ova and vmx: 8 to 21 [default: 11]
    #[arg(long, value_name = "N")]
    hardware: Option<u8>,
    /// Replace an existing file, or any content of a block device
    #[arg(long)]
    force: bool,
}

pub fn run(args: &Args, session: &Session<'_>) -> Result<Exit, Failure> {
    let format = match (&args.format, args.out.extension().and_then(|ending| ending.to_str())) {
        (None, Some(ending @ ("ova" | "vmx"))) => write_format(Some(ending))?,
        (name, _) => write_format(name.as_deref())?,
    };
    let choices = choices(args, format)?;
    let to_stdout = args.out == Path::new("-");
    if to_stdout {
        check_stdout(format)?;
    } else {
        check_target(&args.out)?;
    }
    let found = operand::image(&args.image, session)?;
    check_not_read(&args.out, found.bundle.as_deref())?;
    if format == OutFormat::Raw && args.format.is_none() && !session.globals.quiet {
        note_on_name(&args.out);
    }
    let bar = session.progress(format!("export {}", args.image), Unit::Bytes);
    let progress = |done, size| bar.update(done, Some(size));
    let export =
        ExportOptions { force: args.force, progress: Some(&progress), cancel: Some(session.cancel()?) };
    let options = vmdk::WriteOptions { content: Some(*found.image.manifest().content.as_bytes()), export };
    let machine = || machine::of_image(&found.image, &machine::name_of(&args.image), choices);
    if format == OutFormat::Ova || format == OutFormat::Vmx {
        return export_machine(args, session, &found, format, &machine()?, &options);
    }
    if to_stdout {
        let bytes = write_stdout(&found.image, format, &options).map_err(|error| gone(error, &found))?;
        if session.globals.json {
            note(&json!({ "bytes": bytes }).to_string());
        }
    } else {
        let bytes = found.in_bundle(write_file(&found.image, format, &args.out, &options))?;
        bar.update(found.image.size(), Some(found.image.size()));
        drop(bar);
        let text = format!("{}: {} ({bytes} bytes)\n", args.out.display(), human(bytes));
        let left = note_rest(&args.out, bytes, session);
        session.out().summary(&json!({ "bytes": bytes, "left_bytes": left }), &text)?;
    }
    Ok(Exit::Done)
}

/// Reads the choices of the machine, which only machines have.
fn choices(args: &Args, format: OutFormat) -> Result<Choices, Failure> {
    let has_some = args.firmware.is_some() || args.hardware.is_some();
    if has_some && format != OutFormat::Ova && format != OutFormat::Vmx {
        return Err(Failure::Usage("--firmware and --hardware are for --format ova and vmx".into()));
    }
    let firmware = match args.firmware.as_deref() {
        None => None,
        Some("uefi") => Some(ova::Firmware::Uefi),
        Some("bios") => Some(ova::Firmware::Bios),
        Some(other) => {
            return Err(Failure::Usage(format!("--firmware {other:?} is unknown, expected uefi or bios")));
        }
    };
    Ok(Choices { firmware, hardware: args.hardware })
}

/// Writes a machine with its disks.
fn export_machine(
    args: &Args,
    session: &Session<'_>,
    found: &OpenedImage,
    format: OutFormat,
    machine: &ova::Machine,
    options: &vmdk::WriteOptions<'_>,
) -> Result<Exit, Failure> {
    let image = &found.image;
    if args.out == Path::new("-") {
        let mut out = std::io::stdout().lock();
        let bytes = ova::export_ova(machine, image, &mut out, stdout::NAME, options);
        let bytes = bytes.map_err(|error| gone(error, found))?;
        if session.globals.json {
            note(&json!({ "bytes": bytes }).to_string());
        }
        return Ok(Exit::Done);
    }
    let written = match format {
        OutFormat::Vmx => ova::export_vmx(machine, image, &args.out, options),
        _ => ova::export_ova_file(machine, image, &args.out, options),
    };
    let bytes = found.in_bundle(written)?;
    let parts = machine.parts();
    let text = format!(
        "{}: {} ({bytes} bytes); {} MiB of memory, {} processors, {} data disks\n",
        args.out.display(),
        human(bytes),
        parts.memory_mib,
        parts.cpus,
        parts.data_disks.len(),
    );
    session.out().summary(&json!({ "bytes": bytes }), &text)?;
    Ok(Exit::Done)
}

fn write_file(
    image: &Image,
    format: OutFormat,
    out: &Path,
    options: &vmdk::WriteOptions<'_>,
) -> melv::Result<u64> {
    match format {
        OutFormat::Raw => export(image, out, &options.export),
        OutFormat::Vmdk => vmdk::export_sparse(image, out, options),
        OutFormat::VmdkStream => vmdk::export_stream_file(image, out, options),
        OutFormat::Ova | OutFormat::Vmx => unreachable!("machines have a function of their own"),
    }
}

fn write_stdout(image: &Image, format: OutFormat, options: &vmdk::WriteOptions<'_>) -> melv::Result<u64> {
    if format == OutFormat::Raw
        && let Some(mut file) = new_stdout()
    {
        let written = export_into(image, &file, stdout::NAME, &options.export)?;
        // The next writer appends after the disk.
        file.seek(SeekFrom::End(0)).map_err(|error| Error::io("seek in", stdout::NAME, error))?;
        return Ok(written);
    }
    let mut out = std::io::stdout().lock();
    match format {
        OutFormat::VmdkStream => vmdk::export_stream(image, &mut out, stdout::NAME, options),
        // `check_stdout` has refused the others.
        OutFormat::Raw | OutFormat::Vmdk | OutFormat::Ova | OutFormat::Vmx => {
            export_stream(image, &mut out, stdout::NAME, &options.export)
        }
    }
}

/// Returns standard output if it is an empty regular file, at position 0, and not in append mode.
fn new_stdout() -> Option<File> {
    let mut file = File::from(std::io::stdout().as_fd().try_clone_to_owned().ok()?);
    let is_appended = rustix::fs::fcntl_getfl(&file).ok()?.contains(rustix::fs::OFlags::APPEND);
    let metadata = file.metadata().ok()?;
    let is_new = metadata.is_file() && metadata.len() == 0 && file.stream_position().ok()? == 0;
    (is_new && !is_appended).then_some(file)
}

fn check_stdout(format: OutFormat) -> Result<(), Failure> {
    let text = if format == OutFormat::Vmx {
        "--format vmx writes several files, so it cannot go to a pipe; --format ova can"
    } else if format == OutFormat::Vmdk {
        "--format vmdk cannot be written front to back, so it cannot go to a pipe; --format vmdk-stream can"
    } else if std::io::stdout().is_terminal() {
        "standard output is a terminal; redirect it to a file or a pipe"
    } else {
        return Ok(());
    };
    Err(Failure::Usage(text.into()))
}

/// Warns if the file name suggests another format than raw.
fn note_on_name(out: &Path) {
    let ending = out.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    let better = match ending.as_str() {
        "vmdk" => "--format vmdk or vmdk-stream writes a VMDK",
        "melv" => "`melv save` makes bundles",
        _ => return,
    };
    note(&format!("melv: note: {} is written as raw; {better}", out.display()));
}

/// Fails unless the target is a file or block device: `--force` does not replace other devices, pipes and
/// folders.
fn check_target(out: &Path) -> Result<(), Failure> {
    let Ok(metadata) = std::fs::metadata(out) else { return Ok(()) };
    if metadata.is_file() || metadata.file_type().is_block_device() {
        return Ok(());
    }
    let expected = "a regular file or a block device (- writes to a pipe)";
    Err(Error::from(BlockError::Invalid { what: "output", found: out.display().to_string(), expected })
        .into())
}

/// A closed pipe is no news to the reader that closed it, so it is a failure of its own.
fn gone(error: Error, found: &OpenedImage) -> Failure {
    match error.detail() {
        Some(BlockError::Io { source, .. }) if source.kind() == ErrorKind::BrokenPipe => Failure::ReaderGone,
        _ => Failure::of_bundle(found.bundle.as_deref(), error),
    }
}
