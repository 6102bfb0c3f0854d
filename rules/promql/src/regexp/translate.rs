//! Reads Go's language once from left to right, and writes the regex crate's.

use std::mem;

use super::class;
use super::escape::{Character, perl_class};
use super::fault::Fault;
use super::flags::Flags;
use super::unicode;

/// A pattern in the regex crate's syntax.
#[derive(Debug)]
pub(super) struct Translation {
    pub(super) text: String,
    /// The name of each capture group, if it has one.
    pub(super) names: Vec<Option<String>>,
}

/// Translates a pattern that starts with these flags on.
pub(super) fn translate(pattern: &str, flags: Flags) -> Result<Translation, Fault> {
    if pattern.len() > MAX_LENGTH {
        return Err(Fault::new(MAX_LENGTH, format!("expected at most {MAX_LENGTH} bytes, found more")));
    }
    let mut translator = Translator {
        pattern,
        at: 0,
        out: String::with_capacity(pattern.len()),
        names: Vec::new(),
        flags,
        written: flags.written(),
        groups: Vec::new(),
        last: None,
        copies: 1,
        tables: 0,
        last_name_end: pattern.rfind(":]").unwrap_or(0),
    };
    translator.read()?;
    Ok(Translation { text: translator.out, names: translator.names })
}

struct Translator<'p> {
    pattern: &'p str,
    /// How much of the pattern was read.
    at: usize,
    out: String,
    names: Vec<Option<String>>,
    /// The flags that hold here.
    flags: Flags,
    /// The flags that hold at the end of `out`: a change is written where the next part needs it.
    written: Flags,
    /// The groups that are open.
    groups: Vec<Group>,
    /// What a repetition would repeat.
    last: Option<Part>,
    /// How often the most repeated part before `last` in this group is repeated.
    copies: usize,
    /// How many classes of Unicode there are.
    tables: usize,
    /// Where the last name of a class like `[:alpha:]` could end: a search for one after it would be in vain, each
    /// time.
    last_name_end: usize,
}

struct Group {
    /// Where it starts in the pattern and in `out`.
    at: usize,
    start: usize,
    /// What holds again after it.
    flags: Flags,
    written: Flags,
    copies: usize,
}

/// A part of `out` that a repetition takes as a whole.
#[derive(Clone, Copy)]
struct Part {
    start: usize,
    /// How many repetitions it has.
    repetitions: usize,
    /// How often the most repeated part in it is repeated.
    copies: usize,
}

/// The bounds of a repetition; without an upper one there is no limit.
#[derive(Clone, Copy)]
struct Counts {
    low: usize,
    high: Option<usize>,
}

