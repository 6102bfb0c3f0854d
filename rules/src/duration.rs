//! Prometheus' durations: `5m`, `1h30m`, `250ms`, `1w`. Not Go's: there is no fraction.

use std::time::Duration;

/// Reads a duration as `github.com/prometheus/common/model` does: units from large to small, each at most once; a
/// bare `0` is zero. `None` when the text is not a duration.
pub fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut millis: u64 = 0;
    let mut next_unit = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = UNITS.iter().position(|(name, _)| *name == &rest[..letters])?;
        if unit < next_unit {
            return None;
        }
        next_unit = unit + 1;
        rest = &rest[letters..];
        millis = millis.checked_add(number.checked_mul(UNITS[unit].1)?)?;
    }
    (!text.is_empty()).then(|| Duration::from_millis(millis))
}

/// Writes a duration as [`parse`] reads it, units of days and less, rounded down to milliseconds.
pub fn text(duration: Duration) -> String {
    use std::fmt::Write as _;
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, millis) in UNITS.iter().skip_while(|(unit, _)| *unit != "d") {
        if rest >= *millis {
            // Writing to memory does not fail.
            let _ = write!(text, "{}{unit}", rest / millis);
            rest %= millis;
        }
    }
    text
}

/// From large to small, in milliseconds.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    #[test]
    fn durations_are_read_as_prometheus_reads_them() {
        let rows = [
            ("5m", Some(300_000)),
            ("1h30m", Some(5_400_000)),
            ("250ms", Some(250)),
            ("1m500ms", Some(60_500)),
            ("0", Some(0)),
            ("5", None),
            ("", None),
            ("1.5h", None),
            ("30m1h", None),
            ("-5m", None),
            ("5 m", None),
            ("99999999999y", None),
        ];
        each_row(rows, |(text, expected)| {
            assert_eq!(parse(text), expected.map(Duration::from_millis), "{text}");
        });
    }

    #[test]
    fn durations_are_written_as_they_are_read() {
        each_row(["5m", "1h30m", "250ms", "1m500ms", "0s", "400d"], |written| {
            assert_eq!(parse(written).map(text).as_deref(), Some(written));
        });
    }
}
