//! `melv rm`: names are taken away.

use std::collections::BTreeMap;

use melv::{Error, RefName};
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  $ melv rm web
  $ melv rm web:latest base --json";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Names to take away
    #[arg(value_name = "N[:T]", required = true)]
    names: Vec<String>,
}

pub fn run(args: &Args, session: &Session<'_>) -> Result<Exit, Failure> {
    let names = args.names.iter().map(|name| name.parse()).collect::<melv::Result<Vec<RefName>>>()?;
    let store = session.store()?;
    let held: BTreeMap<_, _> = store.references()?.into_iter().collect();
    // All or none, as far as nobody else removes one meanwhile.
    if let Some(missing) = names.iter().find(|name| !held.contains_key(name)) {
        return Err(Error::NotFound { what: "image", name: missing.to_string() }.into());
    }
    let mut removed = Vec::new();
    let mut text = String::new();
    for name in names {
        store.remove(&name)?;
        text.push_str(&format!("{name} removed\n"));
        // A damaged record has no image to tell of, but is removed like any other.
        let image =
            held.get(&name).and_then(|named| named.as_ref().ok()).map(|named| named.image.to_string());
        removed.push(json!({ "name": name.to_string(), "image": image }));
    }
    let json = match removed.as_slice() {
        [only] => only.clone(),
        several => json!({ "removed": several }),
    };
    session.out().summary(&json, &text)?;
    Ok(Exit::Done)
}
