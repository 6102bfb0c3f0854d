//! Go's durations: `1m0s`, `1.5h`, `300ms`, as they stand in flags, in `?timeout=` and in answers.

use std::fmt::Write as _;
use std::time::Duration;

/// A text that is not a duration, in the words of Go's `time.ParseDuration`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GoDurationError {
    /// The text has another form, or is too long a time.
    #[error("time: invalid duration {0:?}")]
    Invalid(String),
    /// A number has no unit.
    #[error("time: missing unit in duration {0:?}")]
    MissingUnit(String),
    /// A number has a unit that is not one of Go's.
    #[error("time: unknown unit {unit:?} in duration {text:?}")]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// The whole text.
        text: String,
    },
    /// Go reads it, and no duration here can be negative.
    #[error("time: negative duration {0:?}, expected zero or more")]
    Negative(String),
}

/// Reads a duration; a negative one is `Err` too, in our own words, since no duration here can be negative.
///
/// # Errors
/// What Go refuses, and what is negative.
pub fn parse(text: &str) -> Result<Duration, GoDurationError> {
    let nanoseconds = parse_signed(text)?;
    let nanoseconds = u64::try_from(nanoseconds).map_err(|_| GoDurationError::Negative(text.to_owned()))?;
    Ok(Duration::from_nanos(nanoseconds))
}

/// Reads a duration in nanoseconds, negative ones included.
///
/// # Errors
/// What Go refuses.
pub fn parse_signed(text: &str) -> Result<i64, GoDurationError> {
    let invalid = || GoDurationError::Invalid(text.to_owned());
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (integer, behind) = rest.split_at(digits);
        let (fraction, behind) = match behind.strip_prefix('.') {
            None => ("", behind),
            Some(behind) => {
                behind.split_at(behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len()))
            }
        };
        if integer.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let letters = behind.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(letters);
        if unit.is_empty() {
            return Err(GoDurationError::MissingUnit(text.to_owned()));
        }
        let scale =
            UNITS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale).ok_or_else(|| {
                GoDurationError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() }
            })?;
        let whole: u128 = if integer.is_empty() { 0 } else { integer.parse().map_err(|_| invalid())? };
        total = whole.checked_mul(scale).and_then(|part| total.checked_add(part)).ok_or_else(invalid)?;
        // Digits beyond nanoseconds do not count.
        let mut weight = scale;
        for digit in fraction.bytes().take(18) {
            weight /= 10;
            total += u128::from(digit - b'0') * weight;
        }
        rest = behind;
    }
    let total = i64::try_from(total).map_err(|_| invalid())?;
    Ok(if negative { -total } else { total })
}

/// Writes a duration as Go does: `1h0m0s`, `1.5s`, `300ms`, `0s`.
pub fn format(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    if nanoseconds == 0 {
        return "0s".to_owned();
    }
    if nanoseconds < 1_000_000_000 {
        let (unit, scale) = match nanoseconds {
            0..1_000 => ("ns", 1),
            1_000..1_000_000 => ("µs", 1_000),
            _ => ("ms", 1_000_000),
        };
        return format!("{}{unit}", decimal(nanoseconds, scale));
    }
    let seconds = nanoseconds / 1_000_000_000;
    let mut text = String::new();
    if seconds >= 3600 {
        let _ = write!(text, "{}h", seconds / 3600);
    }
    if seconds >= 60 {
        let _ = write!(text, "{}m", seconds / 60 % 60);
    }
    text + &decimal(nanoseconds % 60_000_000_000, 1_000_000_000) + "s"
}

fn decimal(value: u128, scale: u128) -> String {
    let fraction = value % scale;
    if fraction == 0 {
        return (value / scale).to_string();
    }
    let width = scale.ilog10() as usize;
    let digits = format!("{fraction:0width$}");
    format!("{}.{}", value / scale, digits.trim_end_matches('0'))
}

const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    #[test]
    fn reads_and_writes_as_go_does() {
        let rows = [
            ("0", "0s"),
            ("0s", "0s"),
            ("1m", "1m0s"),
            ("1.5h", "1h30m0s"),
            ("300ms", "300ms"),
            ("1h2m3.5s", "1h2m3.5s"),
            ("1us", "1µs"),
            ("1.5µs", "1.5µs"),
            ("90s", "1m30s"),
            (".5s", "500ms"),
            ("1.s", "1s"),
            ("+2h", "2h0m0s"),
            ("100ns", "100ns"),
        ];
        each_row(rows, |(text, written)| {
            assert_eq!(format(parse(text).expect(text)), written, "{text}");
        });
    }

    #[test]
    fn errors_are_gos() {
        let rows = [
            ("", "time: invalid duration \"\""),
            ("abc", "time: invalid duration \"abc\""),
            ("5", "time: missing unit in duration \"5\""),
            ("5x", "time: unknown unit \"x\" in duration \"5x\""),
            (".s", "time: invalid duration \".s\""),
            ("9999999h", "time: invalid duration \"9999999h\""),
            ("-1s", "time: negative duration \"-1s\", expected zero or more"),
        ];
        each_row(rows, |(text, message)| {
            assert_eq!(parse(text).expect_err(text).to_string(), message);
        });
        assert_eq!(parse_signed("-1s"), Ok(-1_000_000_000));
    }
}
