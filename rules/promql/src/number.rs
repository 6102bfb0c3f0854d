//! Numbers and durations as Prometheus writes them: `1_000`, `0x1f`, `017`, `1.5e-3`, `1h30m`.

use std::time::Duration;

use crate::token::Kind;

/// Where a number or duration that starts at `start` ends. It need not have a value: `1e400` has none. Without a kind
/// the text is neither, and `end` says how far it was read.
pub(crate) fn scan(text: &[u8], start: usize) -> (usize, Option<Kind>) {
    let mut scanner = Scanner { text, at: start };
    if scanner.number() {
        return (scanner.at, Some(Kind::Number));
    }
    let is_duration = scanner.duration();
    (scanner.at, is_duration.then_some(Kind::Duration))
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn is(&self, allowed: impl Fn(u8) -> bool) -> bool {
        self.text.get(self.at).is_some_and(|&byte| allowed(byte))
    }

    fn takes(&mut self, allowed: impl Fn(u8) -> bool) -> bool {
        let found = self.is(allowed);
        self.at += usize::from(found);
        found
    }

    /// Reads a number, in the way of Prometheus' lexer, whose choices show: `0x1e` ends with an exponent that lacks its
    /// digits.
    fn number(&mut self) -> bool {
        let hexadecimal = self.takes(|byte| byte == b'0') && self.takes(|byte| matches!(byte, b'x' | b'X'));
        let is_digit = |byte: u8| if hexadecimal { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() };
        if hexadecimal {
            self.takes(|byte| byte == b'_');
        }
        self.takes(|byte| byte == b'.');
        self.takes(is_digit);
        let (mut dot, mut exponent) = (false, false);
        loop {
            if self.is(|byte| byte == b'.') {
                self.at += 1;
                if dot || hexadecimal || self.takes(|byte| matches!(byte, b'_' | b'.')) {
                    return false;
                }
                dot = true;
            } else if self.is(is_exponent) {
                self.at += 1;
                if exponent {
                    return false;
                }
                exponent = true;
                self.takes(|byte| matches!(byte, b'+' | b'-'));
                if self.takes(ends_badly) || self.at == self.text.len() {
                    return false;
                }
            } else if self.takes(|byte| byte == b'_') {
                if self.takes(ends_badly) || self.at == self.text.len() {
                    return false;
                }
            } else if self.is(is_digit) {
                while self.takes(is_digit) {}
            } else {
                return !self.is(is_word);
            }
        }
    }

    /// Reads what follows the first number of a duration.
    fn duration(&mut self) -> bool {
        if !self.takes(|byte| b"smhdwy".contains(&byte)) {
            return false;
        }
        // Of `ms`; what else ends with `s` has no value.
        self.takes(|byte| byte == b's');
        while self.takes(|byte| byte.is_ascii_digit()) {
            while self.takes(|byte| byte.is_ascii_digit()) {}
            if !self.takes(|byte| b"smhdw".contains(&byte)) {
                return false;
            }
            self.takes(|byte| byte == b's');
        }
        !self.is(is_word)
    }
}

fn is_exponent(byte: u8) -> bool {
    matches!(byte, b'e' | b'E')
}

