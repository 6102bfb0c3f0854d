//! The answer to a series query, read while it arrives: of each series only its name and the names of its labels are
//! kept, and each combination once. A listing of a million series needs the memory of a few hundred combinations.

mod repeats;

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use flate2::read::MultiGzDecoder;
use reqwest::{Response, StatusCode};
use rules::catalog::Series;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use tokio::sync::mpsc;

use super::answer::{check, check_beside_data, is_compressed};
use super::failure::{LONGEST_ERROR, failure, no_answer, unavailable};
use super::frame::{FrameSeed, OrNull, Part};
use super::settings::LARGEST_LISTING_FLAG;
use super::text::Text;
use super::unreached::broken_off as transport;
use crate::source::{Listing, SourceError};
use repeats::WithoutRepeats;

/// Reads the listing out of a response.
pub(super) async fn listing(mut response: Response, most: usize) -> Result<Listing, SourceError> {
    let status = response.status();
    let compressed = is_compressed(response.headers())?;
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    let parser = tokio::task::spawn_blocking(move || {
        let chunks = Chunks { receiver, current: Bytes::new() };
        if compressed {
            read_listing(status, MultiGzDecoder::new(chunks), most)
        } else {
            read_listing(status, chunks, most)
        }
    });
    let failed = loop {
        match response.chunk().await {
            // The parser stops early when the text is wrong; what it found is its result.
            Ok(Some(chunk)) => {
                if sender.send(chunk).await.is_err() {
                    break None;
                }
            }
            Ok(None) => break None,
            Err(error) => break Some(transport(&error)),
        }
    };
    drop(sender);
    let read = parser.await;
    match failed {
        Some(error) => Err(error),
        None => {
            read.map_err(|error| unavailable(format!("the listing of series could not be read: {error}")))?
        }
    }
}

/// The series in the body of an answer with this status, which may take `most` bytes of memory.
///
/// # Errors
/// The body is an error, or none of Prometheus'.
pub fn read_listing(status: StatusCode, body: impl Read, most: usize) -> Result<Listing, SourceError> {
    let kept = if status.is_success() { LONGEST_START } else { LONGEST_ERROR };
    let mut body = Bounded { body, start: Vec::new(), kept, left: LARGEST_BODY };
    if !status.is_success() {
        // What cannot be read of an error takes nothing from its status.
        let _ = read_start(&mut body);
        return Err(failure(status, &body.start));
    }
    let frame = {
        let reader = io::BufReader::with_capacity(READ_AHEAD, WithoutRepeats::of(&mut body));
        // What follows the answer is not looked at, as upstream's decoder does not.
        FrameSeed(ListSeed { most }).deserialize(&mut serde_json::Deserializer::from_reader(reader))
    };
    let frame = match frame {
        Ok(frame) => frame,
        Err(error) => {
            if error.is_data() {
                // Behind data that cannot be read it may say that it is an error; and then that is why.
                let _ = read_start(&mut body);
                check_beside_data(status, &body.start)?;
            }
            return Err(no_listing(&error, &body.start));
        }
    };
    check(frame.status.as_deref(), status, &body.start)?;
    match frame.data {
        Part::There(series) => Ok(Listing { series, warnings: frame.warnings }),
        Part::Null => Ok(Listing { series: Vec::new(), warnings: frame.warnings }),
        Part::Absent => Err(unavailable("the answer of Prometheus has no data".to_owned())),
    }
}

/// Reads on until the start of a body is there.
fn read_start(body: &mut Bounded<impl Read>) -> io::Result<u64> {
    let missing = body.kept - body.start.len();
    io::copy(&mut body.take(missing as u64), &mut io::sink())
}

fn no_listing(error: &serde_json::Error, start: &[u8]) -> SourceError {
    match error.io_error_kind() {
        Some(io::ErrorKind::UnexpectedEof) => {
            unavailable("the compressed answer of Prometheus broke off".to_owned())
        }
        Some(_) => unavailable(format!("the listing of series cannot be read: {error}")),
        None => no_answer(error, start),
    }
}

