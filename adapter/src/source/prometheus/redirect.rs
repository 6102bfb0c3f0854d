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

/// The URL to ask next. The same host by the same scheme and port is asked, and by TLS where it was not; another port
/// only where there are no credentials to give away.
///
/// # Errors
/// Why it is not followed, with the target.
pub(super) fn follow(from: &Url, location: &str, with_credentials: bool) -> Result<Url, String> {
    let mut to = from.join(location).map_err(|error| format!("to something that is not a URL: {error}"))?;
    let _ = (to.set_username(""), to.set_password(None));
    to.set_fragment(None);
    let refused = |why: &str| {
        Err(format!(
            "to {}, {why}; give that address as --prometheus-url if it is the right one",
            without_parameters(&to)
        ))
    };
    let length = to.as_str().len();
    if length > LONGEST_URL {
        return Err(format!("to a URL of {length} bytes, expected at most {LONGEST_URL}"));
    }
    match (from.scheme(), to.scheme()) {
        (_, scheme) if scheme != "http" && scheme != "https" => refused("which is not http or https"),
        _ if from.host_str() != to.host_str() => refused("another host"),
        ("http", "https") => Ok(to),
        (before, now) if before != now => refused("which is not behind TLS"),
        _ if from.port_or_known_default() != to.port_or_known_default() && with_credentials => {
            refused("another port, to which credentials are not sent")
        }
        _ => Ok(to),
    }
}

/// A URL for messages: parameters may hold credentials.
pub(super) fn without_parameters(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    let _ = (url.set_username(""), url.set_password(None));
    url.to_string()
}

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
            assert_eq!(found.as_ref().map(Url::as_str), expected.as_ref().copied(), "{from} {location}");
        });
    }
}
