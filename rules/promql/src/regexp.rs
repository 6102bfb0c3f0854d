//! Go's regular expressions (RE2), as `regexp.Compile` reads them, on the regex crate.
//!
//! Both crates search the same way: the leftmost match, of these the one that Perl would find, in linear time. Their
//! languages differ: text that one takes the other refuses, or reads otherwise. [`translate`] reads Go's language,
//! refuses what Go refuses, and writes the same expression in the language of the regex crate.
//!
//! Letters of Unicode are those of the regex crate's version of it, 16, where Go 1.26 still has 15.

mod captures;
mod class;
mod escape;
mod expand;
mod fault;
mod flags;
mod translate;
mod unicode;

use std::collections::HashMap;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

pub use self::captures::Captures;
use self::captures::Groups;
pub use self::expand::{Reference, references};
use self::flags::Flags;
use self::translate::Translation;

/// A compiled expression. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Regexp {
    /// A copy of it would have memory of its own to search with.
    regex: Arc<Regex>,
    pattern: Arc<str>,
    groups: Arc<Groups>,
}

/// Why a regular expression does not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a regular expression, found {}: {cause}", shortened(.pattern))]
pub struct RegexpError {
    /// The pattern as written.
    pub pattern: String,
    /// The reason, in one line, with the place.
    pub cause: String,
}

/// The memory for the compiled expressions of one file. Each is bounded by itself, and a line of text makes one of
/// ten megabytes: a file of a few hundred such lines must not fill the memory, nor take minutes to be refused.
#[derive(Debug)]
pub struct CompileBudget {
    whole: usize,
    left: usize,
    /// What expressions that turn out to be too large may still be tried with. It takes as long as to compile one that
    /// fits.
    trials: usize,
    /// What was compiled within it: thousands of rules have the same few patterns.
    compiled: HashMap<String, Regexp>,
}

impl CompileBudget {
    /// A budget of a number of bytes.
    pub fn new(bytes: usize) -> CompileBudget {
        CompileBudget { whole: bytes, left: bytes, trials: bytes, compiled: HashMap::new() }
    }
}

/// Compiles a pattern with the meaning that Go's `regexp` gives it.
///
/// # Errors
/// A pattern that Go refuses, or one that is too large for this crate.
pub fn compile(pattern: &str) -> Result<Regexp, RegexpError> {
    Regexp::build(pattern, Flags::default(), |translated| translated)
}

/// Compiles a pattern as [`compile`] does, and takes what it needs from a budget: nothing for one that was compiled
/// within it before.
///
/// # Errors
/// As [`compile`]; a pattern that the budget has no place for.
pub fn compile_within(pattern: &str, budget: &mut CompileBudget) -> Result<Regexp, RegexpError> {
    if let Some(compiled) = budget.compiled.get(pattern) {
        return Ok(compiled.clone());
    }
    let Translation { text, names } = translation(pattern, Flags::default())?;
    let refused = |cause| RegexpError { pattern: pattern.to_owned(), cause };
    let mut tried = 0;
    // How much an expression needs is known only as the step that it fits into.
    for size in
        STEPS.into_iter().filter(|size| *size <= budget.left && *size <= budget.trials.max(TRIED_ALWAYS))
    {
        tried = size;
        match sized(&text, names.len(), size) {
            Err(regex::Error::CompiledTooBig(_)) if size < MAX_COMPILED_SIZE => {}
            Err(error) => {
                budget.trials = budget.trials.saturating_sub(tried);
                return Err(refused(cause(&error)));
            }
            Ok(regex) => {
                budget.left -= size;
                let compiled = Regexp::of(regex, pattern, names);
                budget.compiled.insert(pattern.to_owned(), compiled.clone());
                return Ok(compiled);
            }
        }
    }
    budget.trials = budget.trials.saturating_sub(tried);
    Err(refused(format!(
        "with the expressions before it, it needs more than {} bytes compiled",
        budget.whole
    )))
}

/// Compiles the pattern of a PromQL matcher: it matches a value as a whole, and `.` matches a line break, too.
///
/// # Errors
/// As [`compile`].
pub fn compile_matcher(pattern: &str) -> Result<Regexp, RegexpError> {
    Regexp::build(pattern, Flags::DOT_MATCHES_LINE_BREAK, |translated| format!("^(?s:{translated})$"))
}

