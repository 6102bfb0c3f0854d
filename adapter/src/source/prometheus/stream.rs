//! The answer to a series query, read while it arrives: of each series only its name and the names of its labels are kept,
//! and each combination once. A listing of a million series needs the memory of a few hundred combinations.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use reqwest::{Response, StatusCode};
use rules::catalog::Series;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use tokio::sync::mpsc;

use super::answer::{Envelope, check_status, no_answer, unavailable};
use super::text::Text;
use super::transport;
use crate::source::{Listing, SourceError};

/// Reads the listing out of a response.
pub(super) async fn listing(mut response: Response) -> Result<Listing, SourceError> {
    let status = response.status();
    check_status(status)?;
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    let parser =
        tokio::task::spawn_blocking(move || read_listing(status, Chunks { receiver, current: Bytes::new() }));
    let mut received = 0;
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                received += chunk.len();
                if received > LARGEST_BODY {
                    return Err(unavailable(format!(
                        "the listing of series is larger than {LARGEST_BODY} bytes"
                    )));
                }
                // The parser stops early when the text is wrong; what it found is its result.
                if sender.send(chunk).await.is_err() {
                    break;
                }
            }
            Ok(None) => break,
            Err(error) => return Err(transport(&error)),
        }
    }
    drop(sender);
    parser.await.map_err(|error| unavailable(format!("the listing of series could not be read: {error}")))?
}

/// The series in the body of an answer with this status.
///
/// # Errors
/// The body is an error, or none of Prometheus'.
pub fn read_listing(status: StatusCode, body: impl Read) -> Result<Listing, SourceError> {
    let envelope: Envelope<Found> = serde_json::from_reader(io::BufReader::with_capacity(READ_AHEAD, body))
        .map_err(|error| no_answer(status, &error))?;
    let envelope = envelope.checked(status)?;
    Ok(Listing { series: envelope.data.unwrap_or_default().0, warnings: envelope.warnings })
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

/// The distinct series of an answer.
#[derive(Default)]
pub(super) struct Found(Vec<Series>);

impl<'de> serde::Deserialize<'de> for Found {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Found, D::Error> {
        struct ListVisitor;

        impl<'de> Visitor<'de> for ListVisitor {
            type Value = Found;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of series")
            }

            /// `null` stands for none.
            fn visit_unit<E>(self) -> Result<Found, E> {
                Ok(Found::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Found, A::Error> {
                let mut texts = HashSet::new();
                let mut distinct = BTreeSet::new();
                while let Some(series) = sequence.next_element_seed(SeriesSeed(&mut texts))? {
                    distinct.insert(series);
                }
                Ok(Found(distinct.into_iter().collect()))
            }
        }
        deserializer.deserialize_any(ListVisitor)
    }
}

/// One series: an object of labels, of which `__name__` is the name.
struct SeriesSeed<'a>(&'a mut HashSet<Arc<str>>);

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
        while let Some(label) = map.next_key_seed(Text(|text: &str| interned(self.0, text)))? {
            if &*label == "__name__" {
                name = Some(map.next_value_seed(Text(|text: &str| interned(self.0, text)))?);
            } else {
                map.next_value::<IgnoredAny>()?;
                labels.push(label);
            }
        }
        labels.sort();
        Ok(Series { name: name.unwrap_or_else(|| Arc::from("")), label_names: labels.into() })
    }
}

/// A text, shared with every equal one before it.
fn interned(texts: &mut HashSet<Arc<str>>, text: &str) -> Arc<str> {
    if let Some(known) = texts.get(text) {
        return Arc::clone(known);
    }
    let text: Arc<str> = Arc::from(text);
    texts.insert(Arc::clone(&text));
    text
}

const CHUNKS_AHEAD: usize = 8;
const READ_AHEAD: usize = 16 << 10;
/// About ten million series; a rule that lists more is a mistake.
const LARGEST_BODY: usize = 4 << 30;
