//! `melv verify`: checks the store or a bundle.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use melv::{
    Bundle, Damage, DamagedObject, ImageId, ImageRef, Images, RefName, Store, StoreError, VerifyOptions,
    VerifyReport,
};
use serde_json::{Value, json};

use crate::bundle_ref::BundleRef;
use crate::bundled_image::names_text;
use crate::cause::chain;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::log::note;
use crate::progress::Unit;
use crate::session::Session;
use crate::stdout::table;
use crate::store_path::in_store;
use crate::units::human;
use crate::width::{fit_lines, of_stdout};

const EXAMPLES: &str = "\
Examples:
  $ melv verify
  $ melv verify web --full --json
  $ melv verify web.melv --full --details

Exits with 4 if it finds damage. Lists each image that damage affects, each damaged object of the
store and, with --details, each damaged place; --json always lists everything.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Images or bundles to check [default: everything in the store]
    #[arg(value_name = "REF")]
    images: Vec<String>,
    /// Also read and decode all data, and check it against the ids
    #[arg(long)]
    full: bool,
    /// Also list every damaged place
    #[arg(long)]
    details: bool,
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
        let report = target.place.verify(&target.images, &options)?;
        before.store(most.load(Ordering::Relaxed), Ordering::Relaxed);
        found.add(target, report);
    }
    drop(bar);
    found.say(args, session)
}

/// The store or a bundle.
enum Place {
    Store(Store),
    Bundle(Bundle),
}

impl Place {
    fn images(&self) -> &Images {
        match self {
            Self::Store(store) => store,
            Self::Bundle(bundle) => bundle,
        }
    }

    fn verify(&self, images: &[ImageId], options: &VerifyOptions<'_>) -> melv::Result<VerifyReport> {
        match self {
            Self::Store(store) => store.verify(images, options),
            Self::Bundle(bundle) => bundle.verify(images, options),
        }
    }
}

/// A store or bundle and the images of it to check; an empty list stands for all.
struct Target {
    bundle: Option<PathBuf>,
    place: Place,
    images: Vec<ImageId>,
    everything: bool,
}

/// Collects the images to check, with each store and bundle only once.
fn targets(texts: &[String], session: &Session<'_>) -> Result<Vec<Target>, Failure> {
    let mut targets: Vec<Target> = Vec::new();
    if texts.is_empty() {
        let place = Place::Store(session.store()?);
        targets.push(Target { bundle: None, place, images: Vec::new(), everything: true });
    }
    for text in texts {
        let bundle = BundleRef::of_reference(text)?;
        let path = bundle.as_ref().map(|bundle| bundle.path.clone());
        let at = match targets.iter().position(|target| target.bundle == path) {
            Some(at) => at,
            None => {
                let place = match &bundle {
                    None => Place::Store(session.store()?),
                    Some(bundle) => Place::Bundle(bundle.open(session)?),
                };
                targets.push(Target { bundle: path, place, images: Vec::new(), everything: false });
                targets.len() - 1
            }
        };
        let target = &mut targets[at];
        match &bundle {
            Some(BundleRef { image: None, .. }) => target.everything = true,
            Some(bundle @ BundleRef { image: Some(image), .. }) => {
                target.images.push(bundle.missing_from_bundle(wanted(target.place.images(), image))?);
            }
            None => target.images.push(wanted(target.place.images(), &text.parse()?)?),
        }
    }
    for target in targets.iter_mut().filter(|target| target.everything) {
        target.images.clear();
    }
    Ok(targets)
}

/// Resolves the image to check. An id without an image is not damage, unless a name leads to it.
fn wanted(images: &Images, reference: &ImageRef) -> melv::Result<ImageId> {
    let id = images.resolve(reference)?;
    let is_missing = |error: &melv::Error| matches!(error.detail(), Some(StoreError::NotFound { .. }));
    match images.image_by_id(id) {
        Err(error) if is_missing(&error) && matches!(reference, ImageRef::Id(_)) => Err(error),
        _ => Ok(id),
    }
}