/// A body up to a limit, whose start is kept: an error may stand there.
struct Bounded<R> {
    body: R,
    start: Vec<u8>,
    /// How much is kept.
    kept: usize,
    left: usize,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.body.read(buffer)?;
        self.left = self
            .left
            .checked_sub(count)
            .ok_or_else(|| io::Error::other(format!("expected at most {LARGEST_BODY} bytes, found more")))?;
        if self.start.len() < self.kept {
            let kept = count.min(self.kept - self.start.len());
            self.start.extend_from_slice(&buffer[..kept]);
        }
        Ok(count)
    }
}

/// Chunks of a body as a reader.
struct Chunks {
    receiver: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.current = chunk,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// Reads the distinct series of an answer.
#[derive(Clone, Copy)]
struct ListSeed {
    most: usize,
}

impl<'de> DeserializeSeed<'de> for ListSeed {
    type Value = Vec<Series>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Series>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ListSeed {
    type Value = Vec<Series>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of series")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<Series>, A::Error> {
        let mut texts = Texts::default();
        let mut distinct = BTreeSet::new();
        let mut kept = 0;
        while let Some(series) = sequence.next_element_seed(OrNull(SeriesSeed(&mut texts)))? {
            let series = series.unwrap_or_else(|| Series { name: Arc::from(""), label_names: [].into() });
            if distinct.insert(series) {
                kept += size_of::<Series>();
            }
            if kept + texts.bytes > self.most {
                return Err(de::Error::custom(format_args!(
                    "expected series whose names and label names take at most {} bytes, found more: narrow the \
                     seriesQuery, or raise {LARGEST_LISTING_FLAG}",
                    self.most
                )));
            }
        }
        Ok(distinct.into_iter().collect())
    }
}

/// One series: an object of labels, of which `__name__` is the name.
struct SeriesSeed<'a>(&'a mut Texts);

impl<'de> DeserializeSeed<'de> for SeriesSeed<'_> {
    type Value = Series;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Series, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for SeriesSeed<'_> {
    type Value = Series;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the labels of a series")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Series, A::Error> {
        let mut name = None;
        let mut labels = Vec::new();
        while let Some(label) = map.next_key_seed(Text(|text: &str| self.0.interned(text)))? {
            if &*label == "__name__" {
                name = map.next_value_seed(OrNull(Text(|text: &str| self.0.interned(text))))?;
            } else {
                map.next_value::<IgnoredAny>()?;
                labels.push(label);
            }
        }
        // Prometheus sorts them; others may not, or have one twice.
        if !labels.is_sorted_by(|one, next| one < next) {
            labels.sort();
            labels.dedup();
        }
        Ok(Series { name: name.unwrap_or_else(|| Arc::from("")), label_names: self.0.interned_set(labels) })
    }
}

/// The texts of a listing and the sets of labels, each once.
#[derive(Default)]
struct Texts {
    known: HashSet<Arc<str>>,
    sets: HashSet<Arc<[Arc<str>]>>,
    bytes: usize,
}

impl Texts {
    /// A text, shared with every equal one before it.
    fn interned(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.known.get(text) {
            return Arc::clone(known);
        }
        let text: Arc<str> = Arc::from(text);
        self.bytes += text.len();
        self.known.insert(Arc::clone(&text));
        text
    }

    /// The names of a series' labels, shared with every series that has the same.
    fn interned_set(&mut self, names: Vec<Arc<str>>) -> Arc<[Arc<str>]> {
        if let Some(known) = self.sets.get(&names[..]) {
            return Arc::clone(known);
        }
        let names: Arc<[Arc<str>]> = names.into();
        self.bytes += size_of_val(&*names);
        self.sets.insert(Arc::clone(&names));
        names
    }
}

const CHUNKS_AHEAD: usize = 8;
/// What an answer says beside data that it cannot have is short.
const LONGEST_START: usize = 64 << 10;
const READ_AHEAD: usize = 16 << 10;
/// About ten million series; a rule that lists more is a mistake.
const LARGEST_BODY: usize = 4 << 30;
