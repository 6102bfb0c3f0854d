//! Aggregations: many series become one for each group.

use std::collections::HashMap;

use promql_parser::parser::{AggregateExpr, LabelModifier};

use super::kahan::{Mean, Sum};
use super::order::{ascending, descending};
use super::{Evaluator, Result, over_time, refuse_duplicates};
use crate::QueryError;
use crate::labels::{Labels, METRIC_NAME};
use crate::value::{Sample, Value};

impl Evaluator<'_> {
    pub(super) fn aggregate(&self, aggregate: &AggregateExpr, time_ms: i64) -> Result<Value> {
        let samples = self.vector(&aggregate.expr, time_ms)?;
        let modifier = aggregate.modifier.as_ref();
        let operator = aggregate.op.to_string();
        let parameter = || {
            aggregate
                .param
                .as_deref()
                .ok_or_else(|| QueryError::Execution(format!("{operator} needs a parameter")))
        };
        let one = |value: fn(&[Sample]) -> f64| {
            let group =
                |(labels, members): (Labels, Vec<Sample>)| Sample { labels, time_ms, value: value(&members) };
            let groups = self.groups(samples.clone(), modifier)?;
            Ok::<_, QueryError>(groups.into_iter().map(group).collect::<Vec<Sample>>())
        };
        let result = match operator.as_str() {
            "sum" => one(sum)?,
            "avg" => one(avg)?,
            "min" => one(|members| extreme(members, |value, best| value < best))?,
            "max" => one(|members| extreme(members, |value, best| value > best))?,
            "count" => one(|members| members.len() as f64)?,
            "group" => one(|_| 1.0)?,
            "stdvar" => one(variance)?,
            "stddev" => one(|members| variance(members).sqrt())?,
            "quantile" => {
                let q = self.scalar(parameter()?, time_ms)?;
                self.groups(samples, modifier)?
                    .into_iter()
                    .map(|(labels, members)| {
                        let values = members.iter().map(|sample| sample.value).collect();
                        Sample { labels, time_ms, value: over_time::quantile(q, values) }
                    })
                    .collect()
            }
            "topk" | "bottomk" => {
                let count = self.count_parameter(self.scalar(parameter()?, time_ms)?)?;
                let groups = self.groups(samples, modifier)?;
                return Ok(Value::Vector(most(groups, count, operator == "topk")));
            }
            "count_values" => {
                let label = self.string(parameter()?, time_ms)?;
                self.count_values(samples, modifier, &label, time_ms)?
            }
            _ => return Err(QueryError::Unsupported(format!("the aggregation {operator}"))),
        };
        Ok(Value::Vector(result))
    }

    /// Samples by group, groups in the order in which they first appear.
    fn groups(
        &self,
        samples: Vec<Sample>,
        modifier: Option<&LabelModifier>,
    ) -> Result<Vec<(Labels, Vec<Sample>)>> {
        let mut groups: Vec<(Labels, Vec<Sample>)> = Vec::new();
        let mut positions: HashMap<Labels, usize> = HashMap::new();
        for sample in samples {
            self.pace.step()?;
            let labels = group_labels(&sample.labels, modifier);
            let position = *positions.entry(labels).or_insert_with_key(|labels| {
                groups.push((labels.clone(), Vec::new()));
                groups.len() - 1
            });
            groups[position].1.push(sample);
        }
        Ok(groups)
    }

    fn count_values(
        &self,
        samples: Vec<Sample>,
        modifier: Option<&LabelModifier>,
        label: &str,
        time_ms: i64,
    ) -> Result<Vec<Sample>> {
        if label.is_empty() {
            return Err(QueryError::Execution(format!("invalid label name {label:?}")));
        }
        let mut counts: Vec<Sample> = Vec::new();
        let mut positions: HashMap<Labels, usize> = HashMap::new();
        for sample in samples {
            self.pace.step()?;
            let labels = group_labels(&sample.labels, modifier).with(label, &plain(sample.value));
            let position = *positions.entry(labels).or_insert_with_key(|labels| {
                counts.push(Sample { labels: labels.clone(), time_ms, value: 0.0 });
                counts.len() - 1
            });
            counts[position].value += 1.0;
        }
        refuse_duplicates(&counts)?;
        Ok(counts)
    }

    #[expect(clippy::unused_self, reason = "reads beside the other parameters of an evaluator")]
    fn count_parameter(&self, value: f64) -> Result<usize> {
        if value.is_nan() {
            return Err(QueryError::Execution("Parameter value is NaN".to_owned()));
        }
        if value >= i64::MAX as f64 {
            return Err(QueryError::Execution(format!("Scalar value {value} overflows int64")));
        }
        // Below one there is nothing to take, however far.
        Ok(value.max(0.0) as usize)
    }
}

fn group_labels(labels: &Labels, modifier: Option<&LabelModifier>) -> Labels {
    match modifier {
        None => Labels::empty(),
        Some(LabelModifier::Include(listed)) => {
            labels.filter(|name| listed.labels.iter().any(|other| other == name))
        }
        Some(LabelModifier::Exclude(listed)) => {
            labels.filter(|name| name != METRIC_NAME && !listed.labels.iter().any(|other| other == name))
        }
    }
}

fn sum(members: &[Sample]) -> f64 {
    let mut sum = Sum::of(members[0].value);
    members[1..].iter().for_each(|member| sum.add(member.value));
    sum.total()
}

fn avg(members: &[Sample]) -> f64 {
    let mut mean = Mean::of(members[0].value);
    members[1..].iter().for_each(|member| mean.add(member.value));
    mean.mean()
}

/// A NaN gives way to any number.
fn extreme(members: &[Sample], better: impl Fn(f64, f64) -> bool) -> f64 {
    members[1..]
        .iter()
        .map(|member| member.value)
        .fold(members[0].value, |best, value| if better(value, best) || best.is_nan() { value } else { best })
}

fn variance(members: &[Sample]) -> f64 {
    let first = members[0].value;
    let (mut mean, mut squares, mut count) = (first, if first.is_finite() { 0.0 } else { f64::NAN }, 1.0);
    for member in &members[1..] {
        count += 1.0;
        let delta = member.value - mean;
        mean += delta / count;
        squares += delta * (member.value - mean);
    }
    squares / count
}

/// The `count` largest or smallest samples of each group, best first; NaN is taken last.
fn most(groups: Vec<(Labels, Vec<Sample>)>, count: usize, largest: bool) -> Vec<Sample> {
    let order = if largest { descending } else { ascending };
    groups
        .into_iter()
        .flat_map(|(_, mut members)| {
            members.sort_by(|left, right| order(left.value, right.value));
            members.truncate(count);
            members
        })
        .collect()
}

/// A number as the shortest text without an exponent.
fn plain(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    value.to_string()
}
