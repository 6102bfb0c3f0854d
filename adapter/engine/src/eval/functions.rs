//! The functions of PromQL, by name.

use promql_parser::parser::{Call, Expr};

use super::order::{ascending, descending, go_max, go_min};
use super::rate::{self, Kind};
use super::{Evaluator, Ranges, Result, histogram, labels, map, over_time, refuse_duplicates, time};
use crate::QueryError;
use crate::labels::Labels;
use crate::store::Point;
use crate::value::{RangeSeries, Sample, Value};

impl Evaluator<'_> {
    pub(super) fn call(&self, call: &Call, time_ms: i64) -> Result<Value> {
        let arguments: Vec<&Expr> = call.args.args.iter().map(|argument| &**argument).collect();
        let name = call.func.name;
        if let Some(samples) = self.over_range(name, &arguments, time_ms)? {
            refuse_duplicates(&samples)?;
            return Ok(Value::Vector(samples));
        }
        if let Some(change) = of_number(name) {
            let samples = map(self.vector(arguments[0], time_ms)?, change);
            refuse_duplicates(&samples)?;
            return Ok(Value::Vector(samples));
        }
        if let Some(part) = time::part(name) {
            let Some(argument) = arguments.first() else {
                let value = time::of(part, (time_ms / 1000) as f64);
                return Ok(Value::Vector(vec![Sample { labels: Labels::empty(), time_ms, value }]));
            };
            let samples = map(self.vector(argument, time_ms)?, |seconds| time::of(part, seconds));
            refuse_duplicates(&samples)?;
            return Ok(Value::Vector(samples));
        }
        self.other(name, &arguments, time_ms)
    }

    fn other(&self, name: &str, arguments: &[&Expr], time_ms: i64) -> Result<Value> {
        let scalar = |position: usize| self.scalar(arguments[position], time_ms);
        let text = |position: usize| self.string(arguments[position], time_ms);
        let vector = |position: usize| self.vector(arguments[position], time_ms);
        let samples = match name {
            "time" => return Ok(Value::Scalar(time_ms as f64 / 1000.0)),
            "pi" => return Ok(Value::Scalar(std::f64::consts::PI)),
            "scalar" => {
                return Ok(Value::Scalar(match vector(0)?.as_slice() {
                    [only] => only.value,
                    _ => f64::NAN,
                }));
            }
            "vector" => vec![Sample { labels: Labels::empty(), time_ms, value: scalar(0)? }],
            "timestamp" => self.timestamps(arguments[0], time_ms)?,
            "absent" => absent(vector(0)?.is_empty(), arguments[0], time_ms),
            "absent_over_time" => {
                absent(self.ranges(arguments[0], time_ms)?.series.is_empty(), unwrap(arguments[0]), time_ms)
            }
            "clamp" => {
                let (low, high) = (scalar(1)?, scalar(2)?);
                if low > high {
                    Vec::new()
                } else {
                    map(vector(0)?, |value| go_max(low, go_min(high, value)))
                }
            }
            "clamp_min" => {
                let low = scalar(1)?;
                map(vector(0)?, |value| go_max(low, value))
            }
            "clamp_max" => {
                let high = scalar(1)?;
                map(vector(0)?, |value| go_min(high, value))
            }
            "round" => {
                // Dividing by the inverse loses less.
                let inverse = 1.0 / if arguments.len() > 1 { scalar(1)? } else { 1.0 };
                map(vector(0)?, |value| (value * inverse + 0.5).floor() / inverse)
            }
            "sort" | "sort_desc" => {
                let mut samples = vector(0)?;
                let order = if name == "sort" { ascending } else { descending };
                samples.sort_by(|left, right| order(left.value, right.value));
                samples
            }
            "label_replace" => {
                labels::replace(&self.pace, vector(0)?, [&text(1)?, &text(2)?, &text(3)?, &text(4)?])?
            }
            "label_join" => {
                let sources = (3..arguments.len()).map(text).collect::<Result<Vec<String>>>()?;
                labels::join(vector(0)?, &text(1)?, &text(2)?, &sources)?
            }
            "histogram_quantile" => histogram::quantiles(&self.pace, scalar(0)?, vector(1)?, time_ms)?,
            _ => return Err(QueryError::Unsupported(format!("the function {name}()"))),
        };
        refuse_duplicates(&samples)?;
        Ok(Value::Vector(samples))
    }

    /// Functions of a range; `None` for other names.
    fn over_range(&self, name: &str, arguments: &[&Expr], time_ms: i64) -> Result<Option<Vec<Sample>>> {
        let gauge = Kind { counter: false, per_second: false };
        let counter = Kind { counter: true, per_second: false };
        let per_second = Kind { counter: true, per_second: true };
        let all = |number: fn(&[Point]) -> f64| move |points: &[Point]| Some(number(points));
        let ranges = |position: usize| self.ranges(arguments[position], time_ms);
        Ok(Some(match name {
            "rate" | "increase" | "delta" => {
                let kind = match name {
                    "rate" => per_second,
                    "increase" => counter,
                    _ => gauge,
                };
                let ranges = ranges(0)?;
                self.reduce(&ranges, time_ms, |points| rate::extrapolated(points, &ranges, kind))?
            }
            "irate" => self.reduce(&ranges(0)?, time_ms, |points| rate::instant(points, per_second))?,
            "idelta" => self.reduce(&ranges(0)?, time_ms, |points| rate::instant(points, gauge))?,
            "deriv" => self.reduce(&ranges(0)?, time_ms, |points| {
                rate::regression(points, points[0].time_ms).map(|(slope, _)| slope)
            })?,
            "predict_linear" => {
                let ahead = self.scalar(arguments[1], time_ms)?;
                self.reduce(&ranges(0)?, time_ms, |points| {
                    rate::regression(points, time_ms).map(|(slope, intercept)| slope * ahead + intercept)
                })?
            }
            "avg_over_time" => self.reduce(&ranges(0)?, time_ms, all(over_time::avg))?,
            "sum_over_time" => self.reduce(&ranges(0)?, time_ms, all(over_time::sum))?,
            "min_over_time" => self.reduce(&ranges(0)?, time_ms, all(over_time::min))?,
            "max_over_time" => self.reduce(&ranges(0)?, time_ms, all(over_time::max))?,
            "count_over_time" => self.reduce(&ranges(0)?, time_ms, |points| Some(points.len() as f64))?,
            "present_over_time" => self.reduce(&ranges(0)?, time_ms, |_| Some(1.0))?,
            "stdvar_over_time" => self.reduce(&ranges(0)?, time_ms, all(over_time::variance))?,
            "stddev_over_time" => {
                self.reduce(&ranges(0)?, time_ms, |points| Some(over_time::variance(points).sqrt()))?
            }
            "changes" => self.reduce(&ranges(0)?, time_ms, all(over_time::changes))?,
            "resets" => self.reduce(&ranges(0)?, time_ms, all(over_time::resets))?,
            "quantile_over_time" => {
                let q = self.scalar(arguments[0], time_ms)?;
                self.reduce(&ranges(1)?, time_ms, |points| {
                    Some(over_time::quantile(q, points.iter().map(|point| point.value).collect()))
                })?
            }
            "last_over_time" => {
                // The one function of a range that keeps the metric's name: its value is a sample of the metric.
                let last = |series: RangeSeries| {
                    let value = series.points.last()?.value;
                    Some(Sample { labels: series.labels, time_ms, value })
                };
                ranges(0)?.series.into_iter().filter_map(last).collect()
            }
            _ => return Ok(None),
        }))
    }

    /// One number for each series; `None` leaves the series out.
    fn reduce(
        &self,
        ranges: &Ranges,
        time_ms: i64,
        number: impl Fn(&[Point]) -> Option<f64>,
    ) -> Result<Vec<Sample>> {
        let mut samples = Vec::with_capacity(ranges.series.len());
        for series in &ranges.series {
            self.pace.step()?;
            if let Some(value) = number(&series.points) {
                samples.push(Sample { labels: series.labels.without_name(), time_ms, value });
            }
        }
        Ok(samples)
    }

    /// When each sample was taken; for anything but a selector, the time of evaluation.
    fn timestamps(&self, argument: &Expr, time_ms: i64) -> Result<Vec<Sample>> {
        let samples = match unwrap(argument) {
            Expr::VectorSelector(selector) => self.select(selector, time_ms)?,
            other => self.vector(other, time_ms)?,
        };
        let stamp = |sample: Sample| Sample {
            labels: sample.labels.without_name(),
            value: sample.time_ms as f64 / 1000.0,
            time_ms,
        };
        Ok(samples.into_iter().map(stamp).collect())
    }
}

