//! `melv verify`: is everything in the store, or in a bundle, as it must be?

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use melv::{Damage, Digest, Error, ImageRef, Store, VerifyOptions};
use serde_json::{Value, json};

use crate::bundle_ref::BundleRef;
use crate::exit::{Exit, Failure, chain};
use crate::progress::Unit;
use crate::session::Session;
use crate::width::{fit_lines, of_stdout};

const EXAMPLES: &str = "\
Examples:
  $ melv verify
  $ melv verify web --full --json
  $ melv verify web.melv --full

Exits with 4 where damage is found.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Images or bundles to look at [default: everything in the store]
    #[arg(value_name = "REF")]
    images: Vec<String>,
    /// Read and decode all data, too, and check it against its ids
    #[arg(long)]
    full: bool,
}

pub fn run(args: &Args, session: &Session<'_>) -> Result<Exit, Failure> {
    let targets = targets(&args.images, session)?;
    let bar = session.progress("verify", Unit::Objects);
    let before = AtomicU64::new(0);
    let most = AtomicU64::new(0);
    let progress = |done| {
        let done = before.load(Ordering::Relaxed) + done;
        most.fetch_max(done, Ordering::Relaxed);
        bar.update(done, None);
    };
    let options =
        VerifyOptions { full: args.full, progress: Some(&progress), cancel: Some(session.cancel()?) };
    let mut found = Found::default();
    for target in &targets {
        let report = target.store.verify(&target.images, &options)?;
        before.store(most.load(Ordering::Relaxed), Ordering::Relaxed);
        found.images += report.images;
        found.chunks += report.chunks;
        found.damaged.extend(report.damaged.into_iter().map(|damage| (target.bundle.clone(), damage)));
    }
    drop(bar);
    found.say(args.full, session)
}

/// A store or bundle, and which of its images; all where there are none.
struct Target {
    bundle: Option<PathBuf>,
    store: Store,
    images: Vec<Digest>,
    everything: bool,
}

/// What is to be looked at, each store and bundle once.
fn targets(texts: &[String], session: &Session<'_>) -> Result<Vec<Target>, Failure> {
    let mut targets: Vec<Target> = Vec::new();
    if texts.is_empty() {
        let store = session.store()?;
        targets.push(Target { bundle: None, store, images: Vec::new(), everything: true });
    }
    for text in texts {
        let bundle = BundleRef::of_reference(text)?;
        let path = bundle.as_ref().map(|bundle| bundle.path.clone());
        let at = match targets.iter().position(|target| target.bundle == path) {
            Some(at) => at,
            None => {
                let store = bundle.as_ref().map_or_else(|| session.store(), |bundle| bundle.open(session))?;
                targets.push(Target { bundle: path, store, images: Vec::new(), everything: false });
                targets.len() - 1
            }
        };
        let target = &mut targets[at];
        match &bundle {
            Some(BundleRef { image: None, .. }) => target.everything = true,
            Some(bundle @ BundleRef { image: Some(image), .. }) => {
                target.images.push(bundle.check_held(wanted(&target.store, image))?);
            }
            None => target.images.push(wanted(&target.store, &text.parse()?)?),
        }
    }
    for target in targets.iter_mut().filter(|target| target.everything) {
        target.images.clear();
    }
    Ok(targets)
}

/// The image to look at. An id that is not there is no damage, unless a name leads to it.
fn wanted(store: &Store, reference: &ImageRef) -> melv::Result<Digest> {
    let id = store.resolve(reference)?;
    match store.image_by_id(id) {
        Err(error @ Error::NotFound { .. }) if matches!(reference, ImageRef::Id(_)) => Err(error),
        _ => Ok(id),
    }
}

/// What was looked at and found.
#[derive(Default)]
struct Found {
    images: u64,
    chunks: u64,
    /// Damage, with the bundle that has it.
    damaged: Vec<(Option<PathBuf>, Damage)>,
}

impl Found {
    fn say(&self, full: bool, session: &Session<'_>) -> Result<Exit, Failure> {
        let ok = self.damaged.is_empty();
        let json = json!({
            "ok": ok,
            "damaged": self.damaged.iter().map(damage_json).collect::<Vec<_>>(),
            "images": self.images,
            "chunks": self.chunks,
        });
        let mut text: String = self.damaged.iter().map(damage_text).collect();
        let found = match self.damaged.len() {
            0 if full => "all sound".into(),
            0 => "structure sound (--full reads the data, too)".into(),
            count => format!("{count} damaged"),
        };
        if !ok || !session.globals.quiet {
            text.push_str(&format!("images {}, chunks {}: {found}\n", self.images, self.chunks));
        }
        session.out().data(&json, &fit_lines(&text, of_stdout()))?;
        Ok(if ok { Exit::Done } else { Exit::Damage })
    }
}

fn damage_json((bundle, damage): &(Option<PathBuf>, Damage)) -> Value {
    let mut json = json!({
        "image": damage.image.map(|image| image.to_string()),
        "start": damage.start,
        "length": damage.len,
        "error": chain(&damage.error),
    });
    if let Some(bundle) = bundle {
        json["file"] = bundle.display().to_string().into();
    }
    json
}

fn damage_text((bundle, damage): &(Option<PathBuf>, Damage)) -> String {
    let file = bundle.as_ref().map(|bundle| format!("{}: ", bundle.display())).unwrap_or_default();
    let place = match (damage.image, damage.len) {
        (None, _) => "no image".into(),
        (Some(image), 0) => format!("@{}", image.short()),
        (Some(image), len) => format!("@{} bytes {}+{len}", image.short(), damage.start),
    };
    format!("{file}{place}: {}\n", chain(&damage.error))
}
