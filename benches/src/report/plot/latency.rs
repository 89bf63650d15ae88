//! The share of reads completed within a given time.

use super::Plot;
use super::axis::{Axis, Write};
use super::frame::{Entry, Frame, empty, looks};
use super::scale::{Scale, Tick};
use crate::report::numbers::duration;
use crate::report::record::Latencies;
use crate::report::samples::quantile;

const TITLE: &str = "Latency of reads";

/// The share of reads drawn. A single read of a second would press all others into a corner.
const DRAWN: f64 = 0.999;

/// Draws a curve for each series.
pub(super) fn plot(series: &[Latencies]) -> Plot {
    let drawn: Vec<_> = series.iter().filter(|one| !one.quantiles.is_empty()).collect();
    let ends = drawn.iter().flat_map(|one| [quantile(&one.quantiles, 0.0), quantile(&one.quantiles, DRAWN)]);
    let ends: Vec<f64> = ends.flatten().map(|nanos| nanos.max(1) as f64).collect();
    if ends.is_empty() {
        return Plot { name: "latency", title: TITLE, svg: empty(TITLE) };
    }
    let (low, high) = ends.iter().fold((f64::MAX, 1.0), |(low, high), &end| (end.min(low), end.max(high)));
    let mut x = Axis::new(Scale::log(low, high), "time of a read");
    x.write = Write::Duration;
    let mut y = Axis::new(Scale { low: 0.0, high: 100.0, is_log: false }, "reads done within it, %");
    y.ticks = Some((0..=4).map(|at| Tick { value: f64::from(at * 25), is_labelled: true }).collect());
    let legend: Vec<_> = drawn.iter().enumerate().map(|(at, one)| entry(at, one)).collect();
    let mut frame = Frame::new(TITLE, x, y, &legend, "the slowest 0.1 % is not drawn");
    for (one, entry) in drawn.iter().zip(&legend) {
        let points = one.quantiles.iter().take_while(|(share, _)| *share <= DRAWN);
        let points: Vec<_> =
            points.map(|(share, nanos)| (frame.x(*nanos as f64), frame.y(share * 100.0))).collect();
        frame.svg.path(&format!("line {}", entry.class), &points);
    }
    Plot { name: "latency", title: TITLE, svg: frame.svg }
}

fn entry(at: usize, one: &Latencies) -> Entry {
    let of = |share| quantile(&one.quantiles, share).map_or(String::new(), |nanos| duration(nanos as f64));
    Entry {
        name: one.series.clone(),
        detail: format!("median {} · 99 %: {}", of(0.5), of(0.99)),
        class: looks(at, &one.series),
    }
}
