//! What a server exports, read as Prometheus reads it.

use e2e::Failure;
use testkit::exposition;

/// The value of a series without labels, or of one with exactly these.
pub(crate) fn value(text: &str, series: &str) -> Result<f64, Failure> {
    exposition::value(text, series).ok_or_else(|| format!("no {series} in\n{text}").into())
}

/// The sum of all series of a family.
pub(crate) fn sum(text: &str, family: &str) -> f64 {
    let start = format!("{family}{{");
    let series = text.lines().filter(|line| line.starts_with(&start));
    series.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

/// Observations up to each bound, in seconds, as a classic histogram counts them.
#[derive(Debug, Clone)]
pub(crate) struct Histogram(Vec<(f64, f64)>);

impl Histogram {
    pub(crate) fn of(text: &str, name: &str) -> Histogram {
        let start = format!("{name}_bucket{{le=\"");
        let buckets = text.lines().filter_map(|line| {
            let (bound, count) = line.strip_prefix(&start)?.split_once("\"} ")?;
            Some((bound.replace("+Inf", "inf").parse().ok()?, count.parse().ok()?))
        });
        Histogram(buckets.collect())
    }

    /// As many observations, in the same buckets.
    pub(crate) fn counting(&self, seconds: &[f64]) -> Histogram {
        let count = |bound: f64| seconds.iter().filter(|second| **second <= bound).count() as f64;
        Histogram(self.0.iter().map(|(bound, _)| (*bound, count(*bound))).collect())
    }

    /// What was observed since.
    pub(crate) fn since(&self, before: &Histogram) -> Histogram {
        let pairs = self.0.iter().zip(&before.0);
        Histogram(pairs.map(|((bound, now), (_, then))| (*bound, now - then)).collect())
    }

    /// PromQL's `histogram_quantile`, in milliseconds.
    pub(crate) fn quantile_ms(&self, share: f64) -> f64 {
        let rank = share * self.0.last().map_or(0.0, |(_, all)| *all);
        let (mut lower, mut below) = (0.0, 0.0);
        for (bound, count) in &self.0 {
            if *count >= rank && rank > 0.0 {
                // Of what is beyond the last bound nothing is known but that.
                let upper = if bound.is_finite() { *bound } else { return lower * 1e3 };
                return (lower + (upper - lower) * (rank - below) / (count - below)) * 1e3;
            }
            (lower, below) = (*bound, *count);
        }
        f64::NAN
    }

    /// The share of observations that two histograms of the same requests have in the same bucket.
    pub(crate) fn overlap(&self, other: &Histogram) -> f64 {
        let shares = |histogram: &Histogram| {
            let all = histogram.0.last().map_or(0.0, |(_, all)| *all);
            let counts = histogram.0.iter().map(|(_, count)| *count);
            let below = std::iter::once(0.0).chain(counts.clone());
            counts.zip(below).map(|(count, below)| (count - below) / all).collect::<Vec<f64>>()
        };
        shares(self).iter().zip(shares(other)).map(|(ours, theirs)| ours.min(theirs)).sum()
    }

    /// How many buckets lie between those of two times.
    pub(crate) fn buckets_between(&self, one_ms: f64, other_ms: f64) -> usize {
        let bucket = |ms: f64| self.0.iter().filter(|(bound, _)| bound * 1e3 < ms).count();
        bucket(one_ms).abs_diff(bucket(other_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
depth 3
outcomes{outcome="ok"} 4
outcomes{outcome="cancelled"} 2.0
wait_bucket{le="0.1"} 10
wait_bucket{le="0.2"} 30
wait_bucket{le="+Inf"} 40
"#;

    #[test]
    fn values_and_sums_are_read() {
        assert_eq!(value(TEXT, "depth").expect("there"), 3.0);
        assert!(value(TEXT, "dept").is_err());
        assert_eq!(sum(TEXT, "outcomes"), 6.0);
    }

    #[test]
    fn quantiles_are_those_of_promql() {
        let histogram = Histogram::of(TEXT, "wait");
        for (share, expected) in [(0.125, 50.0), (0.5, 150.0), (0.75, 200.0), (0.99, 200.0)] {
            assert!((histogram.quantile_ms(share) - expected).abs() < 1e-9, "{share}");
        }
        assert!(histogram.since(&histogram).quantile_ms(0.5).is_nan());
    }

    #[test]
    fn two_histograms_share_what_is_in_the_same_bucket() {
        let histogram = Histogram::of(TEXT, "wait");
        assert!((histogram.overlap(&histogram) - 1.0).abs() < 1e-9);
        let counted = histogram.counting(&[0.05, 0.15, 0.15, 0.3]);
        assert!((histogram.overlap(&counted) - 1.0).abs() < 1e-9);
        assert!((histogram.overlap(&histogram.counting(&[0.05, 0.05])) - 0.25).abs() < 1e-9);
        assert_eq!(histogram.buckets_between(50.0, 150.0), 1);
        assert_eq!(histogram.buckets_between(110.0, 150.0), 0);
    }
}
