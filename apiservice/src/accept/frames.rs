//! Where a stream of HTTP/2 frames (RFC 9113, section 4.1) is within the head of a request.

/// Follows the frames of a client.
pub(super) struct Frames {
    /// Bytes until the next frame.
    skip: usize,
    /// The first bytes of a frame, as far as they came.
    start: [u8; START],
    came: usize,
    in_head: bool,
}

impl Frames {
    pub(super) fn new() -> Frames {
        Frames { skip: PREFACE, start: [0; START], came: 0, in_head: false }
    }

    /// Takes the next bytes. Whether the head of a request goes on in a further frame: then it is a long one, or one without
    /// an end, and what it stands for is kept until then.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> bool {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let more = (START - self.came).min(bytes.len());
            self.start[self.came..self.came + more].copy_from_slice(&bytes[..more]);
            self.came += more;
            bytes = &bytes[more..];
            if self.came < START {
                return self.in_head;
            }
            self.came = 0;
            let [high, middle, low, kind, flags, ..] = self.start;
            self.skip = u32::from_be_bytes([0, high, middle, low]) as usize;
            if matches!(kind, HEADERS | CONTINUATION) {
                self.in_head = flags & END_HEADERS == 0;
            }
        }
    }
}

const PREFACE: usize = 24;
const START: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_followed_however_the_bytes_come() {
        let frame = |kind, flags, length: u8| {
            let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
            // What a frame holds may look like the start of another.
            frame.extend((0..length).map(|_| HEADERS));
            frame
        };
        let mut stream = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let mut expected = vec![(stream.len(), false)];
        for (bytes, in_head) in [
            (frame(4, 0, 6), false),
            (frame(HEADERS, END_HEADERS, 20), false),
            (frame(HEADERS, 1, 20), true),
            (frame(CONTINUATION, 0, 0), true),
            (frame(CONTINUATION, END_HEADERS, 3), false),
            (frame(0, 1, 200), false),
        ] {
            stream.extend(bytes);
            expected.push((stream.len(), in_head));
        }
        for step in 1..30 {
            let mut frames = Frames::new();
            let mut taken = 0;
            for (end, in_head) in &expected {
                let mut last = None;
                for chunk in stream[taken..*end].chunks(step) {
                    last = Some(frames.take(chunk));
                }
                taken = *end;
                assert_eq!(last, Some(*in_head), "{step} bytes at a time, {end}");
            }
        }
    }
}
