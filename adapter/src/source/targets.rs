//! What a source scrapes.

/// A target that a source scrapes, or tries to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrapedTarget {
    /// Its namespace in Kubernetes, else its label `namespace`; `None` for a target without either.
    pub namespace: Option<String>,
    /// Its pod in Kubernetes, else its label `pod`; `None` for a target without either.
    pub pod: Option<String>,
    /// Whether it answers.
    pub health: Health,
    /// Why the last scrape failed; `None` if it did not, or the source does not say.
    pub last_error: Option<String>,
}

/// Whether a target answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Its last scrape succeeded.
    Up,
    /// Its last scrape failed.
    Down,
    /// It was not scraped yet.
    Unknown,
}