/// Functions that change each number by itself.
fn of_number(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "ceil" => f64::ceil,
        "floor" => f64::floor,
        "exp" => f64::exp,
        "sqrt" => f64::sqrt,
        "ln" => f64::ln,
        "log2" => f64::log2,
        "log10" => f64::log10,
        "sgn" => |value| if value == 0.0 || value.is_nan() { value } else { value.signum() },
        "sin" => f64::sin,
        "cos" => f64::cos,
        "tan" => f64::tan,
        "asin" => f64::asin,
        "acos" => f64::acos,
        "atan" => f64::atan,
        "sinh" => f64::sinh,
        "cosh" => f64::cosh,
        "tanh" => f64::tanh,
        "asinh" => f64::asinh,
        "acosh" => f64::acosh,
        "atanh" => f64::atanh,
        "deg" => |value| value * 180.0 / std::f64::consts::PI,
        "rad" => |value| value * std::f64::consts::PI / 180.0,
        _ => return None,
    })
}

fn absent(is_absent: bool, argument: &Expr, time_ms: i64) -> Vec<Sample> {
    let labels = || labels::absent(unwrap(argument));
    if is_absent { vec![Sample { labels: labels(), time_ms, value: 1.0 }] } else { Vec::new() }
}

fn unwrap(expr: &Expr) -> &Expr {
    match expr {
        Expr::Paren(paren) => unwrap(&paren.expr),
        other => other,
    }
}
