//! `histogram_quantile` over classic histograms: series that count observations up to a bound, the label `le`.

use std::collections::BTreeMap;

use super::Result;
use crate::interrupt::Pace;
use crate::labels::Labels;
use crate::value::Sample;

struct Bucket {
    upper: f64,
    count: f64,
}

/// A quantile for each histogram, without the name that told it from others. Series whose `le` is not a number are
/// ignored.
pub(super) fn quantiles(pace: &Pace, q: f64, samples: Vec<Sample>, time_ms: i64) -> Result<Vec<Sample>> {
    let mut histograms: BTreeMap<Labels, Vec<Bucket>> = BTreeMap::new();
    for sample in samples {
        pace.step()?;
        let Some(upper) = sample.labels.value("le").and_then(bound) else { continue };
        let labels = sample.labels.filter(|name| name != "le");
        histograms.entry(labels).or_default().push(Bucket { upper, count: sample.value });
    }
    let one = |(labels, buckets): (Labels, Vec<Bucket>)| Sample {
        labels: labels.without_name(),
        time_ms,
        value: quantile(q, buckets),
    };
    Ok(histograms.into_iter().map(one).collect())
}

fn bound(text: &str) -> Option<f64> {
    match text {
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        // Digits that no number is large enough for are not infinity.
        _ => text
            .parse()
            .ok()
            .filter(|bound: &f64| bound.is_finite() || !text.contains(|c: char| c.is_ascii_digit())),
    }
}

fn quantile(q: f64, mut buckets: Vec<Bucket>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    buckets.sort_by(|left, right| left.upper.total_cmp(&right.upper));
    if buckets.last().is_none_or(|last| last.upper != f64::INFINITY) {
        return f64::NAN;
    }
    let mut buckets = coalesce(buckets);
    make_monotonic(&mut buckets);
    let [.., second_last, last] = buckets.as_slice() else { return f64::NAN };
    let observations = last.count;
    if observations == 0.0 {
        return f64::NAN;
    }
    let mut rank = q * observations;
    let inner = buckets.len() - 1;
    let found = buckets[..inner].partition_point(|bucket| bucket.count < rank || bucket.count.is_nan());
    if found == inner {
        return second_last.upper;
    }
    let Bucket { upper, mut count } = buckets[found];
    if found == 0 {
        return if upper <= 0.0 { upper } else { upper * (rank / count) };
    }
    let below = &buckets[found - 1];
    count -= below.count;
    rank -= below.count;
    below.upper + (upper - below.upper) * (rank / count)
}

/// Buckets with one bound are one bucket.
fn coalesce(buckets: Vec<Bucket>) -> Vec<Bucket> {
    let mut merged: Vec<Bucket> = Vec::with_capacity(buckets.len());
    for bucket in buckets {
        match merged.last_mut() {
            Some(last) if last.upper == bucket.upper => last.count += bucket.count,
            _ => merged.push(bucket),
        }
    }
    merged
}

/// Counts never fall with the bound; where they do, scrapes or sums were not exact.
fn make_monotonic(buckets: &mut [Bucket]) {
    let mut before = buckets[0].count;
    for bucket in &mut buckets[1..] {
        if bucket.count == before {
            continue;
        }
        if almost_equal(before, bucket.count) || bucket.count < before {
            bucket.count = before;
        } else {
            before = bucket.count;
        }
    }
}

/// Equal but for the rounding of a few additions.
fn almost_equal(left: f64, right: f64) -> bool {
    if left.is_nan() || right.is_nan() {
        return false;
    }
    if left == right {
        return true;
    }
    let sum = left.abs() + right.abs();
    let difference = (left - right).abs();
    if left == 0.0 || right == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}

const TOLERANCE: f64 = 1e-12;
