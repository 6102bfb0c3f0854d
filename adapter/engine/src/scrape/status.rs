//! The status of a target.

use super::target::Target;

/// How the last scrape of a target went.
#[derive(Debug, Clone)]
pub struct TargetStatus {
    /// The target.
    pub target: Target,
    /// Scrapes so far.
    pub scrapes: u64,
    /// Samples of the last scrape.
    pub samples: usize,
    /// Why the last scrape failed; `None` when it went well or there was none.
    pub error: Option<String>,
}
