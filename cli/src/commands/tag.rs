//! `melv tag`: adds a name to an image.

use serde_json::json;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::naming::new_name;
use crate::operand::stored_ref;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  $ melv tag web web:stable
  $ melv tag web web:stable --replace

The new name keeps the time of the old one, so that `melv ls` shows when the image came into the store.
To name an image of a bundle, load the bundle first.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Image of the store to name
    #[arg(value_name = "REF")]
    image: String,
    /// Name to add
    #[arg(value_name = "N[:T]")]
    name: String,
    /// Take the name from the image that has it
    #[arg(long)]
    replace: bool,
}

pub fn run(args: &Args, session: &Session<'_>) -> Result<Exit, Failure> {
    let image = stored_ref(&args.image)?;
    let name = new_name(&args.name)?;
    let id = session.store()?.tag(&image, &name, args.replace)?;
    let json = json!({ "name": name.to_string(), "image": id.to_string() });
    session.out().summary(&json, &format!("{name}  @{}\n", id.short()))?;
    Ok(Exit::Done)
}
