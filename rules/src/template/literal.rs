//! The values of Go's literals: numbers, characters and strings.

use super::fault::short;
use super::tree::Number;

/// The value of a number without an imaginary part of its own: `1`, `0x1F`, `1_000`, `.5e3`, `2i`.
pub(super) fn number(text: &str) -> Result<Number, String> {
    if let Some(imaginary) = text.strip_suffix('i').and_then(float) {
        return Ok(Number::Complex(0.0, imaginary));
    }
    // A negative number in hexadecimal with an `e` is a float: so it is in Go.
    let looks_like_float = !is_hexadecimal(text) && text.contains(['.', 'e', 'E', 'p', 'P']);
    match integer(text) {
        Some(value) if looks_like_float => Ok(Number::Float(value as f64)),
        Some(value) => i64::try_from(value).map(Number::Int).or_else(|_| {
            if value > 0 && !text.starts_with('+') && u64::try_from(value).is_ok() {
                Ok(Number::TooLarge)
            } else {
                Err(format!("the integer {} does not fit in 64 bits", short(text)))
            }
        }),
        None if text.contains(['.', 'e', 'E', 'p', 'P']) => {
            float(text).map(Number::Float).ok_or_else(|| format!("invalid number {:?}", short(text)))
        }
        None => Err(format!("invalid number {:?}", short(text))),
    }
}

/// The value of a number with a real and an imaginary part: `1+2i`.
pub(super) fn complex(text: &str) -> Result<Number, String> {
    let invalid = || format!("invalid number {:?}", short(text));
    let body = text.strip_suffix('i').ok_or_else(invalid)?;
    // The sign that starts the imaginary part does not follow the mark of an exponent.
    let hexadecimal = |part: &str| part.trim_start_matches(['+', '-']).to_ascii_lowercase().starts_with("0x");
    let split = body.char_indices().skip(1).find(|(place, c)| {
        let before = &body[..*place];
        let exponent: &[char] = if hexadecimal(before) { &['p', 'P'] } else { &['e', 'E'] };
        matches!(c, '+' | '-') && !before.ends_with(exponent)
    });
    let (place, _) = split.ok_or_else(invalid)?;
    let part = |text: &str| float(text).ok_or_else(invalid);
    Ok(Number::Complex(part(&body[..place])?, part(&body[place..])?))
}

/// The value of a character constant with its quotes.
pub(super) fn character(text: &str) -> Result<Number, String> {
    let invalid = || format!("invalid character constant {}", short(text));
    let body = text.strip_prefix('\'').ok_or_else(invalid)?;
    let (unit, rest) = unescape(body, '\'').ok_or_else(invalid)?;
    if rest != "'" {
        return Err(invalid());
    }
    Ok(Number::Int(match unit {
        Unit::Char(c) => i64::from(u32::from(c)),
        Unit::Byte(byte) => i64::from(byte),
    }))
}

/// The value of a string with its quotes. Escapes can make bytes that are not UTF-8.
pub(super) fn string(text: &str) -> Result<Box<[u8]>, String> {
    let invalid = || format!("invalid string {}", short(text));
    if let Some(raw) = text.strip_prefix('`') {
        let raw = raw.strip_suffix('`').ok_or_else(invalid)?;
        return Ok(raw.bytes().filter(|byte| *byte != b'\r').collect());
    }
    let mut rest = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).ok_or_else(invalid)?;
    let mut value = Vec::with_capacity(rest.len());
    while !rest.is_empty() {
        let (unit, behind) = unescape(rest, '"').ok_or_else(invalid)?;
        match unit {
            Unit::Char(c) => value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Unit::Byte(byte) => value.push(byte),
        }
        rest = behind;
    }
    Ok(value.into())
}

/// What one character or escape of a literal stands for.
enum Unit {
    Char(char),
    Byte(u8),
}

fn unescape(text: &str, quote: char) -> Option<(Unit, &str)> {
    let mut characters = text.chars();
    let first = characters.next()?;
    if first == quote {
        return None;
    }
    if first != '\\' {
        return Some((Unit::Char(first), characters.as_str()));
    }
    let escape = characters.next()?;
    let behind = characters.as_str();
    let hexadecimal = |digits: usize| {
        let text = behind.get(..digits)?;
        let value = text.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(text)?;
        Some((u32::from_str_radix(value, 16).ok()?, &behind[digits..]))
    };
    let plain = |c: char| Some((Unit::Char(c), behind));
    match escape {
        'a' => plain('\u{7}'),
        'b' => plain('\u{8}'),
        'f' => plain('\u{c}'),
        'n' => plain('\n'),
        'r' => plain('\r'),
        't' => plain('\t'),
        'v' => plain('\u{b}'),
        '\\' => plain('\\'),
        '\'' | '"' if escape == quote => plain(escape),
        'x' => {
            let (value, behind) = hexadecimal(2)?;
            Some((Unit::Byte(u8::try_from(value).ok()?), behind))
        }
        'u' | 'U' => {
            let (value, behind) = hexadecimal(if escape == 'u' { 4 } else { 8 })?;
            Some((Unit::Char(char::from_u32(value)?), behind))
        }
        '0'..='7' => {
            let digits = text.get(1..4)?;
            let octal = digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte)).then_some(digits)?;
            Some((Unit::Byte(u8::from_str_radix(octal, 8).ok()?), &text[4..]))
        }
        _ => None,
    }
}

