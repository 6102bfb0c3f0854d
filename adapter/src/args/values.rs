//! Values of flags that several commands have.

use std::time::Duration;

use apiservice::go_duration;
use http::{HeaderName, HeaderValue};
use reqwest::Url;

/// The URL of a Prometheus.
pub(super) fn prometheus_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("expected an http or https URL: {error}"))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err("expected an http or https URL".to_owned()),
    }
}

/// A header and its value.
pub(super) fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    let name = HeaderName::try_from(name).map_err(|_| "expected a header's name before =".to_owned())?;
    let value = HeaderValue::try_from(value).map_err(|_| "expected a header's value after =".to_owned())?;
    Ok((name, value))
}

/// A duration as Go writes it.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    go_duration::parse(text).map_err(|error| format!("expected a duration like 30s, 1m30s or 1.5h: {error}"))
}
