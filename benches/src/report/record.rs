//! The report itself: what measurements put in.

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
    /// In the order they came.
    pub(super) entries: Vec<Entry>,
    pub(super) latencies: Vec<Latencies>,
    pub(super) throughput: Vec<Throughput>,
    pub(super) frontier: Vec<FrontierPoint>,
    reasons: Vec<String>,
}

/// What one chunk size and level of compression make of the disks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrontierPoint {
    /// Size of a chunk.
    pub chunk_kib: u32,
    /// Level of compression.
    pub level: i32,
    /// What the store then takes.
    pub stored_mib: f64,
    /// What a cold read of 4 KiB then takes.
    pub cold_us: f64,
    /// Whether this is what melv does unless told otherwise.
    pub is_default: bool,
}

/// A named value under its name in the JSON.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub name: String,
    pub value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Number(f64),
    Text(String),
    /// Samples of paired runs; the direction that beats, where the ratio is one to a floor.
    Ratio(Vec<f64>, Option<Better>),
}

/// A distribution of latencies: shares and nanoseconds, rising.
#[derive(Debug, Clone)]
pub(super) struct Latencies {
    pub series: String,
    pub quantiles: Vec<(f64, u64)>,
}

/// Threads and MB/s, by threads.
#[derive(Debug, Clone)]
pub(super) struct Throughput {
    pub series: String,
    pub points: Vec<(u32, f64)>,
}

impl Report {
    /// An empty report of `runs` paired runs per ratio, of this commit, machine and moment.
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

    /// Puts in a figure.
    pub fn number(&mut self, name: &str, value: f64) {
        if !value.is_finite() {
            self.broken(format!("{name}: not a number"));
        }
        self.put(name, Value::Number(value));
    }

    /// Puts in a floor, in the unit of what it is the floor of, as `floor_NAME`. It is shown beside the
    /// figure NAME where there is one.
    pub fn floor(&mut self, name: &str, value: f64) {
        self.number(&format!("floor_{name}"), value);
    }

    /// Puts in the ratios of paired runs: the median as NAME, all of them as `NAME_samples`. Fewer than
    /// nine break the report.
    pub fn ratio(&mut self, name: &str, samples: Vec<f64>) {
        self.put_ratio(name, samples, None);
    }

    /// As [`Self::ratio`], of ratios to a floor: a median that beats it by more than 3 % in the direction
    /// `better` breaks the report, as then the floor is no floor.
    pub fn ratio_to_floor(&mut self, name: &str, samples: Vec<f64>, better: Better) {
        self.put_ratio(name, samples, Some(better));
    }

    /// Says that this report's figures cannot be trusted, and why.
    pub fn broken(&mut self, why: String) {
        self.reasons.push(why);
    }

    /// Puts in words.
    pub fn text(&mut self, name: &str, value: &str) {
        self.put(name, Value::Text(value.into()));
    }

    /// Puts in the latencies of all reads of a series. One named `floor…` is drawn dashed.
    pub fn latencies(&mut self, series: &str, nanos: Vec<u64>) {
        let known = self.latencies.iter().any(|known| known.series == series);
        self.check_series(series, known, nanos.is_empty());
        self.latencies.push(Latencies { series: series.into(), quantiles: samples::quantiles(nanos) });
    }

    /// Puts in MB/s by threads. A series named `floor…` is drawn dashed.
    pub fn throughput(&mut self, series: &str, mut points: Vec<(u32, f64)>) {
        let known = self.throughput.iter().any(|known| known.series == series);
        self.check_series(series, known, points.is_empty());
        if points.iter().any(|(_, mbps)| !mbps.is_finite()) {
            self.broken(format!("series {series}: not a number"));
        }
        points.sort_by_key(|(threads, _)| *threads);
        self.throughput.push(Throughput { series: series.into(), points });
    }

    /// Puts in size against cold latency; further calls add points.
    pub fn frontier(&mut self, points: Vec<FrontierPoint>) {
        if points.iter().any(|point| !(point.stored_mib.is_finite() && point.cold_us.is_finite())) {
            self.broken("frontier: not a number".into());
        }
        self.frontier.extend(points);
    }

    /// Whether the figures cannot be trusted. A report is broken until it has every figure that it must.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        !self.reasons().is_empty()
    }

    /// Why the report is broken: what was found on the way, then what is missing.
    pub(super) fn reasons(&self) -> Vec<String> {
        let missing: Vec<_> =
            figures().map(|figure| figure.name).filter(|name| self.value(name).is_none()).collect();
        let mut reasons = self.reasons.clone();
        if !missing.is_empty() {
            reasons.push(format!("missing: {}", missing.join(", ")));
        }
        reasons
    }

    /// The number under a name, the median for ratios.
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
