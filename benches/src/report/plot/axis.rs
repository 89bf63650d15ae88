//! An axis: a scale, its title, and its number format.

use super::scale::{Scale, Tick};
use crate::report::numbers;

/// The number format of an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Write {
    /// Plain numbers.
    Plain,
    /// Nanoseconds, in the unit that fits.
    Duration,
}

/// One of the two axes.
#[derive(Debug)]
pub(super) struct Axis {
    pub scale: Scale,
    pub title: String,
    pub write: Write,
    /// Ticks in place of the scale's round numbers.
    pub ticks: Option<Vec<Tick>>,
}

impl Axis {
    pub fn new(scale: Scale, title: &str) -> Self {
        Self { scale, title: title.into(), write: Write::Plain, ticks: None }
    }

    pub fn ticks(&self) -> Vec<Tick> {
        self.ticks.clone().unwrap_or_else(|| self.scale.ticks())
    }

    pub fn label(&self, value: f64) -> String {
        match self.write {
            // Rounding to six decimals hides the floating-point error of summed steps.
            Write::Plain => numbers::grouped(&format!("{}", (value * 1e6).round() / 1e6)),
            Write::Duration => numbers::duration(value),
        }
    }
}
