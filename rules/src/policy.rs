//! What a rule says of samples that are missing or no number, and of answers that may lack some. Fields of our own,
//! beside upstream's (D90, D91).

use std::fmt;
use std::time::Duration;

use crate::duration;

/// `onNaN`: what a NaN sample stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnNan {
    /// The value 0, as upstream: `rate / rate` without traffic must read 0, or an autoscaler never scales down.
    #[default]
    Zero,
    /// No value: left out of a list, an error when asked for by name.
    Missing,
}

/// `onEmpty`: what an object without a sample stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnEmpty {
    /// No value, as upstream: left out of a list, 404 when asked for by name.
    #[default]
    NotFound,
    /// The value 0.
    Zero,
    /// The value that was served last, with its own time, up to this age; after that, no value.
    Last(Duration),
}

/// `onPartial`: what an answer stands for that may lack samples, as the metric source warns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnPartial {
    /// The samples that are there, as upstream. A sample that is not there is never the value 0.
    #[default]
    Serve,
    /// An error.
    Error,
}

/// The policies of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// What a NaN sample stands for.
    pub on_nan: OnNan,
    /// What an object without a sample stands for.
    pub on_empty: OnEmpty,
    /// What an answer that may lack samples stands for.
    pub on_partial: OnPartial,
}

impl OnEmpty {
    /// Reads what a rule file says; the error says what is expected. `missing` is another spelling of `notFound`.
    pub(crate) fn parse(text: &str) -> Result<OnEmpty, &'static str> {
        match text {
            "notFound" | "missing" => return Ok(OnEmpty::NotFound),
            "zero" => return Ok(OnEmpty::Zero),
            _ => {}
        }
        let age = text.strip_prefix("last(").and_then(|rest| rest.strip_suffix(')'));
        let age = age.ok_or("one of notFound, zero, last(5m)")?;
        let age = duration::parse(age.trim()).filter(|age| (SHORTEST_AGE..=LONGEST_AGE).contains(age));
        age.map(OnEmpty::Last).ok_or("last(5m) with a duration from 1s to 1d")
    }

    /// What stands for a sample that an answer lacks: if the answer may lack more than there is none of, nothing is
    /// known to be 0.
    #[must_use]
    pub fn of_answer(self, is_partial: bool) -> OnEmpty {
        if is_partial && self == OnEmpty::Zero { OnEmpty::NotFound } else { self }
    }
}

impl fmt::Display for OnEmpty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OnEmpty::NotFound => f.write_str("notFound"),
            OnEmpty::Zero => f.write_str("zero"),
            OnEmpty::Last(age) => write!(f, "last({})", duration::text(*age)),
        }
    }
}

/// Autoscalers ask every fifteen seconds.
const SHORTEST_AGE: Duration = Duration::from_secs(1);
/// An older value says nothing of the load of now.
const LONGEST_AGE: Duration = Duration::from_hours(24);

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    #[test]
    fn on_empty_is_read_and_written_alike() {
        let last = |seconds| Ok(OnEmpty::Last(Duration::from_secs(seconds)));
        let rows = [
            ("notFound", Ok(OnEmpty::NotFound), "notFound"),
            ("missing", Ok(OnEmpty::NotFound), "notFound"),
            ("zero", Ok(OnEmpty::Zero), "zero"),
            ("last(5m)", last(300), "last(5m)"),
            ("last( 90s )", last(90), "last(1m30s)"),
            ("last(1d)", last(86_400), "last(1d)"),
        ];
        each_row(rows, |(text, expected, written)| {
            assert_eq!(OnEmpty::parse(text), expected, "{text}");
            assert_eq!(expected.expect("a policy").to_string(), written);
        });
    }

    #[test]
    fn a_wrong_on_empty_says_what_is_expected() {
        each_row(["", "Zero", "last", "last(5m", "last 5m"], |text| {
            assert_eq!(OnEmpty::parse(text), Err("one of notFound, zero, last(5m)"), "{text}");
        });
        each_row(["last()", "last(0s)", "last(999ms)", "last(25h)", "last(soon)", "last(1.5m)"], |text| {
            assert_eq!(OnEmpty::parse(text), Err("last(5m) with a duration from 1s to 1d"), "{text}");
        });
    }
}
