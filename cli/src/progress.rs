//! The progress of long work: a bar on a terminal, lines for a log, or nothing.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::color::is_dumb;
use crate::globals::{Globals, ProgressMode};
use crate::log::note;
use crate::units::human;

/// The minimum interval between lines.
const LINE_EVERY: Duration = Duration::from_secs(1);
/// The maximum interval between lines.
const LINE_AT_LEAST_EVERY: Duration = Duration::from_secs(10);
/// The increase in percent that makes a line due before that.
const LINE_PERCENT: u64 = 5;

/// The unit of progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Chunks and pages.
    Objects,
}

/// The progress of one piece of work, reported from any thread.
#[derive(Debug)]
pub struct Progress {
    label: String,
    unit: Unit,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Bar(ProgressBar),
    Lines(Mutex<Lines>),
    Nothing,
}

#[derive(Debug)]
struct Lines {
    last: Instant,
    last_percent: u64,
    done: u64,
    total: Option<u64>,
    /// The last printed line.
    said: Option<String>,
}

impl Progress {
    /// Creates the progress of the work called `label`, counted in `unit`.
    pub fn new(globals: &Globals, label: String, unit: Unit) -> Self {
        let kind = match globals.progress {
            _ if globals.quiet => Kind::Nothing,
            ProgressMode::None => Kind::Nothing,
            ProgressMode::Auto if std::io::stderr().is_terminal() && !is_dumb() => {
                Kind::Bar(ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10)))
            }
            ProgressMode::Auto => Kind::Nothing,
            ProgressMode::Plain => Kind::Lines(Mutex::new(Lines {
                last: Instant::now(),
                last_percent: 0,
                done: 0,
                total: None,
                said: None,
            })),
        };
        let progress = Self { label, unit, kind };
        progress.style(None);
        progress
    }

    fn style(&self, total: Option<u64>) {
        let Kind::Bar(bar) = &self.kind else { return };
        let template = match (self.unit, total) {
            (Unit::Bytes, Some(_)) => "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            (Unit::Bytes, None) => "{msg} {spinner} {bytes} {bytes_per_sec}",
            (Unit::Objects, _) => "{msg} {spinner} {human_pos} chunks and pages",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(self.label.clone());
    }

    /// Reports the amount done and, if known, the total.
    pub fn update(&self, done: u64, total: Option<u64>) {
        match &self.kind {
            Kind::Nothing => {}
            Kind::Bar(bar) => {
                if total.is_some() && bar.length() != total {
                    bar.set_length(total.unwrap_or(0));
                    self.style(total);
                }
                bar.set_position(done);
            }
            Kind::Lines(lines) => {
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                // Threads may report their steps out of order.
                lines.done = lines.done.max(done);
                lines.total = total.or(lines.total);
                if lines.is_due() {
                    lines.last = Instant::now();
                    lines.last_percent = lines.percent();
                    let text = lines.text(self.unit);
                    self.line(&text);
                    lines.said = Some(text);
                }
            }
        }
    }

    fn line(&self, text: &str) {
        note(&format!("{}: {text}", self.label));
    }
}

impl Lines {
    fn percent(&self) -> u64 {
        match self.total {
            Some(total) if total > 0 => (u128::from(self.done) * 100 / u128::from(total)) as u64,
            _ => 0,
        }
    }

    fn is_due(&self) -> bool {
        let waited = self.last.elapsed();
        waited >= LINE_AT_LEAST_EVERY
            || waited >= LINE_EVERY
                && (self.total.is_none() || self.percent() >= self.last_percent + LINE_PERCENT)
    }

    fn text(&self, unit: Unit) -> String {
        match (unit, self.total) {
            (Unit::Bytes, Some(total)) => {
                format!("{} % ({} of {})", self.percent(), human(self.done), human(total))
            }
            (Unit::Bytes, None) => human(self.done),
            (Unit::Objects, _) => format!("{} chunks and pages", self.done),
        }
    }
}

/// Clears the bar, or prints a last line with the final amount.
impl Drop for Progress {
    fn drop(&mut self) {
        match &self.kind {
            Kind::Nothing => {}
            Kind::Bar(bar) => bar.finish_and_clear(),
            Kind::Lines(lines) => {
                let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                let text = lines.text(self.unit);
                if lines.said.as_ref() != Some(&text) {
                    self.line(&text);
                }
            }
        }
    }
}
