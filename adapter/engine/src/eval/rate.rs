//! How fast a series changes: `rate`, `increase`, `delta`, `irate`, `idelta`, `deriv`, `predict_linear`.

use super::Ranges;
use super::kahan::Sum;
use crate::store::Point;

/// What `rate`, `increase` and `delta` differ in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// The series only grows; a fall is a restart from zero.
    pub(super) counter: bool,
    /// The result is per second.
    pub(super) per_second: bool,
}

/// The change over the whole range, extrapolated from the first and last sample to its bounds where they are near.
pub(super) fn extrapolated(points: &[Point], ranges: &Ranges, kind: Kind) -> Option<f64> {
    let [first, .., last] = points else { return None };
    let mut change = last.value - first.value;
    if kind.counter {
        for pair in points.windows(2) {
            if pair[1].value < pair[0].value {
                change += pair[0].value;
            }
        }
    }
    let seconds = |from: i64, to: i64| (to - from) as f64 / 1000.0;
    let sampled = seconds(first.time_ms, last.time_ms);
    let average = sampled / (points.len() - 1) as f64;
    let threshold = average * 1.1;
    let mut to_start = seconds(ranges.start_ms, first.time_ms);
    if to_start >= threshold {
        to_start = average / 2.0;
    }
    if kind.counter && change > 0.0 && first.value >= 0.0 {
        // A counter is never below zero, so it cannot have been growing for longer than this.
        to_start = to_start.min(sampled * (first.value / change));
    }
    let mut to_end = seconds(last.time_ms, ranges.end_ms);
    if to_end >= threshold {
        to_end = average / 2.0;
    }
    let mut factor = (sampled + to_start + to_end) / sampled;
    if kind.per_second {
        factor /= seconds(ranges.start_ms, ranges.end_ms);
    }
    Some(change * factor)
}

/// The change between the last two samples.
pub(super) fn instant(points: &[Point], kind: Kind) -> Option<f64> {
    let [.., before, last] = points else { return None };
    let interval = last.time_ms - before.time_ms;
    if interval == 0 {
        return None;
    }
    let restarted = kind.counter && last.value < before.value;
    let change = if restarted { last.value } else { last.value - before.value };
    Some(if kind.per_second { change / (interval as f64 / 1000.0) } else { change })
}

/// Slope per second and value at a time, by least squares.
pub(super) fn regression(points: &[Point], at_ms: i64) -> Option<(f64, f64)> {
    let [first, _, ..] = points else { return None };
    if points.iter().all(|point| point.value == first.value) {
        return Some(if first.value.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first.value) });
    }
    let (mut sum_x, mut sum_y, mut sum_xy, mut sum_xx) =
        (Sum::default(), Sum::default(), Sum::default(), Sum::default());
    for point in points {
        let x = (point.time_ms - at_ms) as f64 / 1000.0;
        sum_x.add(x);
        sum_y.add(point.value);
        sum_xy.add(x * point.value);
        sum_xx.add(x * x);
    }
    let count = points.len() as f64;
    let (sum_x, sum_y) = (sum_x.total(), sum_y.total());
    let covariance = sum_xy.total() - sum_x * sum_y / count;
    let variance = sum_xx.total() - sum_x * sum_x / count;
    let slope = covariance / variance;
    Some((slope, sum_y / count - slope * sum_x / count))
}
