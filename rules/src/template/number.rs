//! How Go's `fmt` writes numbers.

use super::quote;
use super::value::Value;

/// What stands between `%` and the verb.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own in the format")]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flags {
    pub(super) sharp: bool,
    pub(super) zero: bool,
    pub(super) plus: bool,
    pub(super) minus: bool,
    pub(super) space: bool,
    /// `%#v`
    pub(super) go_syntax: bool,
    /// `%+v`
    pub(super) field_names: bool,
    pub(super) width: Option<usize>,
    pub(super) precision: Option<usize>,
}

/// A part of a number's text.
pub(super) struct Piece {
    /// A sign, and the prefix of a base.
    pub(super) sign: String,
    /// Zeros between the sign and the text.
    pub(super) zeros: usize,
    pub(super) text: String,
    pub(super) padding: Padding,
}

/// What fills a piece up to the width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Padding {
    Never,
    Spaces,
    /// Zeros after the sign where the flags say so, else spaces.
    Zeros,
}

/// The pieces of a number; `None` where the verb is not one for numbers of its type.
pub(super) fn written(value: &Value<'_>, verb: char, flags: &Flags) -> Option<Vec<Piece>> {
    match *value {
        Value::Int(value) => integer(value.unsigned_abs(), value < 0, verb, flags).map(|piece| vec![piece]),
        Value::Byte(value) if verb == 'v' && flags.go_syntax => {
            Some(vec![digits(u64::from(value), false, 'x', &Flags { sharp: true, ..*flags })])
        }
        Value::Byte(value) => integer(u64::from(value), false, verb, flags).map(|piece| vec![piece]),
        Value::Float(value) => float(value, verb, flags).map(|piece| vec![piece]),
        Value::Complex(real, imaginary) => {
            let real = float(real, verb, flags)?;
            // It always has a sign.
            let imaginary = float(imaginary, verb, &Flags { plus: true, ..*flags })?;
            Some(vec![Piece::plain("("), real, imaginary, Piece::plain("i)")])
        }
        _ => None,
    }
}

impl Piece {
    fn plain(text: &str) -> Piece {
        Piece { sign: String::new(), zeros: 0, text: text.to_owned(), padding: Padding::Never }
    }

    fn padded(text: String, padding: Padding) -> Piece {
        Piece { sign: String::new(), zeros: 0, text, padding }
    }
}

fn integer(magnitude: u64, negative: bool, verb: char, flags: &Flags) -> Option<Piece> {
    let character = || {
        let code = u32::try_from(magnitude).ok().filter(|_| !negative);
        code.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
    };
    match verb {
        'v' | 'd' | 'b' | 'o' | 'O' | 'x' | 'X' => Some(digits(magnitude, negative, verb, flags)),
        'c' => Some(Piece::padded(character().to_string(), Padding::Zeros)),
        'q' => Some(Piece::padded(quote::quoted_character(character(), flags.plus), Padding::Zeros)),
        'U' => Some(code_point(magnitude, negative, flags)),
        _ => None,
    }
}

fn digits(magnitude: u64, negative: bool, verb: char, flags: &Flags) -> Piece {
    let mut text = match verb {
        'b' => format!("{magnitude:b}"),
        'o' | 'O' => format!("{magnitude:o}"),
        'x' => format!("{magnitude:x}"),
        'X' => format!("{magnitude:X}"),
        _ => magnitude.to_string(),
    };
    let mut sign = sign(negative, flags);
    let wanted = match (flags.precision, flags.width) {
        (Some(0), _) if magnitude == 0 => return Piece::padded(String::new(), Padding::Spaces),
        (Some(precision), _) => precision,
        (None, Some(width)) if flags.zero && !flags.minus => width.saturating_sub(sign.len()),
        _ => 0,
    };
    let zeros = wanted.saturating_sub(text.len());
    match verb {
        'b' if flags.sharp => sign.push_str("0b"),
        'o' | 'O' if flags.sharp && zeros == 0 && !text.starts_with('0') => text.insert(0, '0'),
        'x' if flags.sharp => sign.push_str("0x"),
        'X' if flags.sharp => sign.push_str("0X"),
        _ => {}
    }
    if verb == 'O' {
        sign.push_str("0o");
    }
    Piece { sign, zeros, text, padding: Padding::Spaces }
}

