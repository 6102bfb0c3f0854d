//! Buckets of histograms.

/// In seconds: from a cached answer to the longest request there is.
pub(super) const LATENCIES: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0];
/// In seconds: there are as many of these as there are rules, so they are few.
pub(super) const ROUGH_LATENCIES: [f64; 5] = [0.01, 0.1, 0.5, 2.0, 10.0];
