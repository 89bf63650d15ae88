//! `melv verify`: is everything in the store as it must be?

use melv::{Damage, Digest, Error, ImageRef, Store, VerifyOptions};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure, chain};
use crate::progress::Unit;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  $ melv verify
  $ melv verify web --full --json

Exits with 4 where damage is found.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Images to look at [default: everything]
    #[arg(value_name = "REF")]
    images: Vec<String>,
    /// Read and decode all data, too, and check it against its ids
    #[arg(long)]
    full: bool,
}

pub fn run(args: &Args, session: &Session<'_>) -> Result<Exit, Failure> {
    let store = session.store()?;
    let images = args.images.iter().map(|image| wanted(&store, image));
    let images = images.collect::<melv::Result<Vec<Digest>>>()?;
    let bar = session.progress("verify", Unit::Objects);
    let progress = |done| bar.update(done, None);
    let options =
        VerifyOptions { full: args.full, progress: Some(&progress), cancel: Some(session.cancel()?) };
    let report = store.verify(&images, &options)?;
    drop(bar);
    let ok = report.damaged.is_empty();
    let json = json!({
        "ok": ok,
        "damaged": report.damaged.iter().map(damage_json).collect::<Vec<_>>(),
        "images": report.images,
        "chunks": report.chunks,
    });
    let mut text: String = report.damaged.iter().map(damage_text).collect();
    let found = match report.damaged.len() {
        0 if args.full => "all sound".into(),
        0 => "structure sound (--full reads the data, too)".into(),
        count => format!("{count} damaged"),
    };
    if !ok || !session.globals.quiet {
        text.push_str(&format!("images {}, chunks {}: {found}\n", report.images, report.chunks));
    }
    session.out().data(&json, &text)?;
    Ok(if ok { Exit::Done } else { Exit::Damage })
}

/// The image to look at. An id that is not there is no damage, unless a name leads to it.
fn wanted(store: &Store, text: &str) -> melv::Result<Digest> {
    let reference = text.parse()?;
    let id = store.resolve(&reference)?;
    match store.image_by_id(id) {
        Err(error @ Error::NotFound { .. }) if matches!(reference, ImageRef::Id(_)) => Err(error),
        _ => Ok(id),
    }
}

fn damage_json(damage: &Damage) -> Value {
    json!({
        "image": damage.image.map(|image| image.to_string()),
        "start": damage.start,
        "length": damage.len,
        "error": chain(&damage.error),
    })
}

fn damage_text(damage: &Damage) -> String {
    let place = match (damage.image, damage.len) {
        (None, _) => "no image".into(),
        (Some(image), 0) => format!("@{}", image.short()),
        (Some(image), len) => format!("@{} bytes {}+{len}", image.short(), damage.start),
    };
    format!("{place}: {}\n", chain(&damage.error))
}
