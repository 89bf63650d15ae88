//! `melv save`: writes images into one file.

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use melv::{BlockDevice, ImageRef, Images, SaveOptions, SaveReport};
use serde_json::{Value, json};

use crate::bundle_path::SUFFIX;
use crate::bundle_ref::BundleRef;
use crate::bundled_image::names_text;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output_file::{check_not_read, note_rest};
use crate::progress::Unit;
use crate::session::Session;
use crate::stdout::table;
use crate::units::human;

const EXAMPLES: &str = "\
Examples:
  $ melv save web out.melv
  $ melv save web base both.melv --json
  $ melv save web patch.melv --without base
  $ melv save web.melv#web copy.melv

A bundle is read in place: FILE.melv and FILE.melv#NAME can stand wherever a command takes REF. To
read a bundle saved --without an image, that image must be in the store. FILE.melv gets its name only
once it is complete.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, override_usage = "melv save [OPTIONS] <REF>... <FILE.melv>")]
pub struct Args {
    // A single list, so that options may stand anywhere in it.
    /// Images of the store or of one bundle; last, the bundle to create or the block device to overwrite
    #[arg(value_name = "REF... FILE.melv", required = true)]
    operands: Vec<String>,
    /// Leave out the data of this image; may be given several times
    #[arg(long, value_name = "REF")]
    without: Vec<String>,
    /// Replace an existing file, or any content of a block device
    #[arg(long)]
    force: bool,
}

pub fn run(args: &Args, session: &Session<'_>) -> Result<Exit, Failure> {
    let (file, images) = file_and_images(&args.operands)?;
    let mut source = Source { session, opened: None };
    let images = source.refs(images)?;
    let without = source.refs(&args.without)?;
    let Some((bundle, store)) = source.opened else {
        return Err(Failure::Usage("no image is named".into()));
    };
    check_not_read(file, bundle.as_deref())?;
    let bar = session.progress(format!("save {}", file.display()), Unit::Bytes);
    let progress = |done, all| bar.update(done, Some(all));
    let options = SaveOptions { without, progress: Some(&progress), cancel: Some(session.cancel()?) };
    let saved = store.save_file(&images, file, args.force, &options);
    let report = saved.map_err(|error| Failure::of_bundle(bundle.as_deref(), error))?;
    drop(bar);
    let report = in_order(report, &images, &store)?;
    tell(&report, &store, file, session)?;
    Ok(Exit::Done)
}

/// The store or bundle that all images come from. The first reference decides which.
struct Source<'a> {
    session: &'a Session<'a>,
    opened: Option<(Option<PathBuf>, Images)>,
}

impl Source<'_> {
    /// Resolves texts to references; a bundle without `#` stands for all its images.
    fn refs(&mut self, texts: &[String]) -> Result<Vec<ImageRef>, Failure> {
        let mut refs = Vec::new();
        for text in texts {
            let bundle = BundleRef::of_reference(text)?;
            let store = self.store(text, bundle.as_ref())?;
            match bundle {
                Some(bundle) => refs.extend(bundle.all_refs(&store)?),
                None => refs.push(text.parse()?),
            }
        }
        Ok(refs)
    }

    fn store(&mut self, text: &str, bundle: Option<&BundleRef>) -> Result<Images, Failure> {
        let path = bundle.map(|bundle| bundle.path.clone());
        if let Some((opened, store)) = &self.opened {
            if *opened == path {
                return Ok(store.clone());
            }
            let place = |path: &Option<PathBuf>| {
                path.as_ref().map_or_else(|| "the store".into(), |path| path.display().to_string())
            };
            return Err(Failure::Usage(format!(
                "all images must come from the store or from one bundle: {text} is in {}, the images before it are in {}",
                place(&path),
                place(opened),
            )));
        }
        let store: Images = match bundle {
            None => self.session.store()?.into(),
            Some(bundle) => bundle.open(self.session)?.into(),
        };
        self.opened = Some((path, store.clone()));
        Ok(store)
    }
}

/// Splits off the last argument, the output file. It must look like one: if it was forgotten, the last
/// argument is a reference.
fn file_and_images(operands: &[String]) -> Result<(&Path, &[String]), Failure> {
    let Some((file, images)) = operands.split_last() else {
        return Err(Failure::Usage("no image is named".into()));
    };
    let is_device = std::fs::metadata(file).is_ok_and(|file| file.file_type().is_block_device());
    if file == "-" {
        let text = "a bundle cannot go to a pipe, because its head is written last; give FILE.melv";
        return Err(Failure::Usage(text.into()));
    }
    if !is_device && !file.ends_with(SUFFIX) {
        let text = format!("the last argument must be FILE.melv or a block device, but {file} is neither");
        return Err(Failure::Usage(text));
    }
    if images.is_empty() {
        return Err(Failure::Usage(format!("no image to save to {file} is named")));
    }
    Ok((Path::new(file), images))
}

/// Sorts the images into the order of the command line.
fn in_order(mut report: SaveReport, given: &[ImageRef], store: &Images) -> melv::Result<SaveReport> {
    let ids = given.iter().map(|image| store.resolve(image)).collect::<melv::Result<Vec<_>>>()?;
    report.images.sort_by_key(|(image, _)| ids.iter().position(|id| id == image));
    Ok(report)
}

fn tell(report: &SaveReport, store: &Images, file: &Path, session: &Session<'_>) -> Result<(), Failure> {
    let mut images: Vec<Value> = Vec::new();
    let mut rows = Vec::new();
    for (id, names) in &report.images {
        let image = store.image_by_id(*id)?;
        images.push(json!({
            "image": id.to_string(),
            "content": image.manifest().content.to_string(),
            "names": names.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "size": image.size(),
        }));
        rows.push(vec![names_text(names), format!("@{}", id.short()), human(image.size())]);
    }
    let text = format!(
        "{}{}: {} ({} bytes)\n",
        table(&rows, &[2]),
        file.display(),
        human(report.bytes),
        report.bytes
    );
    let left = note_rest(file, report.bytes, session);
    let json = json!({ "images": images, "bytes": report.bytes, "left_bytes": left });
    Ok(session.out().summary(&json, &text)?)
}
