//! Commands against the engine.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use engine::labels::{Labels, METRIC_NAME};
use engine::notation::{self, Point};
use engine::value::{Sample, Value};
use engine::{Engine, EngineConfig, QueryError};
use promql_parser::parser::Expr;
use promql_parser::util::{ExprVisitor, walk_expr};

use crate::file::{self, Eval, Expected, Kind, Time};

/// What became of a file's evaluations.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) passed: usize,
    pub(crate) failed: Vec<String>,
    pub(crate) refused: Vec<String>,
}

enum Verdict {
    Passed,
    Failed(String),
    Refused(String),
}

/// Runs a file and prints one line about it.
pub(crate) fn file(path: &Path) -> Outcome {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut outcome = Outcome::default();
    match file::parse(&text) {
        Ok(commands) => {
            let mut engine = engine();
            let mut unsupported: Vec<Labels> = Vec::new();
            for command in commands {
                let place = format!("{name}:{}", command.line);
                match command.kind {
                    Kind::Clear => {
                        engine = self::engine();
                        unsupported.clear();
                    }
                    Kind::Load { step, series, unsupported: histograms } => {
                        load(&engine, step, &series);
                        unsupported.extend(histograms);
                    }
                    Kind::Eval(eval) => {
                        let verdict = match unsupported.iter().find(|labels| selects(&eval.query, labels)) {
                            Some(labels) => Verdict::Refused(format!("the samples of {labels}")),
                            None => evaluate(&engine, &eval),
                        };
                        match verdict {
                            Verdict::Passed => outcome.passed += 1,
                            Verdict::Failed(why) => {
                                outcome.failed.push(format!("{place}: {}: {why}", eval.query));
                            }
                            Verdict::Refused(why) => {
                                outcome.refused.push(format!("{place}: {}: {why}", eval.query));
                            }
                        }
                    }
                }
            }
        }
        Err(error) => outcome.failed.push(format!("{name}: {error}")),
    }
    println!(
        "{name}: {} passed, {} failed, {} refused",
        outcome.passed,
        outcome.failed.len(),
        outcome.refused.len()
    );
    outcome
}

/// Whether a selector of the query matches a series.
fn selects(query: &str, series: &Labels) -> bool {
    struct Search<'a> {
        series: &'a Labels,
        found: bool,
    }
    impl ExprVisitor for Search<'_> {
        type Error = Infallible;

        fn pre_visit(&mut self, expr: &Expr) -> Result<bool, Infallible> {
            let selector = match expr {
                Expr::VectorSelector(selector) => selector,
                Expr::MatrixSelector(selector) => &selector.vs,
                _ => return Ok(true),
            };
            let value = |label: &str| self.series.value(label).unwrap_or_default();
            let matchers = &selector.matchers.matchers;
            self.found |= selector.name.as_ref().is_none_or(|name| name == value(METRIC_NAME))
                && matchers.iter().all(|matcher| matcher.is_match(value(&matcher.name)));
            Ok(true)
        }
    }
    let mut search = Search { series, found: false };
    if let Ok(tree) = promql::parse(query) {
        let Ok(_) = walk_expr(&mut search, &tree);
    }
    search.found
}

fn engine() -> Engine {
    Engine::new(EngineConfig { retention: Duration::from_hours(24 * 365 * 200), ..EngineConfig::default() })
}

fn load(engine: &Engine, step: Duration, series: &[(Labels, Vec<Point>)]) {
    notation::load(engine.store(), step, series).expect("room in the store");
}

fn evaluate(engine: &Engine, eval: &Eval) -> Verdict {
    let result = match &eval.time {
        Time::At(time_ms) => engine.query(&eval.query, *time_ms).map(Found::Instant),
        Time::Range { start_ms, end_ms, step } => {
            engine.query_range(&eval.query, *start_ms, *end_ms, *step).map(|series| {
                Found::Range(series.into_iter().map(|series| (series.labels, series.points)).collect())
            })
        }
    };
    match result {
        Err(QueryError::Unsupported(what)) => Verdict::Refused(what),
        Err(_) if eval.fails => Verdict::Passed,
        Err(QueryError::Parse { message, .. }) => {
            Verdict::Refused(format!("the parser refuses it: {message}"))
        }
        Err(error) => Verdict::Failed(format!("fails: {error}")),
        Ok(_) if eval.fails => Verdict::Failed("expected to fail".to_owned()),
        Ok(found) => compare(eval, found),
    }
}

