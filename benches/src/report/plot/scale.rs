//! The map from values to positions, and round numbers for ticks.

/// A range of values, linear or logarithmic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    pub low: f64,
    pub high: f64,
    pub is_log: bool,
}

/// A round number on an axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tick {
    pub value: f64,
    pub is_labelled: bool,
}

impl Scale {
    /// Makes a linear scale of about five steps that starts and ends at round numbers.
    pub fn even(low: f64, high: f64) -> Self {
        let high = if high > low { high } else { low + low.abs().max(1.0) };
        let step = step(high - low);
        Self { low: (low / step).floor() * step, high: (high / step).ceil() * step, is_log: false }
    }

    /// Makes a logarithmic scale that starts and ends at round numbers and spans at least a factor of five.
    pub fn log(low: f64, high: f64) -> Self {
        let (mut low, mut high) = (round(low, f64::floor), round(high, f64::ceil));
        while high / low < 4.99 {
            (low, high) = (round(low * 0.99, f64::floor), round(high * 1.01, f64::ceil));
        }
        Self { low, high, is_log: true }
    }

    /// Makes a logarithmic scale if values are positive and far apart, else a linear one.
    pub fn of(low: f64, high: f64) -> Self {
        if low > 0.0 && high / low > 6.0 { Self::log(low, high) } else { Self::even(low, high) }
    }

    /// Returns the position of a value: 0 at the low end, 1 at the high end.
    pub fn at(&self, value: f64) -> f64 {
        if self.is_log {
            (value.max(self.low) / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    /// Returns the round numbers of the scale.
    pub fn ticks(&self) -> Vec<Tick> {
        if self.is_log { self.log_ticks() } else { self.even_ticks() }
    }

    fn even_ticks(&self) -> Vec<Tick> {
        let step = step(self.high - self.low);
        let count = ((self.high - self.low) / step).round() as u32;
        let tick = |at| Tick { value: self.low + f64::from(at) * step, is_labelled: true };
        (0..=count).map(tick).collect()
    }

    fn log_ticks(&self) -> Vec<Tick> {
        let labelled: &[i32] = match (self.high / self.low).log10() {
            decades if decades > 3.5 => &[1],
            decades if decades > 1.3 => &[1, 2, 5],
            _ => &[1, 2, 3, 5, 7],
        };
        let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        decades
            .flat_map(|decade| (1..10).map(move |digit| (decade, digit)))
            .map(|(decade, digit)| Tick {
                value: f64::from(digit) * 10f64.powi(decade),
                is_labelled: labelled.contains(&digit),
            })
            .filter(|tick| tick.value >= self.low * 0.999 && tick.value <= self.high * 1.001)
            .collect()
    }
}

/// Returns 1, 2 or 5 times a power of ten that divides a width into about five steps.
fn step(width: f64) -> f64 {
    let rough = width / 5.0;
    let decade = 10f64.powf(rough.log10().floor());
    let digit = rough / decade;
    let round = [1.0, 2.0, 5.0].into_iter().find(|round| digit <= round * 1.2).unwrap_or(10.0);
    round * decade
}

/// Rounds a positive value to the next 1, 2 or 5 times a power of ten, down or up.
fn round(value: f64, way: fn(f64) -> f64) -> f64 {
    let decade = 10f64.powf(value.log10().floor());
    let (digit, up) = (value / decade, way(0.5) > 0.0);
    let mut digits = [1.0, 2.0, 5.0, 10.0].into_iter();
    let found = if up {
        digits.find(|round| *round >= digit * 0.9999)
    } else {
        digits.rfind(|round| *round <= digit * 1.0001)
    };
    found.unwrap_or(1.0) * decade
}
