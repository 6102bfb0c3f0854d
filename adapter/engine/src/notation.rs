//! Series as Prometheus' own tests write them: `http_requests{job="a"} 0+10x5 _ stale`.

use std::collections::BTreeMap;
use std::time::Duration;

use promql_parser::label::MatchOp;
use promql_parser::parser::Expr;

use crate::labels::{Labels, METRIC_NAME};
use crate::store::{SeriesDropped, Store, StoreFull, stale_nan};

/// One value of a described series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Point {
    /// A number.
    Value(f64),
    /// No sample.
    Missing,
    /// The series is gone.
    Stale,
}

/// Why a description of series cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotationError {
    /// The text is not a name with labels.
    #[error("expected a series, found {0:?}")]
    Series(String),
    /// The text is not a number.
    #[error("expected a number, found {0:?}")]
    Number(String),
    /// What follows the `x` is not a count.
    #[error("expected a count, found {0:?}")]
    Count(String),
    /// The series is longer than any that is scraped.
    #[error("expected at most {MOST_POINTS} values in a series, found more")]
    TooManyValues,
    /// The time between two values is longer than a store's clock.
    #[error("the step {0:?} is too long")]
    Step(Duration),
    /// The store has no room for another series.
    #[error(transparent)]
    Full(#[from] StoreFull),
    /// The series was dropped from the store meanwhile.
    #[error(transparent)]
    Dropped(#[from] SeriesDropped),
}

/// Reads a series with its values: `name{label="value"} 1 2+1x3 _ stale`.
///
/// # Errors
/// What was expected and what was found.
pub fn described(line: &str) -> Result<(Labels, Vec<Point>), NotationError> {
    let end = series_end(line);
    let labels = labels(&line[..end])?;
    Ok((labels, values(&line[end..])?))
}

/// Reads values: `1 2+1x3 _ stale`.
///
/// # Errors
/// What was expected and what was found.
pub fn values(text: &str) -> Result<Vec<Point>, NotationError> {
    let mut points = Vec::new();
    for word in text.split_whitespace() {
        item(word, &mut points)?;
    }
    Ok(points)
}

/// Puts series into a store, a value each step from time 0. Of two descriptions of one series the last counts.
///
/// # Errors
/// The store has no room for them, or the step is too long.
pub fn load(store: &Store, step: Duration, series: &[(Labels, Vec<Point>)]) -> Result<(), NotationError> {
    for (labels, samples) in samples(step, series)? {
        let series = store.intern(labels)?;
        for (time_ms, value) in samples {
            series.append(time_ms, value)?;
        }
    }
    Ok(())
}

/// The samples of series, a value each step from time 0: milliseconds and numbers. Of two descriptions of one series
/// the last counts.
///
/// # Errors
/// The step is too long.
pub fn samples(step: Duration, series: &[(Labels, Vec<Point>)]) -> Result<Samples<'_>, NotationError> {
    let step_ms = i64::try_from(step.as_millis()).map_err(|_| NotationError::Step(step))?;
    let sample = |(position, point): (usize, &Point)| {
        let time_ms = (position as i64).saturating_mul(step_ms);
        match point {
            Point::Value(value) => Some((time_ms, *value)),
            Point::Stale => Some((time_ms, stale_nan())),
            Point::Missing => None,
        }
    };
    let series = series.iter();
    Ok(series
        .map(|(labels, points)| (labels, points.iter().enumerate().filter_map(sample).collect()))
        .collect())
}

/// The samples of each series, in the order of time.
pub type Samples<'s> = BTreeMap<&'s Labels, Vec<(i64, f64)>>;

/// Where the series' description ends: behind its braces, or at the first blank if it has none.
pub fn series_end(line: &str) -> usize {
    let mut quote = None;
    let mut escaped = false;
    let mut in_braces = false;
    for (position, character) in line.char_indices() {
        match (quote, character) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), other) if open == other => quote = None,
            (None, '"' | '\'') => quote = Some(character),
            (None, '{') => in_braces = true,
            (None, '}') => return position + 1,
            (None, other)
                if other.is_whitespace() && !in_braces && !line[position..].trim_start().starts_with('{') =>
            {
                return position;
            }
            _ => {}
        }
    }
    line.len()
}

/// Reads a series without values: its name and labels.
///
/// # Errors
/// What was expected and what was found.
pub fn labels(text: &str) -> Result<Labels, NotationError> {
    if text.replace(' ', "") == "{}" {
        return Ok(Labels::empty());
    }
    let Ok(Expr::VectorSelector(selector)) = promql::parse(text) else {
        return Err(NotationError::Series(text.to_owned()));
    };
    let name = selector.name.iter().map(|name| (METRIC_NAME, name.as_str()));
    let matchers = selector.matchers.matchers.iter().filter(|matcher| matcher.op == MatchOp::Equal);
    Ok(Labels::from_pairs(
        name.chain(matchers.map(|matcher| (matcher.name.as_str(), matcher.value.as_str()))),
    ))
}

fn item(word: &str, points: &mut Vec<Point>) -> Result<(), NotationError> {
    let (item, times) = match word.rsplit_once('x') {
        Some((item, times)) => {
            (item, times.parse::<usize>().map_err(|_| NotationError::Count(word.to_owned()))?)
        }
        _ => (word, 0),
    };
    if points.len() + times > MOST_POINTS {
        return Err(NotationError::TooManyValues);
    }
    match item {
        // A blank has no value of its own before the repetitions.
        "_" => points.extend(std::iter::repeat_n(Point::Missing, times.max(1))),
        "stale" => points.extend(std::iter::repeat_n(Point::Stale, times + 1)),
        _ => {
            // A sign that is not the first character and not an exponent's separates start and step.
            let sign = item
                .char_indices()
                .skip(1)
                .find(|(position, c)| matches!(c, '+' | '-') && !item[..*position].ends_with(['e', 'E']))
                .map(|(position, _)| position);
            let (start, step) = match sign {
                Some(position) if word.contains('x') => {
                    (number(&item[..position])?, number(&item[position..])?)
                }
                _ => (number(item)?, 0.0),
            };
            let mut value = start;
            for _ in 0..=times {
                points.push(Point::Value(value));
                value += step;
            }
        }
    }
    Ok(())
}

/// Reads a number as Prometheus' tests write it: `1_000`, `NaN`, `-Inf`.
///
/// # Errors
/// What was expected and what was found.
pub fn number(text: &str) -> Result<f64, NotationError> {
    match text.to_lowercase().as_str() {
        "nan" => Ok(f64::NAN),
        "inf" | "+inf" => Ok(f64::INFINITY),
        "-inf" => Ok(f64::NEG_INFINITY),
        lower => lower.replace('_', "").parse().map_err(|_| NotationError::Number(text.to_owned())),
    }
}

/// Three weeks of scrapes, 15 s apart.
const MOST_POINTS: usize = 120_000;