/// The pattern in the regex crate's syntax. Where both read it alike, it is the text as written. Names of groups that
/// the regex crate refuses are left out.
///
/// # Errors
/// A pattern that Go refuses, or that nests too deeply for this crate. Its compiled size is not known here.
pub fn translate(pattern: &str) -> Result<String, RegexpError> {
    Ok(translation(pattern, Flags::default())?.text)
}

fn translation(pattern: &str, flags: Flags) -> Result<Translation, RegexpError> {
    translate::translate(pattern, flags)
        .map_err(|error| RegexpError { pattern: pattern.to_owned(), cause: error.to_string() })
}

impl Regexp {
    fn build(pattern: &str, flags: Flags, anchor: impl Fn(String) -> String) -> Result<Regexp, RegexpError> {
        let Translation { text, names } = translation(pattern, flags)?;
        let regex = sized(&anchor(text), names.len(), MAX_COMPILED_SIZE)
            .map_err(|error| RegexpError { pattern: pattern.to_owned(), cause: cause(&error) })?;
        Ok(Regexp::of(regex, pattern, names))
    }

    fn of(regex: Regex, pattern: &str, names: Vec<Option<String>>) -> Regexp {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        let count = names.len();
        for (position, name) in names.into_iter().enumerate() {
            if let Some(name) = name {
                by_name.entry(name).or_default().push(position + 1);
            }
        }
        Regexp {
            regex: Arc::new(regex),
            pattern: pattern.into(),
            groups: Arc::new(Groups { count, by_name }),
        }
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.pattern
    }

    /// How many capture groups it has, without the whole match.
    pub fn group_count(&self) -> usize {
        self.groups.count
    }

    /// Whether it has the group that a template calls by this name or number.
    pub fn has_group(&self, name: &str) -> bool {
        match expand::number(name) {
            Some(number) => number <= self.groups.count,
            None => self.groups.by_name.contains_key(name),
        }
    }

    /// Whether it matches somewhere in a text.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The first match in a text; `None` without one.
    pub fn captures<'t>(&self, text: &'t str) -> Option<Captures<'t>> {
        let captures = self.regex.captures(text)?;
        Some(Captures { captures, groups: Arc::clone(&self.groups) })
    }
}

/// The expression for a tree of promql-parser: without the names of its groups.
impl From<Regexp> for Regex {
    fn from(regexp: Regexp) -> Regex {
        Arc::unwrap_or_clone(regexp.regex)
    }
}

/// An expression of the regex crate of at most `size` bytes.
fn sized(text: &str, groups: usize, size: usize) -> Result<Regex, regex::Error> {
    // A search keeps a place for each group in each state.
    let limit = size / (1 + groups / GROUPS_OF_FULL_SIZE);
    RegexBuilder::new(text).size_limit(limit).nest_limit(MAX_SYNTAX_DEPTH).build()
}

fn cause(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => format!("it needs more than {limit} bytes compiled"),
        // The regex crate understands what `translate` writes, but for its depth.
        error => {
            error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
        }
    }
}

/// A pattern in quotes, or as much of it as a line may hold.
fn shortened(pattern: &str) -> String {
    match pattern.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{:?}… ({} bytes)", &pattern[..end], pattern.len()),
        None => format!("{pattern:?}"),
    }
}

/// The bytes of a compiled expression.
const MAX_COMPILED_SIZE: usize = 10 << 20;
/// What an expression takes from a [`CompileBudget`]: the first of these that it fits into.
const STEPS: [usize; 5] = [2 << 10, 16 << 10, 128 << 10, 1 << 20, MAX_COMPILED_SIZE];
/// Small expressions are compiled whatever was tried before them: theirs is not the fault.
const TRIED_ALWAYS: usize = STEPS[1];
/// Expressions with fewer groups than this may have the full size.
const GROUPS_OF_FULL_SIZE: usize = 8;
/// The depth of what `translate` writes: a group that is repeated in an alternation in a sequence is four levels.
const MAX_SYNTAX_DEPTH: u32 = 4 * translate::MAX_NESTING as u32 + 16;
/// The characters of a pattern that an error shows.
const MAX_SHOWN: usize = 200;

#[cfg(test)]
mod tests;
