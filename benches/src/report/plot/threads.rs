//! Throughput by number of threads.

use super::Plot;
use super::axis::Axis;
use super::frame::{Entry, Frame, empty, looks};
use super::scale::{Scale, Tick};
use crate::report::numbers::short;
use crate::report::record::Throughput;

const TITLE: &str = "Sequential reads by threads";

/// Draws a line for each series.
pub(super) fn plot(series: &[Throughput]) -> Plot {
    let finite = |one: &Throughput| -> Vec<(u32, f64)> {
        one.points.iter().copied().filter(|(_, mbps)| mbps.is_finite()).collect()
    };
    let drawn: Vec<_> = series.iter().map(|one| (one, finite(one))).filter(|(_, p)| !p.is_empty()).collect();
    if drawn.is_empty() {
        return Plot { name: "threads", title: TITLE, svg: empty(TITLE) };
    }
    let all = || drawn.iter().flat_map(|(_, points)| points.iter().copied());
    let fastest = all().map(|(_, mbps)| mbps).fold(0.0, f64::max);
    let (unit, size) = if fastest >= 3000.0 { ("GB/s", 1000.0) } else { ("MB/s", 1.0) };
    let mut threads: Vec<_> = all().map(|(threads, _)| threads).collect();
    threads.sort_unstable();
    threads.dedup();
    let x = threads_axis(&threads);
    let y = Axis::new(Scale::even(0.0, fastest / size), unit);
    let entry = |at: usize, one: &Throughput, points: &[(u32, f64)]| {
        let most = points.iter().copied().max_by(|one, other| one.1.total_cmp(&other.1));
        let detail = most.map_or(String::new(), |(threads, mbps)| {
            format!("up to {} {unit} at {threads}", short(mbps / size))
        });
        Entry { name: one.series.clone(), detail, class: looks(at, &one.series) }
    };
    let legend: Vec<_> = drawn.iter().enumerate().map(|(at, (one, points))| entry(at, one, points)).collect();
    let mut frame = Frame::new(TITLE, x, y, &legend, "");
    for ((one, points), entry) in drawn.iter().zip(&legend) {
        let at = |(threads, mbps): &(u32, f64)| (frame.x(f64::from(*threads)), frame.y(mbps / size));
        let places: Vec<_> = points.iter().map(at).collect();
        frame.svg.path(&format!("line {}", entry.class), &places);
        for ((x, y), (threads, mbps)) in places.iter().zip(points) {
            let more = format!("{}: {threads} threads, {} {unit}", one.series, short(mbps / size));
            frame.svg.circle(&format!("dot {}", entry.class), *x, *y, 4.0, &more);
        }
    }
    Plot { name: "threads", title: TITLE, svg: frame.svg }
}

/// Makes a linear axis with a tick at every measured number of threads.
fn threads_axis(threads: &[u32]) -> Axis {
    let (first, last) = (f64::from(threads[0]), f64::from(threads[threads.len() - 1]));
    let pad = ((last - first) * 0.04).max(0.1);
    let mut axis = Axis::new(Scale { low: first - pad, high: last + pad, is_log: false }, "threads");
    let tick = |threads: &u32| Tick { value: f64::from(*threads), is_labelled: true };
    axis.ticks = Some(threads.iter().map(tick).collect());
    axis
}
