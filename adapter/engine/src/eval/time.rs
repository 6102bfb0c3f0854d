//! Parts of a date in UTC: `hour()`, `day_of_week()` and similar functions.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// A part of a date, as a number.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Year,
    Other(fn(DateTime) -> i16),
}

/// The part that a function asks for; `None` for names of other functions.
pub(super) fn part(function: &str) -> Option<Part> {
    Some(Part::Other(match function {
        "minute" => |date| i16::from(date.minute()),
        "hour" => |date| i16::from(date.hour()),
        "day_of_week" => |date| i16::from(date.weekday().to_sunday_zero_offset()),
        "day_of_month" => |date| i16::from(date.day()),
        "day_of_year" => |date| date.day_of_year(),
        "days_in_month" => |date| i16::from(date.days_in_month()),
        "month" => |date| i16::from(date.month()),
        "year" => return Some(Part::Year),
        _ => return None,
    }))
}

/// The part of a time in seconds since the epoch, which may lie in any year: the calendar starts again every 400 years.
pub(super) fn of(part: Part, seconds: f64) -> f64 {
    let seconds = whole(seconds);
    let (cycle, seconds) = (seconds.div_euclid(SECONDS_OF_CYCLE), seconds.rem_euclid(SECONDS_OF_CYCLE));
    // Within 400 years of 1970.
    let time = Timestamp::from_second(seconds as i64).expect("a time that the calendar holds");
    let date = TimeZone::UTC.to_datetime(time);
    match part {
        Part::Year => f64::from(date.year()) + (cycle * YEARS_OF_CYCLE) as f64,
        Part::Other(part) => f64::from(part(date)),
    }
}

/// Seconds as Go has them on amd64: NaN, and what is out of range, is the smallest number, and what lies before the
/// first year of Go's calendar wraps around. So the year of NaN is 292277026596.
fn whole(seconds: f64) -> i128 {
    let in_range = seconds >= i64::MIN as f64 && seconds < i64::MAX as f64;
    let seconds = if in_range { i128::from(seconds as i64) } else { i128::from(i64::MIN) };
    if seconds < FIRST_SECOND { seconds + (1 << 64) } else { seconds }
}

const YEARS_OF_CYCLE: i128 = 400;
const SECONDS_OF_CYCLE: i128 = 146_097 * 86_400;
/// The first of March of the year -292277022400.
const FIRST_SECOND: i128 = -9_223_372_028_741_760_000;
