//! The damaged objects, each once, regardless of the number of affected images and places.

use std::collections::BTreeMap;

use crate::error::{BlockError, Error, StoreError};

/// A damaged object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedObject {
    /// The name in the store.
    pub object: String,
    /// The first problem found, with its place.
    pub reason: String,
    /// The number of problems found: chunks unreadable because of the object, or failed checks.
    pub places: u64,
}

/// The damaged objects found so far. Memory: a few hundred bytes for each.
#[derive(Debug, Default)]
pub(super) struct Objects(BTreeMap<String, (String, u64)>);

impl Objects {
    /// Records damage of `object` in `places` places.
    pub fn note(&mut self, object: &str, places: u64, reason: impl FnOnce() -> String) {
        match self.0.get_mut(object) {
            Some((_, found)) => *found = found.saturating_add(places),
            None => drop(self.0.insert(object.to_owned(), (reason(), places))),
        }
    }

    /// Records the object that an error is about.
    pub fn note_error(&mut self, error: &Error) {
        if let Some(object) = object_of(error) {
            self.note(object, 1, || text_of(error));
        }
    }

    /// Returns all damaged objects, in ascending order of names.
    pub fn finish(self) -> Vec<DamagedObject> {
        let object = |(object, (reason, places))| DamagedObject { object, reason, places };
        self.0.into_iter().map(object).collect()
    }
}

/// Returns the object that an error is about.
pub(super) fn object_of(error: &Error) -> Option<&str> {
    let named = match error.detail() {
        Some(StoreError::Corrupt { object, .. } | StoreError::Unreadable { object, .. }) => Some(object),
        Some(StoreError::NotFound { name, .. }) => Some(name),
        Some(StoreError::Gone { object, .. }) => Some(object),
        _ => None,
    };
    named.map(String::as_str).or_else(|| match error.detail()? {
        BlockError::Unsupported { object, .. } => Some(object.as_str()),
        // The place of a read follows the object's name, which has no blank.
        BlockError::Io { object, .. } => object.split(' ').next(),
        _ => None,
    })
}

/// Formats the error and its causes in one line.
pub(super) fn text_of(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
