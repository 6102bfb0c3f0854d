//! A body that is inflated while it is sent: a client that takes no compressed answer costs no memory for all of it.

use std::io::{self, Read as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::buf::Reader;
use bytes::{Buf as _, Bytes};
use flate2::read::GzDecoder;
use hyper::body::{Body, Frame, SizeHint};

pub(super) struct Inflated {
    decoder: GzDecoder<Reader<Bytes>>,
    left: u64,
}

impl Inflated {
    /// Of a body compressed by gzip, and its length without.
    pub(super) fn new(compressed: Bytes, plain_length: u64) -> Inflated {
        Inflated { decoder: GzDecoder::new(compressed.reader()), left: plain_length }
    }

    fn piece(&mut self) -> io::Result<Bytes> {
        let mut piece = vec![0; self.left.min(PIECE) as usize];
        self.decoder.read_exact(&mut piece)?;
        self.left -= piece.len() as u64;
        Ok(piece.into())
    }
}

impl Body for Inflated {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(self.piece().map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// What is inflated at a time, in bytes.
const PIECE: u64 = 64 << 10;
