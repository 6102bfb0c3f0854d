//! Reads the usual body of `/predict`, `{"features":[...]}` with nothing but numbers, in one pass: reading the body is
//! most of the work of a small model. Whatever else a body may be is left to the parser that knows all of JSON.

use super::row::Row;

/// The numbers, in double precision as JSON means them and then in single, up to `width` of them; `None` for any
/// other body, a valid one or not.
pub(super) fn body(body: &[u8], width: usize) -> Option<Row> {
    let mut scanner = Scanner { rest: body };
    for token in [&b"{"[..], b"\"features\"", b":"] {
        scanner.token(token)?;
    }
    let row = scanner.list(width)?;
    scanner.token(b"}")?;
    scanner.space();
    scanner.rest.is_empty().then_some(row)
}

/// The same of the list alone.
pub(super) fn list(list: &[u8], width: usize) -> Option<Row> {
    let mut scanner = Scanner { rest: list };
    let row = scanner.list(width)?;
    scanner.space();
    scanner.rest.is_empty().then_some(row)
}

struct Scanner<'a> {
    rest: &'a [u8],
}

impl Scanner<'_> {
    fn list(&mut self, width: usize) -> Option<Row> {
        self.token(b"[")?;
        let mut row = Row::of_width(width);
        loop {
            let single = self.number()? as f32;
            if !single.is_finite() {
                return None;
            }
            row.push(single, width);
            match self.next()? {
                b',' => {}
                b']' => return Some(row),
                _ => return None,
            }
        }
    }

    fn space(&mut self) {
        while let [b' ' | b'\n' | b'\r' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    fn token(&mut self, token: &[u8]) -> Option<()> {
        self.space();
        self.rest = self.rest.strip_prefix(token)?;
        Some(())
    }

    fn next(&mut self) -> Option<u8> {
        self.space();
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<f64> {
        self.space();
        let start = self.rest;
        let negative = self.eat(b'-');
        let mut mantissa = 0;
        let leading_zero = self.rest.first() == Some(&b'0');
        let whole = self.digits(&mut mantissa);
        // JSON has no number that begins with a point, or with a zero before other digits.
        if whole == 0 || (leading_zero && whole > 1) {
            return None;
        }
        let mut digits = whole;
        let mut exponent = 0_i32;
        if self.eat(b'.') {
            let fraction = self.digits(&mut mantissa);
            if fraction == 0 {
                return None;
            }
            digits += fraction;
            exponent = -i32::try_from(fraction).ok()?;
        }
        if let [b'e' | b'E', rest @ ..] = self.rest {
            self.rest = rest;
            let down = self.eat(b'-');
            if !down {
                self.eat(b'+');
            }
            let mut power = 0;
            match self.digits(&mut power) {
                1..=4 if down => exponent -= i32::try_from(power).ok()?,
                1..=4 => exponent += i32::try_from(power).ok()?,
                _ => return None,
            }
        }
        // Both the digits and the power of ten are doubles exactly, so one operation rounds correctly.
        let power = POWERS_OF_TEN.get(exponent.unsigned_abs() as usize);
        if let Some(power) = power
            && digits <= MOST_DIGITS
            && mantissa <= 1 << f64::MANTISSA_DIGITS
        {
            let number = if exponent < 0 { mantissa as f64 / power } else { mantissa as f64 * power };
            return Some(if negative { -number } else { number });
        }
        let text = &start[..start.len() - self.rest.len()];
        std::str::from_utf8(text).ok()?.parse().ok()
    }

    fn eat(&mut self, byte: u8) -> bool {
        match self.rest {
            [first, rest @ ..] if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Appends digits to a number, and says how many they were. Beyond [`MOST_DIGITS`] the number means nothing.
    fn digits(&mut self, number: &mut u64) -> usize {
        let mut count = 0;
        // Eight bytes at a time.
        while let Some((chunk, _)) = self.rest.split_first_chunk::<8>() {
            let values = u64::from_le_bytes(*chunk) ^ ASCII_ZEROS;
            // The highest bit of each byte that is not a digit; a carry only reaches bytes after one.
            let others = (values.wrapping_add(SIX_BELOW_128) | values) & HIGHEST_BITS;
            let here = (others.trailing_zeros() / 8) as usize;
            if here == 0 {
                return count;
            }
            // The digits that are there, behind zeros.
            let value = eight_digits(values << (8 * (8 - here)));
            *number = number.wrapping_mul(UP[here]).wrapping_add(value);
            count += here;
            self.rest = &self.rest[here..];
            if here < 8 {
                return count;
            }
        }
        while let [digit @ b'0'..=b'9', rest @ ..] = self.rest {
            *number = number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            count += 1;
            self.rest = rest;
        }
        count
    }
}

/// The number that eight digits make, the first in the lowest byte: pairs, then fours, then all of them.
fn eight_digits(values: u64) -> u64 {
    let pairs = values.wrapping_mul(10).wrapping_add(values >> 8);
    let first = (pairs & 0x0000_00FF_0000_00FF).wrapping_mul(0x000F_4240_0000_0064);
    let second = ((pairs >> 16) & 0x0000_00FF_0000_00FF).wrapping_mul(0x0000_2710_0000_0001);
    first.wrapping_add(second) >> 32
}

const ASCII_ZEROS: u64 = 0x3030_3030_3030_3030;
/// Added to a byte it sets the highest bit from ten on.
const SIX_BELOW_128: u64 = 0x7676_7676_7676_7676;
const HIGHEST_BITS: u64 = 0x8080_8080_8080_8080;
const UP: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];
/// As many digits always fit in 64 bits.
const MOST_DIGITS: usize = 19;
/// Those that a double holds exactly.
const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(number: &str) -> Option<f64> {
        let mut scanner = Scanner { rest: number.as_bytes() };
        let value = scanner.number()?;
        scanner.rest.is_empty().then_some(value)
    }

    /// The same numbers in every run.
    fn random() -> impl FnMut() -> u64 {
        let mut state = 1_u64;
        move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state ^ (state >> 33)
        }
    }

    #[test]
    fn every_number_is_the_double_that_it_should_be() {
        let mut next = random();
        for _ in 0..50_000 {
            let bits = f64::from_bits(next());
            let small = (next() >> 11) as f64 / (1_u64 << 53) as f64 * 2.0 - 1.0;
            let decimals = (next() % 20) as usize;
            for text in [
                format!("{bits:e}"),
                format!("{small}"),
                format!("{small:.decimals$}"),
                format!("{:?}", small as f32),
                format!("{}", next()),
                format!("-{}.{:02}E+{}", next() % 1000, next() % 100, next() % 30),
                format!("{}{}", next(), next()),
            ] {
                if text.contains("inf") || text.contains("NaN") {
                    continue;
                }
                let expected: f64 = text.parse().expect("a number");
                assert_eq!(scanned(&text).map(f64::to_bits), Some(expected.to_bits()), "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_number_of_json_is_left_alone() {
        for text in [
            "", "-", "01", "-00.5", ".5", "1.", "1.e3", "1e", "1e+", "1e99999", "+1", "0x10", "NaN", "1_0",
            "١",
        ] {
            assert_eq!(scanned(text), None, "{text}");
        }
        assert_eq!(scanned("-0").map(f64::to_bits), Some((-0.0_f64).to_bits()));
        assert_eq!(scanned("0e5"), Some(0.0));
        assert_eq!(scanned("12345678"), Some(12_345_678.0));
        assert_eq!(scanned("123456789012345678"), Some(123_456_789_012_345_678.0));
    }

    #[test]
    fn only_the_usual_body_is_read() {
        let row = |numbers: &[f32]| Some(Row { numbers: numbers.to_vec(), count: numbers.len() });
        assert_eq!(body(b"{\"features\":[1,2.5]}", 4), row(&[1.0, 2.5]));
        assert_eq!(body(b" {\n\"features\" : [ 1 ,\t-2e-1 ] }\r\n", 4), row(&[1.0, -0.2]));
        assert_eq!(list(b" [1 , 2.5 ] ", 4), row(&[1.0, 2.5]));
        assert_eq!(list(b"[1]]", 4), None);
        for other in [
            "",
            "{}",
            "[1]",
            r#"{"features":[]}"#,
            r#"{"features":[1}"#,
            r#"{"features":[1,]}"#,
            r#"{"features":[1]"#,
            r#"{"features":[1]}x"#,
            r#"{"features":[1],"x":1}"#,
            r#"{"features":[1,"2"]}"#,
            r#"{"features":[1,1e39]}"#,
            r#"{"features":[1 2]}"#,
            r#"{"feature":[1]}"#,
        ] {
            assert_eq!(body(other.as_bytes(), 4), None, "{other}");
        }
    }

    #[test]
    fn a_damaged_body_is_never_read_as_another_one() {
        let whole = br#"{"features":[0.123456,-1.5e-3,12345678.25,7]}"#;
        for position in 0..whole.len() {
            for byte in 0..=255 {
                let mut damaged = whole.to_vec();
                damaged[position] = byte;
                let expected = serde_json::from_slice::<serde_json::Value>(&damaged).ok().and_then(|value| {
                    let numbers = value.get("features")?.as_array()?;
                    numbers
                        .iter()
                        .map(|number| number.as_f64().map(|number| number as f32))
                        .collect::<Option<Vec<_>>>()
                });
                if let Some(row) = body(&damaged, 8) {
                    assert_eq!(Some(row.numbers), expected, "{}", String::from_utf8_lossy(&damaged));
                }
            }
        }
    }
}
