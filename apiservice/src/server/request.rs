//! A request as the log and the audit log tell of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::header::{HeaderName, USER_AGENT};
use http::request::Parts;

use crate::accept::PeerAddress;
use crate::attributes::{self, Attributes};
use crate::list_options::ListOptions;
use crate::query::QueryParameters;
use crate::status::ApiError;

/// A request as received, before authentication.
pub(crate) struct IncomingRequest {
    pub(crate) parts: Parts,
    pub(crate) query: QueryParameters,
    /// The segments of a path below `/apis`, or why it cannot be read.
    pub(crate) segments: Result<Vec<String>, ApiError>,
    /// What access control decides on, what is recorded and what is answered.
    pub(crate) attributes: Arc<Attributes>,
    /// The caller's, or one of our own.
    pub(crate) audit_id: String,
    pub(crate) at: SystemTime,
    pub(crate) started: Instant,
}

impl IncomingRequest {
    pub(crate) fn new(parts: Parts) -> IncomingRequest {
        let query = QueryParameters::parse(parts.uri.query().unwrap_or_default());
        let path = parts.uri.path();
        let segments = if path.starts_with("/apis/") { attributes::segments(path) } else { Ok(Vec::new()) };
        let known = segments.as_deref().unwrap_or_default();
        let attributes = Attributes::of(&parts.method, path, known, ListOptions::of(&query));
        let audit_id =
            header(&parts, &AUDIT_ID).map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
        IncomingRequest {
            query,
            segments,
            attributes: Arc::new(attributes),
            audit_id,
            at: SystemTime::now(),
            started: Instant::now(),
            parts,
        }
    }

    pub(crate) fn path(&self) -> &str {
        self.parts.uri.path()
    }

    /// Path and query as they were sent.
    pub(crate) fn uri(&self) -> &str {
        self.parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str)
    }

    /// Empty when it was not given.
    pub(crate) fn user_agent(&self) -> &str {
        header(&self.parts, &USER_AGENT).unwrap_or_default()
    }

    /// The other end of the connection; `None` without one, as in tests.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.parts.extensions.get::<PeerAddress>().map(|peer| peer.0)
    }
}

pub(crate) fn header<'a>(parts: &'a Parts, name: &HeaderName) -> Option<&'a str> {
    parts.headers.get(name).and_then(|value| value.to_str().ok())
}

/// Ties what several servers log of one request together.
pub(crate) const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
