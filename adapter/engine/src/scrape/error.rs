//! Why a scrape failed.

use crate::exposition::ExpositionError;
use crate::store::StoreFull;

/// Why a scrape failed. No message holds the target's URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScrapeError {
    /// The target did not answer in time.
    #[error("the target did not answer in time")]
    Timeout,
    /// The target could not be reached, or its answer broke off. The innermost cause says why.
    #[error("{}", innermost(_0))]
    Transport(reqwest::Error),
    /// The target answered with another status than 200.
    #[error("expected status 200, found {0}")]
    Status(reqwest::StatusCode),
    /// The body is too large.
    #[error("the body is larger than the limit of {limit} bytes")]
    BodyTooLarge {
        /// Bytes of a body at most.
        limit: usize,
    },
    /// The body is not text.
    #[error("expected UTF-8: {0}")]
    NotText(#[from] std::string::FromUtf8Error),
    /// The text is not an exposition.
    #[error("invalid exposition: {0}")]
    Exposition(#[from] ExpositionError),
    /// The exposition is too long.
    #[error("more samples than the limit of {limit}")]
    TooManySamples {
        /// Samples of a scrape at most.
        limit: usize,
    },
    /// There is no room for the target's series.
    #[error(transparent)]
    NoRoom(#[from] StoreFull),
    /// The thread that read the text panicked.
    #[error("reading the exposition failed: {0}")]
    Reading(#[from] tokio::task::JoinError),
}

impl From<reqwest::Error> for ScrapeError {
    fn from(error: reqwest::Error) -> ScrapeError {
        if error.is_timeout() { ScrapeError::Timeout } else { ScrapeError::Transport(error) }
    }
}

fn innermost(error: &reqwest::Error) -> &dyn std::error::Error {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost
}
