//! The server as what answers the requests of connections.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use serve::{Caller, Refusal, Service};

use super::gate::{self, Gate};
use super::request::AUDIT_ID;
use crate::accept::{Peer, PeerAddress};
use crate::negotiate::Form;
use crate::respond;
use crate::status::ApiError;

/// The gate, and what it leads to.
pub(super) struct Connected(pub(super) Arc<Gate>);

impl Service<Peer> for Connected {
    fn call(
        &self,
        request: Request<Incoming>,
        caller: &Arc<Caller<Peer>>,
    ) -> impl Future<Output = Response<Body>> + Send + 'static + use<> {
        let mut request = request.map(Body::new);
        let extensions = request.extensions_mut();
        extensions.insert(caller.peer.certificates.clone());
        extensions.insert(PeerAddress(caller.address));
        caller.peer.expires.map(|expires| extensions.insert(expires));
        extensions.insert(Arc::clone(caller));
        gate::enter(State(Arc::clone(&self.0)), request)
    }

    fn reads(&self, name: &HeaderName, peer: &Peer) -> bool {
        READ.contains(name)
            || name.as_str().starts_with(gate::IMPERSONATE)
            || self.0.authentication.reads(name, &peer.certificates)
    }

    fn refuse(&self, refusal: Refusal) -> Response<Body> {
        match refusal {
            Refusal::TooManyFields => {
                // As HTTP/1.1 and HTTP/2 themselves refuse a head, and as Go does: it is not known what the client
                // accepts.
                let mut response = Response::new(Body::from("431 Request Header Fields Too Large"));
                *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                let text = HeaderValue::from_static("text/plain; charset=utf-8");
                response.headers_mut().insert(header::CONTENT_TYPE, text);
                response
            }
            Refusal::Busy => {
                respond::error(&ApiError::too_many_requests(), Form::Json { pretty: false }).map(Body::from)
            }
        }
    }
}

/// What negotiation, compression, conditional requests and the logs read; authenticators say themselves what they read.
static READ: [HeaderName; 9] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::IF_NONE_MATCH,
    header::USER_AGENT,
    AUDIT_ID,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-real-ip"),
];
