//! Two things timed in turn, so that what the machine does meanwhile meets both.

use std::time::Instant;

/// Seconds of both, one pair a run.
#[derive(Debug, Clone, Default)]
pub struct Pairs {
    /// Seconds of the floor, or of what else is compared with.
    pub floor: Vec<f64>,
    /// Seconds of melv.
    pub ours: Vec<f64>,
}

/// The middle of some values; zero of none.
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

/// Seconds that `work` takes.
///
/// # Errors
/// Those of `work`.
pub fn seconds<E>(work: impl FnOnce() -> Result<(), E>) -> Result<f64, E> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed().as_secs_f64())
}

impl Pairs {
    /// Times both `runs` times in turn, after once that does not count. Which comes first alternates.
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

    /// Our time over the floor's, of each pair.
    #[must_use]
    pub fn slower(&self) -> Vec<f64> {
        self.ours.iter().zip(&self.floor).map(|(ours, floor)| ours / floor).collect()
    }

    /// Our speed over the floor's, of each pair.
    #[must_use]
    pub fn faster(&self) -> Vec<f64> {
        self.ours.iter().zip(&self.floor).map(|(ours, floor)| floor / ours).collect()
    }
}