fn code_point(magnitude: u64, negative: bool, flags: &Flags) -> Piece {
    let code = if negative { magnitude.wrapping_neg() } else { magnitude };
    let mut text = format!("{code:X}");
    let zeros = flags.precision.unwrap_or(0).max(4).saturating_sub(text.len());
    let character = u32::try_from(code).ok().and_then(char::from_u32);
    if let Some(c) = character.filter(|c| flags.sharp && quote::is_printable(*c)) {
        text.extend([" '", c.encode_utf8(&mut [0; 4]), "'"]);
    }
    Piece { sign: "U+".to_owned(), zeros, text, padding: Padding::Spaces }
}

fn sign(negative: bool, flags: &Flags) -> String {
    let sign = match flags {
        _ if negative => "-",
        Flags { plus: true, .. } => "+",
        Flags { space: true, .. } => " ",
        _ => "",
    };
    sign.to_owned()
}

fn float(value: f64, verb: char, flags: &Flags) -> Option<Piece> {
    let magnitude = value.abs();
    let precision = flags.precision;
    let text = match verb {
        'v' | 'g' | 'G' => general(magnitude, precision),
        'f' | 'F' => fixed(magnitude, precision.unwrap_or(6)),
        'e' | 'E' => scientific(magnitude, precision.unwrap_or(6)),
        'x' | 'X' => hexadecimal(magnitude, precision),
        'b' => binary(magnitude),
        _ => return None,
    };
    let text = if flags.sharp && verb != 'b' { with_point(&text, verb, precision) } else { text };
    let text = if matches!(verb, 'G' | 'E' | 'X') { text.to_ascii_uppercase() } else { text };
    Some(Piece { sign: sign(value.is_sign_negative(), flags), zeros: 0, text, padding: Padding::Zeros })
}

/// The significant digits of a number that is not zero, without zeros at their end, and its decimal exponent. The
/// shortest digits that stand for the number, or as many as the precision says.
fn significant(magnitude: f64, precision: Option<usize>) -> (String, i32) {
    let written = match precision {
        Some(digits) => format!("{magnitude:.*e}", digits.clamp(1, MOST_DIGITS) - 1),
        None => format!("{magnitude:e}"),
    };
    // The standard library writes a mantissa, an `e` and an exponent.
    let (mantissa, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let digits = mantissa.replace('.', "");
    (digits.trim_end_matches('0').to_owned(), exponent.parse().unwrap_or(0))
}

fn general(magnitude: f64, precision: Option<usize>) -> String {
    if magnitude == 0.0 {
        return "0".to_owned();
    }
    let precision = precision.map(|precision| precision.max(1));
    let (digits, exponent) = significant(magnitude, precision);
    let most = precision.unwrap_or(SHORTEST_EXPONENT);
    if exponent < -4 || i64::from(exponent) >= most as i64 {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        return format!("{first}{point}{rest}{}", decimal_exponent('e', exponent));
    }
    if exponent < 0 {
        return format!("0.{}{digits}", "0".repeat((-exponent - 1) as usize));
    }
    let whole = exponent as usize + 1;
    if digits.len() <= whole {
        format!("{digits}{}", "0".repeat(whole - digits.len()))
    } else {
        let (whole, fraction) = digits.split_at(whole);
        format!("{whole}.{fraction}")
    }
}

fn fixed(magnitude: f64, precision: usize) -> String {
    let exact = precision.min(MOST_DIGITS);
    format!("{magnitude:.exact$}{}", "0".repeat(precision - exact))
}

fn scientific(magnitude: f64, precision: usize) -> String {
    let exact = precision.min(MOST_DIGITS);
    let written = format!("{magnitude:.exact$e}");
    let (mantissa, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let exponent = decimal_exponent('e', exponent.parse().unwrap_or(0));
    format!("{mantissa}{}{exponent}", "0".repeat(precision - exact))
}

fn decimal_exponent(mark: char, exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mark}{sign}{:02}", exponent.unsigned_abs())
}

/// Mantissa and exponent of two, so that the number is their product; the mantissa is a whole number.
fn parts(magnitude: f64) -> (u64, i32) {
    let bits = magnitude.to_bits();
    let fraction = bits & ((1 << FRACTION_BITS) - 1);
    match (bits >> FRACTION_BITS) as i32 {
        0 => (fraction, -1074),
        exponent => (fraction | 1 << FRACTION_BITS, exponent - 1075),
    }
}

fn binary(magnitude: f64) -> String {
    let (mantissa, exponent) = parts(magnitude);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}p{sign}{}", exponent.unsigned_abs())
}

