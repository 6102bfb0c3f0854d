//! Numbers in quotes, as Go's `strconv.ParseFloat` reads them.

/// The number that a text says; `None` where Go would find none. `NaN` and the infinities are numbers too.
pub(super) fn number(text: &str) -> Option<f64> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Some(value),
        // Go takes no sign before NaN.
        Ok(value) if value.is_nan() => text.eq_ignore_ascii_case("nan").then_some(value),
        // And what is beyond all numbers is an error, not infinite.
        Ok(value) => {
            let word = text.trim_start_matches(['+', '-']);
            word.starts_with(['i', 'I']).then_some(value)
        }
        Err(_) => with_digits_apart(text),
    }
}

/// What else Go takes: hexadecimal numbers, and `_` between digits.
fn with_digits_apart(text: &str) -> Option<f64> {
    if !text.bytes().any(|c| matches!(c, b'_' | b'x' | b'X')) {
        return None;
    }
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let hexadecimal = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X"));
    let digits = hexadecimal.unwrap_or(unsigned);
    if !apart(digits, hexadecimal.is_some()) {
        return None;
    }
    let digits = digits.replace('_', "");
    let value = match hexadecimal {
        Some(_) => hexadecimal_number(&digits),
        None if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') => digits.parse().ok(),
        None => None,
    };
    value.filter(|value| value.is_finite()).map(|value| if negative { -value } else { value })
}

/// Whether each `_` stands between two digits, or between the prefix `0x` and a digit.
fn apart(digits: &str, hexadecimal: bool) -> bool {
    let is_digit = |c: u8| c.is_ascii_digit() || hexadecimal && c.is_ascii_hexdigit();
    let digits = digits.as_bytes();
    digits.iter().enumerate().filter(|(_, c)| **c == b'_').all(|(place, _)| {
        let before = place.checked_sub(1).map_or(hexadecimal, |before| is_digit(digits[before]));
        before && digits.get(place + 1).is_some_and(|after| is_digit(*after))
    })
}

/// `1.8p-2`: hexadecimal digits and a power of two, which may not be left out.
fn hexadecimal_number(text: &str) -> Option<f64> {
    let (digits, exponent) = text.split_once(['p', 'P'])?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.len() + fraction.len() == 0 || exponent.starts_with("+-") {
        return None;
    }
    let magnitude = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if magnitude.is_empty() || !magnitude.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let magnitude: i32 = magnitude.parse().map_or(FURTHEST, |magnitude: i32| magnitude.min(FURTHEST));
    let mut exponent = if exponent.starts_with('-') { -magnitude } else { magnitude };
    let mut mantissa = 0_u64;
    for (place, digit) in whole.chars().chain(fraction.chars()).enumerate() {
        let digit = u64::from(digit.to_digit(16)?);
        let shift = if place < whole.len() { 4 } else { 0 };
        if mantissa >> 60 == 0 {
            mantissa = mantissa << 4 | digit;
            exponent = exponent.saturating_add(shift - 4);
        } else {
            // Too far down to count, but for which way a half is rounded.
            mantissa |= u64::from(digit != 0);
            exponent = exponent.saturating_add(shift);
        }
    }
    // In steps: neither may overflow where the product does not.
    let mut value = mantissa as f64;
    while exponent != 0 && value != 0.0 && value.is_finite() {
        let step = exponent.clamp(-1000, 1000);
        value *= f64::from(step).exp2();
        exponent -= step;
    }
    Some(value)
}

/// No exponent further from zero makes another number.
const FURTHEST: i32 = 1 << 20;

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        let rows = [
            ("1", 1.0),
            ("+1.5e3", 1500.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("-0", -0.0),
            ("4.9e-324", 4.9e-324),
            ("1e-400", 0.0),
            ("inf", f64::INFINITY),
            ("+Inf", f64::INFINITY),
            ("-INFINITY", f64::NEG_INFINITY),
            ("0x1p-2", 0.25),
            ("-0X1.8P1", -3.0),
            ("0x.8p0", 0.5),
            ("0x_1_0p0", 16.0),
            ("0x10000000000000000p-64", 1.0),
            ("0x1fffffffffffff8p0", 144_115_188_075_855_868.0),
            ("1_0", 10.0),
            ("1_23.50_0e+1_2", 1.235e14),
        ];
        each_row(rows, |(text, value)| {
            let found = number(text).unwrap_or_else(|| panic!("{text} is a number"));
            assert_eq!(found.to_bits(), value.to_bits(), "{text}: {found}");
        });
        each_row(["NaN", "nan", "NAN"], |text| {
            assert!(number(text).is_some_and(f64::is_nan), "{text}");
        });
        let rows = [
            "", " 1", "1 ", "one", "1e", "0x1", "0xp1", "0x1p", "0x1p+-1", "+-1", "+NaN", "-nan", "1e999",
            "-1e309", "0x1p1024", "_1", "1_", "1__0", "1_.5", "1._5", "0x1_p1", "0b1", "1f", "infin", "i_nf",
            "0x-1p1",
        ];
        each_row(rows, |text| {
            assert_eq!(number(text), None, "{text}");
        });
    }
}
