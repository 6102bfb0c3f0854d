//! Compresses answers, for clients that ask and where it is worth it.

use std::io::Read as _;

use axum::http::{HeaderMap, HeaderValue, header};
use flate2::Compression;
use flate2::read::{GzEncoder, ZlibEncoder};
use serve::quality_list;

/// How an answer may be compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Deflate,
}

impl Coding {
    /// The one that a client asks for; gzip if it takes both.
    pub(super) fn asked(headers: &HeaderMap) -> Option<Coding> {
        let values = headers.get_all(header::ACCEPT_ENCODING).into_iter();
        let codings = values.flat_map(|value| quality_list(value.as_bytes()));
        let mut asked = None;
        for coding in codings.filter(|coding| coding.weight() > 0.0) {
            let name = coding.value.trim();
            if name.eq_ignore_ascii_case("gzip") {
                return Some(Coding::Gzip);
            }
            if name.eq_ignore_ascii_case("deflate") {
                asked = Some(Coding::Deflate);
            }
        }
        asked
    }

    /// The body, compressed, and what `Content-Encoding` says of it; the body as it is if it is small.
    pub(super) fn compress(asked: Option<Coding>, body: Vec<u8>) -> (Vec<u8>, Option<HeaderValue>) {
        let Some(coding) = asked.filter(|_| body.len() >= WORTH_IT) else { return (body, None) };
        let mut compressed = Vec::with_capacity(body.len() / 2);
        // The fastest: the rest costs more than it saves.
        let (read, name) = match coding {
            Coding::Gzip => {
                (GzEncoder::new(&*body, Compression::fast()).read_to_end(&mut compressed), "gzip")
            }
            Coding::Deflate => {
                (ZlibEncoder::new(&*body, Compression::fast()).read_to_end(&mut compressed), "deflate")
            }
        };
        // Nothing goes wrong in memory.
        if read.is_ok() { (compressed, Some(HeaderValue::from_static(name))) } else { (body, None) }
    }
}

/// Bytes from which on it is: a few packets. Most answers are smaller.
const WORTH_IT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_what_has_a_weight() {
        for (accept, expected) in [
            ("gzip", Some(Coding::Gzip)),
            ("deflate, gzip;q=0.5", Some(Coding::Gzip)),
            ("br, Deflate ; q=1.0", Some(Coding::Deflate)),
            ("gzip;q=0", None),
            ("gzip;q=x, br", None),
            ("gzip;q=1;q=0", None),
            ("gzip; q = 0.5", Some(Coding::Gzip)),
            ("gzip;level=9", Some(Coding::Gzip)),
            ("identity", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, accept.parse().expect("a header"));
            assert_eq!(Coding::asked(&headers), expected, "{accept:?}");
        }
        assert_eq!(Coding::asked(&HeaderMap::new()), None);
    }

    #[test]
    fn small_answers_stay_as_they_are() {
        let (body, coding) = Coding::compress(Some(Coding::Gzip), vec![1; WORTH_IT - 1]);
        assert_eq!((body.len(), coding), (WORTH_IT - 1, None));
        let (body, coding) = Coding::compress(None, vec![1; WORTH_IT]);
        assert_eq!((body.len(), coding), (WORTH_IT, None));
        let (body, coding) = Coding::compress(Some(Coding::Deflate), vec![1; WORTH_IT]);
        assert!(body.len() < 100 && coding.is_some_and(|coding| coding == "deflate"));
    }
}
