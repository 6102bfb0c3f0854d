//! PromQL over the store, by Prometheus' rules (version 3): a tree is evaluated at one time after another.

mod aggregate;
mod binary;
mod functions;
mod histogram;
mod kahan;
mod labels;
mod order;
mod over_time;
mod rate;
mod time;

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ops::Range;
use std::time::{Duration, SystemTime};

use promql_parser::parser::{AtModifier, Expr, MatrixSelector, Offset, SubqueryExpr, VectorSelector};

use crate::interrupt::{Interrupt, Pace};
use crate::labels::Labels;
use crate::store::{Point, Selection, Store, Take, copied, is_stale};
use crate::value::{RangeSeries, Sample, Value};
use crate::{EngineConfig, QueryError};

/// Evaluates one query.
pub(crate) struct Evaluator<'a> {
    store: &'a Store,
    config: EngineConfig,
    /// What `@ start()` and `@ end()` mean.
    start_ms: i64,
    end_ms: i64,
    samples_read: Cell<usize>,
    steps_taken: Cell<usize>,
    pace: Pace,
}

/// The samples of a range for each series, and which range that is.
struct Ranges {
    series: Vec<RangeSeries>,
    /// The range is `(start_ms, end_ms]`.
    start_ms: i64,
    end_ms: i64,
}

type Result<T> = std::result::Result<T, QueryError>;

