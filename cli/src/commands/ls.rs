//! `melv ls`: what the store holds. What is damaged is listed all the same.

use melv::{NamedImage, RefName, Store};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure, chain};
use crate::report::{human, note, rfc3339, table};
use crate::session::Session;

pub fn run(session: &Session<'_>) -> Result<Exit, Failure> {
    let store = session.store()?;
    let mut rows = vec![["NAME", "IMAGE", "SIZE", "CREATED"].map(String::from).to_vec()];
    let mut images = Vec::new();
    let mut exit = Exit::Done;
    for (name, named) in store.references()? {
        let (json, row, error) = describe(&store, &name, named);
        images.push(json);
        rows.push(row);
        if let Some(error) = error {
            note(&format!("melv: {name}: {}", chain(&error)));
            exit = Exit::Damage;
        }
    }
    session.out().data(&json!({ "images": images, "clones": [] }), &table(&rows, &[2]))?;
    Ok(exit)
}

/// An image as JSON and as a row, as far as it can be read.
fn describe(
    store: &Store,
    name: &RefName,
    named: melv::Result<NamedImage>,
) -> (Value, Vec<String>, Option<melv::Error>) {
    let mut json =
        json!({ "name": name.to_string(), "image": null, "content": null, "size": null, "created": null });
    let unknown = || "?".to_owned();
    let mut row = vec![name.to_string(), "damaged".into(), unknown(), unknown()];
    let named = match named {
        Ok(named) => named,
        Err(error) => return (json, row, Some(error)),
    };
    let created = rfc3339(named.created_seconds);
    json["image"] = named.image.to_string().into();
    json["created"] = created.as_str().into();
    row[1] = named.image.short();
    row[3] = created;
    match store.image_by_id(named.image) {
        Ok(image) => {
            let manifest = image.manifest();
            json["content"] = manifest.content.to_string().into();
            json["size"] = manifest.geometry.size_bytes.into();
            row[2] = human(manifest.geometry.size_bytes);
            (json, row, None)
        }
        Err(error) => {
            row[2] = "damaged".into();
            (json, row, Some(error))
        }
    }
}
