//! Reads the body of a request: as large as it may be, as slow as it may be, compressed or not.

use std::io::Read;
use std::pin::pin;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use futures_util::future::poll_immediate;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::telemetry::Outcome;

/// What a body may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyLimits {
    pub(super) bytes: usize,
    pub(super) time: Duration,
}

/// Why there is no body.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyProblem {
    #[error("expected a body of at most {0} bytes, found more")]
    TooLarge(usize),
    #[error("expected the whole body within {0:?}")]
    TooSlow(Duration),
    #[error("the body cannot be decompressed: {0}")]
    Compressed(String),
    #[error("expected Content-Encoding gzip, deflate or none, found {0:?}")]
    Encoding(String),
    #[error("the body ended early")]
    Broken,
}

impl BodyProblem {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            BodyProblem::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            BodyProblem::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            BodyProblem::Encoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            BodyProblem::Compressed(_) | BodyProblem::Broken => StatusCode::BAD_REQUEST,
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        match self {
            BodyProblem::Broken => Outcome::Cancelled,
            _ => Outcome::Invalid,
        }
    }
}

/// The whole body, decompressed.
pub(super) async fn read(headers: &HeaderMap, body: Body, limits: BodyLimits) -> Result<Bytes, BodyProblem> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > limits.bytes) {
        return Err(BodyProblem::TooLarge(limits.bytes));
    }
    let encoding = headers.get(header::CONTENT_ENCODING).map(http::HeaderValue::as_bytes);
    let mut whole = pin!(Limited::new(body, limits.bytes).collect());
    // A small body usually came with its head; a timer costs more than to look.
    let collected = match poll_immediate(&mut whole).await {
        Some(collected) => collected,
        None => {
            tokio::time::timeout(limits.time, whole).await.map_err(|_| BodyProblem::TooSlow(limits.time))?
        }
    };
    let collected = collected.map_err(|error| {
        if error.is::<LengthLimitError>() { BodyProblem::TooLarge(limits.bytes) } else { BodyProblem::Broken }
    })?;
    let collected = collected.to_bytes();
    match encoding.map(<[u8]>::to_ascii_lowercase).as_deref() {
        None | Some(b"identity" | b"") => Ok(collected),
        Some(b"gzip" | b"x-gzip") => decompress(MultiGzDecoder::new(&*collected), limits.bytes),
        Some(b"deflate") => decompress(ZlibDecoder::new(&*collected), limits.bytes),
        Some(other) => Err(BodyProblem::Encoding(String::from_utf8_lossy(other).into_owned())),
    }
}

/// A small body may become a large one, so what comes out is limited, too.
fn decompress(decoder: impl Read, most: usize) -> Result<Bytes, BodyProblem> {
    let mut plain = Vec::new();
    decoder
        .take(most as u64 + 1)
        .read_to_end(&mut plain)
        .map_err(|error| BodyProblem::Compressed(error.to_string()))?;
    if plain.len() > most { Err(BodyProblem::TooLarge(most)) } else { Ok(plain.into()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    async fn read_as(encoding: &str, body: Vec<u8>) -> Result<Bytes, BodyProblem> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, encoding.parse().expect("a header"));
        let limits = BodyLimits { bytes: 1000, time: Duration::from_secs(20) };
        read(&headers, Body::from(body), limits).await
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).expect("memory");
        encoder.finish().expect("memory")
    }

    fn zlib(plain: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).expect("memory");
        encoder.finish().expect("memory")
    }

    #[tokio::test]
    async fn compressed_bodies_come_out_as_they_were() {
        assert_eq!(read_as("identity", b"plain".to_vec()).await.expect("a body"), "plain");
        assert_eq!(read_as("GZIP", gzip(b"plain")).await.expect("a body"), "plain");
        assert_eq!(read_as("deflate", zlib(b"plain")).await.expect("a body"), "plain");
        assert_eq!(read_as("br", b"x".to_vec()).await, Err(BodyProblem::Encoding("br".to_owned())));
        let problem = read_as("gzip", b"not gzip".to_vec()).await.expect_err("no gzip");
        assert_eq!(problem.status(), StatusCode::BAD_REQUEST);
    }

    #[tokio::test]
    async fn what_comes_out_is_limited_as_is_what_comes_in() {
        let bomb = gzip(&vec![b' '; 1_000_000]);
        assert!(bomb.len() > 900 && bomb.len() < 1100, "{}", bomb.len());
        let bomb = gzip(&vec![b' '; 500_000]);
        assert!(bomb.len() < 1000);
        assert_eq!(read_as("gzip", bomb).await, Err(BodyProblem::TooLarge(1000)));
        assert_eq!(read_as("gzip", gzip(&[b' '; 1000])).await.expect("just small enough").len(), 1000);
        assert_eq!(read_as("identity", vec![0; 1001]).await, Err(BodyProblem::TooLarge(1000)));
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let never = futures_util::stream::pending::<Result<Bytes, std::convert::Infallible>>();
        let limits = BodyLimits { bytes: 1000, time: Duration::from_millis(1) };
        let problem = read(&HeaderMap::new(), Body::from_stream(never), limits).await.expect_err("no body");
        assert_eq!((problem.status(), problem.outcome()), (StatusCode::REQUEST_TIMEOUT, Outcome::Invalid));
    }
}
