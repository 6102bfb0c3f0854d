//! Tells HTTP/2 from HTTP/1.1 by the first bytes of a connection (RFC 9113, section 3.4).

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Reads no more than it takes to tell. Whether it is HTTP/2, and what was read.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(bool, Vec<u8>)> {
    let mut read = Vec::new();
    while let Some(rest) = PREFACE.strip_prefix(read.as_slice()) {
        if rest.is_empty() {
            return Ok((true, read));
        }
        if (&mut *stream).take(rest.len() as u64).read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok((false, read))
}

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[cfg(test)]
mod tests {
    use testkit::rows::each_row_async;

    use super::*;

    #[tokio::test]
    async fn the_version_is_told_however_the_bytes_come() {
        for (sent, is_http2) in
            [(PREFACE, true), (b"POST / HTTP/1.1\r\n\r\n", false), (b"PRI * HTTP/1.1\r\n", false)]
        {
            for step in 1..=sent.len() {
                let mut pieces = Pieces { bytes: sent, step };
                let (found, mut read) = super::read(&mut pieces).await.expect("enough bytes");
                assert_eq!(found, is_http2);
                pieces.read_to_end(&mut read).await.expect("the rest");
                assert_eq!(read, sent, "nothing is lost in steps of {step}");
            }
        }
    }

    #[tokio::test]
    async fn an_early_end_is_an_error() {
        each_row_async([&b""[..], b"PRI"], async |sent| {
            assert!(super::read(&mut &*sent).await.is_err());
        })
        .await;
    }

    /// Gives a few bytes at a time.
    struct Pieces {
        bytes: &'static [u8],
        step: usize,
    }

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            buffer: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            let (now, later) = self.bytes.split_at(self.step.min(self.bytes.len()).min(buffer.remaining()));
            buffer.put_slice(now);
            self.bytes = later;
            std::task::Poll::Ready(Ok(()))
        }
    }
}