fn hexadecimal(magnitude: f64, precision: Option<usize>) -> String {
    let (mut mantissa, mut exponent) = parts(magnitude);
    if mantissa == 0 {
        exponent = 0;
    } else {
        // One digit before the point, which is 1.
        let shift = mantissa.leading_zeros() - (63 - FRACTION_BITS);
        mantissa <<= shift;
        exponent += FRACTION_BITS as i32 - shift as i32;
    }
    let kept = precision.unwrap_or(HEXADECIMAL_DIGITS);
    if kept < HEXADECIMAL_DIGITS {
        // Rounded to even.
        let dropped = 4 * (HEXADECIMAL_DIGITS - kept);
        let (rest, half) = (mantissa & ((1 << dropped) - 1), 1 << (dropped - 1));
        mantissa >>= dropped;
        if rest > half || rest == half && mantissa & 1 == 1 {
            mantissa += 1;
        }
        mantissa <<= dropped;
        if mantissa >> FRACTION_BITS > 1 {
            mantissa >>= 1;
            exponent += 1;
        }
    }
    let fraction = format!("{:013x}", mantissa & ((1 << FRACTION_BITS) - 1));
    let fraction = match precision {
        Some(precision) if precision <= HEXADECIMAL_DIGITS => fraction[..precision].to_owned(),
        Some(precision) => format!("{fraction}{}", "0".repeat(precision - HEXADECIMAL_DIGITS)),
        None => fraction.trim_end_matches('0').to_owned(),
    };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("0x{}{point}{fraction}{}", mantissa >> FRACTION_BITS, decimal_exponent('p', exponent))
}

/// With a decimal point in every case, and with the zeros that `g` leaves out.
fn with_point(text: &str, verb: char, precision: Option<usize>) -> String {
    let hexadecimal = matches!(verb, 'x' | 'X');
    let end = text.find(if hexadecimal { 'p' } else { 'e' }).unwrap_or(text.len());
    let (number, exponent) = text.split_at(end);
    let mut wanted = if matches!(verb, 'v' | 'g' | 'G' | 'x') { precision.unwrap_or(6) } else { 0 };
    // Go counts the mark of the base as a digit.
    let counted = number.chars().filter(|c| *c != '.').skip_while(|c| *c == '0').count();
    wanted = wanted.saturating_sub(counted);
    let mut written = number.to_owned();
    if !number.contains('.') {
        if number == "0" {
            wanted = wanted.saturating_sub(1);
        }
        written.push('.');
    }
    written.push_str(&"0".repeat(wanted));
    written + exponent
}

/// No float has more digits than this after the point, or more significant ones.
const MOST_DIGITS: usize = 1100;
/// The exponent from which on the shortest form of a number has one.
const SHORTEST_EXPONENT: usize = 6;
const FRACTION_BITS: u32 = 52;
const HEXADECIMAL_DIGITS: usize = 13;