impl Translator<'_> {
    fn read(&mut self) -> Result<(), Fault> {
        let mut behind_repetition = false;
        while let Some(c) = self.rest().chars().next() {
            // Only directly after a repetition is another one refused.
            let is_stacked = mem::take(&mut behind_repetition);
            match c {
                '(' => self.open()?,
                ')' => self.close()?,
                '|' => {
                    self.end_sequence();
                    self.copy(1);
                }
                '^' | '$' | '.' => {
                    self.begin(1);
                    self.copy(1);
                }
                '[' => self.class()?,
                '*' | '+' | '?' => {
                    self.repeat(1, None, is_stacked)?;
                    behind_repetition = true;
                }
                '{' => match counts(self.rest()) {
                    Some((counts, length)) => {
                        self.repeat(
                            length,
                            Some(counts.map_err(|fault| fault.behind(self.at))?),
                            is_stacked,
                        )?;
                        behind_repetition = true;
                    }
                    None => self.literal(1, r"\{"),
                },
                '\\' => self.escape()?,
                c => {
                    self.begin(1);
                    self.copy(c.len_utf8());
                }
            }
        }
        match self.groups.last() {
            Some(group) => Err(Fault::new(group.at, "missing ) for the (")),
            None => Ok(()),
        }
    }

    fn rest(&self) -> &str {
        &self.pattern[self.at..]
    }

    fn fault(&self, reason: impl Into<String>) -> Fault {
        Fault::new(self.at, reason)
    }

    /// Starts a part that a repetition would take as a whole.
    fn begin(&mut self, copies: usize) {
        self.write_flags();
        self.forget_last();
        self.last = Some(Part { start: self.out.len(), repetitions: 0, copies });
    }

    /// Takes some bytes as they are.
    fn copy(&mut self, length: usize) {
        self.out.push_str(&self.pattern[self.at..self.at + length]);
        self.at += length;
    }

    /// Takes some bytes, which the regex crate writes otherwise.
    fn literal(&mut self, length: usize, written: &str) {
        self.begin(1);
        self.out.push_str(written);
        self.at += length;
    }

    fn write_flags(&mut self) {
        let wanted = self.flags.written();
        if wanted != self.written {
            for piece in ["(?", &Flags::change(self.written, wanted), ")"] {
                self.out.push_str(piece);
            }
            self.written = wanted;
        }
    }

    fn forget_last(&mut self) {
        self.copies = self.copies.max(self.last.map_or(1, |part| part.copies));
    }

    fn end_sequence(&mut self) {
        self.forget_last();
        self.last = None;
    }

    fn open(&mut self) -> Result<(), Fault> {
        if self.groups.len() == MAX_NESTING {
            return Err(
                self.fault(format!("expected at most {MAX_NESTING} groups in each other, found more"))
            );
        }
        if self.names.len() == MAX_GROUPS {
            return Err(self.fault(format!("expected at most {MAX_GROUPS} capture groups, found more")));
        }
        let rest = self.rest();
        if !rest.starts_with("(?") {
            self.names.push(None);
            self.open_group(self.flags, "(");
            self.at += 1;
        } else if let Some(name) = rest.strip_prefix("(?P<").filter(|name| !name.is_empty()) {
            self.open_named(4, name.find('>'))?;
        } else if let Some(name) = rest.strip_prefix("(?<").filter(|name| !name.is_empty()) {
            self.open_named(3, name.find('>'))?;
        } else {
            self.open_flags()?;
        }
        Ok(())
    }

    fn open_group(&mut self, flags: Flags, written: &str) {
        self.write_flags();
        self.end_sequence();
        self.groups.push(Group {
            at: self.at,
            start: self.out.len(),
            flags: self.flags,
            written: self.written,
            copies: mem::replace(&mut self.copies, 1),
        });
        self.out.push_str(written);
        self.flags = flags;
        self.written = flags.written();
    }

    fn open_named(&mut self, start: usize, length: Option<usize>) -> Result<(), Fault> {
        let name = length.map(|length| &self.rest()[start..start + length]);
        let is_name =
            |name: &&str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let Some(name) = name.filter(is_name) else {
            let shown: String = self.rest().chars().take(32).collect();
            return Err(
                self.fault(format!("expected a name of A-Z, a-z, 0-9 and _ in < and >, found {shown:?}"))
            );
        };
        let length = start + name.len() + 1;
        let name = Some(name.to_owned());
        // The regex crate wants a letter first, and each name once.
        let is_known = self.names.contains(&name);
        let is_taken = name.as_deref().is_some_and(|name| !name.starts_with(|c: char| c.is_ascii_digit()));
        let written = if is_taken && !is_known { self.rest()[..length].to_owned() } else { "(".to_owned() };
        self.names.push(name);
        self.open_group(self.flags, &written);
        self.at += length;
        Ok(())
    }

    /// `(?i)`, `(?i-s:`, `(?:`.
    fn open_flags(&mut self) -> Result<(), Fault> {
        let mut flags = self.flags;
        // Whether flags are turned on, and whether the last sign was followed by one.
        let (mut on, mut is_complete) = (true, true);
        for (position, c) in self.rest().char_indices().skip(2) {
            match c {
                '-' if on => (on, is_complete) = (false, false),
                ':' | ')' if is_complete => {
                    if c == ':' {
                        let change = Flags::change(self.flags.written(), flags.written());
                        self.open_group(flags, &format!("(?{change}:"));
                    }
                    self.flags = flags;
                    self.at += position + 1;
                    return Ok(());
                }
                c => match Flags::of(c) {
                    Some(flag) => {
                        flags = flags.with(flag, on);
                        is_complete = true;
                    }
                    None => break,
                },
            }
        }
        let shown: String = self.rest().chars().take(8).collect();
        Err(self.fault(format!("expected a group or flags of i, m, s and U, found {shown:?}")))
    }

    fn close(&mut self) -> Result<(), Fault> {
        self.end_sequence();
        let Some(group) = self.groups.pop() else { return Err(self.fault("unexpected )")) };
        self.copy(1);
        self.last = Some(Part { start: group.start, repetitions: 0, copies: self.copies });
        self.flags = group.flags;
        self.written = group.written;
        self.copies = group.copies;
        Ok(())
    }

    fn class(&mut self) -> Result<(), Fault> {
        let class = class::class(self.rest(), self.last_name_end.saturating_sub(self.at))
            .map_err(|fault| fault.behind(self.at))?;
        self.count_tables(class.tables)?;
        self.literal(class.length, &class.text);
        Ok(())
    }

    fn count_tables(&mut self, more: usize) -> Result<(), Fault> {
        self.tables += more;
        if self.tables > MAX_TABLES {
            return Err(self.fault(format!("expected at most {MAX_TABLES} classes of Unicode, found more")));
        }
        Ok(())
    }

    /// `length` bytes say how often: by a sign, or by counts.
    fn repeat(&mut self, length: usize, counts: Option<Counts>, is_stacked: bool) -> Result<(), Fault> {
        let operator = &self.pattern[self.at..self.at + length];
        let asks = self.pattern[self.at + length..].starts_with('?');
        if is_stacked {
            return Err(self.fault(format!("expected one repetition, found {operator:?} after another")));
        }
        let Some(mut part) = self.last else {
            return Err(self.fault(format!("nothing to repeat before {operator:?}")));
        };
        if let Some(Counts { low, high }) = counts {
            let most = high.unwrap_or(low);
            part.copies = if high == Some(0) { 1 } else { part.copies.saturating_mul(most.max(1)) };
            if most >= 2 && part.copies > MAX_COPIES {
                let text =
                    format!("expected at most {MAX_COPIES} copies of a part, found more with {operator:?}");
                return Err(self.fault(text));
            }
        }
        if part.repetitions == MAX_NESTING {
            return Err(
                self.fault(format!("expected at most {MAX_NESTING} repetitions of a part, found more"))
            );
        }
        if part.repetitions > 0 {
            // `a*?` and `(?:a*)?` are two things, and flags may stand between `a*` and `?`.
            self.out.insert_str(part.start, "(?:");
            self.out.push(')');
        }
        self.out.push_str(operator);
        if asks != self.flags.has(Flags::SWAPS_GREED) {
            self.out.push('?');
        }
        part.repetitions += 1;
        self.last = Some(part);
        self.at += length + usize::from(asks);
        Ok(())
    }

    fn escape(&mut self) -> Result<(), Fault> {
        let rest = &self.pattern[self.at..];
        match rest[1..].chars().next() {
            Some('A' | 'z') => {
                self.begin(1);
                self.copy(2);
            }
            Some(letter @ ('b' | 'B')) => self.literal(2, &format!(r"(?-u:\{letter})")),
            Some('Q') => {
                let text = &rest[2..];
                let (quoted, length) = match text.find(r"\E") {
                    Some(end) => (&text[..end], end + 4),
                    None => (text, rest.len()),
                };
                for c in quoted.chars() {
                    // Each is a part of its own: a repetition after it repeats the last.
                    self.literal(0, &regex::escape(c.encode_utf8(&mut [0; 4])));
                }
                self.at += length;
            }
            Some('p' | 'P') => {
                let (written, length) = unicode::class(rest).map_err(|fault| fault.behind(self.at))?;
                self.count_tables(1)?;
                self.literal(length, &written);
            }
            letter => {
                if let Some(inside) = letter.and_then(perl_class) {
                    let not = if letter.is_some_and(char::is_uppercase) { "^" } else { "" };
                    self.literal(2, &format!("[{not}{inside}]"));
                } else {
                    let character = Character::read(rest).map_err(|fault| fault.behind(self.at))?;
                    let written = character.written().ok_or_else(|| character.refused().behind(self.at))?;
                    self.literal(character.source.len(), &written);
                }
            }
        }
        Ok(())
    }
}

