//! Leaves out of a listing, while it arrives, the series that add nothing to it: those with the name and the names of
//! labels of a series before. Of a million series a few hundred are left to be read with care.
//!
//! Only what is plainly such a series is left out. At the first sign of anything else the rest is passed on as it is,
//! so that what is wrong with an answer is found where all answers are read.

use std::io::{self, Read};

use hashbrown::HashSet;
use memchr::memchr2;

/// A listing without the series that repeat.
pub(super) struct WithoutRepeats<R> {
    body: R,
    input: Box<[u8]>,
    /// What of the input was not looked at yet.
    from: usize,
    to: usize,
    ended: bool,
    output: Vec<u8>,
    /// How much of the output was read.
    read: usize,
    place: Place,
    shapes: Shapes,
}

/// Where in the answer the input begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before a list of the answer; `depth` counts the objects and lists around it.
    Around { depth: u32, in_text: bool, escaped: bool },
    /// Where a list has an element or ends.
    Element { is_first: bool },
    /// Behind an element.
    Behind,
    /// Where everything is passed on.
    Rest,
}

/// The next element of a list.
enum Element {
    /// A series, and its length.
    Series(usize),
    /// More of it is needed.
    Incomplete,
    Other,
}

impl<R: Read> WithoutRepeats<R> {
    pub(super) fn of(body: R) -> WithoutRepeats<R> {
        WithoutRepeats {
            body,
            input: vec![0; INPUT].into(),
            from: 0,
            to: 0,
            ended: false,
            output: Vec::new(),
            read: 0,
            place: Place::Around { depth: 0, in_text: false, escaped: false },
            shapes: Shapes::default(),
        }
    }

    /// Looks at what there is of the input; says whether more is needed to go on.
    fn look(&mut self) -> bool {
        let input = &self.input[self.from..self.to];
        match self.place {
            Place::Rest => self.pass_on(input.len()),
            Place::Around { mut depth, mut in_text, mut escaped } => {
                let begins_list = input.iter().position(|byte| {
                    match byte {
                        _ if escaped => escaped = false,
                        b'\\' => escaped = in_text,
                        b'"' => in_text = !in_text,
                        b'{' | b'[' if !in_text => depth += 1,
                        b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                    *byte == b'[' && depth == LIST && !in_text
                });
                if let Some(place) = begins_list {
                    self.pass_on(place + 1);
                    self.shapes.clear();
                    self.place = Place::Element { is_first: true };
                } else {
                    self.pass_on(input.len());
                    self.place = Place::Around { depth, in_text, escaped };
                }
            }
            Place::Element { is_first } => match series(input, &mut self.shapes.next) {
                Element::Series(length) if self.shapes.has_next() => {
                    self.from += length;
                    self.place = Place::Behind;
                }
                Element::Series(length) => {
                    self.comma(is_first);
                    self.pass_on(length);
                    self.shapes.keep();
                    self.place = Place::Behind;
                }
                Element::Incomplete if !self.ended && input.len() < INPUT => return true,
                Element::Incomplete | Element::Other => {
                    self.comma(is_first);
                    self.place = Place::Rest;
                }
            },
            Place::Behind => match input.first() {
                None if self.ended => self.place = Place::Rest,
                None => return true,
                // Passed on with the next element that is.
                Some(b',') => {
                    self.from += 1;
                    self.place = Place::Element { is_first: false };
                }
                Some(b']') => {
                    self.pass_on(1);
                    self.place = Place::Around { depth: LIST - 1, in_text: false, escaped: false };
                }
                Some(_) => self.place = Place::Rest,
            },
        }
        self.from == self.to
    }

    fn comma(&mut self, is_first: bool) {
        if !is_first {
            self.output.push(b',');
        }
    }

    fn pass_on(&mut self, count: usize) {
        self.output.extend_from_slice(&self.input[self.from..self.from + count]);
        self.from += count;
    }

    fn fill(&mut self) -> io::Result<()> {
        self.input.copy_within(self.from..self.to, 0);
        self.to -= self.from;
        self.from = 0;
        let count = self.body.read(&mut self.input[self.to..])?;
        self.to += count;
        self.ended = count == 0;
        Ok(())
    }
}

impl<R: Read> Read for WithoutRepeats<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read == self.output.len() {
            self.output.clear();
            self.read = 0;
            while self.output.is_empty() {
                let needs_more = self.look();
                if needs_more && self.output.is_empty() {
                    if self.ended && self.from == self.to {
                        return Ok(0);
                    }
                    self.fill()?;
                }
            }
        }
        let count = buffer.len().min(self.output.len() - self.read);
        buffer[..count].copy_from_slice(&self.output[self.read..self.read + count]);
        self.read += count;
        Ok(count)
    }
}

