//! The rows of the table: figures beside their floors and limits.

use super::Report;
use super::limits::{Better, Figure, GROUPS, Limits, figures};
use super::record::Value;

/// Rows on one topic.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub title: &'static str,
    pub rows: Vec<Row<'a>>,
}

/// One figure.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub name: &'a str,
    pub title: &'a str,
    pub unit: &'a str,
    pub measured: Option<f64>,
    pub floor: Option<f64>,
    pub better: Better,
    pub limits: Limits,
    pub verdict: Verdict,
    /// The samples of a ratio.
    pub samples: &'a [f64],
}

/// The result of holding a figure against its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The aim is met.
    Aim,
    /// The limit is met.
    Ok,
    Short,
    Missing,
    /// There is no limit.
    Free,
}

impl Verdict {
    /// Returns the word for tables.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Aim | Self::Ok => "ok",
            Self::Short => "short",
            Self::Missing => "missing",
            Self::Free => "",
        }
    }

    fn of(measured: Option<f64>, better: Better, limits: Limits) -> Self {
        let Some(value) = measured else { return Self::Missing };
        let meets = |limit: Option<f64>| limit.map(|limit| better.meets(value, limit));
        match (meets(limits.must), meets(limits.aim)) {
            (None, _) => Self::Free,
            (Some(false), _) => Self::Short,
            (Some(true), Some(true)) => Self::Aim,
            (Some(true), _) => Self::Ok,
        }
    }
}

/// Returns the rows: required figures, other figures, then floors without a figure.
pub(super) fn groups(report: &Report) -> Vec<Group<'_>> {
    let mut groups: Vec<_> = GROUPS
        .iter()
        .map(|(title, figures)| Group {
            title,
            rows: figures.iter().map(|figure| known(report, figure)).collect(),
        })
        .collect();
    let is_known = |name: &str| figures().any(|figure| figure.name == name);
    let others = report.entries.iter().filter(|entry| !matches!(entry.value, Value::Text(_)));
    let (mut floors, mut numbers) = (Vec::new(), Vec::new());
    for name in others.map(|entry| entry.name.as_str()).filter(|name| !is_known(name)) {
        match name.strip_prefix("floor_") {
            Some(of) if report.entry(of).is_some() || is_known(of) => {}
            Some(_) => {
                floors.push(Row { floor: report.value(name), measured: None, ..other(report, name) });
            }
            None => numbers.push(other(report, name)),
        }
    }
    groups.push(Group { title: "Further figures", rows: numbers });
    groups.push(Group { title: "Further floors", rows: floors });
    groups.retain(|group| !group.rows.is_empty());
    groups
}

fn known<'a>(report: &'a Report, figure: &'a Figure) -> Row<'a> {
    let limits = figure.limits_in(|field| report.value(field));
    let row = other(report, figure.name);
    Row {
        title: figure.title,
        unit: figure.unit,
        better: figure.better,
        limits,
        verdict: Verdict::of(row.measured, figure.better, limits),
        ..row
    }
}

fn other<'a>(report: &'a Report, name: &'a str) -> Row<'a> {
    let (samples, of_floor) = match report.entry(name).map(|entry| &entry.value) {
        Some(Value::Ratio(samples, floor)) => (samples.as_slice(), floor.map(|_| 1.0)),
        _ => (&[][..], None),
    };
    Row {
        name,
        title: "",
        unit: unit_of(name),
        measured: report.value(name),
        floor: report.value(&format!("floor_{name}")).or(of_floor),
        better: Better::Lower,
        limits: Limits { must: None, aim: None },
        verdict: Verdict::Free,
        samples,
    }
}

/// Returns the unit of the name's suffix.
fn unit_of(name: &str) -> &'static str {
    let units = [
        ("_ns", "ns"),
        ("_us", "µs"),
        ("_ms", "ms"),
        ("_s", "s"),
        ("_mbps", "MB/s"),
        ("_gbps", "GB/s"),
        ("_kib", "KiB"),
        ("_mib", "MiB"),
        ("_gib", "GiB"),
        ("_bytes", "B"),
        ("_percent", "%"),
    ];
    units.iter().find(|(end, _)| name.ends_with(end)).map_or("", |(_, unit)| unit)
}