/// The results of all checks.
#[derive(Default)]
struct Found {
    images: u64,
    chunks: u64,
    /// The damage of each store or bundle that has any.
    hurt: Vec<Hurt>,
}

/// The damage in a store or a bundle.
struct Hurt {
    bundle: Option<PathBuf>,
    names: BTreeMap<ImageId, Vec<RefName>>,
    damaged: Vec<Damage>,
    objects: Vec<DamagedObject>,
}

/// The damage of one image.
#[derive(Default)]
struct Places {
    /// The damaged ranges: first byte and end.
    ranges: Vec<(u64, u64)>,
    /// Whether the image cannot be opened at all.
    is_lost: bool,
}

impl Found {
    fn add(&mut self, target: &Target, report: VerifyReport) {
        self.images += report.images;
        self.chunks += report.chunks;
        if report.damaged.is_empty() {
            return;
        }
        let mut names: BTreeMap<ImageId, Vec<RefName>> = BTreeMap::new();
        // A name with an unreadable record is already reported as damage.
        for (name, named) in target.place.images().names().unwrap_or_default() {
            if let Ok(named) = named {
                names.entry(named.image).or_default().push(name);
            }
        }
        let VerifyReport { mut damaged, objects, .. } = report;
        if target.bundle.is_none() {
            let named = |damage: Damage| Damage { error: in_store(damage.error), ..damage };
            damaged = damaged.into_iter().map(named).collect();
        }
        self.hurt.push(Hurt { bundle: target.bundle.clone(), names, damaged, objects });
    }

    fn say(&self, args: &Args, session: &Session<'_>) -> Result<Exit, Failure> {
        let ok = self.hurt.is_empty();
        let json = json!({
            "ok": ok,
            "damaged": self.hurt.iter().flat_map(Hurt::damaged_json).collect::<Vec<_>>(),
            "objects": self.hurt.iter().flat_map(Hurt::objects_json).collect::<Vec<_>>(),
            "images": self.images,
            "chunks": self.chunks,
        });
        let hurt: Vec<_> = self.hurt.iter().map(|hurt| (hurt, hurt.images())).collect();
        let mut text = String::new();
        if args.details {
            text.extend(self.hurt.iter().flat_map(Hurt::details));
        }
        text.push_str(&table(
            &hurt.iter().flat_map(|(hurt, images)| hurt.image_rows(images)).collect::<Vec<_>>(),
            &[1, 2],
        ));
        text.push_str(&table(&self.hurt.iter().flat_map(Hurt::object_rows).collect::<Vec<_>>(), &[]));
        let found = match ok {
            true if args.full => "all sound".into(),
            true => "structure sound (--full reads the data, too)".into(),
            false => format!(
                "{} hurt, {} damaged",
                counted(hurt.iter().map(|(_, images)| images.len()).sum(), "image"),
                counted(self.hurt.iter().map(|hurt| hurt.objects.len()).sum(), "object"),
            ),
        };
        if !ok || !session.globals.quiet {
            text.push_str(&format!("images {}, chunks {}: {found}\n", self.images, self.chunks));
        }
        session.out().data(&json, &fit_lines(&text, of_stdout()))?;
        if !ok && !session.globals.json {
            self.say_hint();
        }
        Ok(if ok { Exit::Done } else { Exit::Damage })
    }

    /// Suggests the next step.
    fn say_hint(&self) {
        if self.hurt.iter().any(|hurt| hurt.bundle.is_none()) {
            note(
                "hint: import the disk again, or `melv load` a bundle that has the image; then `melv verify --full` \
                 again",
            );
        }
        if self.hurt.iter().any(|hurt| hurt.bundle.is_some()) {
            note("hint: get another copy of the bundle from its source");
        }
    }
}

/// Formats a count with its noun.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

impl Hurt {
    /// Returns the damaged images with their damaged ranges.
    fn images(&self) -> BTreeMap<ImageId, Places> {
        let mut images: BTreeMap<ImageId, Places> = BTreeMap::new();
        for Damage { image, start, len, .. } in &self.damaged {
            let Some(image) = image else { continue };
            let places = images.entry(*image).or_default();
            match len {
                0 => places.is_lost = true,
                len => places.ranges.push((*start, start.saturating_add(*len))),
            }
        }
        images
    }

