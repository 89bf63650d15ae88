//! The three plots as SVG: in the page in the reader's colours, and as files in light colours.

mod axis;
mod frame;
mod frontier;
mod labels;
mod latency;
mod scale;
mod style;
mod svg;
mod threads;

pub(super) use style::page_style;
pub(super) use svg::{Svg, escape};

use super::Report;

/// A finished plot.
pub(super) struct Plot {
    /// The plot's part of its file name.
    pub name: &'static str,
    pub title: &'static str,
    pub svg: Svg,
}

/// Draws all plots of a report.
pub(super) fn all(report: &Report) -> [Plot; 3] {
    [latency::plot(&report.latencies), threads::plot(&report.throughput), frontier::plot(&report.frontier)]
}
