//! Where a stream of HTTP/2 frames (RFC 9113, section 4.1) is within the head of a request.
//!
//! h2 bounds one head, and nothing bounds what the unfinished heads of all connections hold: what has arrived is
//! decoded. Measured with 400 heads of 15 KB that do not end: 225 MiB of memory without this, 7 MiB with it. h2 also
//! decodes all heads that have arrived before it hands over the first. Both need to know which bytes are of heads.

use crate::preface::PREFACE;

/// Follows the frames of a client.
pub(crate) struct Frames {
    /// Bytes until the next frame.
    skip: usize,
    /// The first bytes of a frame, as far as they came.
    start: [u8; START],
    came: usize,
    /// Whether the frame under way is of a head.
    is_head: bool,
    /// Whether the head goes on in another frame.
    goes_on: bool,
    /// Bytes of the unfinished head.
    bytes: usize,
}

/// A head that has not arrived whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unfinished {
    /// Its bytes so far.
    pub(crate) bytes: usize,
    /// Whether some of them are decoded already: those of all frames but the last.
    pub(crate) is_decoded: bool,
}

impl Frames {
    /// After the client's preface.
    pub(crate) fn new() -> Frames {
        Frames { skip: PREFACE.len(), start: [0; START], came: 0, is_head: false, goes_on: false, bytes: 0 }
    }

    /// Takes the next bytes; how many of them are of heads.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) -> usize {
        let mut of_heads = 0;
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if self.is_head {
                of_heads += skipped;
                self.bytes += skipped;
            }
            if self.skip == 0 && !self.goes_on {
                self.bytes = 0;
            }
            let more = (START - self.came).min(bytes.len());
            self.start[self.came..self.came + more].copy_from_slice(&bytes[..more]);
            self.came += more;
            bytes = &bytes[more..];
            if self.came < START {
                return of_heads;
            }
            self.came = 0;
            let [high, middle, low, kind, flags, ..] = self.start;
            self.skip = u32::from_be_bytes([0, high, middle, low]) as usize;
            self.is_head = matches!(kind, HEADERS | CONTINUATION);
            if self.is_head {
                self.goes_on = flags & END_HEADERS == 0;
            }
        }
    }

    /// The head under way.
    pub(crate) fn unfinished(&self) -> Option<Unfinished> {
        let is_under_way = self.goes_on || (self.is_head && self.skip > 0);
        is_under_way.then_some(Unfinished { bytes: self.bytes, is_decoded: self.goes_on })
    }
}

const START: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        // What a frame holds may look like the start of another.
        frame.extend((0..length).map(|_| HEADERS));
        frame
    }

    #[test]
    fn heads_are_followed_however_the_bytes_come() {
        let going_on = |bytes| Some(Unfinished { bytes, is_decoded: true });
        let mut stream = PREFACE.to_vec();
        let mut expected = vec![(stream.len(), 0, None)];
        for (bytes, of_heads, unfinished) in [
            (frame(4, 0, 6), 0, None),
            (frame(HEADERS, END_HEADERS, 20), 20, None),
            (frame(HEADERS, 1, 20), 20, going_on(20)),
            (frame(CONTINUATION, 0, 0), 0, going_on(20)),
            (frame(CONTINUATION, 0, 5), 5, going_on(25)),
            (frame(CONTINUATION, END_HEADERS, 3), 3, None),
            (frame(0, 1, 200), 0, None),
            (frame(HEADERS, END_HEADERS, 1), 1, None),
        ] {
            stream.extend(bytes);
            expected.push((stream.len(), of_heads, unfinished));
        }
        for step in 1..30 {
            let mut frames = Frames::new();
            let mut taken = 0;
            for (end, of_heads, unfinished) in &expected {
                let sum: usize = stream[taken..*end].chunks(step).map(|chunk| frames.take(chunk)).sum();
                taken = *end;
                assert_eq!((sum, frames.unfinished()), (*of_heads, *unfinished), "{step} at a time, {end}");
            }
        }
    }

    #[test]
    fn a_frame_that_has_not_arrived_is_not_decoded() {
        let mut frames = Frames::new();
        frames.take(PREFACE);
        let head = frame(HEADERS, END_HEADERS, 20);
        frames.take(&head[..19]);
        assert_eq!(frames.unfinished(), Some(Unfinished { bytes: 10, is_decoded: false }));
        frames.take(&head[19..]);
        assert_eq!(frames.unfinished(), None);
    }
}
