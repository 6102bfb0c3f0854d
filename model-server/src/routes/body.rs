//! Reads the body of a request: as large as it may be, as slow as it may be, compressed or not, in the memory that
//! bodies have.

use std::io::Read;
use std::ops::Deref;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use futures_util::future::poll_immediate;
use http_body_util::BodyExt as _;
use hyper::body::Frame;

use super::excerpt::Excerpt;
use crate::bodies::{BodyBudget, BodyShare, NoMemory, Overdue, PATIENCE, STEP};
use crate::telemetry::{Outcome, RefusedBody};

/// Why there is no body.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyProblem {
    #[error("expected a body of at most {0} bytes, found more")]
    TooLarge(usize),
    #[error("expected the whole body within {0:?}")]
    TooSlow(Duration),
    #[error("there is no memory for the body: other requests' bodies take it")]
    NoMemory,
    #[error("the body cannot be decompressed: {0}")]
    Compressed(String),
    #[error("expected Content-Encoding gzip, deflate or none, found {0}")]
    Encoding(String),
    #[error("the body ended early")]
    Broken,
    #[error("the server is shutting down")]
    Draining,
}

impl BodyProblem {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            BodyProblem::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            BodyProblem::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            BodyProblem::NoMemory | BodyProblem::Draining => StatusCode::SERVICE_UNAVAILABLE,
            BodyProblem::Encoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            BodyProblem::Compressed(_) | BodyProblem::Broken => StatusCode::BAD_REQUEST,
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        match self {
            BodyProblem::Broken => Outcome::Cancelled,
            BodyProblem::NoMemory => Outcome::Rejected,
            BodyProblem::Draining => Outcome::Draining,
            _ => Outcome::Invalid,
        }
    }

    /// Whether the rest of the body is left unread, so that an HTTP/1 connection cannot go on.
    pub(super) fn leaves_rest(&self) -> bool {
        !matches!(self, BodyProblem::Compressed(_) | BodyProblem::Encoding(_))
    }

    /// For metrics; a client that left is none of the server's refusals.
    fn refused(&self) -> Option<RefusedBody> {
        match self {
            BodyProblem::TooLarge(_) => Some(RefusedBody::TooLarge),
            BodyProblem::TooSlow(_) => Some(RefusedBody::TooSlow),
            BodyProblem::NoMemory => Some(RefusedBody::NoMemory),
            BodyProblem::Compressed(_) | BodyProblem::Encoding(_) => Some(RefusedBody::Undecodable),
            BodyProblem::Draining => Some(RefusedBody::Draining),
            BodyProblem::Broken => None,
        }
    }
}

impl From<NoMemory> for BodyProblem {
    fn from(_: NoMemory) -> BodyProblem {
        BodyProblem::NoMemory
    }
}

impl From<Overdue> for BodyProblem {
    fn from(why: Overdue) -> BodyProblem {
        match why {
            Overdue::TooSlow(time) => BodyProblem::TooSlow(time),
            Overdue::NoMemory => BodyProblem::NoMemory,
            Overdue::Draining => BodyProblem::Draining,
        }
    }
}

/// A whole body, decompressed, and the memory that it takes: to be dropped before anything is waited for.
pub(super) struct WholeBody<'a> {
    bytes: Bytes,
    _share: BodyShare<'a>,
}

impl Deref for WholeBody<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads the whole body and decompresses it.
pub(super) async fn read<'a>(
    headers: &HeaderMap,
    body: Body,
    budget: &'a BodyBudget,
) -> Result<WholeBody<'a>, BodyProblem> {
    let announced = announced(headers);
    let mut received = Received { bytes: Vec::new(), first: None, count: 0, share: budget.share() };
    let result = match collect(announced, body, budget, &mut received).await {
        Ok(()) => decoded(headers, received.take(), &mut received.share, budget.limits().bytes),
        Err(problem) => Err(problem),
    };
    match result {
        Ok(bytes) => Ok(WholeBody { bytes, _share: received.share }),
        Err(problem) => {
            if let Some(reason) = problem.refused() {
                budget.metrics().refused(reason, announced.unwrap_or(received.count as u64));
            }
            Err(problem)
        }
    }
}

