//! Requests that a browser sends for a page of another site. Such a page cannot read the answer, but it could keep
//! the model busy.

use axum::http::{HeaderMap, HeaderName, header};

/// Whether a browser says that a page of another site sends this, in a way that needs no permission of the server: as
/// a form or as plain text. With any other content type a browser asks first; a proxy in front of this
/// server that lets the answer pass allows the request. Other programs send no such header.
pub(super) fn is_cross_site(headers: &HeaderMap) -> bool {
    headers.get(&SITE).is_some_and(|site| site == "cross-site") && needs_no_permission(headers)
}

/// Whether the content type is one that a page may send anywhere.
fn needs_no_permission(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return true };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
        .iter()
        .any(|simple| essence.eq_ignore_ascii_case(simple))
}

/// For the client.
pub(super) const REFUSED: &str =
    "expected Content-Type application/json from a page of another site, found one that needs no permission";

static SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_page_of_another_site_may_send_unasked_is_refused() {
        for (site, content_type, expected) in [
            (None, None, false),
            (None, Some("application/x-www-form-urlencoded"), false),
            (Some("none"), Some("text/plain"), false),
            (Some("same-origin"), Some("text/plain"), false),
            (Some("cross-site"), Some("application/json"), false),
            (Some("cross-site"), Some("application/octet-stream"), false),
            (Some("cross-site"), None, true),
            (Some("cross-site"), Some("Text/Plain; charset=utf-8"), true),
            (Some("cross-site"), Some("application/x-www-form-urlencoded"), true),
            (Some("cross-site"), Some("multipart/form-data; boundary=x"), true),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(site) = site {
                headers.insert(&SITE, site.parse().expect("a header"));
            }
            if let Some(content_type) = content_type {
                headers.insert(header::CONTENT_TYPE, content_type.parse().expect("a header"));
            }
            assert_eq!(is_cross_site(&headers), expected, "{site:?} {content_type:?}");
        }
    }
}
