//! Responses: a body with the headers that go with it.

use std::io;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::document::{Rendered, RenderedBody};
use crate::encode::gzip::Compressed;
use crate::encode::{self, Object};
use crate::negotiate::{Form, TEXT};
use crate::status::{ApiError, Class};

/// A response with an object as its body.
pub(crate) fn object(code: StatusCode, object: &impl Object, form: Form) -> Response<Bytes> {
    encoded(code, encode::encode(object, form), form)
}

/// A response with an object that is not a protobuf message as its body.
pub(crate) fn text(code: StatusCode, object: &impl Serialize, form: Form) -> Response<Bytes> {
    encoded(code, encode::text(object, form), form)
}

fn encoded(code: StatusCode, body: io::Result<Bytes>, form: Form) -> Response<Bytes> {
    match body {
        Ok(body) => raw(code, form.media_type(), body),
        Err(error) => {
            // Objects hold only strings, numbers and lists of them: serde_json writes those without fail.
            tracing::error!(%error, "cannot encode a response");
            let body = Bytes::from_static(b"an answer could not be written");
            raw(StatusCode::INTERNAL_SERVER_ERROR, TEXT, body)
        }
    }
}

/// A response with an error as its body.
pub(crate) fn error(error: &ApiError, form: Form) -> Response<Bytes> {
    let mut response = object(error.code(), &error.status(), form);
    let headers = response.headers_mut();
    if error.class() == Class::Forbidden {
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    if let Some(seconds) = error.details().and_then(|details| details.retry_after_seconds) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// A response with a rendered document as its body: 304 without one when the client has the document already.
pub(crate) fn document(request: &Parts, document: &Rendered, content_type: HeaderValue) -> Response<Bytes> {
    let mut response = if is_held(request, &document.etag) {
        empty(StatusCode::NOT_MODIFIED)
    } else {
        let mut response = match &document.body {
            RenderedBody::Plain(body) => Response::new(body.clone()),
            RenderedBody::Gzip(body, plain_length) => {
                let mut response = Response::new(body.clone());
                response.extensions_mut().insert(Compressed { plain_length: *plain_length });
                response
            }
        };
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        response
    };
    response.headers_mut().insert(header::ETAG, document.etag.clone());
    response
}

/// Whether the client names a document's tag. A weak tag never matches.
fn is_held(request: &Parts, etag: &HeaderValue) -> bool {
    let held = request.headers.get(header::IF_NONE_MATCH).and_then(|held| held.to_str().ok());
    held.is_some_and(|held| held.split(',').any(|tag| tag.trim().as_bytes() == etag.as_bytes()))
}

/// A response of given bytes.
pub(crate) fn raw(code: StatusCode, content_type: &'static str, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A response without a body.
pub(crate) fn empty(code: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = code;
    response
}