/// What the client says that it sends; the rest of a longer body is another request's.
pub(super) fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn collect(
    announced: Option<u64>,
    mut body: Body,
    budget: &BodyBudget,
    received: &mut Received<'_>,
) -> Result<(), BodyProblem> {
    let most = budget.limits().bytes;
    if announced.is_some_and(|length| length > most as u64) {
        return Err(BodyProblem::TooLarge(most));
    }
    let expected = announced.map_or(most, |length| length as usize);
    let mut began = None;
    loop {
        // A small body usually came with its head; a timer costs more than to look, and so does memory that is counted.
        let frame = if let Some(frame) = poll_immediate(body.frame()).await {
            frame
        } else {
            let began = *began.get_or_insert_with(now);
            received.keep(expected)?;
            next_frame(&mut body, budget, began).await?
        };
        match frame {
            None => return Ok(()),
            Some(Err(_)) => return Err(BodyProblem::Broken),
            // Trailers say nothing here.
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    received.push(data, expected, most)?;
                }
            }
        }
    }
}

/// A part of a body, or its end.
type Part = Option<Result<Frame<Bytes>, axum::Error>>;

/// Waits for the next part of a body, as long as the body may take.
async fn next_frame(body: &mut Body, budget: &BodyBudget, began: Instant) -> Result<Part, BodyProblem> {
    loop {
        let (deadline, why) = budget.deadline(began);
        let left = deadline.saturating_duration_since(now());
        if left.is_zero() {
            return Err(why.into());
        }
        if let Ok(frame) = tokio::time::timeout(left.min(PATIENCE), body.frame()).await {
            return Ok(frame);
        }
    }
}

/// By the runtime's clock, which tests set.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// What arrived of a body. A single part is kept as it came; several are copied together: each may be a byte of a
/// buffer that stays for its sake.
struct Received<'a> {
    first: Option<Bytes>,
    bytes: Vec<u8>,
    count: usize,
    share: BodyShare<'a>,
}

impl Received<'_> {
    fn push(&mut self, data: Bytes, expected: usize, most: usize) -> Result<(), BodyProblem> {
        self.count += data.len();
        if self.count > most {
            return Err(BodyProblem::TooLarge(most));
        }
        if self.count == data.len() {
            self.first = Some(data);
            return Ok(());
        }
        self.keep(expected)?;
        self.reserve(data.len(), expected)?;
        self.bytes.extend_from_slice(&data);
        Ok(())
    }

    /// Copies the single part, so that what it is a part of can go; takes memory for what comes.
    fn keep(&mut self, expected: usize) -> Result<(), NoMemory> {
        let first = self.first.take().unwrap_or_default();
        self.reserve(first.len(), expected)?;
        self.bytes.extend_from_slice(&first);
        Ok(())
    }

    fn reserve(&mut self, more: usize, expected: usize) -> Result<(), NoMemory> {
        let needed = self.bytes.len() + more;
        if needed <= self.bytes.capacity() && self.share.bytes() > 0 {
            return Ok(());
        }
        // It doubles, but not beyond the body's end.
        let capacity = needed.max((2 * self.bytes.capacity()).max(STEP).min(expected));
        self.share.grow_to(capacity)?;
        self.bytes.reserve_exact(capacity - self.bytes.len());
        Ok(())
    }

    fn take(&mut self) -> Bytes {
        match self.first.take() {
            Some(first) => first,
            None => std::mem::take(&mut self.bytes).into(),
        }
    }
}

fn decoded(
    headers: &HeaderMap,
    body: Bytes,
    share: &mut BodyShare<'_>,
    most: usize,
) -> Result<Bytes, BodyProblem> {
    let encoding = headers.get(header::CONTENT_ENCODING).map(http::HeaderValue::as_bytes);
    match encoding.map(<[u8]>::to_ascii_lowercase).as_deref() {
        None | Some(b"identity" | b"") => Ok(body),
        Some(b"gzip" | b"x-gzip") => decompress(MultiGzDecoder::new(&*body), share, most),
        Some(b"deflate") => decompress(ZlibDecoder::new(&*body), share, most),
        Some(other) => Err(BodyProblem::Encoding(Excerpt(&String::from_utf8_lossy(other)).to_string())),
    }
}

