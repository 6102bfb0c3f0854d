//! Kubernetes quantities: `7500m`, `1k`, `5Gi`.
//!
//! The text is the canonical one of `k8s.io/apimachinery/pkg/api/resource`, so that clients which compare texts see
//! what they saw from upstream. Only values that every client reads back exactly can be made at all: beyond that range
//! the Go clients silently misread (an infinite sample served by prometheus-adapter reads as 0).

use std::fmt;

/// A number in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity {
    milli: i64,
    format: Format,
}

/// Which suffixes a quantity is written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// Powers of 1000: `k`, `M`, `G`.
    DecimalSi,
    /// Powers of 1024: `Ki`, `Mi`, `Gi`; what memory is written in.
    BinarySi,
}

/// A number that no quantity can hold: infinite, not a number, or beyond what clients read exactly.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error(
    "{0} cannot be a quantity: expected a finite number between -999999999999999.999 and 9223372036854775.807"
)]
pub struct OutOfRange(pub f64);

/// A text that is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a quantity like \"7500m\", \"1k\" or \"5Gi\", found {0:?}")]
pub struct ParseQuantityError(String);

impl Quantity {
    /// A decimal quantity of a number of thousandths, clamped to what clients read exactly.
    pub fn from_milli(milli: i64) -> Quantity {
        Quantity { milli: milli.max(SMALLEST_MILLI), format: Format::DecimalSi }
    }

    /// The nearest decimal quantity: rounded to thousandths, halves away from zero.
    ///
    /// # Errors
    /// Anything that is not a finite number in the safe range; NaN too: what it means is the caller's decision.
    pub fn from_f64(value: f64) -> Result<Quantity, OutOfRange> {
        let milli = (value * 1000.0).round();
        // One below the smallest, and 2^63, the first number that an i64 cannot hold: both are exact as f64.
        if milli > -1e18 && milli < 9_223_372_036_854_775_808.0 {
            Ok(Quantity::from_milli(milli as i64))
        } else {
            Err(OutOfRange(value))
        }
    }

    /// The same number written with other suffixes.
    #[must_use]
    pub fn with_format(self, format: Format) -> Quantity {
        Quantity { format, ..self }
    }

    /// The number in thousandths.
    pub fn milli(self) -> i64 {
        self.milli
    }

    /// The number.
    pub fn as_f64(self) -> f64 {
        self.milli as f64 / 1000.0
    }

    /// Reads any text that Kubernetes accepts as a quantity and that is in range; what is finer than a thousandth
    /// is rounded away from zero, as Kubernetes does.
    ///
    /// # Errors
    /// A text that is not a quantity, or one out of range.
    pub fn parse(text: &str) -> Result<Quantity, ParseQuantityError> {
        parse(text).ok_or_else(|| ParseQuantityError(text.to_owned()))
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.milli % 1000 != 0 {
            return write!(f, "{}m", self.milli);
        }
        let whole = self.milli / 1000;
        let suffixes = match self.format {
            Format::BinarySi if whole.abs() >= 1024 => BINARY,
            _ => DECIMAL,
        };
        let largest = suffixes.iter().rev().find(|(_, factor)| whole != 0 && whole % factor == 0);
        match largest {
            Some((suffix, factor)) => write!(f, "{}{suffix}", whole / factor),
            None => write!(f, "{whole}"),
        }
    }
}

