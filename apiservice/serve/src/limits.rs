//! How much a server takes on, and for how long.

use std::time::Duration;

/// Limits of a listener. Each client that does not keep to them loses its connection; none makes others wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at the same time. The server never stops accepting: one more ends the one that is least worth
    /// keeping, see [`crate::Trust`].
    pub connections: usize,
    /// Of those, kept for callers with a verified certificate.
    pub reserved: usize,
    /// Handshakes at the same time; one more ends the oldest.
    pub handshakes: usize,
    /// Time for a handshake; without TLS, for the bytes that tell HTTP/1.1 from HTTP/2.
    pub handshake: Duration,
    /// Time for the head of a request, from its first byte; for the first one, from the end of the handshake.
    pub headers: Duration,
    /// Size of the head of a request, in bytes; for HTTP/2 as decoded, with 32 more for each field (RFC 9113, section
    /// 6.5.2). More is answered with 431. Also the largest buffer of an HTTP/1.1 connection; at least 8 KiB.
    pub header_bytes: usize,
    /// Number of fields in the head of a request; more is answered with 431.
    pub header_fields: usize,
    /// Bytes that the long heads of all connections may take together: while they arrive, and of those that arrived
    /// what their requests keep. The first [`FREE_HEAD_BYTES`] of each are not counted. A head that arrives and finds
    /// no room loses its connection; a request that does is refused with [`crate::Refusal::Busy`].
    pub all_header_bytes: usize,
    /// Time from the head of a request to the start of its answer; `None` where the program has limits of its own.
    pub exchange: Option<Duration>,
    /// Time for a client to take an answer, from its start.
    pub answer: Duration,
    /// Time without a request on a connection that had one; then the client is told to leave.
    pub idle: Duration,
    /// Time for a client that was told to leave and has nothing under way; then the connection is cut.
    pub linger: Duration,
    /// HTTP/2 streams at the same time in a connection.
    pub http2_streams: u32,
    /// Bytes of a body that may arrive before they are read, in one HTTP/2 stream.
    pub http2_stream_window: u32,
    /// The same in all streams of an HTTP/2 connection.
    pub http2_connection_window: u32,
    /// Time for requests under way when draining; `None` waits for all of them.
    pub grace: Option<Duration>,
}

impl Default for Limits {
    /// For an API server without request bodies in a container of 128 MiB: a handshake takes up to 83 KiB and an idle
    /// TLS connection 29 KiB (56 MiB for all), long heads take 16 MiB, and the program itself 16 MiB. Fewer handshakes
    /// would do for memory, but a client that opens a connection for each of 400 requests must find them.
    fn default() -> Limits {
        Limits {
            connections: 1024,
            reserved: 128,
            handshakes: 512,
            handshake: Duration::from_secs(10),
            headers: Duration::from_secs(32),
            header_bytes: 256 << 10,
            header_fields: 2048,
            all_header_bytes: 16 << 20,
            exchange: Some(Duration::from_mins(2)),
            answer: Duration::from_mins(1),
            idle: Duration::from_mins(2),
            linger: Duration::from_secs(10),
            http2_streams: 100,
            http2_stream_window: 65_535,
            http2_connection_window: 256 << 10,
            grace: Some(Duration::from_mins(1)),
        }
    }
}

impl Limits {
    /// The same limits for another number of connections, of which parts are kept for callers with a verified
    /// certificate and may be in their handshake.
    #[must_use]
    pub fn with_connections(self, connections: usize) -> Limits {
        Limits { connections, reserved: connections / 8, handshakes: (connections / 2).max(1), ..self }
    }

    /// Connections of callers without a verified certificate.
    pub(crate) fn unreserved(&self) -> usize {
        self.connections.saturating_sub(self.reserved).max(1)
    }

    /// Connections that strangers of one address may hold when there is no place left.
    pub(crate) fn share(&self) -> usize {
        (self.unreserved() / SHARES).max(1)
    }

    /// Handshakes of one address, likewise.
    pub(crate) fn handshake_share(&self) -> usize {
        (self.handshakes / SHARES).max(1)
    }
}

/// More than the head of a request usually is; a token is some thousand bytes.
pub const FREE_HEAD_BYTES: usize = 8 << 10;
/// An address may hold one of this number of parts.
const SHARES: usize = 4;
