//! Limits of scraping.

use std::time::Duration;

/// Bounds of scraping.
#[derive(Debug, Clone, Copy)]
pub struct ScrapeConfig {
    /// Time from the start of one scrape of a target to the next.
    pub interval: Duration,
    /// Longest time for a scrape; never longer than the interval.
    pub timeout: Duration,
    /// Largest body in bytes.
    pub body_limit: usize,
    /// Most samples in a scrape.
    pub sample_limit: usize,
}

impl Default for ScrapeConfig {
    fn default() -> ScrapeConfig {
        ScrapeConfig {
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(10),
            body_limit: 16 << 20,
            sample_limit: 50_000,
        }
    }
}
