//! `melv ls`: lists the named images, including damaged ones.

use std::io::IsTerminal;
use std::time::{SystemTime, UNIX_EPOCH};

use melv::{NamedImage, RefName, Store};
use serde_json::{Value, json};

use crate::cause::chain;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::log::note;
use crate::order::natural;
use crate::session::Session;
use crate::store_path::in_store;
use crate::table::table;
use crate::times::{ago, rfc3339};
use crate::units::human;
use crate::width;

pub const HELP: &str = "\
Examples:
  $ melv ls
  $ melv ls --json

The table fits the terminal, or the width in COLUMNS, with shortened names and relative times. A pipe gets
full names and times. CREATED is the time at which the image came into the store.";

const HEADINGS: [&str; 4] = ["NAME", "IMAGE", "SIZE", "CREATED"];

pub fn run(session: &Session<'_>) -> Result<Exit, Failure> {
    let store = session.store()?;
    let mut references = store.names()?;
    references.sort_by(|(one, _), (other, _)| natural(one, other));
    let mut rows = Vec::new();
    let mut images = Vec::new();
    let mut exit = Exit::Done;
    for (name, named) in references {
        let (json, row, error) = describe(&store, &name, named);
        images.push(json);
        rows.push(row);
        if let Some(error) = error {
            note(&format!("melv: {name}: {}", chain(&in_store(error))));
            exit = Exit::Damage;
        }
    }
    session.out().data(&json!({ "images": images, "clones": [] }), &text(&rows))?;
    Ok(exit)
}

/// An image as a row of the table.
struct Row {
    name: String,
    image: String,
    size: String,
    created_seconds: Option<u64>,
}

/// Formats the table. Times are relative on a terminal, and wherever exact ones do not fit.
fn text(rows: &[Row]) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let unknown = || "?".to_owned();
    let cells = |time: &dyn Fn(u64) -> String| {
        let row = |row: &Row| {
            let created = row.created_seconds.map_or_else(unknown, time);
            vec![row.name.clone(), row.image.clone(), row.size.clone(), created]
        };
        let mut cells = vec![HEADINGS.map(String::from).to_vec()];
        cells.extend(rows.iter().map(row));
        cells
    };
    let width = width::of_stdout();
    let exact = cells(&rfc3339);
    let fits = |width| table(&exact, &[2], None).lines().all(|line| width::columns(line) <= width);
    if !std::io::stdout().is_terminal() && width.is_none_or(fits) {
        return table(&exact, &[2], width);
    }
    table(&cells(&|seconds| ago(seconds, now)), &[2], width)
}

/// Describes an image as JSON and as a row, as far as it can be read.
fn describe(
    store: &Store,
    name: &RefName,
    named: melv::Result<NamedImage>,
) -> (Value, Row, Option<melv::Error>) {
    let mut json =
        json!({ "name": name.to_string(), "image": null, "content": null, "size": null, "created": null });
    let mut row =
        Row { name: name.to_string(), image: "damaged".into(), size: "?".into(), created_seconds: None };
    let named = match named {
        Ok(named) => named,
        Err(error) => return (json, row, Some(error)),
    };
    json["image"] = named.image.to_string().into();
    json["created"] = rfc3339(named.created_seconds).into();
    row.image = named.image.short();
    row.created_seconds = Some(named.created_seconds);
    match store.image_by_id(named.image) {
        Ok(image) => {
            let manifest = image.manifest();
            json["content"] = manifest.content.to_string().into();
            json["size"] = manifest.geometry.size_bytes.into();
            row.size = human(manifest.geometry.size_bytes);
            (json, row, None)
        }
        Err(error) => {
            row.size = "damaged".into();
            (json, row, Some(error))
        }
    }
}