enum Found {
    Instant(Value),
    Range(Vec<(Labels, Vec<engine::store::Point>)>),
}

fn compare(eval: &Eval, found: Found) -> Verdict {
    let same = match (&eval.expected, &found) {
        (Expected::Unsupported(what), _) => return Verdict::Refused(what.clone()),
        (Expected::Scalar(expected), Found::Instant(Value::Scalar(found))) => almost(*expected, *found),
        (Expected::Text(expected), Found::Instant(Value::String(found))) => expected == found,
        (Expected::Series(expected), Found::Instant(Value::Vector(found))) => {
            if eval.ordered {
                in_order(expected, found)
            } else {
                any_order(expected, found)
            }
        }
        (Expected::Series(expected), Found::Range(found)) => ranges(eval, expected, found),
        (_, Found::Instant(Value::Matrix(_))) => {
            return Verdict::Refused("comparing a range vector".to_owned());
        }
        _ => false,
    };
    if same {
        return Verdict::Passed;
    }
    let found = match found {
        Found::Instant(Value::Vector(samples)) => {
            let texts: Vec<String> =
                samples.iter().map(|sample| format!("{} {}", sample.labels, sample.value)).collect();
            texts.join("; ")
        }
        Found::Instant(other) => format!("{other:?}"),
        Found::Range(series) => format!("{series:?}"),
    };
    let expected = match &eval.expected {
        Expected::Series(series) => format!("{series:?}"),
        Expected::Scalar(value) => value.to_string(),
        Expected::Text(text) | Expected::Unsupported(text) => text.clone(),
    };
    Verdict::Failed(format!("\n  expected {expected}\n  found    {found}"))
}

fn in_order(expected: &[(Labels, Vec<Point>)], found: &[Sample]) -> bool {
    expected.len() == found.len()
        && expected.iter().zip(found).all(|((labels, points), sample)| {
            *labels == sample.labels
                && matches!(points[..], [Point::Value(value)] if almost(value, sample.value))
        })
}

fn any_order(expected: &[(Labels, Vec<Point>)], found: &[Sample]) -> bool {
    let mut sorted: Vec<Sample> = found.to_vec();
    sorted.sort_by(|left, right| left.labels.cmp(&right.labels));
    let mut expected = expected.to_vec();
    expected.sort_by(|left, right| left.0.cmp(&right.0));
    in_order(&expected, &sorted)
}

fn ranges(
    eval: &Eval,
    expected: &[(Labels, Vec<Point>)],
    found: &[(Labels, Vec<engine::store::Point>)],
) -> bool {
    let Time::Range { start_ms, step, .. } = &eval.time else { return false };
    let step_ms = step.as_millis() as i64;
    let wanted: BTreeMap<&Labels, Vec<(i64, f64)>> = expected
        .iter()
        .map(|(labels, points)| {
            let values = points.iter().enumerate().filter_map(|(position, point)| match point {
                Point::Value(value) => Some((start_ms + position as i64 * step_ms, *value)),
                Point::Missing | Point::Stale => None,
            });
            (labels, values.collect::<Vec<(i64, f64)>>())
        })
        .filter(|(_, values)| !values.is_empty())
        .collect();
    wanted.len() == found.len()
        && found.iter().all(|(labels, points)| {
            wanted.get(labels).is_some_and(|values| {
                values.len() == points.len()
                    && values
                        .iter()
                        .zip(points)
                        .all(|((time, value), point)| *time == point.time_ms && almost(*value, point.value))
            })
        })
}

/// As promqltest compares: a millionth apart is the same.
fn almost(left: f64, right: f64) -> bool {
    if left.is_nan() || right.is_nan() {
        return left.is_nan() && right.is_nan();
    }
    if left == right {
        return true;
    }
    let difference = (left - right).abs();
    let sum = left.abs() + right.abs();
    if left == 0.0 || right == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < EPSILON * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < EPSILON
}

const EPSILON: f64 = 1e-6;
