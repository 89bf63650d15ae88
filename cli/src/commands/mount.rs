//! `melv mount`: shows images as files in a folder.

use std::path::PathBuf;
use std::sync::Arc;

use melv::{Cache, Error};
use melv_fuse::{MountOptions, Mounted, Unmounter};
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::log::note;
use crate::memory::{self, Needs};
use crate::session::Session;
use crate::units::size;
use crate::{catalog, daemon, stats, threads};

const EXAMPLES: &str = "\
Examples:
  $ melv mount disks && sha256sum disks/web/latest.raw; melv umount disks
  $ melv mount disks web base --cache 256M && ls -l disks/*; melv umount disks
  $ melv mount disks web.melv && getfattr -d disks/web/latest.raw; melv umount disks

The images appear as read-only files DIR/NAME/TAG.raw. Without REF, all images of the store appear, and
later ones too. To mount a disk, give its file a loop device:
`losetup -rPf --show --direct-io=on FILE`.

Once ready, the process logs to the system log under the name melv; SIGUSR1 logs statistics.";

/// Each thread has a buffer for the longest request of the kernel.
const NEEDS: Needs = Needs { base_bytes: 24 << 20, thread_bytes: 24 << 20 };

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Empty folder to mount at
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Images of the store or of bundles; a bundle without # stands for all its images
    #[arg(value_name = "REF")]
    images: Vec<String>,
    /// Mount all images of the store; the default without REF
    #[arg(long, conflicts_with = "images")]
    all: bool,
    /// Let other users read the images too
    #[arg(long)]
    allow_other: bool,
    /// Stay in the foreground, and unmount at the end
    #[arg(long)]
    foreground: bool,
    /// Size of the cache of decoded data
    #[arg(long, value_name = "SIZE", default_value = catalog::CACHE_DEFAULT, value_parser = size)]
    cache: u64,
}

impl Args {
    /// Whether the command stays in the foreground, as a service does.
    pub fn is_foreground(&self) -> bool {
        self.foreground
    }
}

pub fn run(args: &Args, session: &Session<'_>) -> Result<Exit, Failure> {
    if args.foreground || daemon::is_daemon() {
        return serve(args, session);
    }
    // Check here, so that the command itself reports simple errors.
    let dir = melv_fuse::check(&args.dir)?;
    let process = daemon::begin()?;
    // A caller may access the mount as soon as the command returns, so try that here.
    rustix::fs::statvfs(&dir)
        .map_err(|errno| Error::io("read the metadata of", dir.display().to_string(), errno.into()))?;
    tell(&dir.display().to_string(), process, session)?;
    Ok(Exit::Done)
}

fn serve(args: &Args, session: &Session<'_>) -> Result<Exit, Failure> {
    let is_daemon = daemon::is_daemon() && !args.foreground;
    if is_daemon {
        daemon::detach()?;
    }
    let session = &session.for_serving(Cache::new(memory::cache_bytes(args.cache)));
    catalog::raise_open_files();
    let catalog = Arc::new(catalog::of(&args.images, session)?);
    // From here on, signals are queued until there is a mount to end.
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1]);
    let signals = signals.map_err(|source| Error::io("catch", "the signals that unmount", source))?;
    let threads = session.globals.threads.map_or_else(melv_fuse::default_threads, usize::from);
    // One further thread handles signals.
    let threads = threads::available(NEEDS.threads(threads)? + 1).saturating_sub(1).max(1);
    let options =
        MountOptions { allow_other: args.allow_other, threads: Some(threads), ..MountOptions::default() };
    let mounted = Mounted::new(catalog.clone(), &args.dir, &options)?;
    let unmounter = mounted.unmounter();
    let (cache, is_json) = (session.cache().clone(), session.globals.json);
    let print = move || stats::print(&catalog, &cache, is_json);
    threads::spawn(move || heed(signals, &unmounter, print))?;
    if is_daemon {
        daemon::ready()?;
    } else {
        tell(&mounted.dir().display().to_string(), std::process::id(), session)?;
    }
    mounted.run()?;
    Ok(Exit::Done)
}

fn tell(dir: &str, process: u32, session: &Session<'_>) -> melv::Result<()> {
    let json = json!({ "mountpoint": dir, "pid": process });
    let end = format!("melv umount {}", quoted(dir));
    session.out().summary(&json, &format!("mounted at {dir}; `{end}` ends it\n"))
}

/// Quotes a word for the shell.
fn quoted(word: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "/._-+,:@%".contains(char);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Handles signals until the process ends.
fn heed(mut signals: Signals, unmounter: &Unmounter, print_statistics: impl Fn()) {
    let mut is_leaving = false;
    for signal in signals.forever() {
        if signal == SIGUSR1 {
            print_statistics();
        } else if is_leaving {
            std::process::exit(Exit::Interrupted as i32);
        } else {
            is_leaving = leave(unmounter);
        }
    }
}

/// Unmounts. If files are open, detaches the mount and serves them until they are closed.
fn leave(unmounter: &Unmounter) -> bool {
    let left = match unmounter.unmount() {
        Err(melv_fuse::Error::Busy { dir }) => {
            let dir = dir.display();
            note(&format!(
                "melv: open files of {dir} are served until they are closed (send the signal again to stop at once)"
            ));
            unmounter.unmount_lazily()
        }
        other => other,
    };
    match left {
        Ok(()) => true,
        Err(error) => {
            tracing::error!(%error, "cannot unmount");
            false
        }
    }
}
