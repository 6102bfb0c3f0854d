//! One number out of a range of samples: `avg_over_time` and similar functions.

use super::kahan::{Mean, Sum};
use crate::store::Point;

pub(super) fn avg(points: &[Point]) -> f64 {
    let mut mean = Mean::of(points[0].value);
    for point in &points[1..] {
        mean.add(point.value);
    }
    mean.mean()
}

pub(super) fn sum(points: &[Point]) -> f64 {
    let mut sum = Sum::default();
    for point in points {
        sum.add(point.value);
    }
    if sum.sum.is_infinite() { sum.sum } else { sum.total() }
}

pub(super) fn min(points: &[Point]) -> f64 {
    extreme(points, |value, best| value < best)
}

pub(super) fn max(points: &[Point]) -> f64 {
    extreme(points, |value, best| value > best)
}

/// A NaN gives way to any number.
fn extreme(points: &[Point], better: impl Fn(f64, f64) -> bool) -> f64 {
    points
        .iter()
        .map(|point| point.value)
        .fold(points[0].value, |best, value| if better(value, best) || best.is_nan() { value } else { best })
}

pub(super) fn variance(points: &[Point]) -> f64 {
    let (mut mean, mut squares, mut count) = (Sum::default(), Sum::default(), 0.0);
    for point in points {
        count += 1.0;
        let delta = point.value - mean.total();
        mean.add(delta / count);
        squares.add(delta * (point.value - mean.total()));
    }
    squares.total() / count
}

pub(super) fn changes(points: &[Point]) -> f64 {
    let changed = |pair: &&[Point]| {
        let (before, after) = (pair[0].value, pair[1].value);
        after != before && !(after.is_nan() && before.is_nan())
    };
    points.windows(2).filter(changed).count() as f64
}

pub(super) fn resets(points: &[Point]) -> f64 {
    points.windows(2).filter(|pair| pair[1].value < pair[0].value).count() as f64
}

/// The value below which a share `q` of the values lies, between two of them in proportion.
pub(super) fn quantile(q: f64, mut values: Vec<f64>) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(|left, right| nan_first(*left, *right));
    let rank = q * (values.len() - 1) as f64;
    let lower = rank.floor().max(0.0);
    let upper = (lower + 1.0).min((values.len() - 1) as f64);
    let weight = rank - rank.floor();
    values[lower as usize] * (1.0 - weight) + values[upper as usize] * weight
}

/// Ascending, NaN before every number.
pub(super) fn nan_first(left: f64, right: f64) -> std::cmp::Ordering {
    match (left.is_nan(), right.is_nan()) {
        (true, true) => std::cmp::Ordering::Equal,
        (true, false) => std::cmp::Ordering::Less,
        (false, true) => std::cmp::Ordering::Greater,
        // Neither is NaN, so they compare.
        (false, false) => left.partial_cmp(&right).unwrap_or(std::cmp::Ordering::Equal),
    }
}
