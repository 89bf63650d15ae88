//! The end of a run: the exit code, and a failure as text for people or JSON for programs.

use std::process::ExitCode;

use melv::{Candidate, StoreError};
use serde_json::json;

use crate::bundled_image::{BundledImage, names_text};
use crate::cause::chain;
use crate::color::is_colored;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::globals::Globals;
use crate::hint::hint_of;
use crate::log::{self, Urgency, note};
use crate::store_path::failure_in_store;
use crate::table::table;
use crate::units::human;
use crate::width;

/// Reports the failure, if there is one, and returns the exit code of the process.
pub fn finish(globals: &Globals, result: Result<Exit, Failure>) -> ExitCode {
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            let failure = failure_in_store(failure);
            tell(globals, &failure);
            failure.exit().into()
        }
    }
}

fn tell(globals: &Globals, failure: &Failure) {
    let exit = failure.exit();
    if matches!(failure, Failure::ReaderGone) {
        return;
    }
    let text = if exit == Exit::Interrupted { "interrupted".into() } else { chain(failure) };
    let hint = hint_of(failure);
    if globals.json {
        let mut json = json!({ "error": text, "hint": hint, "code": exit as u8 });
        match failure {
            Failure::SeveralImages { images, .. } => {
                json["images"] = images.iter().map(BundledImage::json).collect();
            }
            Failure::Melv(error) => {
                if let Some(StoreError::Ambiguous { candidates, .. }) = error.detail() {
                    let image =
                        |image: &Candidate| json!({ "image": image.image.to_string(), "names": image.names });
                    json["images"] = candidates.iter().map(image).collect();
                }
            }
            _ => {}
        }
        log::write(Urgency::Error, &json.to_string());
        return;
    }
    let (strong, faint, plain) =
        if is_colored(globals.color) { ("\x1b[1;31m", "\x1b[36m", "\x1b[0m") } else { ("", "", "") };
    log::write(Urgency::Error, &format!("{strong}melv:{plain} {text}"));
    let rows = choices(failure);
    if !rows.is_empty() {
        note(table(&rows, &[2], width::of_stderr()).trim_end());
    }
    if let Some(hint) = hint {
        note(&format!("{faint}hint:{plain} {hint}"));
    }
}

/// Returns the images to choose from, as rows of a table.
fn choices(failure: &Failure) -> Vec<Vec<String>> {
    match failure {
        Failure::SeveralImages { images, .. } => {
            let row =
                |image: &BundledImage| vec![image.names(), format!("@{}", image.image), human(image.size)];
            images.iter().map(row).collect()
        }
        Failure::Melv(error) => {
            let Some(StoreError::Ambiguous { candidates, count, .. }) = error.detail() else {
                return Vec::new();
            };
            let row = |image: &Candidate| vec![names_text(&image.names), format!("@{}", image.image)];
            let mut rows: Vec<_> = candidates.iter().map(row).collect();
            if *count > candidates.len() {
                rows.push(vec![format!("and {} more", count - candidates.len())]);
            }
            rows
        }
        _ => Vec::new(),
    }
}
