//! The common parts of plots: title, axes, grid, and a legend beside the plot, so that it covers no data.

use super::axis::Axis;
use super::style::SERIES;
use super::svg::{Anchor, Svg};

const WIDTH: f64 = 880.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 64.0;
const TOP: f64 = 78.0;
const BOTTOM: f64 = 64.0;
/// The gap between plot and legend.
const GAP: f64 = 28.0;
const MARGIN: f64 = 20.0;
const LEGEND: std::ops::RangeInclusive<f64> = 120.0..=290.0;
const SWATCH: f64 = 26.0;

/// A line of the legend.
#[derive(Debug)]
pub(super) struct Entry {
    pub name: String,
    /// Small print below the name.
    pub detail: String,
    /// The CSS class, from [`looks`].
    pub class: String,
}

/// A plot with its axes drawn and its data still to come.
pub(super) struct Frame {
    pub svg: Svg,
    pub x: Axis,
    pub y: Axis,
    pub right: f64,
}

impl Frame {
    /// Draws everything but the data.
    pub fn new(title: &str, x: Axis, y: Axis, legend: &[Entry], note: &str) -> Self {
        let widest = legend
            .iter()
            .map(|entry| text_width(&entry.name, 13.2).max(text_width(&entry.detail, 11.0)))
            .chain([text_width(note, 11.0) - SWATCH])
            .fold(0.0, f64::max);
        let legend_width = (SWATCH + widest).clamp(*LEGEND.start(), *LEGEND.end());
        let right = WIDTH - MARGIN - legend_width - GAP;
        let mut frame = Self { svg: Svg::new(WIDTH, HEIGHT), x, y, right };
        frame.svg.text("title", Anchor::Start, MARGIN, 32.0, title);
        frame.grid();
        frame.legend(legend, note);
        frame
    }

    /// Returns the position of a value of the x axis.
    pub fn x(&self, value: f64) -> f64 {
        LEFT + self.x.scale.at(value) * (self.right - LEFT)
    }

    /// Returns the position of a value of the y axis.
    pub fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.scale.at(value) * (HEIGHT - BOTTOM - TOP)
    }

    /// Returns the plot's left, top, right and bottom.
    pub fn area(&self) -> [f64; 4] {
        [LEFT, TOP, self.right, HEIGHT - BOTTOM]
    }

    fn grid(&mut self) {
        let [left, top, right, bottom] = self.area();
        for tick in self.y.ticks() {
            let y = self.y(tick.value);
            self.svg.line(if tick.is_labelled { "grid" } else { "fine" }, left, y, right, y);
            if tick.is_labelled {
                self.svg.text("soft", Anchor::End, left - 8.0, y + 4.0, &self.y.label(tick.value));
            }
        }
        let mut taken = f64::NEG_INFINITY;
        for tick in self.x.ticks() {
            let x = self.x(tick.value);
            self.svg.line(if tick.is_labelled { "grid" } else { "fine" }, x, top, x, bottom);
            let label = self.x.label(tick.value);
            let half = text_width(&label, 12.0) / 2.0;
            if tick.is_labelled && x - half > taken {
                self.svg.line("base", x, bottom, x, bottom + 4.0);
                self.svg.text("soft", Anchor::Middle, x, bottom + 20.0, &label);
                taken = x + half + 4.0;
            }
        }
        self.svg.line("base", left, bottom, right, bottom);
        self.svg.text("soft", Anchor::Start, MARGIN, top - 18.0, &self.y.title.clone());
        self.svg.text("soft", Anchor::End, right, bottom + 44.0, &self.x.title.clone());
    }

    fn legend(&mut self, entries: &[Entry], note: &str) {
        let left = self.right + GAP;
        let mut y = TOP + 8.0;
        let room = (HEIGHT - 2.0 * MARGIN - TOP) / entries.len().max(1) as f64;
        let has_room = room >= 42.0;
        for entry in entries {
            self.svg.path(&format!("line {}", entry.class), &[(left, y), (left + 16.0, y)]);
            self.svg.text("strong", Anchor::Start, left + SWATCH, y + 4.0, &cut(&entry.name));
            let has_detail = has_room && !entry.detail.is_empty();
            if has_detail {
                self.svg.text("small", Anchor::Start, left + SWATCH, y + 20.0, &entry.detail);
            }
            y += if has_detail { 42.0 } else { room.min(26.0) };
        }
        self.svg.text("small", Anchor::Start, left, y + 6.0, note);
    }
}

/// Draws a plot without data.
pub(super) fn empty(title: &str) -> Svg {
    let mut svg = Svg::new(WIDTH, 120.0);
    svg.text("title", Anchor::Start, MARGIN, 32.0, title);
    svg.text("soft", Anchor::Middle, WIDTH / 2.0, 72.0, "no data in this run");
    svg
}

/// Returns the class of a series by its position: a colour; dashed for floors and for repeated colours.
pub(super) fn looks(at: usize, series: &str) -> String {
    let dash = if series.starts_with("floor") || at >= SERIES { " dash" } else { "" };
    format!("s{}{dash}", at % SERIES)
}

/// Estimates the width of a text, erring on the wide side.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * 0.56
}

/// Shortens a name to fit the legend.
fn cut(name: &str) -> String {
    let most = ((LEGEND.end() - SWATCH) / text_width("m", 12.0)) as usize;
    if name.chars().count() <= most {
        return name.into();
    }
    name.chars().take(most - 1).chain(['…']).collect()
}
