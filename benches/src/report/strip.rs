//! A strip of a ratio's samples beside its limits.

use super::plot::Svg;
use super::rows::Row;
use super::samples::median;

const WIDTH: f64 = 190.0;
const HEIGHT: f64 = 24.0;
const MARGIN: f64 = 7.0;

/// Draws the samples as dots, their median, the floor, and the range beyond the limit; `None` without
/// samples.
pub(super) fn svg(row: &Row<'_>) -> Option<String> {
    let samples: Vec<f64> = row.samples.iter().copied().filter(|sample| sample.is_finite()).collect();
    if samples.is_empty() {
        return None;
    }
    let marks = [row.limits.must, row.limits.aim, row.floor];
    let all = || samples.iter().copied().chain(marks.into_iter().flatten());
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
    let pad = ((high - low) * 0.08).max(0.005);
    let (low, high) = (low - pad, high + pad);
    let x = |value: f64| MARGIN + (value - low) / (high - low) * (WIDTH - 2.0 * MARGIN);
    let mut svg = Svg::new(WIDTH, HEIGHT);
    let middle = HEIGHT / 2.0;
    if let Some(must) = row.limits.must {
        let (from, to) = match row.better {
            super::Better::Lower => (x(must), WIDTH),
            super::Better::Higher => (0.0, x(must)),
        };
        svg.rect("beyond", from, 1.0, to - from, HEIGHT - 2.0);
        svg.line("must", x(must), 1.0, x(must), HEIGHT - 1.0);
    }
    svg.line("grid", 0.0, middle, WIDTH, middle);
    if let Some(aim) = row.limits.aim {
        svg.line("aim", x(aim), 1.0, x(aim), HEIGHT - 1.0);
    }
    if let Some(floor) = row.floor {
        svg.line("base", x(floor), 1.0, x(floor), HEIGHT - 1.0);
    }
    for (sample, off) in samples.iter().zip([0.0, -4.0, 4.0, -2.0, 2.0].into_iter().cycle()) {
        svg.circle("sample", x(*sample), middle + off, 2.6, &format!("{sample:.4}"));
    }
    let median = x(median(&samples));
    svg.line("median", median, 2.0, median, HEIGHT - 2.0);
    Some(svg.inline("samples, median, floor and limits"))
}
