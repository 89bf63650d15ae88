//! `melv rm`: removes names.

use melv::RefName;
use serde_json::json;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  $ melv rm web
  $ melv rm web:latest base --json

This removes names only. An image without a name stays in the store and counts as dead in `melv df`. The
printed id can give it a new name, as in `melv tag @IMAGE-ID web`.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Names to remove
    #[arg(value_name = "N[:T]", required = true)]
    names: Vec<String>,
}

pub fn run(args: &Args, session: &Session<'_>) -> Result<Exit, Failure> {
    let mut names = Vec::new();
    for name in &args.names {
        let name: RefName = name.parse()?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let store = session.store()?;
    // Remove all names or none, unless another process removes one meanwhile. Damaged records can be removed,
    // too.
    for name in &names {
        if let Err(error) = store.named(name)
            && error.is_not_found()
        {
            return Err(error.into());
        }
    }
    let mut removed = Vec::new();
    let mut text = String::new();
    for name in names {
        let image = store.untag(&name)?;
        let was = image.map_or("its record was damaged".into(), |image| format!("was @{}", image.short()));
        text.push_str(&format!("{name} removed; {was}\n"));
        removed.push(json!({ "name": name.to_string(), "image": image.map(|image| image.to_string()) }));
    }
    let json = match removed.as_slice() {
        [only] => only.clone(),
        several => json!({ "removed": several }),
    };
    session.out().summary(&json, &text)?;
    Ok(Exit::Done)
}
