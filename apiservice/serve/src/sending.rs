//! An answer under way.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use crate::activity::Exchange;

/// An answer's body; its request is under way until all of it was handed over. It is handed over in pieces: hyper takes
/// a piece only when the one before it has gone, so that a client that reads nothing is seen to.
pub(crate) struct Sending {
    body: Body,
    /// What of the last frame was not handed over.
    rest: Bytes,
    /// `None` for a request that was refused.
    _exchange: Option<Exchange>,
}

impl Sending {
    pub(crate) fn new(body: Body, exchange: Option<Exchange>) -> Sending {
        Sending { body, rest: Bytes::new(), _exchange: exchange }
    }
}

impl hyper::body::Body for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                other => return other,
            }
        }
        let piece = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        if rest > 0 {
            let upper = hint.upper();
            hint.set_lower(hint.lower() + rest);
            if let Some(upper) = upper {
                hint.set_upper(upper + rest);
            }
        }
        hint
    }
}

const PIECE: usize = 64 << 10;
