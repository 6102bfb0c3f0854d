//! A list in JSON, read while it arrives: each object is handed on once it is whole, so that a list of any length takes
//! the memory of a piece of it.

use std::io;
use std::time::Duration;

use futures_util::io::{AsyncBufRead, AsyncBufReadExt as _};
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::time::timeout;

use super::metadata::{ListMetadata, Named};
use super::pace::Pace;

/// Why a list could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListError {
    /// The connection failed.
    #[error("cannot read the list: {0}")]
    Read(#[from] io::Error),
    /// It is another JSON than that of a list.
    #[error("cannot read the list: {0}")]
    Json(#[from] serde_json::Error),
    /// It is not JSON.
    #[error("cannot read the list: expected {expected}, found {found:?}")]
    Character { expected: &'static str, found: char },
    /// It ended too early.
    #[error("cannot read the list: it ended after {0} bytes")]
    Ended(u64),
    /// One object is too large.
    #[error("cannot read the list: expected at most {LARGEST_VALUE} bytes of metadata for each object")]
    TooLarge,
}

/// Reads a list; `each` is given its objects.
pub(super) async fn read_list(
    body: impl AsyncBufRead + Unpin,
    mut each: impl FnMut(Named),
) -> Result<ListMetadata, ListError> {
    let mut text = Text { body, buffer: Vec::new(), at: 0, read: 0 };
    let mut metadata = ListMetadata::default();
    let mut pace = Pace::default();
    text.expect(b'{', "an object").await?;
    let mut next = text.peek().await?;
    while next != b'}' {
        let key: String = text.value().await?;
        text.expect(b':', "a colon after a key").await?;
        match key.as_str() {
            "metadata" => metadata = text.value().await?,
            "items" if text.peek().await? == b'[' => {
                text.at += 1;
                let mut next = text.peek().await?;
                while next != b']' {
                    each(text.value().await?);
                    pace.step().await;
                    next = text.separator(b']').await?;
                }
                text.at += 1;
            }
            _ => {
                let _: IgnoredAny = text.value().await?;
            }
        }
        next = text.separator(b'}').await?;
    }
    Ok(metadata)
}

/// The text of which a part has arrived.
struct Text<R> {
    body: R,
    /// What has arrived and was not dropped yet.
    buffer: Vec<u8>,
    /// Where in `buffer` reading goes on.
    at: usize,
    /// Bytes so far.
    read: u64,
}

impl<R: AsyncBufRead + Unpin> Text<R> {
    /// The next value, once it has arrived whole. What has arrived of it is parsed again with each piece: pieces are
    /// larger than most objects.
    async fn value<T: DeserializeOwned>(&mut self) -> Result<T, ListError> {
        loop {
            let rest = &self.buffer[self.at..];
            if let Some((value, length)) = first(rest)? {
                self.at += length;
                return Ok(value);
            }
            if rest.len() > LARGEST_VALUE {
                return Err(ListError::TooLarge);
            }
            self.more().await?;
        }
    }

    /// The next character that is not white space; it is not consumed.
    async fn peek(&mut self) -> Result<u8, ListError> {
        loop {
            match self.buffer.get(self.at) {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                Some(byte) => return Ok(*byte),
                None => self.more().await?,
            }
        }
    }

    async fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), ListError> {
        let found = self.peek().await?;
        if found != byte {
            return Err(ListError::Character { expected, found: found.into() });
        }
        self.at += 1;
        Ok(())
    }

    /// Consumes a comma; the `end`, which may be there instead, is not consumed. Gives what comes next.
    async fn separator(&mut self, end: u8) -> Result<u8, ListError> {
        if self.peek().await? != end {
            self.expect(b',', "a comma or the end").await?;
            if self.peek().await? == end {
                return Err(ListError::Character { expected: "a value after a comma", found: end.into() });
            }
        }
        self.peek().await
    }

    async fn more(&mut self) -> Result<(), ListError> {
        self.buffer.drain(..self.at);
        self.at = 0;
        let piece = timeout(LONGEST_SILENCE, self.body.fill_buf()).await.map_err(io::Error::from)??;
        let length = piece.len();
        if length == 0 {
            return Err(ListError::Ended(self.read));
        }
        self.buffer.extend_from_slice(piece);
        self.body.consume_unpin(length);
        self.read += length as u64;
        Ok(())
    }
}

/// The first value of a text and its length; `None` where the text ends before it does.
fn first<T: DeserializeOwned>(text: &[u8]) -> Result<Option<(T, usize)>, serde_json::Error> {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<T>();
    match values.next() {
        Some(Ok(value)) => {
            let length = values.byte_offset();
            // A number that ends with the text may go on in what follows.
            let is_whole = length < text.len() || matches!(text[length - 1], b'}' | b']' | b'"');
            Ok(is_whole.then_some((value, length)))
        }
        Some(Err(error)) if !goes_on(&error, text) => Err(error),
        Some(Err(_)) | None => Ok(None),
    }
}

/// Whether what follows a text may mend an error in it. A number that is cut after its sign is invalid, not too short.
fn goes_on(error: &serde_json::Error, text: &[u8]) -> bool {
    let lines = text.split(|byte| *byte == b'\n');
    let last_column = lines.clone().next_back().map_or(0, <[u8]>::len);
    error.is_eof() || (error.line(), error.column()) >= (lines.count(), last_column)
}

const LONGEST_SILENCE: Duration = Duration::from_mins(1);
/// Far above what etcd stores of an object.
const LARGEST_VALUE: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use futures_util::stream::{self, TryStreamExt as _};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Reads a text that arrives in pieces.
    fn read(text: &[u8], piece: usize) -> Result<(ListMetadata, Vec<String>), ListError> {
        let pieces: Vec<io::Result<Vec<u8>>> = text.chunks(piece).map(|piece| Ok(piece.to_vec())).collect();
        let mut names = Vec::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let read = read_list(stream::iter(pieces).into_async_read(), |Named { metadata }| {
            names.push(format!("{}/{} {:?}", metadata.namespace, metadata.name, metadata.labels()));
        });
        let metadata = runtime.block_on(read)?;
        Ok((metadata, names))
    }

    #[test]
    fn members_may_come_in_any_order_and_in_pieces_of_any_size() {
        let item = json!({"metadata": {"name": "a\"}]", "namespace": "n\u{1f600}", "labels": {"l": "\u{e9}"}, "managedFields": [{"f": {"}": "{["}}], "generation": -1.5e-3}, "spec": null});
        let texts = [
            json!({"apiVersion": "v1", "items": [item, item], "kind": "L", "metadata": {"resourceVersion": "7", "continue": "c"}, "z": 12}).to_string(),
            format!(r#" {{ "metadata" : {{"resourceVersion":"7","continue":"c"}} , "n":-1.5e3, "items":[ {item} , {item} ] }} "#),
        ];
        for text in texts {
            for piece in 1..text.len() {
                let (metadata, names) =
                    read(text.as_bytes(), piece).unwrap_or_else(|error| panic!("{piece}: {error}"));
                assert_eq!((metadata.resource_version.as_str(), metadata.next.as_str()), ("7", "c"));
                assert_eq!(names, ["n\u{1f600}/a\"}] {\"l\": \"\u{e9}\"}"; 2], "{piece}");
            }
        }
    }

    #[test]
    fn a_list_without_items_is_empty() {
        for text in [r#"{"metadata":{}}"#, r#"{"items":null}"#, r#"{"items":[]}"#, "{}"] {
            let (metadata, names) = read(text.as_bytes(), 3).expect(text);
            assert!(names.is_empty() && metadata.next.is_empty(), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_list_is_an_error_that_says_what_was_found() {
        let rows = [
            ("[]", "cannot read the list: expected an object, found '['"),
            (
                r#"{"items":[{"metadata":{"name":1}}]}"#,
                "cannot read the list: invalid type: integer `1`, expected a string at line 1 column 21",
            ),
            (
                r#"{"items":[{"metadata":{}} {"#,
                "cannot read the list: expected a comma or the end, found '{'",
            ),
            (
                r#"{"items":[{"metadata":{}},]}"#,
                "cannot read the list: expected a value after a comma, found ']'",
            ),
            (r#"{"items":[{"metadata":{}}"#, "cannot read the list: it ended after 25 bytes"),
            ("", "cannot read the list: it ended after 0 bytes"),
        ];
        for (text, expected) in rows {
            let error = read(text.as_bytes(), 1000).expect_err(text);
            assert_eq!(error.to_string(), expected, "{text}");
        }
    }

    #[test]
    fn an_object_of_endless_metadata_is_an_error() {
        let text =
            format!(r#"{{"items":[{{"metadata":{{"name":"{}"}}}}]}}"#, "x".repeat(LARGEST_VALUE + (2 << 20)));
        let error = read(text.as_bytes(), 1 << 20).expect_err("it is too large");
        assert!(matches!(error, ListError::TooLarge), "{error}");
    }

    proptest! {
        /// What the reader takes, a parser of the whole text takes alike; the reader takes all that it does.
        #[test]
        fn texts_are_read_as_a_parser_of_the_whole_text_reads_them(
            names in proptest::collection::vec(".{0,12}", 0..6),
            cut in 0usize..400,
            piece in 1usize..50,
        ) {
            let items: Vec<_> = names.iter().map(|name| json!({"metadata": {"name": name}})).collect();
            let mut text = json!({"items": items, "metadata": {"resourceVersion": "1"}}).to_string();
            let mut end = cut.min(text.len());
            while !text.is_char_boundary(end) { end -= 1; }
            if cut < 300 { text.truncate(end); }
            let whole = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            let found = read(text.as_bytes(), piece);
            prop_assert_eq!(found.is_ok(), whole, "{}", text);
            if let Ok((_, found)) = found {
                prop_assert_eq!(found, names.iter().map(|name| format!("/{name} {{}}")).collect::<Vec<_>>());
            }
        }
    }
}