impl<'a> Evaluator<'a> {
    pub(crate) fn new(
        store: &'a Store,
        config: EngineConfig,
        (start_ms, end_ms): (i64, i64),
        interrupt: Interrupt,
    ) -> Evaluator<'a> {
        Evaluator {
            store,
            config,
            start_ms,
            end_ms,
            samples_read: Cell::new(0),
            steps_taken: Cell::new(0),
            pace: Pace::new(interrupt),
        }
    }

    /// The series that a selector matches and that had a sample in a time, both ends included.
    pub(crate) fn series(
        &self,
        selector: &VectorSelector,
        start_ms: i64,
        end_ms: i64,
    ) -> Result<Vec<Labels>> {
        self.look(selector, (start_ms.saturating_sub(1), end_ms), |labels, points, wanted| {
            let is_alive = points.range(wanted).any(|point| !is_stale(point.value));
            Ok(is_alive.then(|| labels.clone()))
        })
    }

    /// The value at a time. Samples of a vector stand for that time, whenever they were taken.
    pub(crate) fn instant(&self, expr: &Expr, time_ms: i64) -> Result<Value> {
        let value = self.eval(expr, time_ms)?;
        if let Value::Vector(samples) = &value {
            refuse_duplicates(samples)?;
        }
        Ok(value)
    }

    /// The values at each step of a range.
    pub(crate) fn range(
        &self,
        expr: &Expr,
        start_ms: i64,
        end_ms: i64,
        step: Duration,
    ) -> Result<Vec<RangeSeries>> {
        let step_ms = millis(step).max(1);
        self.steps(expr, start_ms, end_ms, step_ms)
    }

    fn steps(&self, expr: &Expr, start_ms: i64, end_ms: i64, step_ms: i64) -> Result<Vec<RangeSeries>> {
        let mut series: BTreeMap<Labels, Vec<Point>> = BTreeMap::new();
        let mut time_ms = start_ms;
        while time_ms <= end_ms {
            match self.eval(expr, time_ms)? {
                Value::Scalar(value) => {
                    series.entry(Labels::empty()).or_default().push(Point { time_ms, value });
                }
                Value::Vector(samples) => {
                    refuse_duplicates(&samples)?;
                    for sample in samples {
                        series.entry(sample.labels).or_default().push(Point { time_ms, value: sample.value });
                    }
                }
                value => {
                    return Err(QueryError::Execution(format!(
                        "invalid expression type {:?} for range query, must be scalar or instant vector",
                        value.type_name()
                    )));
                }
            }
            self.count_step()?;
            time_ms = time_ms.saturating_add(step_ms);
        }
        Ok(series.into_iter().map(|(labels, points)| RangeSeries { labels, points }).collect())
    }

    fn eval(&self, expr: &Expr, time_ms: i64) -> Result<Value> {
        self.pace.check()?;
        match expr {
            Expr::NumberLiteral(number) => Ok(Value::Scalar(number.val)),
            Expr::StringLiteral(text) => Ok(Value::String(text.val.clone())),
            Expr::Paren(paren) => self.eval(&paren.expr, time_ms),
            Expr::Unary(unary) => match self.eval(&unary.expr, time_ms)? {
                Value::Scalar(value) => Ok(Value::Scalar(-value)),
                value => {
                    let samples = map(vector(value)?, |value| -value);
                    refuse_duplicates(&samples)?;
                    Ok(Value::Vector(samples))
                }
            },
            Expr::VectorSelector(selector) => {
                let mut samples = self.select(selector, time_ms)?;
                for sample in &mut samples {
                    sample.time_ms = time_ms;
                }
                Ok(Value::Vector(samples))
            }
            Expr::MatrixSelector(_) | Expr::Subquery(_) => {
                Ok(Value::Matrix(self.ranges(expr, time_ms)?.series))
            }
            Expr::Call(call) => self.call(call, time_ms),
            Expr::Aggregate(aggregate) => self.aggregate(aggregate, time_ms),
            Expr::Binary(binary) => self.binary(binary, time_ms),
            Expr::Extension(_) => Err(QueryError::Unsupported("an extension of PromQL".to_owned())),
        }
    }

    fn vector(&self, expr: &Expr, time_ms: i64) -> Result<Vec<Sample>> {
        vector(self.eval(expr, time_ms)?)
    }

    fn scalar(&self, expr: &Expr, time_ms: i64) -> Result<f64> {
        match self.eval(expr, time_ms)? {
            Value::Scalar(value) => Ok(value),
            value => Err(wrong_type("scalar", &value)),
        }
    }

    fn string(&self, expr: &Expr, time_ms: i64) -> Result<String> {
        match self.eval(expr, time_ms)? {
            Value::String(text) => Ok(text),
            value => Err(wrong_type("string", &value)),
        }
    }

    /// The latest sample of each series within the lookback; its time is when it was taken.
    fn select(&self, selector: &VectorSelector, time_ms: i64) -> Result<Vec<Sample>> {
        let until = self.resolve(time_ms, selector.at.as_ref(), selector.offset.as_ref());
        let after = until.saturating_sub(millis(self.config.lookback));
        self.look(selector, (after, until), |labels, points, wanted| {
            self.count(1)?;
            let last = points.range(wanted).last().filter(|point| !is_stale(point.value));
            Ok(last.map(|last| Sample { labels: labels.clone(), time_ms: last.time_ms, value: last.value }))
        })
    }

    /// The points in `(after, until]` of each series that a selector matches.
    fn look<T>(
        &self,
        selector: &VectorSelector,
        times: (i64, i64),
        take: impl Fn(&Labels, &VecDeque<Point>, Range<usize>) -> Result<Option<T>>,
    ) -> Result<Vec<T>> {
        self.store.look(selection(selector)?, times, &mut Paced { pace: &self.pace, take })
    }

    /// The samples that a range selector or a subquery means.
    fn ranges(&self, expr: &Expr, time_ms: i64) -> Result<Ranges> {
        match expr {
            Expr::Paren(paren) => self.ranges(&paren.expr, time_ms),
            Expr::MatrixSelector(selector) => self.select_range(selector, time_ms),
            Expr::Subquery(subquery) => self.subquery(subquery, time_ms),
            _ => Err(QueryError::Execution(format!("expected a range vector, found {expr}"))),
        }
    }

    fn select_range(&self, selector: &MatrixSelector, time_ms: i64) -> Result<Ranges> {
        let MatrixSelector { vs, range } = selector;
        let end_ms = self.resolve(time_ms, vs.at.as_ref(), vs.offset.as_ref());
        let start_ms = end_ms.saturating_sub(millis(*range));
        let series = self.look(vs, (start_ms, end_ms), |labels, points, wanted| {
            // Counted before they are copied.
            self.count(wanted.len())?;
            let mut points = copied(points, wanted);
            points.retain(|point| !is_stale(point.value));
            Ok((!points.is_empty()).then(|| RangeSeries { labels: labels.clone(), points }))
        })?;
        Ok(Ranges { series, start_ms, end_ms })
    }

    /// Steps are multiples of the step, whenever the query is asked.
    fn subquery(&self, subquery: &SubqueryExpr, time_ms: i64) -> Result<Ranges> {
        let SubqueryExpr { expr, offset, at, range, step } = subquery;
        let end_ms = self.resolve(time_ms, at.as_ref(), offset.as_ref());
        let start_ms = end_ms.saturating_sub(millis(*range));
        let step_ms = step.map_or(DEFAULT_STEP_MS, millis).max(1);
        let mut first = step_ms * (start_ms / step_ms);
        if first <= start_ms {
            first += step_ms;
        }
        let series = self.steps(expr, first, end_ms, step_ms)?;
        self.count(series.iter().map(|series| series.points.len()).sum())?;
        Ok(Ranges { series, start_ms, end_ms })
    }

    fn resolve(&self, time_ms: i64, at: Option<&AtModifier>, offset: Option<&Offset>) -> i64 {
        let base = match at {
            None => time_ms,
            Some(AtModifier::Start) => self.start_ms,
            Some(AtModifier::End) => self.end_ms,
            Some(AtModifier::At(time)) => unix_ms(*time),
        };
        match offset {
            None => base,
            Some(Offset::Pos(offset)) => base.saturating_sub(millis(*offset)),
            Some(Offset::Neg(offset)) => base.saturating_add(millis(*offset)),
        }
    }

    fn count_step(&self) -> Result<()> {
        let taken = self.steps_taken.get() + 1;
        self.steps_taken.set(taken);
        if taken > MAX_STEPS {
            return Err(QueryError::Execution(format!(
                "the query has more than {MAX_STEPS} steps, which is the limit"
            )));
        }
        Ok(())
    }

    fn count(&self, samples: usize) -> Result<()> {
        let read = self.samples_read.get() + samples;
        self.samples_read.set(read);
        let limit = self.config.max_samples_per_query;
        if read > limit { Err(QueryError::TooManySamples(limit)) } else { Ok(()) }
    }
}

