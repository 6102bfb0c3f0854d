//! What lints know besides the file.

use std::time::Duration;

/// What lints have to know of the world that a rule file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LintSettings {
    /// How often targets are scraped.
    pub scrape_interval: Duration,
}

impl Default for LintSettings {
    /// 15 s, the shortest that is common: with another, `adapter check --scrape-interval` finds more.
    fn default() -> LintSettings {
        LintSettings { scrape_interval: Duration::from_secs(15) }
    }
}