impl serde::Serialize for Quantity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn parse(text: &str) -> Option<Quantity> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(digits);
    let (integer, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (integer.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let (scale, format) = scale(suffix)?;
    // The digits as one integer, times ten to a power, times a factor: exact until the last division.
    let mut value: i128 = format!("{integer}{fraction}").parse().ok()?;
    let mut exponent = 3 - i32::try_from(fraction.len()).ok()?;
    match scale {
        Scale::Factor(factor) => value = value.checked_mul(i128::from(factor))?,
        Scale::PowerOfTen(power) => exponent += power,
    }
    let milli = if exponent >= 0 {
        value.checked_mul(10i128.checked_pow(exponent.unsigned_abs())?)?
    } else {
        match 10i128.checked_pow(exponent.unsigned_abs()) {
            Some(divisor) => value / divisor + i128::from(value % divisor != 0),
            None => i128::from(value != 0),
        }
    };
    let milli = i64::try_from(if negative { -milli } else { milli }).ok()?;
    (milli >= SMALLEST_MILLI).then_some(Quantity { milli, format })
}

enum Scale {
    Factor(i64),
    PowerOfTen(i32),
}

fn scale(suffix: &str) -> Option<(Scale, Format)> {
    let small = match suffix {
        "" => Some(0),
        "n" => Some(-9),
        "u" => Some(-6),
        "m" => Some(-3),
        _ => suffix
            .strip_prefix(['e', 'E'])
            .filter(|rest| !rest.is_empty())
            .and_then(|power| power.parse().ok()),
    };
    if let Some(power) = small {
        return Some((Scale::PowerOfTen(power), Format::DecimalSi));
    }
    let find =
        |table: &[(&str, i64)]| table.iter().find(|(name, _)| *name == suffix).map(|(_, factor)| *factor);
    find(DECIMAL)
        .map(|factor| (Scale::Factor(factor), Format::DecimalSi))
        .or_else(|| find(BINARY).map(|factor| (Scale::Factor(factor), Format::BinarySi)))
}

/// Below this the Go clients misread a quantity with thousandths.
const SMALLEST_MILLI: i64 = -999_999_999_999_999_999;
const DECIMAL: &[(&str, i64)] = &[
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000),
];
const BINARY: &[(&str, i64)] =
    &[("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30), ("Ti", 1 << 40), ("Pi", 1 << 50), ("Ei", 1 << 60)];

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    #[test]
    fn numbers_become_canonical_text() {
        let rows = [
            (10.0, "10"),
            (0.2, "200m"),
            (1.5, "1500m"),
            (-0.35, "-350m"),
            (0.0, "0"),
            (-0.0, "0"),
            (1000.0, "1k"),
            (1e6, "1M"),
            (1e9, "1G"),
            (1e15, "1P"),
            (1500.0, "1500"),
            (1_048_576.0, "1048576"),
            (1000.5, "1000500m"),
            (123_456_789.5, "123456789500m"),
            (12.345, "12345m"),
            (1_500_000.0, "1500k"),
            // Rounded, where upstream truncates (D16).
            (1.9999, "2"),
            (-1.9999, "-2"),
            (0.0004, "0"),
            (0.0005, "1m"),
            (99.9995, "100"),
            (1.001, "1001m"),
            (1.005, "1005m"),
            (1_234_567.891_2, "1234567891m"),
        ];
        each_row(rows, |(value, expected)| {
            assert_eq!(Quantity::from_f64(value).expect("in range").to_string(), expected, "{value}");
        });
    }

    #[test]
    fn what_clients_would_misread_is_refused() {
        each_row([f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e18, 9.3e15, -1e15, 1e300], |value| {
            assert!(Quantity::from_f64(value).is_err(), "{value}");
        });
        assert_eq!(Quantity::from_f64(9.2e15).expect("in range").to_string(), "9200T");
    }

    #[test]
    fn memory_is_binary() {
        let rows = [
            (0, "0"),
            (1000, "1k"),
            (1024, "1Ki"),
            (1536, "1536"),
            (1_048_576, "1Mi"),
            (123_456_789, "123456789"),
            (5 << 30, "5Gi"),
        ];
        each_row(rows, |(bytes, expected)| {
            assert_eq!(
                Quantity::from_milli(bytes * 1000).with_format(Format::BinarySi).to_string(),
                expected
            );
        });
        assert_eq!(Quantity::from_milli(1_024_500).with_format(Format::BinarySi).to_string(), "1024500m");
    }

    #[test]
    fn texts_are_read_back() {
        let rows = [
            ("10", 10_000),
            ("200m", 200),
            ("-350m", -350),
            ("1k", 1_000_000),
            ("1.5k", 1_500_000),
            ("1Ki", 1_024_000),
            ("1e3", 1_000_000),
            ("1E3", 1_000_000),
            ("100u", 1),
            ("-100u", -1),
            ("0.0001", 1),
            (".5", 500),
            ("9223372036854775807m", i64::MAX),
        ];
        each_row(rows, |(text, milli)| {
            assert_eq!(Quantity::parse(text).expect(text).milli(), milli, "{text}");
        });
        each_row(["", "k", "1x", "1.2.3", "--1", "1 k", "1E", "10E", "e3", "1e", "0x10"], |text| {
            let refused = Quantity::parse(text);
            assert!(refused.is_err(), "{text}: {refused:?}");
        });
    }
}
