//! Collects the warnings of the library for the JSON of a command.

use std::fmt::{Debug, Write};
use std::sync::{Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// The maximum number of kept warnings; more add no information.
const KEPT_MAX: usize = 1000;

static HEARD: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A log layer that keeps the warnings.
#[derive(Debug)]
pub struct Heard;

impl<S: Subscriber> Layer<S> for Heard {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let mut heard = HEARD.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.len() < KEPT_MAX {
            heard.push(line.message + &line.fields);
        }
    }
}

/// Takes the warnings collected so far.
pub fn take() -> Vec<String> {
    std::mem::take(&mut *HEARD.lock().unwrap_or_else(PoisonError::into_inner))
}

/// An event as text: its message, then its fields.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::filter::LevelFilter;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn warnings_are_kept_with_their_fields_and_nothing_less() {
        let log = tracing_subscriber::registry().with(Heard.with_filter(LevelFilter::WARN));
        tracing::subscriber::with_default(log, || {
            tracing::info!("nothing of note");
            tracing::warn!(list = 7, error = %"bad", "not shared with");
        });
        assert_eq!(take(), ["not shared with list=7 error=bad"]);
        assert!(take().is_empty());
    }
}
