//! Samples: their median, their quantiles, and checks that they are credible.

use super::Better;

/// The fewest samples that a ratio needs.
pub(super) const LEAST_SAMPLES: usize = 9;

/// The margin by which a median may beat its floor before the floor is taken to be wrong.
const CREDIBLE: f64 = 0.03;

/// Returns the median: the middle value or the midpoint of the two in the middle; NaN if empty.
pub(super) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// Returns the faults of a ratio's samples, as reasons.
pub(super) fn faults(name: &str, samples: &[f64], floor: Option<Better>) -> Vec<String> {
    let mut faults = Vec::new();
    if samples.len() < LEAST_SAMPLES {
        faults.push(format!("{name}: {} samples, at least {LEAST_SAMPLES} are needed", samples.len()));
    }
    if samples.iter().any(|sample| !sample.is_finite() || *sample <= 0.0) {
        faults.push(format!("{name}: a sample is not a positive number"));
    }
    let middle = median(samples);
    let beaten = match floor {
        Some(Better::Lower) => middle < 1.0 - CREDIBLE,
        Some(Better::Higher) => middle > 1.0 + CREDIBLE,
        None => false,
    };
    if beaten {
        faults.push(format!("{name}: {middle:.3} beats its floor by more than 3 %: the floor is wrong"));
    }
    faults
}

/// Reduces a distribution to its quantiles: every half per cent, and the tail.
pub(super) fn quantiles(mut nanos: Vec<u64>) -> Vec<(f64, u64)> {
    nanos.sort_unstable();
    let Some(last) = nanos.len().checked_sub(1) else { return Vec::new() };
    let steps = (0..200).map(|step| f64::from(step) / 200.0).chain([0.999, 0.9999, 1.0]);
    let rank = |share: f64| ((share * nanos.len() as f64).ceil() as usize).saturating_sub(1).min(last);
    steps.map(|share| (share, nanos[rank(share)])).collect()
}

/// Returns one of the quantiles.
pub(super) fn quantile(quantiles: &[(f64, u64)], share: f64) -> Option<u64> {
    quantiles.iter().find(|(at, _)| *at >= share - 1e-9).map(|(_, nanos)| *nanos)
}
