//! A stream that tells what came, and hands it over in portions.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::activity::Activity;
use crate::stats::{Stats, add};

/// What hyper reads from.
pub(crate) struct Watched<S> {
    stream: S,
    /// What was read of the stream before.
    read: Vec<u8>,
    is_http2: bool,
    activity: Arc<Activity>,
    stats: Arc<Stats>,
}

impl<S> Watched<S> {
    pub(crate) fn new(
        stream: S,
        read: Vec<u8>,
        is_http2: bool,
        activity: Arc<Activity>,
        stats: Arc<Stats>,
    ) -> Watched<S> {
        Watched { stream, read, is_http2, activity, stats }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_http2 && self.activity.turn_is_over() {
            // The next turn comes immediately.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let polled = if self.read.is_empty() {
            Pin::new(&mut self.stream).poll_read(context, buffer)
        } else {
            let count = self.read.len().min(buffer.remaining());
            buffer.put_slice(&self.read[..count]);
            self.read.drain(..count);
            Poll::Ready(Ok(()))
        };
        let bytes = &buffer.filled()[before..];
        if !bytes.is_empty() && !self.activity.bytes_came(bytes) {
            add(&self.stats.header_room);
            return Poll::Ready(Err(io::Error::other(
                "the long headers of all connections take all room for them",
            )));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
