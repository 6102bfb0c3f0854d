//! Pages of the program's own, outside of `/apis`: for people in a browser as HTML, for programs as JSON.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

use crate::negotiate::{Accept, JSON};
use crate::respond;

/// A page at a path of its own. It is authorised as any path is.
#[derive(Clone)]
pub struct Page {
    /// The path: `/debug/status`.
    pub path: &'static str,
    /// Makes the page.
    pub make: Arc<dyn Fn(PageForm) -> String + Send + Sync>,
}

/// The form of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageForm {
    /// HTML that loads nothing: styles are within it, and there are no scripts.
    Html,
    /// JSON.
    Json,
}

impl Page {
    /// HTML for clients that name it, as browsers do; JSON for all others.
    pub(super) fn response(&self, accept: &Accept<'_>) -> Response<Bytes> {
        let (form, content_type) =
            if accept.names(HTML) { (PageForm::Html, HTML_TEXT) } else { (PageForm::Json, JSON) };
        let mut response = respond::raw(StatusCode::OK, content_type, Bytes::from((self.make)(form)));
        let headers = response.headers_mut();
        headers.insert(header::VARY, HeaderValue::from_static("Accept"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(POLICY, HeaderValue::from_static(LOADS_NOTHING));
        response
    }
}

/// What a page may be accepted as.
pub(super) const PAGE: &[&str] = &[HTML, JSON];
const HTML: &str = "text/html";
const HTML_TEXT: &str = "text/html; charset=utf-8";
const POLICY: HeaderName = header::CONTENT_SECURITY_POLICY;
const LOADS_NOTHING: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
