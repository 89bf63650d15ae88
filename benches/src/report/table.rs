//! The table on standard output.

use std::fmt::Write as _;

use super::numbers;
use super::rows::{Group, Row};

const HEADS: [&str; 6] = ["figure", "measured", "floor", "must", "aim", ""];

/// Returns the table, then the reasons if the report is broken.
pub(super) fn text(groups: &[Group<'_>], reasons: &[String]) -> String {
    let mut lines = vec![HEADS.map(String::from)];
    lines.extend(groups.iter().flat_map(|group| &group.rows).map(cells));
    let widths: Vec<_> = (0..HEADS.len())
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for line in &lines {
        let mut row = format!("{:<width$}", line[0], width = widths[0]);
        for (cell, width) in line[1..5].iter().zip(&widths[1..]) {
            let _ = write!(row, "  {cell:>width$}");
        }
        let _ = writeln!(text, "{}", format!("{row}  {}", line[5]).trim_end());
    }
    for reason in reasons {
        let _ = writeln!(text, "broken: {reason}");
    }
    text
}

fn cells(row: &Row<'_>) -> [String; 6] {
    let figure = |value: Option<f64>| value.map_or(String::new(), |value| numbers::figure(value, row.unit));
    let limit = |value: Option<f64>| {
        value.map_or(String::new(), |value| {
            format!("{} {}", row.better.sign(), numbers::limit(value, row.unit))
        })
    };
    [
        row.name.into(),
        figure(row.measured),
        figure(row.floor),
        limit(row.limits.must),
        limit(row.limits.aim),
        row.verdict.word().into(),
    ]
}
