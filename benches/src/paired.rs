//! Two operations timed in turn, so that other load on the machine affects both.

use std::time::Instant;

/// Seconds of both, one pair per run.
#[derive(Debug, Clone, Default)]
pub struct Pairs {
    /// Seconds of the floor, or of another operation compared with.
    pub floor: Vec<f64>,
    /// Seconds of melv.
    pub ours: Vec<f64>,
}

/// Returns the median of the values, or zero if there are none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        len if len % 2 == 1 => sorted[len / 2],
        len => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
    }
}

/// Returns the seconds that `work` takes.
///
/// # Errors
/// Those of `work`.
pub fn seconds<E>(work: impl FnOnce() -> Result<(), E>) -> Result<f64, E> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed().as_secs_f64())
}

impl Pairs {
    /// Times both in turn `runs` times, after one uncounted run. The first of each pair alternates.
    ///
    /// # Errors
    /// Those of either.
    pub fn time<E>(
        runs: usize,
        mut floor: impl FnMut() -> Result<f64, E>,
        mut ours: impl FnMut() -> Result<f64, E>,
    ) -> Result<Self, E> {
        let mut pairs = Self::default();
        for run in 0..=runs {
            let (one, other) = if run % 2 == 0 {
                let one = floor()?;
                (one, ours()?)
            } else {
                let other = ours()?;
                (floor()?, other)
            };
            if run > 0 {
                pairs.floor.push(one);
                pairs.ours.push(other);
            }
        }
        Ok(pairs)
    }

    /// Returns our time over the floor's, for each pair.
    #[must_use]
    pub fn slower(&self) -> Vec<f64> {
        self.ours.iter().zip(&self.floor).map(|(ours, floor)| ours / floor).collect()
    }

    /// Returns our speed over the floor's, for each pair.
    #[must_use]
    pub fn faster(&self) -> Vec<f64> {
        self.ours.iter().zip(&self.floor).map(|(ours, floor)| floor / ours).collect()
    }
}
