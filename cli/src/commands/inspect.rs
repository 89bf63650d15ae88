//! `melv inspect`: describes an image or a file.

use std::path::PathBuf;

use serde_json::Value;

use super::inspect_bundle::{BundleFacts, table_of};
use super::{inspect_file, inspect_image};
use crate::bundle_ref::BundleRef;
use crate::bundled_image::BundledImage;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::opened_image::OpenedImage;
use crate::operand::Operand;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  $ melv inspect web
  $ melv inspect web --all
  $ melv inspect web.melv
  $ melv inspect ./disk.vmdk --json

For a VMDK that is a difference to a parent disk, only the type, the size and the parent are shown. With
--json, \"parent\" has the fields \"file\", \"cid\", \"uuid\" and \"other\"; unknown ones are null.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Image of the store or of a bundle, or else a bundle or any other file
    #[arg(value_name = "REF|FILE")]
    what: String,
    /// List all names, ancestors and sharing images, not only the first ones
    #[arg(long)]
    all: bool,
}

pub fn run(args: &Args, session: &Session<'_>) -> Result<Exit, Failure> {
    let bundle = BundleRef::of_reference(&args.what)?.map_or_else(
        || match Operand::find(&args.what, session)? {
            Operand::Image(found) => Ok(What::Image(found)),
            Operand::File(path) => BundleRef::of_file(&path)
                .map(|bundle| bundle.map_or_else(|| What::File(path.clone()), What::Bundle)),
        },
        |bundle| Ok(What::Bundle(bundle)),
    )?;
    let (json, text, exit) = match bundle {
        What::Image(found) => inspect_image::describe(&found, args.all)?,
        What::Bundle(bundle) => describe_bundle(&bundle, args.all, session)?,
        What::File(path) => {
            let (json, text) = inspect_file::describe(&path, session)?;
            (json, text, Exit::Done)
        }
    };
    session.out().data(&json, &text)?;
    Ok(exit)
}

/// The operand to describe.
enum What {
    Image(Box<OpenedImage>),
    Bundle(BundleRef),
    File(PathBuf),
}

/// Describes the named or only image of a bundle together with the bundle, or lists its several images.
fn describe_bundle(
    bundle: &BundleRef,
    all: bool,
    session: &Session<'_>,
) -> Result<(Value, String, Exit), Failure> {
    let store = bundle.open(session)?;
    let file = BundleFacts::of(&bundle.path)?;
    match bundle.image_of(store) {
        Ok(found) => {
            let (mut json, text, exit) = inspect_image::describe(&found, all)?;
            json["bundle"] = file.json();
            Ok((json, format!("{}{text}", file.text()), exit))
        }
        Err(Failure::SeveralImages { images, .. }) => {
            let mut json = file.json();
            json["images"] = images.iter().map(BundledImage::json).collect();
            Ok((json, format!("{}{}", file.text(), table_of(&images)), Exit::Done))
        }
        Err(failure) => Err(failure),
    }
}
