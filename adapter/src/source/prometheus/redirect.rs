//! Redirects: followed with method and body, and only where that cannot give anything away.

use http::header::LOCATION;
use reqwest::{Response, StatusCode, Url};

/// The target of a redirect; `None` for any other answer.
pub(super) fn target(response: &Response) -> Option<&str> {
    match response.status() {
        StatusCode::MOVED_PERMANENTLY
        | StatusCode::FOUND
        | StatusCode::SEE_OTHER
        | StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT => response.headers().get(LOCATION)?.to_str().ok(),
        _ => None,
    }
}

/// Why a redirect is not followed, from the word "redirect" on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RedirectError {
    /// It comes after others that were followed.
    #[error("more than {MOST_REDIRECTS} times")]
    TooMany,
    /// The target is not a URL.
    #[error("to something that is not a URL: {0}")]
    NotAUrl(#[source] <Url as std::str::FromStr>::Err),
    /// The target is longer than a URL may be.
    #[error("to a URL of {0} bytes, expected at most {LONGEST_URL}")]
    TooLong(usize),
    /// Following it could give something away.
    #[error("to {target}, {reason}; give that address as --prometheus-url if it is the right one")]
    Refused {
        /// Without what may hold credentials.
        target: String,
        reason: Reason,
    },
}

/// What is wrong with the target of a redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Reason {
    #[error("which is not http or https")]
    NotHttp,
    #[error("another host")]
    OtherHost,
    #[error("which is not behind TLS")]
    NoTls,
    #[error("another port, to which credentials are not sent")]
    OtherPort,
}

/// The URL to ask next. The same host by the same scheme and port is asked, and by TLS where it was not; another port
/// only where there are no credentials to give away.
///
/// # Errors
/// Why it is not followed, with the target.
pub(super) fn follow(from: &Url, location: &str, with_credentials: bool) -> Result<Url, RedirectError> {
    let mut to = from.join(location).map_err(RedirectError::NotAUrl)?;
    let _ = (to.set_username(""), to.set_password(None));
    to.set_fragment(None);
    let length = to.as_str().len();
    if length > LONGEST_URL {
        return Err(RedirectError::TooLong(length));
    }
    let reason = match (from.scheme(), to.scheme()) {
        (_, scheme) if scheme != "http" && scheme != "https" => Reason::NotHttp,
        _ if from.host_str() != to.host_str() => Reason::OtherHost,
        ("http", "https") => return Ok(to),
        (before, now) if before != now => Reason::NoTls,
        _ if from.port_or_known_default() != to.port_or_known_default() && with_credentials => {
            Reason::OtherPort
        }
        _ => return Ok(to),
    };
    Err(RedirectError::Refused { target: without_parameters(&to), reason })
}

/// A URL for messages: parameters may hold credentials.
pub(super) fn without_parameters(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    let _ = (url.set_username(""), url.set_password(None));
    url.to_string()
}

/// How many redirects of one request are followed.
pub(super) const MOST_REDIRECTS: u32 = 10;
/// What the `http` crate takes, with a reserve for the name that may stand for the host.
pub(super) const LONGEST_URL: usize = u16::MAX as usize - 1 - 512;

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    #[test]
    fn only_the_same_host_is_followed_and_credentials_stay_there() {
        let refused = |target: &str, why: &str| {
            format!("to {target}, {why}; give that address as --prometheus-url if it is the right one")
        };
        let other_port = "another port, to which credentials are not sent";
        let rows = [
            ("http://p:9090/a?q=1", "/b?q=1", true, Ok("http://p:9090/b?q=1")),
            ("http://p:9090/a", "http://p:9090/b#c", true, Ok("http://p:9090/b")),
            ("http://p:9090/a", "//p:9090/b", true, Ok("http://p:9090/b")),
            ("http://p:9090/a", "http://other:secret@p:9090/b", true, Ok("http://p:9090/b")),
            ("http://p/a", "https://p/a", true, Ok("https://p/a")),
            ("http://p:9090/a", "https://P:9443/a", true, Ok("https://p:9443/a")),
            ("http://p:9090/a", "http://p:9091/a", false, Ok("http://p:9091/a")),
            (
                "http://p:9090/a",
                "http://p:9091/a?x=secret",
                true,
                Err(refused("http://p:9091/a", other_port)),
            ),
            ("https://p/a", "https://p:9443/a", true, Err(refused("https://p:9443/a", other_port))),
            ("https://p/a", "http://p/a", false, Err(refused("http://p/a", "which is not behind TLS"))),
            ("http://p/a", "ftp://p/a", false, Err(refused("ftp://p/a", "which is not http or https"))),
            (
                "http://p:9090/a",
                "https://u:secret@prometheus.example/api?match=x",
                false,
                Err(refused("https://prometheus.example/api", "another host")),
            ),
            ("http://p/a", "http://p.example/a", true, Err(refused("http://p.example/a", "another host"))),
            (
                "http://p/a",
                "http://p:port/",
                true,
                Err("to something that is not a URL: invalid port number".to_owned()),
            ),
        ];
        each_row(rows, |(from, location, with_credentials, expected)| {
            let found = follow(&from.parse().expect("a URL"), location, with_credentials);
            let found = found.map_err(|error| error.to_string());
            assert_eq!(found.as_ref().map(Url::as_str), expected.as_ref().copied(), "{from} {location}");
        });
    }
}
