//! Frames of HTTP/2 (RFC 9113, section 6), and heads by HPACK's static table (RFC 7541, appendix A).

/// The type of a frame.
pub const DATA: u8 = 0;
/// The type of a frame.
pub const HEADERS: u8 = 1;
/// The type of a frame.
pub const RST_STREAM: u8 = 3;
/// The type of a frame.
pub const SETTINGS: u8 = 4;
/// The type of a frame.
pub const PING: u8 = 6;
/// The type of a frame.
pub const GOAWAY: u8 = 7;
/// The type of a frame.
pub const CONTINUATION: u8 = 9;
/// A flag of SETTINGS and PING.
pub const ACK: u8 = 1;
/// A flag of HEADERS and DATA.
pub const END_STREAM: u8 = 1;
/// A flag of HEADERS and CONTINUATION.
pub const END_HEADERS: u8 = 4;
/// A field `a: b`, which one byte [`AGAIN`] repeats from now on.
pub const FIELD: &[u8] = &[0x40, 1, b'a', 1, b'b'];
/// The field that was named last.
pub const AGAIN: u8 = 0xbe;

/// A frame that came whole.
#[derive(Debug)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its payload.
    pub payload: Vec<u8>,
}

impl Frame {
    /// What a client that stays answers: nothing to most frames.
    pub fn acknowledged(&self) -> Vec<u8> {
        match (self.kind, self.flags) {
            (PING, 0) => new(PING, ACK, 0, &self.payload),
            (SETTINGS, 0) => new(SETTINGS, ACK, 0, &[]),
            _ => Vec::new(),
        }
    }
}

/// What a client sends first, with settings of which it has none.
pub fn preface() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(new(SETTINGS, 0, 0, &[]));
    bytes
}

/// The bytes of a frame.
///
/// # Panics
/// The payload is longer than any frame.
pub fn new(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [0, length @ ..] = u32::try_from(payload.len()).expect("a short frame").to_be_bytes() else {
        panic!("expected a payload of less than 16 MiB, found {} bytes", payload.len())
    };
    let mut frame = length.to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A whole request without a body.
pub fn request(stream: u32, head: &[u8]) -> Vec<u8> {
    new(HEADERS, END_HEADERS | END_STREAM, stream, head)
}

/// The head of `GET https://x` with a path of up to 126 bytes.
///
/// # Panics
/// The path is longer.
pub fn get(path: &str) -> Vec<u8> {
    let length = u8::try_from(path.len()).ok().filter(|length| *length < 127).expect("a short path");
    let mut head = vec![0x82, 0x87, 0x01, 1, b'x', 0x04, length];
    head.extend(path.bytes());
    head
}

/// The field `authorization` with a value of up to 126 bytes.
///
/// # Panics
/// The value is longer.
pub fn authorization(value: &str) -> Vec<u8> {
    let length = u8::try_from(value.len()).ok().filter(|length| *length < 127).expect("a short value");
    let mut field = vec![0x0f, 8, length];
    field.extend(value.bytes());
    field
}

/// The first frame and its length with its head; `None` while it has not come whole.
pub fn first(bytes: &[u8]) -> Option<(Frame, usize)> {
    let head: [u8; 9] = bytes.get(..9)?.try_into().ok()?;
    let length = 9 + u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let payload = bytes.get(9..length)?.to_vec();
    Some((Frame { kind: head[3], flags: head[4], payload }, length))
}

/// The frames that came whole.
pub fn all(bytes: &[u8]) -> impl Iterator<Item = Frame> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (frame, length) = first(rest)?;
        rest = &rest[length..];
        Some(frame)
    })
}

/// Whether the first HEADERS frame of a server says 200; `None` without one.
pub fn is_ok(bytes: &[u8]) -> Option<bool> {
    // HPACK's table holds this status.
    all(bytes).find(|frame| frame.kind == HEADERS).map(|frame| frame.payload.first() == Some(&0x88))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_they_are_written() {
        let head = get("/a");
        let bytes = [preface()[24..].to_vec(), request(3, &head), vec![0, 0, 9]].concat();
        let frames: Vec<Frame> = all(&bytes).collect();
        let [settings, request] = &frames[..] else { panic!("{frames:?}") };
        assert_eq!((settings.kind, settings.flags, settings.payload.len()), (SETTINGS, 0, 0));
        assert_eq!(
            (request.kind, request.flags, &request.payload),
            (HEADERS, END_HEADERS | END_STREAM, &head)
        );
        assert_eq!(settings.acknowledged(), new(SETTINGS, ACK, 0, &[]));
        assert_eq!(is_ok(&bytes), Some(false));
        assert_eq!(is_ok(&new(HEADERS, 0, 1, &[0x88])), Some(true));
        assert_eq!(is_ok(&bytes[..9]), None);
    }
}
