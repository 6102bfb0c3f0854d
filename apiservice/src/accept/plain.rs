//! Clients that speak HTTP without TLS: they are told so, as by Go's servers.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Whether a client begins with an HTTP request where TLS is expected. Waits for its first bytes and leaves them
/// unread.
pub(super) async fn begins(stream: &TcpStream) -> io::Result<bool> {
    let mut start = [0; LONGEST];
    let came = stream.peek(&mut start).await?;
    // A TLS record never begins with a letter, so however few bytes came, what matches is not TLS.
    Ok(came > 0 && REQUESTS.iter().any(|request| request.starts_with(&start[..came])))
}

/// Says why and closes the connection.
pub(super) async fn refuse(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(ANSWER).await?;
    stream.shutdown().await?;
    // A connection that is closed with bytes unread is reset, which may discard the answer before the client has read
    // it.
    let mut rest = [0; 1024];
    let mut read = 0;
    while read < MOST_UNREAD {
        match stream.read(&mut rest).await? {
            0 => break,
            count => read += count,
        }
    }
    Ok(())
}

const LONGEST: usize = 5;
/// What Go takes for an HTTP request: its first bytes.
const REQUESTS: [&[u8; LONGEST]; 5] = [b"GET /", b"HEAD ", b"POST ", b"PUT /", b"OPTIO"];
const ANSWER: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
/// Enough for the head of a usual request.
const MOST_UNREAD: usize = 64 << 10;