/// What series had in common with others: each as its name and the names of its labels, as they are written. Not too
/// many are remembered: one that was forgotten is read again.
#[derive(Default)]
struct Shapes {
    seen: HashSet<Box<[u8]>>,
    /// The last one, which nearly all series have where they are sorted by name.
    last: Vec<u8>,
    next: Vec<u8>,
}

impl Shapes {
    fn has_next(&mut self) -> bool {
        if self.last == self.next {
            return true;
        }
        let has = self.seen.contains(self.next.as_slice());
        std::mem::swap(&mut self.last, &mut self.next);
        has
    }

    /// Keeps the one that was not there.
    fn keep(&mut self) {
        if self.seen.len() >= SHAPES {
            self.seen.clear();
        }
        self.seen.insert(self.last.as_slice().into());
    }

    fn clear(&mut self) {
        self.seen.clear();
        self.last.clear();
    }
}

/// The series that a list goes on with, as `{"name":"value",…}` without blanks, and its shape.
fn series(input: &[u8], shape: &mut Vec<u8>) -> Element {
    shape.clear();
    let mut at = 0;
    let next = |at: usize| input.get(at).copied();
    match next(0) {
        None => return Element::Incomplete,
        Some(b'{') => {}
        Some(_) => return Element::Other,
    }
    loop {
        // The brace or comma before it.
        at += 1;
        let Some(name) = text(input, at) else { return unless_ended(input, at) };
        let value = name.end + 1;
        match next(name.end) {
            Some(b':') => {}
            None => return Element::Incomplete,
            Some(_) => return Element::Other,
        }
        let Some(value) = text(input, value) else { return unless_ended(input, value) };
        shape.extend_from_slice(&input[name.clone()]);
        if &input[name] == br#""__name__""# {
            shape.extend_from_slice(&input[value.clone()]);
        }
        at = value.end;
        match next(at) {
            Some(b',') => {}
            Some(b'}') => return Element::Series(at + 1),
            None => return Element::Incomplete,
            Some(_) => return Element::Other,
        }
    }
}

/// What an element is whose text is missing at a place.
fn unless_ended(input: &[u8], at: usize) -> Element {
    match input.get(at) {
        None | Some(b'"') => Element::Incomplete,
        Some(_) => Element::Other,
    }
}

/// The text that begins at a place, with its quotes.
fn text(input: &[u8], start: usize) -> Option<std::ops::Range<usize>> {
    if input.get(start) != Some(&b'"') {
        return None;
    }
    let mut at = start + 1;
    loop {
        let found = at + quote_or_backslash(input.get(at..)?)?;
        if input[found] == b'"' {
            return Some(start..found + 1);
        }
        // An escaped character ends nothing.
        at = found + 2;
    }
}