fn is_hexadecimal(text: &str) -> bool {
    text.len() > 2 && (text.starts_with("0x") || text.starts_with("0X")) && !text.contains(['p', 'P'])
}

/// An integer in base 10, or in the base of its prefix. Larger ones than 128 bits hold are none.
fn integer(text: &str) -> Option<i128> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let lower = unsigned.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        _ if lower.starts_with('0') && lower.len() > 1 => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    let plain = digits.replace('_', "");
    if !underscores_stand_between_digits(unsigned) || !plain.bytes().all(|byte| byte.is_ascii_alphanumeric())
    {
        return None;
    }
    let value = i128::from_str_radix(&plain, radix).ok()?;
    Some(if text.starts_with('-') { -value } else { value })
}

/// A decimal float, or a hexadecimal one, which needs an exponent. Infinity is out of range.
fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !underscores_stand_between_digits(unsigned) {
        return None;
    }
    let plain = unsigned.replace('_', "").to_ascii_lowercase();
    let value = match plain.strip_prefix("0x") {
        Some(digits) => hexadecimal_float(digits)?,
        // The lexer lets only digits, dots, signs and the marks of bases and exponents through; words like `inf` are
        // none.
        None if plain.bytes().all(|byte| byte.is_ascii_digit() || b".e+-".contains(&byte)) => {
            plain.parse().ok()?
        }
        None => return None,
    };
    let value: f64 = if text.starts_with('-') { -value } else { value };
    value.is_finite().then_some(value)
}

fn hexadecimal_float(digits: &str) -> Option<f64> {
    let (mantissa, exponent) = digits.split_once('p')?;
    let sign = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if sign.is_empty() || !sign.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Far beyond every float, and far from an overflow here.
    let mut power = sign.parse::<i64>().unwrap_or(i64::MAX).min(1 << 32);
    if exponent.starts_with('-') {
        power = -power;
    }
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (mut bits, mut lost) = (0_u64, false);
    for (place, digit) in whole.chars().chain(fraction.chars()).enumerate() {
        let digit = u64::from(digit.to_digit(16)?);
        if bits >> 60 == 0 {
            bits = bits << 4 | digit;
            power -= if place >= whole.len() { 4 } else { 0 };
        } else {
            lost |= digit != 0;
            power += if place >= whole.len() { 0 } else { 4 };
        }
    }
    Some(scaled(bits, lost, power))
}

/// `bits` times two to the `power`, rounded to even; `lost` says that the true value is a little larger.
fn scaled(bits: u64, lost: bool, power: i64) -> f64 {
    if bits == 0 {
        return 0.0;
    }
    let power = power - i64::from(bits.leading_zeros());
    let bits = u128::from(bits << bits.leading_zeros());
    let exponent = power + 63;
    if exponent > 1023 {
        return f64::INFINITY;
    }
    // Fewer digits where numbers are subnormal.
    let kept = (53 + (exponent + 1022).min(0)).max(-1);
    let dropped = (64 - kept) as u32;
    let mut value = bits >> dropped;
    let (rest, half) = (bits & ((1 << dropped) - 1), 1_u128 << (dropped - 1));
    if rest > half || rest == half && (lost || value & 1 == 1) {
        value += 1;
    }
    let mut result = value as f64;
    let mut power = power + i64::from(dropped);
    while power != 0 {
        let step = power.clamp(-1000, 1000);
        result *= 2_f64.powi(step as i32);
        power -= step;
        if result == 0.0 || result.is_infinite() {
            break;
        }
    }
    result
}

/// Each underscore stands between digits, or between the mark of a base and a digit.
fn underscores_stand_between_digits(unsigned: &str) -> bool {
    let bytes = unsigned.as_bytes();
    let prefixed = bytes.len() >= 2 && bytes[0] == b'0' && b"xXoObB".contains(&bytes[1]);
    let hexadecimal = prefixed && bytes[1].eq_ignore_ascii_case(&b'x');
    let is_digit = |byte: u8| byte.is_ascii_digit() || hexadecimal && byte.is_ascii_hexdigit();
    bytes.iter().enumerate().all(|(place, byte)| {
        let before = place.checked_sub(1).map(|place| bytes[place]);
        let after = bytes.get(place + 1);
        *byte != b'_'
            || (before.is_some_and(is_digit) || prefixed && place == 2)
                && after.copied().is_some_and(is_digit)
    })
}

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    #[test]
    fn hexadecimal_floats_are_rounded_to_even() {
        let rows = [
            ("0x1p-1074", f64::from_bits(1)),
            ("0x1p-1075", 0.0),
            ("0x1.8p-1075", f64::from_bits(1)),
            ("0x1.fffffffffffffp1023", f64::MAX),
            ("0x1.00000000000008p0", 1.0),
            ("0x1.000000000000080000000000001p0", 1.0 + f64::EPSILON),
            ("0x1.00000000000018p0", 1.0 + 2.0 * f64::EPSILON),
            ("-0x.8p1", -1.0),
            ("0x0p99999999999999999999", 0.0),
        ];
        each_row(rows, |(text, expected)| {
            assert_eq!(float(text), Some(expected), "{text}");
        });
        each_row(
            ["0x1p1024", "0x1.fffffffffffff8p1023", "0x1.8", "0x1p", "0xp1", "1e400", "inf", "nan"],
            |text| {
                assert_eq!(float(text), None, "{text}");
            },
        );
    }
}
