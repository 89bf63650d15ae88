//! The report itself, as filled by the measurements.

use super::facts::Facts;
use super::limits::{Better, figures};
use super::samples;

/// Names that no figure may have.
pub(super) const RESERVED: [&str; 9] =
    ["commit", "dirty", "date", "runs", "machine", "broken", "broken_because", "limits", "plots"];

/// A run of the benches, as it is filled; see the module.
#[derive(Debug, Clone)]
pub struct Report {
    pub(super) runs: usize,
    pub(super) facts: Facts,
    /// The values, in the order of insertion.
    pub(super) entries: Vec<Entry>,
    pub(super) latencies: Vec<Latencies>,
    pub(super) throughput: Vec<Throughput>,
    pub(super) frontier: Vec<FrontierPoint>,
    reasons: Vec<String>,
}

/// The stored size and read time of one chunk size and compression level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrontierPoint {
    /// The size of a chunk, in KiB.
    pub chunk_kib: u32,
    /// The compression level.
    pub level: i32,
    /// The stored size, in MiB.
    pub stored_mib: f64,
    /// The time of a cold read of 4 KiB, in microseconds.
    pub cold_us: f64,
    /// Whether this is melv's default.
    pub is_default: bool,
}

/// A value under its name in the JSON.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub name: String,
    pub value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Number(f64),
    Text(String),
    /// Samples of paired runs; for a ratio to a floor, also the direction that beats it.
    Ratio(Vec<f64>, Option<Better>),
}

/// A distribution of latencies: shares and nanoseconds, ascending.
#[derive(Debug, Clone)]
pub(super) struct Latencies {
    pub series: String,
    pub quantiles: Vec<(f64, u64)>,
}

/// Threads and MB/s, sorted by threads.
#[derive(Debug, Clone)]
pub(super) struct Throughput {
    pub series: String,
    pub points: Vec<(u32, f64)>,
}

impl Report {
    /// Makes an empty report of `runs` paired runs per ratio, with the current commit, machine and time.
    #[must_use]
    pub fn new(runs: usize) -> Self {
        Self::of(runs, Facts::find())
    }

    pub(super) fn of(runs: usize, facts: Facts) -> Self {
        let mut report = Self {
            runs,
            facts,
            entries: Vec::new(),
            latencies: Vec::new(),
            throughput: Vec::new(),
            frontier: Vec::new(),
            reasons: Vec::new(),
        };
        if report.facts.commit.is_none() {
            report.broken("git does not say which commit this is".into());
        }
        report
    }

    /// Adds a figure.
    pub fn number(&mut self, name: &str, value: f64) {
        if !value.is_finite() {
            self.broken(format!("{name}: not a number"));
        }
        self.put(name, Value::Number(value));
    }

    /// Adds a floor as `floor_NAME`, in the unit of its figure. It is shown beside the figure NAME if there
    /// is one.
    pub fn floor(&mut self, name: &str, value: f64) {
        self.number(&format!("floor_{name}"), value);
    }

    /// Adds the ratios of paired runs: the median as NAME, all of them as `NAME_samples`. Fewer than nine
    /// break the report.
    pub fn ratio(&mut self, name: &str, samples: Vec<f64>) {
        self.put_ratio(name, samples, None);
    }

    /// Does the same as [`Self::ratio`] for ratios to a floor. A median that beats the floor by more than 3 %
    /// in the direction `better` breaks the report: the floor is wrong.
    pub fn ratio_to_floor(&mut self, name: &str, samples: Vec<f64>, better: Better) {
        self.put_ratio(name, samples, Some(better));
    }

    /// Records a reason not to trust this report's figures.
    pub fn broken(&mut self, why: String) {
        self.reasons.push(why);
    }

    /// Adds a text.
    pub fn text(&mut self, name: &str, value: &str) {
        self.put(name, Value::Text(value.into()));
    }

    /// Adds the latencies of all reads of a series. A series named `floor…` is drawn dashed.
    pub fn latencies(&mut self, series: &str, nanos: Vec<u64>) {
        let known = self.latencies.iter().any(|known| known.series == series);
        self.check_series(series, known, nanos.is_empty());
        self.latencies.push(Latencies { series: series.into(), quantiles: samples::quantiles(nanos) });
    }

    /// Adds MB/s by threads. A series named `floor…` is drawn dashed.
    pub fn throughput(&mut self, series: &str, mut points: Vec<(u32, f64)>) {
        let known = self.throughput.iter().any(|known| known.series == series);
        self.check_series(series, known, points.is_empty());
        if points.iter().any(|(_, mbps)| !mbps.is_finite()) {
            self.broken(format!("series {series}: not a number"));
        }
        points.sort_by_key(|(threads, _)| *threads);
        self.throughput.push(Throughput { series: series.into(), points });
    }

    /// Adds points of size against cold latency to those of earlier calls.
    pub fn frontier(&mut self, points: Vec<FrontierPoint>) {
        if points.iter().any(|point| !(point.stored_mib.is_finite() && point.cold_us.is_finite())) {
            self.broken("frontier: not a number".into());
        }
        self.frontier.extend(points);
    }

    /// Whether the figures cannot be trusted. A report is broken until it has every required figure.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        !self.reasons().is_empty()
    }

    /// Returns the reasons that the report is broken: first the recorded ones, then the missing figures.
    pub(super) fn reasons(&self) -> Vec<String> {
        let missing: Vec<_> =
            figures().map(|figure| figure.name).filter(|name| self.value(name).is_none()).collect();
        let mut reasons = self.reasons.clone();
        if !missing.is_empty() {
            reasons.push(format!("missing: {}", missing.join(", ")));
        }
        reasons
    }

    /// Returns the number under a name; for ratios, the median.
    pub(super) fn value(&self, name: &str) -> Option<f64> {
        match &self.entry(name)?.value {
            Value::Number(number) => Some(*number),
            Value::Ratio(samples, _) => Some(samples::median(samples)),
            Value::Text(_) => None,
        }
    }

    pub(super) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    fn put_ratio(&mut self, name: &str, samples: Vec<f64>, floor: Option<Better>) {
        self.reasons.extend(samples::faults(name, &samples, floor));
        self.put(name, Value::Ratio(samples, floor));
    }

    fn put(&mut self, name: &str, value: Value) {
        let samples_of = name.strip_suffix("_samples").and_then(|name| self.entry(name));
        if samples_of.is_some() || self.entry(name).is_some() || RESERVED.contains(&name) {
            return self.broken(format!("{name}: given twice; the first stands"));
        }
        self.entries.push(Entry { name: name.into(), value });
    }

    fn check_series(&mut self, series: &str, known: bool, empty: bool) {
        if known {
            self.broken(format!("series {series}: given twice"));
        }
        if empty {
            self.broken(format!("series {series}: empty"));
        }
    }
}