/// Where the first quote or backslash stands. Texts are short: eight bytes at a time find their end before [`memchr2`]
/// has begun.
fn quote_or_backslash(input: &[u8]) -> Option<usize> {
    let (words, _) = input.as_chunks();
    for (place, word) in words.iter().take(SHORT).enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = zero_bytes(word ^ QUOTES) | zero_bytes(word ^ BACKSLASHES);
        if found != 0 {
            return Some(place * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let looked_at = words.len().min(SHORT) * 8;
    Some(looked_at + memchr2(b'"', b'\\', &input[looked_at..])?)
}

/// A word with the highest bit of its first byte that is 0 set, and none before it.
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & (ONES << 7)
}

const ONES: u64 = u64::from_le_bytes([1; 8]);
const QUOTES: u64 = u64::from_le_bytes([b'"'; 8]);
const BACKSLASHES: u64 = u64::from_le_bytes([b'\\'; 8]);
/// The words of a short text.
const SHORT: usize = 8;
/// The depth of an answer's lists: its object and the list itself.
const LIST: u32 = 2;
/// The longest series that is looked at, in bytes.
const INPUT: usize = 64 << 10;
const SHAPES: usize = 4_096;

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    /// Gives a few bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn left(body: &str) -> String {
        let whole = |step| {
            let mut text = String::new();
            WithoutRepeats::of(Slow(body.as_bytes(), step)).read_to_string(&mut text).expect("a body");
            text
        };
        let text = whole(usize::MAX);
        for step in [1, 2, 3, 7] {
            assert_eq!(whole(step), text, "by {step} bytes");
        }
        text
    }

    #[test]
    fn a_series_with_the_shape_of_another_is_left_out() {
        let rows = [
            (r#"[{"__name__":"a","x":"1"},{"__name__":"a","x":"2"}]"#, r#"[{"__name__":"a","x":"1"}]"#),
            (
                r#"[{"__name__":"a","x":"1"},{"__name__":"a","x":"2"},{"__name__":"b","x":"1"}]"#,
                r#"[{"__name__":"a","x":"1"},{"__name__":"b","x":"1"}]"#,
            ),
            (
                r#"[{"__name__":"a","x":"1"},{"__name__":"a","y":"1"},{"__name__":"a","x":"3"}]"#,
                r#"[{"__name__":"a","x":"1"},{"__name__":"a","y":"1"}]"#,
            ),
            (r#"[{"x":"\"}]\\"},{"x":"\\\""},{"y":"1"}]"#, r#"[{"x":"\"}]\\"},{"y":"1"}]"#),
        ];
        each_row(rows, |(list, expected)| {
            let answer = |list: &str| format!(r#"{{"status":"success","data":{list},"warnings":["[{{"]}}"#);
            assert_eq!(left(&answer(list)), answer(expected));
        });
    }

    #[test]
    fn anything_else_is_passed_on_as_it_is() {
        let rows = [
            "",
            "x",
            "[1,2]",
            r#"{"status":"error","error":"data [{\"a\":"}"#,
            r#"{"data":[]}"#,
            r#"{"data":[{}]}"#,
            r#"{"data":[{"x":"1"},]}"#,
            r#"{"data":[{"x":"1"},,{"x":"1"}]}"#,
            r#"{"data":[{"x":"1"}{"x":"1"}]}"#,
            r#"{"data":[{"x":"1"},{"x":1}]}"#,
            r#"{"data":[{"x":"1"}, {"x":"1"}]}"#,
            r#"{"data":[{"x":"1"},{"x":"1"#,
            r#"{"data":[{"x":"1"},"#,
            r#"{"data":[{"x":"1"}"#,
            r#"{"data":["a","a"]}"#,
            r#"{"data":{"result":[{"x":"1"},{"x":"1"}]}}"#,
        ];
        each_row(rows, |body| assert_eq!(left(body), body));
    }

    #[test]
    fn a_quote_or_a_backslash_is_found_in_texts_of_any_length() {
        for length in (0..100).chain([1_000]) {
            for (found, other) in [(b'"', b'\\'), (b'\\', b'"')] {
                // Bytes beside theirs, and with the highest bit set.
                let mut text: Vec<u8> =
                    [b'!', b'#', b'[', b']', 0, 0xff, 0xa2, 0xdc].repeat(128)[..length].to_vec();
                assert_eq!(quote_or_backslash(&text), None, "{length}");
                text.extend([found, other, 0, 0, 0, 0, 0, 0, 0]);
                assert_eq!(quote_or_backslash(&text), Some(length));
            }
        }
    }

    #[test]
    fn a_series_that_is_too_long_is_passed_on() {
        let long = "x".repeat(INPUT);
        let body = format!(r#"{{"data":[{{"x":"1"}},{{"x":"{long}"}},{{"x":"1"}}]}}"#);
        assert_eq!(left(&body), body);
    }

    #[test]
    fn series_in_any_order_repeat_and_not_too_many_are_remembered() {
        let one = |index: usize| format!(r#"{{"l{index}":"1"}}"#);
        let list = |series: Vec<String>| format!(r#"{{"data":[{}]}}"#, series.join(","));
        let twice = list((0..50).chain(0..50).map(one).collect());
        assert_eq!(left(&twice), list((0..50).map(one).collect()));
        // With the last all others are forgotten.
        let more = list((0..=SHAPES).chain([0, SHAPES]).map(one).collect());
        assert_eq!(left(&more), list((0..=SHAPES).chain([0]).map(one).collect()));
    }
}
