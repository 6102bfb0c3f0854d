//! Scrape targets.

use std::fmt;

use reqwest::Url;

use crate::labels::Labels;

/// An endpoint and the labels that its series get.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Where it exposes its metrics.
    pub url: Url,
    /// `namespace`, `pod` and whatever else tells it apart; `instance` and `job` are always among them.
    pub labels: Labels,
}

/// Why a text names no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a URL like http://127.0.0.1:8080/metrics")]
pub struct TargetError;

impl Target {
    /// A target; `instance` is the URL's host and port and `job` is `embedded` unless the labels say otherwise.
    ///
    /// # Errors
    /// Anything but an HTTP URL with a host.
    pub fn new(url: &str, labels: Vec<(String, String)>) -> Result<Target, TargetError> {
        // The error does not name what was found: it may hold a password.
        let url = Url::parse(url).map_err(|_| TargetError)?;
        let host = url.host_str().ok_or(TargetError)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(TargetError);
        }
        let port = url.port_or_known_default().unwrap_or_default();
        let defaults =
            [("instance".to_owned(), format!("{host}:{port}")), ("job".to_owned(), "embedded".to_owned())];
        Ok(Target { labels: Labels::from_pairs(defaults.into_iter().chain(labels)), url })
    }

    /// The URL without what may be a credential.
    pub fn place(&self) -> Url {
        let mut shown = self.url.clone();
        // Only URLs without a host cannot lose these, and every target has one.
        let _ = shown.set_username("");
        let _ = shown.set_password(None);
        shown.set_query(None);
        shown
    }
}

/// For logs.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.place(), self.labels)
    }
}