/// A small body may become a large one, so what comes out is limited and counted, too.
fn decompress(mut decoder: impl Read, share: &mut BodyShare<'_>, most: usize) -> Result<Bytes, BodyProblem> {
    let (compressed, mut plain) = (share.bytes(), Vec::new());
    loop {
        // One byte more than allowed tells a body that is too large.
        let capacity = (2 * plain.capacity()).clamp(STEP, most.max(STEP) + 1);
        share.grow_to(compressed + capacity)?;
        plain.reserve_exact(capacity - plain.len());
        while plain.len() < capacity {
            let left = (capacity - plain.len()) as u64;
            let read = (&mut decoder).take(left).read_to_end(&mut plain);
            let read = read.map_err(|error| BodyProblem::Compressed(error.to_string()))?;
            if read == 0 {
                return Ok(plain.into());
            }
            if plain.len() > most {
                return Err(BodyProblem::TooLarge(most));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use futures_util::stream::{self, StreamExt as _};

    use super::*;
    use crate::bodies::{BodyLimits, SMALL};
    use crate::telemetry::BodyMetrics;

    fn budget(bytes: usize, memory: usize) -> BodyBudget {
        let limits = BodyLimits { bytes, memory, time: Duration::from_secs(20) };
        BodyBudget::new(limits, BodyMetrics::unregistered())
    }

    async fn read_as(encoding: &str, body: Vec<u8>) -> Result<Vec<u8>, BodyProblem> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, encoding.parse().expect("a header"));
        read(&headers, Body::from(body), &budget(1000, 1 << 20)).await.map(|body| body.to_vec())
    }

    /// A body of these parts that arrive one by one; then it ends, or never does.
    fn parts(parts: &[&[u8]], ends: bool) -> Body {
        let parts: Vec<_> = parts.iter().map(|part| Bytes::copy_from_slice(part)).collect();
        let arriving = stream::iter(parts).then(|part| async {
            tokio::task::yield_now().await;
            Ok::<_, Infallible>(part)
        });
        let rest = if ends { stream::empty().boxed() } else { stream::pending().boxed() };
        Body::from_stream(arriving.chain(rest))
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
        assert_eq!(read_as("identity", b"plain".to_vec()).await.expect("a body"), b"plain");
        assert_eq!(read_as("GZIP", gzip(b"plain")).await.expect("a body"), b"plain");
        assert_eq!(read_as("deflate", zlib(b"plain")).await.expect("a body"), b"plain");
        assert_eq!(read_as("br", b"x".to_vec()).await, Err(BodyProblem::Encoding("\"br\"".to_owned())));
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
    async fn a_body_in_parts_is_put_together_and_limited() {
        let budget = budget(100_000, 1 << 20);
        let piece = vec![7; 30_000];
        let whole = read(&HeaderMap::new(), parts(&[b"", b"{", &piece, &piece, b"}"], true), &budget).await;
        let whole = whole.expect("a body");
        assert_eq!(whole.to_vec(), [b"{", &piece[..], &piece, b"}"].concat());
        drop(whole);
        assert_eq!(budget.share().grow_to(1 << 20), Err(NoMemory), "a quarter is for small bodies");
        assert_eq!(budget.share().grow_to(3 << 18), Ok(()), "all else is free again");
        let large = read(&HeaderMap::new(), parts(&[&piece[..]; 4], true), &budget).await;
        assert_eq!(large.err(), Some(BodyProblem::TooLarge(100_000)));
    }

    #[tokio::test]
    async fn bodies_for_which_there_is_no_memory_are_refused_and_small_ones_that_are_there_are_read() {
        let budget = budget(1 << 20, 4 * SMALL);
        let mut others = budget.share();
        assert_eq!(others.grow_to(3 * SMALL), Ok(()));
        let piece = vec![7; SMALL / 2];
        let large = read(&HeaderMap::new(), parts(&[&piece[..]; 3], true), &budget).await;
        assert_eq!(large.err(), Some(BodyProblem::NoMemory));
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, header::HeaderValue::from_static("gzip"));
        let bomb = read(&headers, Body::from(gzip(&vec![b' '; 2 * SMALL])), &budget).await;
        assert_eq!(bomb.err(), Some(BodyProblem::NoMemory));
        let small = read(&HeaderMap::new(), parts(&[b"{", b"}"], true), &budget).await;
        assert_eq!(small.expect("a small body").to_vec(), b"{}");
        drop(others);
        let large = read(&HeaderMap::new(), parts(&[&piece[..]; 3], true), &budget).await;
        assert_eq!(large.map(|body| body.len()), Ok(3 * SMALL / 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let budget = budget(1000, 1 << 20);
        let problem = read(&HeaderMap::new(), parts(&[b"{"], false), &budget).await;
        assert_eq!(problem.err(), Some(BodyProblem::TooSlow(Duration::from_secs(20))));
    }

    #[tokio::test]
    async fn at_the_end_of_a_drain_unfinished_bodies_are_refused() {
        let budget = budget(1000, 1 << 20);
        budget.drain_by(Instant::now());
        let problem = read(&HeaderMap::new(), parts(&[b"{"], false), &budget).await.err().expect("refused");
        assert_eq!(
            (problem.status(), problem.outcome()),
            (StatusCode::SERVICE_UNAVAILABLE, Outcome::Draining)
        );
        assert!(read(&HeaderMap::new(), Body::from("{}"), &budget).await.is_ok(), "it is there");
    }
}