    fn names_of(&self, image: &ImageId) -> &[RefName] {
        self.names.get(image).map_or(&[], Vec::as_slice)
    }

    /// Prefixes an image or object with the path of its bundle, if it is in one.
    fn in_bundle(&self, what: &str, mark: &str) -> String {
        match &self.bundle {
            Some(bundle) => format!("{}{mark}{what}", bundle.display()),
            None => what.to_owned(),
        }
    }

    fn image_rows(&self, images: &BTreeMap<ImageId, Places>) -> Vec<Vec<String>> {
        let row = |(image, places): (&ImageId, &Places)| {
            let name = match self.names_of(image) {
                [] => format!("@{}", image.short()),
                names => names_text(names),
            };
            let (count, bytes) = places.sum();
            let hurt = match (places.is_lost, count) {
                (true, _) => vec!["cannot be opened".into()],
                (false, 1) => vec!["1 place".into(), format!("{} hurt", human(bytes))],
                (false, count) => vec![format!("{count} places"), format!("{} hurt", human(bytes))],
            };
            [vec![self.in_bundle(&name, "#")], hurt].concat()
        };
        images.iter().map(row).collect()
    }

    fn object_rows(&self) -> impl Iterator<Item = Vec<String>> + '_ {
        self.objects.iter().map(|DamagedObject { reason, places, .. }| {
            let more = if *places > 1 { format!(" (and {} more places)", places - 1) } else { String::new() };
            let names_bundle = |bundle: &PathBuf| reason.starts_with(&*bundle.to_string_lossy());
            let is_told = self.bundle.as_ref().is_some_and(names_bundle);
            let told = if is_told { reason.clone() } else { self.in_bundle(reason, ": ") };
            vec![format!("{told}{more}")]
        })
    }

    fn damaged_json(&self) -> impl Iterator<Item = Value> + '_ {
        self.damaged.iter().map(|damage| {
            let names = damage.image.map(|image| self.names_of(&image)).unwrap_or_default();
            let json = json!({
                "image": damage.image.map(|image| image.to_string()),
                "names": names.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "start": damage.start,
                "length": damage.len,
                "error": chain(&damage.error),
            });
            self.with_file(json)
        })
    }

    fn objects_json(&self) -> impl Iterator<Item = Value> + '_ {
        self.objects.iter().map(|DamagedObject { object, reason, places }| {
            self.with_file(json!({ "object": object, "error": reason, "places": places }))
        })
    }

    fn with_file(&self, mut json: Value) -> Value {
        if let Some(bundle) = &self.bundle {
            json["file"] = bundle.display().to_string().into();
        }
        json
    }

    /// Formats a line for every damaged place.
    fn details(&self) -> impl Iterator<Item = String> + '_ {
        self.damaged.iter().map(|damage| {
            let place = match (damage.image, damage.len) {
                (None, _) => "no image".into(),
                (Some(image), 0) => format!("@{}", image.short()),
                (Some(image), len) => format!("@{} bytes {}+{len}", image.short(), damage.start),
            };
            format!("{}: {}\n", self.in_bundle(&place, ": "), chain(&damage.error))
        })
    }
}

impl Places {
    /// Returns the number of ranges, with adjacent and overlapping ones merged, and their total bytes.
    fn sum(&self) -> (usize, u64) {
        let mut ranges = self.ranges.clone();
        ranges.sort_unstable();
        ranges.dedup_by(|next, last| {
            let joins = next.0 <= last.1;
            if joins {
                last.1 = last.1.max(next.1);
            }
            joins
        });
        (ranges.len(), ranges.iter().map(|(start, end)| end - start).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hurt_twice_counts_once() {
        let places = Places { ranges: vec![(8, 12), (0, 4), (10, 20), (4, 6)], is_lost: false };
        assert_eq!(places.sum(), (2, 18));
        assert_eq!(Places::default().sum(), (0, 0));
    }
}
