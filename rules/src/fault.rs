//! Faults of a rule file, each with its place.

use std::fmt;

/// One thing that is wrong, or worth a warning, in a rule file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The place as a path of field names: `rules[3].name.matches`. Empty for the file as a whole.
    pub path: String,
    /// 1-based line of the value at fault.
    pub line: usize,
    /// 1-based column of the value at fault, in characters.
    pub column: usize,
    /// How far the value at fault goes on in its line, in characters; 0 when it goes on to the end of the line.
    pub width: usize,
    /// What was expected and what was found.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { path, line, column, message, .. } = self;
        if path.is_empty() {
            write!(f, "line {line}, column {column}: {message}")
        } else {
            write!(f, "{path} (line {line}, column {column}): {message}")
        }
    }
}

/// Everything that is wrong with a rule file, in the order of the file. Never empty; of very many faults the first
/// ones, and how many there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn new(mut faults: Vec<Fault>) -> Option<Faults> {
        faults.sort_by_key(|fault| (fault.line, fault.column));
        if let Some(first) = faults.get(MOST_FAULTS) {
            let left_out = faults.len() - MOST_FAULTS;
            let rest = Fault {
                path: String::new(),
                width: 0,
                message: format!("{left_out} more faults from here on are not shown"),
                ..*first
            };
            faults.truncate(MOST_FAULTS);
            faults.push(rest);
            faults.shrink_to_fit();
        }
        if faults.is_empty() { None } else { Some(Faults(faults)) }
    }

    /// The faults, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }
}

impl IntoIterator for Faults {
    type Item = Fault;
    type IntoIter = std::vec::IntoIter<Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// One fault a line.
impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, fault) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// A message that a log line can hold: what a template renders, or a key, may be megabytes.
pub(crate) fn bounded(message: String) -> String {
    match message.char_indices().nth(LONGEST_MESSAGE) {
        Some((end, _)) => format!("{}… ({} bytes)", &message[..end], message.len()),
        None => message,
    }
}

/// More faults than an author can use.
const MOST_FAULTS: usize = 200;
/// In characters.
const LONGEST_MESSAGE: usize = 4000;

/// `; did you mean "x"?` when one of the candidates is close to what was written, else nothing.
pub fn suggestion<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    // Comparing takes the product of the lengths, and what is so long is not a slip.
    let short = |text: &str| text.len() <= 100;
    candidates
        .into_iter()
        .filter(|candidate| short(written) && short(candidate))
        .map(|candidate| {
            (strsim::damerau_levenshtein(&written.to_lowercase(), &candidate.to_lowercase()), candidate)
        })
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| format!("; did you mean {candidate:?}?"))
        .unwrap_or_default()
}
