//! Parts of a date in UTC: `hour()`, `day_of_week()` and their kin.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// The part that a function asks for; `None` for names of other functions.
pub(super) fn part(function: &str) -> Option<fn(DateTime) -> i16> {
    Some(match function {
        "minute" => |date| i16::from(date.minute()),
        "hour" => |date| i16::from(date.hour()),
        "day_of_week" => |date| i16::from(date.weekday().to_sunday_zero_offset()),
        "day_of_month" => |date| i16::from(date.day()),
        "day_of_year" => |date| date.day_of_year(),
        "days_in_month" => |date| i16::from(date.days_in_month()),
        "month" => |date| i16::from(date.month()),
        "year" => |date| date.year(),
        _ => return None,
    })
}

/// The part of a time in seconds since the epoch; NaN where the calendar does not reach.
pub(super) fn of(part: fn(DateTime) -> i16, seconds: f64) -> f64 {
    let time = jiff::Timestamp::from_second(seconds as i64);
    time.map_or(f64::NAN, |time| f64::from(part(TimeZone::UTC.to_datetime(time))))
}
