//! The cost of smaller stores in cold reads: a line for each chunk size, along its levels.

use super::Plot;
use super::axis::Axis;
use super::frame::{Entry, Frame, empty, looks};
use super::labels::Labels;
use super::scale::Scale;
use super::svg::Anchor;
use crate::report::numbers::short;
use crate::report::record::FrontierPoint;

const TITLE: &str = "Stored size against cold latency";

/// Draws a line for each chunk size.
pub(super) fn plot(points: &[FrontierPoint]) -> Plot {
    let mut points: Vec<_> =
        points.iter().copied().filter(|p| p.stored_mib.is_finite() && p.cold_us.is_finite()).collect();
    if points.is_empty() {
        return Plot { name: "frontier", title: TITLE, svg: empty(TITLE) };
    }
    points.sort_by_key(|point| (point.chunk_kib, point.level));
    let lines: Vec<_> = points.chunk_by(|one, next| one.chunk_kib == next.chunk_kib).collect();
    let x = Axis::new(scale(points.iter().map(|point| point.stored_mib)), "stored, MiB; less is better");
    let y =
        Axis::new(scale(points.iter().map(|point| point.cold_us)), "cold read of 4 KiB, µs; less is better");
    let legend: Vec<_> = lines.iter().enumerate().map(|(at, line)| entry(at, line)).collect();
    let mut frame = Frame::new(TITLE, x, y, &legend, "numbers: level of zstd");
    draw(&mut frame, &lines, &legend);
    Plot { name: "frontier", title: TITLE, svg: frame.svg }
}

fn entry(at: usize, line: &[FrontierPoint]) -> Entry {
    let detail = line
        .iter()
        .find(|point| point.is_default)
        .map_or(String::new(), |point| format!("default: level {}", point.level));
    Entry { name: format!("chunks of {} KiB", line[0].chunk_kib), detail, class: looks(at, "") }
}

/// Makes a scale padded at both ends, so that labels fit.
fn scale(values: impl Iterator<Item = f64>) -> Scale {
    let (low, high) =
        values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    let air = (high - low) * 0.04;
    Scale::of((low - air).max(low * 0.9).max(0.0), high + air)
}

fn draw(frame: &mut Frame, lines: &[&[FrontierPoint]], legend: &[Entry]) {
    let place = |frame: &Frame, point: &FrontierPoint| (frame.x(point.stored_mib), frame.y(point.cold_us));
    let places: Vec<Vec<_>> =
        lines.iter().map(|line| line.iter().map(|point| place(frame, point)).collect()).collect();
    for (line, entry) in places.iter().zip(legend) {
        frame.svg.path(&format!("line {}", entry.class), line);
    }
    let mut labels = Labels::new(frame.area(), &places);
    for ((line, places), entry) in lines.iter().zip(&places).zip(legend) {
        for (point, &(x, y)) in line.iter().zip(places) {
            let more = format!(
                "chunks of {} KiB, level {}: {} MiB, {} µs",
                point.chunk_kib,
                point.level,
                short(point.stored_mib),
                short(point.cold_us)
            );
            frame.svg.circle(&format!("dot {}", entry.class), x, y, 4.5, &more);
            if point.is_default {
                frame.svg.circle("ring", x, y, 8.0, &more);
            }
        }
    }
    // The default's label comes first: it is the longest and the most important.
    let mut all: Vec<_> = lines.iter().zip(&places).flat_map(|(line, at)| line.iter().zip(at)).collect();
    all.sort_by_key(|(point, _)| !point.is_default);
    for (point, at) in all {
        let (text, class) = if point.is_default {
            (format!("{} default", point.level), "halo strong")
        } else {
            (point.level.to_string(), "halo")
        };
        let (x, y) = labels.place(*at, &text, if point.is_default { 12.0 } else { 8.0 });
        frame.svg.text(class, Anchor::Middle, x, y, &text);
    }
}
