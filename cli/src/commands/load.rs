//! `melv load`: stores the images of a bundle.

use std::path::{Path, PathBuf};

use melv::{Error, Images, LoadOptions, LoadReport, StoreError};
use serde_json::{Value, json};

use crate::bundle_ref::BundleRef;
use crate::bundled_image::{BundledImage, names_text};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::progress::Unit;
use crate::session::Session;
use crate::stdout::table;
use crate::units::human;
use crate::{naming, stdin};

const EXAMPLES: &str = "\
Examples:
  $ melv load web.melv
  $ melv load web.melv#web --json
  $ melv load web.melv --replace

The images keep their ids and names. Data that the store already has is not stored again. An image
without a name gets one made from the file name.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Bundle file or block device; with #NAME[:TAG] or #@IMAGE-ID, only that image
    #[arg(value_name = "FILE.melv")]
    file: PathBuf,
    /// Take names from the images that have them
    #[arg(long)]
    replace: bool,
}

pub fn run(args: &Args, session: &Session<'_>) -> Result<Exit, Failure> {
    if args.file == Path::new("-") {
        stdin::check_no_terminal()?;
        return Err(Failure::Usage(stdin::NO_BUNDLE.into()));
    }
    let wanted = BundleRef::of_bundle(&args.file)?;
    // Open the bundle first, so that a missing one does not create a store.
    let bundle = wanted.open(session)?;
    let images = if wanted.image.is_some() { wanted.all_refs(&bundle)? } else { Vec::new() };
    let store = session.store_or_new()?;
    let bar = session.progress(format!("load {}", args.file.display()), Unit::Bytes);
    let progress = |done, all| bar.update(done, Some(all));
    let options = LoadOptions {
        images,
        name: naming::of_file(&wanted.path),
        replace: args.replace,
        progress: Some(&progress),
        cancel: Some(session.cancel()?),
    };
    let loaded = store.load(&bundle, &options);
    let report = loaded.map_err(|error| {
        let path = is_only_in(&error, &bundle, &store).then_some(wanted.path.as_path());
        Failure::of_bundle(path, error)
    })?;
    drop(bar);
    let report = in_order(report, &bundle)?;
    tell(&report, session)?;
    Ok(Exit::Done)
}

/// Whether the damaged object is in the bundle and not in the store, which names its objects in the same way.
fn is_only_in(error: &Error, bundle: &Images, store: &Images) -> bool {
    let Some(StoreError::Corrupt { object, .. }) = error.detail() else { return false };
    let has = |place: &Images| object.parse().is_ok_and(|name| place.source().open(&name).is_ok());
    has(bundle) && !has(store)
}

/// Sorts the images into the order of the bundle, by their names there.
fn in_order(mut report: LoadReport, bundle: &Images) -> Result<LoadReport, Failure> {
    let order = BundledImage::all(bundle)?;
    report.images.sort_by_key(|loaded| order.iter().position(|held| held.image == loaded.image));
    Ok(report)
}

fn tell(report: &LoadReport, session: &Session<'_>) -> melv::Result<()> {
    let mut images: Vec<Value> = Vec::new();
    let mut rows = Vec::new();
    for image in &report.images {
        images.push(json!({
            "image": image.image.to_string(),
            "content": image.content.to_string(),
            "names": image.names.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "size": image.size_bytes,
        }));
        rows.push(vec![
            names_text(&image.names),
            format!("@{}", image.image.short()),
            human(image.size_bytes),
        ]);
    }
    let bytes = report.stored_bytes;
    let json = json!({ "images": images, "bytes": bytes, "stored_bytes": bytes });
    let text = format!("{}stored in {}\n", table(&rows, &[2]), human(bytes));
    session.out().summary(&json, &text)
}
