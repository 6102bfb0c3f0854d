//! Compressed bodies (`docs/contract.md#compression`): only what is large, and only for clients that ask.

mod inflated;

use std::io::Write as _;

use axum::body::Body;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Response, header};
use serve::quality_list;

use inflated::Inflated;

/// From which size on a response may be compressed, in bytes; set as an extension of it where it is not
/// [`LARGE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompressAbove(pub usize);

/// An extension of a response whose body is compressed already; a client that does not take it so gets it inflated on
/// the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compressed {
    /// How many bytes the body has without compression.
    pub plain_length: u64,
}

/// Above this many bytes a body is worth the time that compressing takes.
pub const LARGE: usize = 128 * 1024;

/// Compresses the body of a response when it is large and the client takes it so. The work is done beside the threads
/// that serve connections.
pub async fn compress(request: &HeaderMap, mut response: Response<Bytes>) -> Response<Bytes> {
    let above = response.extensions_mut().remove::<CompressAbove>().map_or(LARGE, |above| above.0);
    if !accepts_gzip(request) {
        return response;
    }
    if response.extensions_mut().remove::<Compressed>().is_none() {
        if response.body().len() <= above {
            return response;
        }
        let body = response.body().clone();
        // A task that was cancelled with the runtime, or a failed write into memory, leaves the body as it is.
        let Ok(Ok(compressed)) = tokio::task::spawn_blocking(move || gzip(&body)).await else {
            return response;
        };
        *response.body_mut() = compressed;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}

/// The response as it is sent: a body that is still [`Compressed`] is inflated piece by piece.
pub fn into_sent(mut response: Response<Bytes>) -> Response<Body> {
    match response.extensions_mut().remove::<Compressed>() {
        None => response.map(Body::from),
        Some(Compressed { plain_length }) => {
            response.map(|body| Body::new(Inflated::new(body, plain_length)))
        }
    }
}

/// Whether `gzip` is named, without a weight: what upstream looks for.
fn accepts_gzip(request: &HeaderMap) -> bool {
    let accepted = request.get(header::ACCEPT_ENCODING).filter(|value| value.to_str().is_ok());
    accepted.is_some_and(|accepted| {
        quality_list(accepted.as_bytes())
            .any(|coding| coding.value.trim() == "gzip" && coding.parameters.is_none())
    })
}

fn gzip(body: &[u8]) -> std::io::Result<Bytes> {
    // The fastest level, as upstream: the rest would cost more than it saves.
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 8), Compression::fast());
    encoder.write_all(body)?;
    Ok(encoder.finish()?.into())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use http_body_util::BodyExt as _;
    use testkit::rows::each_row_async;

    use super::*;

    async fn compressed(accept: &str, response: Response<Bytes>) -> Response<Bytes> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, accept.parse().expect("a value"));
        compress(&headers, response).await
    }

    #[tokio::test]
    async fn only_large_bodies_for_those_who_ask() {
        let large = Bytes::from("depth ".repeat(LARGE / 6 + 1));
        let rows = [
            ("gzip", true),
            ("deflate, gzip", true),
            ("gzip;q=1.0", false),
            ("identity", false),
            ("x-gzip", false),
        ];
        each_row_async(rows, async |(accept, compresses)| {
            let response = compressed(accept, Response::new(large.clone())).await;
            assert_eq!(response.headers().contains_key("content-encoding"), compresses, "{accept}");
            if compresses {
                assert_eq!(response.headers()["content-encoding"], "gzip");
                assert_eq!(response.headers()["vary"], "Accept-Encoding");
                let mut text = Vec::new();
                flate2::read::GzDecoder::new(&response.body()[..]).read_to_end(&mut text).expect("gzip");
                assert_eq!(text, large);
            } else {
                assert_eq!(response.body(), &large);
            }
        })
        .await;
        let limit = large.slice(..LARGE);
        assert_eq!(compressed("gzip", Response::new(limit.clone())).await.body(), &limit, "at the limit");
        let mut small = Response::new(Bytes::from_static(b"{}"));
        small.extensions_mut().insert(CompressAbove(0));
        assert_eq!(compressed("gzip", small).await.headers()["content-encoding"], "gzip", "of any size");
    }

    #[tokio::test]
    async fn a_compressed_body_is_sent_as_the_client_takes_it() {
        let plain = Bytes::from("depth ".repeat(LARGE));
        let kept = || {
            let mut response = Response::new(gzip(&plain).expect("memory"));
            response.extensions_mut().insert(Compressed { plain_length: plain.len() as u64 });
            response
        };
        let taken = compressed("gzip", kept()).await;
        assert_eq!(taken.headers()["content-encoding"], "gzip");
        let taken = into_sent(taken).into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(taken, gzip(&plain).expect("memory"));
        let inflated = compressed("identity", kept()).await;
        assert!(!inflated.headers().contains_key("content-encoding"));
        let body = into_sent(inflated).into_body();
        assert_eq!(hyper::body::Body::size_hint(&body).exact(), Some(plain.len() as u64));
        assert_eq!(body.collect().await.expect("a body").to_bytes(), plain);
    }
}