/// Takes what a function says, as long as there is time.
struct Paced<'p, F> {
    pace: &'p Pace,
    take: F,
}

impl<T, F: Fn(&Labels, &VecDeque<Point>, Range<usize>) -> Result<Option<T>>> Take for Paced<'_, F> {
    type Taken = T;
    type Error = QueryError;

    fn look(&mut self) -> Result<()> {
        self.pace.step()
    }

    fn take(&mut self, labels: &Labels, points: &VecDeque<Point>, wanted: Range<usize>) -> Result<Option<T>> {
        self.pace.step()?;
        (self.take)(labels, points, wanted)
    }
}

/// What a selector selects. Its patterns are not cloned, which would lose what they learned in searches before.
fn selection(selector: &VectorSelector) -> Result<Selection<'_>> {
    if !selector.matchers.or_matchers.is_empty() {
        return Err(QueryError::Unsupported("\"or\" between the matchers of a selector".to_owned()));
    }
    Ok(Selection { name: selector.name.as_deref(), matchers: &selector.matchers.matchers })
}

fn vector(value: Value) -> Result<Vec<Sample>> {
    match value {
        Value::Vector(samples) => Ok(samples),
        value => Err(wrong_type("instant vector", &value)),
    }
}

fn wrong_type(expected: &str, value: &Value) -> QueryError {
    QueryError::Execution(format!("expected {expected}, found {}", value.type_name()))
}

/// Each sample's number changed, which makes it another metric: the name goes.
fn map(samples: Vec<Sample>, change: impl Fn(f64) -> f64) -> Vec<Sample> {
    samples
        .into_iter()
        .map(|sample| Sample { labels: sample.labels.without_name(), value: change(sample.value), ..sample })
        .collect()
}

fn refuse_duplicates(samples: &[Sample]) -> Result<()> {
    let mut seen = HashSet::with_capacity(samples.len());
    if samples.iter().all(|sample| seen.insert(&sample.labels)) {
        return Ok(());
    }
    Err(QueryError::Execution("vector cannot contain metrics with the same labelset".to_owned()))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

fn unix_ms(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => millis(after),
        Err(before) => -millis(before.duration()),
    }
}

/// The steps of all ranges and subqueries of a query: `m[290y:1ms]` reads no sample and takes nine trillion.
const MAX_STEPS: usize = 100_000;

/// The step of a subquery that names none: Prometheus' default evaluation interval.
const DEFAULT_STEP_MS: i64 = 60_000;