fn ends_badly(byte: u8) -> bool {
    matches!(byte, b'.' | b'_' | b'e' | b'E')
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The value of a number, as Go's `ParseInt` with base 0 and then `ParseFloat` read it.
pub(crate) fn value(text: &str) -> Result<f64, String> {
    let refused = || format!("expected a number, found {text:?}");
    if text.eq_ignore_ascii_case("inf") {
        return Ok(f64::INFINITY);
    }
    if text.eq_ignore_ascii_case("nan") {
        return Ok(f64::NAN);
    }
    if !underscores_separate_digits(text) {
        return Err(refused());
    }
    let digits = text.replace('_', "");
    let (number, base) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(number) => (number, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        None => (digits.as_str(), 10),
    };
    if let Ok(integer) = i64::from_str_radix(number, base) {
        return Ok(integer as f64);
    }
    match digits.parse::<f64>() {
        Ok(value) if value.is_infinite() => Err(format!("{}, which is out of range", refused())),
        Ok(value) => Ok(value),
        Err(_) => Err(refused()),
    }
}

fn underscores_separate_digits(text: &str) -> bool {
    let hexadecimal = text.starts_with("0x") || text.starts_with("0X");
    // The prefix of a hexadecimal number counts as a digit.
    let (rest, mut after_digit) = if hexadecimal { (&text[2..], true) } else { (text, false) };
    let mut after_underscore = false;
    for byte in rest.bytes() {
        let is_digit = if hexadecimal { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() };
        if if byte == b'_' { !after_digit } else { after_underscore && !is_digit } {
            return false;
        }
        after_digit = is_digit;
        after_underscore = byte == b'_';
    }
    !after_underscore
}

/// The seconds of a duration.
pub(crate) fn duration(text: &str) -> Result<f64, String> {
    let refused = || format!("expected a duration, found {text:?}");
    let mut milliseconds = 0_u64;
    let mut units = UNITS.iter();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|next: char| next.is_ascii_digit()).len();
        let number: u64 = rest[..digits].parse().map_err(|_| refused())?;
        rest = &rest[digits..];
        let letters = rest.find(|next: char| next.is_ascii_digit()).unwrap_or(rest.len());
        // From the largest to the smallest, each at most once.
        let (_, unit) = units.find(|(name, _)| *name == &rest[..letters]).ok_or_else(refused)?;
        rest = &rest[letters..];
        milliseconds = number
            .checked_mul(*unit)
            .and_then(|more| milliseconds.checked_add(more))
            .filter(|total| *total <= LONGEST.as_millis() as u64)
            .ok_or("duration out of range")?;
    }
    Ok(Duration::from_millis(milliseconds).as_secs_f64())
}

/// Units in milliseconds.
const UNITS: [(&str, u64); 7] =
    [("y", 365 * DAY), ("w", 7 * DAY), ("d", DAY), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
const DAY: u64 = 24 * 3_600_000;

/// The longest duration of Go: 2^63 ns, about 292 years.
const LONGEST: Duration = Duration::from_nanos(i64::MAX as u64);

/// Whether a number of seconds is beyond what Go's durations hold, in either direction.
pub(crate) fn is_out_of_range(seconds: f64) -> bool {
    seconds.abs() > LONGEST.as_secs_f64()
}

/// Seconds, rounded to nanoseconds and without their sign. Above the longest duration it is the longest.
pub(crate) fn length(seconds: f64) -> Duration {
    Duration::from_nanos(((seconds.abs() * 1e9).round() as u64).min(i64::MAX as u64))
}

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    #[test]
    fn numbers_have_the_value_that_go_gives_them() {
        let rows = [
            ("1_000", 1000.),
            ("1_000.5", 1000.5),
            ("1.", 1.),
            (".5", 0.5),
            ("1.e5", 1e5),
            ("1e+5", 1e5),
            ("0x1f", 31.),
            ("0x_1F", 31.),
            ("017", 15.),
            ("08", 8.),
            ("0", 0.),
            ("9223372036854775808", 9_223_372_036_854_775_808.),
            ("1e-400", 0.),
            ("inF", f64::INFINITY),
        ];
        each_row(rows, |(text, expected)| {
            assert_eq!(value(text), Ok(expected), "{text}");
        });
        each_row(["1e400", "0xffffffffffffffff", "0x", "1_", "_1", "1e5_", "0x1e+5", ".5.5"], |text| {
            assert!(value(text).is_err(), "{text} has a value");
        });
    }

    #[test]
    fn durations_have_ordered_units_and_a_limit() {
        for (text, expected) in
            [("1h30m", 5400.), ("5ms", 0.005), ("0s", 0.), ("1y2w", 365. * 86400. + 14. * 86400.)]
        {
            assert_eq!(duration(text), Ok(expected), "{text}");
        }
        each_row(
            ["1m1h", "1m1m", "1.5h", "5hs", "1e5m", "400y", "99999999999999999999s", "292y200d"],
            |text| {
                assert!(duration(text).is_err(), "{text} is a duration");
            },
        );
    }

    #[test]
    fn longest_duration_is_the_limit_of_go() {
        assert!(!is_out_of_range(9_223_372_036.854_775));
        assert!(is_out_of_range(9_223_372_037.));
        assert!(is_out_of_range(-1e30));
        assert_eq!(length(9_223_372_036.854_776), LONGEST);
        assert_eq!(length(-0.25), Duration::from_millis(250));
    }
}
