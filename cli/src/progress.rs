//! How far long work is: a bar on a terminal, lines for a log, or nothing.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::args::{Globals, ProgressMode};
use crate::exit::is_dumb;
use crate::report::{human, note};

/// At most a line in so long,
const LINE_EVERY: Duration = Duration::from_secs(1);
/// and at least one in so long,
const LINE_AT_LEAST_EVERY: Duration = Duration::from_secs(10);
/// or when so many percent more are done.
const LINE_PERCENT: u64 = 5;

/// What progress is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Chunks and pages.
    Objects,
}

/// The progress of one piece of work, told from any thread.
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
    /// The last line that was printed.
    said: Option<String>,
}

impl Progress {
    /// Of work called `label`, counted in `unit`.
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

    /// So much is done, of so much in all where that is known.
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
                // Threads may tell of their steps out of order.
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

/// The end: the bar goes, the last line says how far it came.
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