/// `{2}`, `{2,}` or `{2,3}` and its length; `None` where the brace stands for itself.
fn counts(text: &str) -> Option<(Result<Counts, Fault>, usize)> {
    let inside = text[1..].find(|c: char| !c.is_ascii_digit() && c != ',').map(|end| &text[1..=end])?;
    let end = inside.len() + 1;
    if !text[end..].starts_with('}') {
        return None;
    }
    let (low, high) = match inside.split_once(',') {
        None => (number(inside)?, Some(number(inside)?)),
        Some((low, "")) => (number(low)?, None),
        Some((low, high)) => (number(low)?, Some(number(high)?)),
    };
    let is_good = low <= MAX_COPIES && high.is_none_or(|high| low <= high && high <= MAX_COPIES);
    let counts = is_good.then_some(Counts { low, high }).ok_or_else(|| {
        Fault::new(
            0,
            format!("expected counts from low to high, up to {MAX_COPIES}, found {:?}", &text[..=end]),
        )
    });
    Some((counts, end + 1))
}

/// Digits without a zero before them.
fn number(text: &str) -> Option<usize> {
    let is_number = text == "0"
        || !text.starts_with('0') && !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(usize::MAX))
}

/// The bytes of a pattern: as many as names of pods may need.
const MAX_LENGTH: usize = 1 << 20;
/// Groups in groups: a stack of two megabytes holds twice as many in a debug build, whose recursion is the most
/// expensive. Go takes a thousand.
pub(super) const MAX_NESTING: usize = 64;
/// Capture groups: a search keeps a place for each in each state.
const MAX_GROUPS: usize = 1000;
/// Copies of a part by counted repetitions in each other, as in Go.
const MAX_COPIES: usize = 1000;
/// Classes of Unicode, each of which holds hundreds of ranges.
const MAX_TABLES: usize = 256;
