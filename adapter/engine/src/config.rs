//! Limits of an engine: how far back it looks, how much it keeps, how much a query may read.

use std::time::Duration;

/// Bounds of an engine.
#[derive(Debug, Clone, Copy)]
pub struct EngineConfig {
    /// How far back an instant selector looks for a sample.
    pub lookback: Duration,
    /// How long samples are kept.
    pub retention: Duration,
    /// How many series are kept.
    pub max_series: usize,
    /// How many of them one target may have, those included that are gone from it and still kept.
    pub max_series_per_target: usize,
    /// How many samples one query may look at.
    pub max_samples_per_query: usize,
}

impl Default for EngineConfig {
    fn default() -> EngineConfig {
        EngineConfig {
            lookback: Duration::from_mins(5),
            retention: Duration::from_mins(15),
            max_series: 200_000,
            // As many as one scrape may have samples.
            max_series_per_target: 50_000,
            max_samples_per_query: 50_000_000,
        }
    }
}
