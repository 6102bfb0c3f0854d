//! Operators between two expressions, and how the samples of two vectors find each other.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use promql_parser::parser::{BinModifier, BinaryExpr, LabelModifier, VectorMatchCardinality};

use super::{Evaluator, Result, refuse_duplicates};
use crate::QueryError;
use crate::interrupt::Pace;
use crate::labels::{Labels, METRIC_NAME};
use crate::value::{Sample, Value};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Arithmetic(Arithmetic),
    Comparison(Comparison),
    Set(Set),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    And,
    Or,
    Unless,
}

impl Evaluator<'_> {
    pub(super) fn binary(&self, binary: &BinaryExpr, time_ms: i64) -> Result<Value> {
        let text = binary.op.to_string();
        let operator =
            Operator::parse(&text).ok_or_else(|| QueryError::Unsupported(format!("the operator {text}")))?;
        let modifier = binary.modifier.as_ref();
        if modifier
            .is_some_and(|modifier| modifier.fill_values.lhs.is_some() || modifier.fill_values.rhs.is_some())
        {
            return Err(QueryError::Unsupported("the modifier fill()".to_owned()));
        }
        let bool_result = modifier.is_some_and(|modifier| modifier.return_bool);
        let left = self.eval(&binary.lhs, time_ms)?;
        let right = self.eval(&binary.rhs, time_ms)?;
        match (left, right) {
            (Value::Scalar(left), Value::Scalar(right)) => {
                Ok(Value::Scalar(operator.of_scalars(left, right)?))
            }
            (Value::Vector(left), Value::Scalar(right)) => {
                with_scalar(operator, left, bool_result, |value| (value, right)).map(Value::Vector)
            }
            (Value::Scalar(left), Value::Vector(right)) => {
                with_scalar(operator, right, bool_result, |value| (left, value)).map(Value::Vector)
            }
            (Value::Vector(left), Value::Vector(right)) => {
                let matching = Matching::of(modifier, &self.pace);
                match operator {
                    Operator::Set(set) => matching.set(set, left, right).map(Value::Vector),
                    _ => matching.join(operator, left, right, bool_result).map(Value::Vector),
                }
            }
            (left, right) => Err(QueryError::Execution(format!(
                "the operator {text} does not apply to {} and {}",
                left.type_name(),
                right.type_name()
            ))),
        }
    }
}

impl Operator {
    fn parse(text: &str) -> Option<Operator> {
        Some(match text {
            "+" => Operator::Arithmetic(Arithmetic::Add),
            "-" => Operator::Arithmetic(Arithmetic::Sub),
            "*" => Operator::Arithmetic(Arithmetic::Mul),
            "/" => Operator::Arithmetic(Arithmetic::Div),
            "%" => Operator::Arithmetic(Arithmetic::Mod),
            "^" => Operator::Arithmetic(Arithmetic::Pow),
            "atan2" => Operator::Arithmetic(Arithmetic::Atan2),
            "==" => Operator::Comparison(Comparison::Equal),
            "!=" => Operator::Comparison(Comparison::NotEqual),
            ">" => Operator::Comparison(Comparison::Greater),
            "<" => Operator::Comparison(Comparison::Less),
            ">=" => Operator::Comparison(Comparison::GreaterOrEqual),
            "<=" => Operator::Comparison(Comparison::LessOrEqual),
            "and" => Operator::Set(Set::And),
            "or" => Operator::Set(Set::Or),
            "unless" => Operator::Set(Set::Unless),
            _ => return None,
        })
    }

    fn of_scalars(self, left: f64, right: f64) -> Result<f64> {
        match self {
            Operator::Arithmetic(operator) => Ok(operator.apply(left, right)),
            Operator::Comparison(operator) => Ok(f64::from(u8::from(operator.holds(left, right)))),
            Operator::Set(_) => {
                Err(QueryError::Execution("set operators are not allowed between scalars".to_owned()))
            }
        }
    }

    /// The result of two samples and whether it stays: a comparison filters, its result is the left number.
    fn of_samples(self, left: f64, right: f64) -> (f64, bool) {
        match self {
            Operator::Arithmetic(operator) => (operator.apply(left, right), true),
            Operator::Comparison(operator) => (left, operator.holds(left, right)),
            // Sets do not look at numbers.
            Operator::Set(_) => (left, true),
        }
    }

    /// Whether the result is another metric than the operands.
    fn changes_metric(self) -> bool {
        matches!(self, Operator::Arithmetic(_))
    }
}

impl Arithmetic {
    fn apply(self, left: f64, right: f64) -> f64 {
        match self {
            Arithmetic::Add => left + right,
            Arithmetic::Sub => left - right,
            Arithmetic::Mul => left * right,
            Arithmetic::Div => left / right,
            Arithmetic::Mod => left % right,
            Arithmetic::Pow => left.powf(right),
            Arithmetic::Atan2 => left.atan2(right),
        }
    }
}

impl Comparison {
    fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Comparison::Equal => left == right,
            Comparison::NotEqual => left != right,
            Comparison::Greater => left > right,
            Comparison::Less => left < right,
            Comparison::GreaterOrEqual => left >= right,
            Comparison::LessOrEqual => left <= right,
        }
    }
}

/// `operands` puts a sample's number and the scalar in their order.
fn with_scalar(
    operator: Operator,
    samples: Vec<Sample>,
    bool_result: bool,
    operands: impl Fn(f64) -> (f64, f64),
) -> Result<Vec<Sample>> {
    if let Operator::Set(_) = operator {
        return Err(QueryError::Execution("set operators are not allowed with a scalar".to_owned()));
    }
    let is_comparison = matches!(operator, Operator::Comparison(_));
    let drops_name = bool_result || operator.changes_metric();
    let results: Vec<Sample> = samples
        .into_iter()
        .filter_map(|mut sample| {
            let (left, right) = operands(sample.value);
            let (value, holds) = operator.of_samples(left, right);
            if bool_result {
                sample.value = f64::from(u8::from(holds));
            } else if !holds {
                return None;
            } else if !is_comparison {
                sample.value = value;
            }
            if drops_name {
                sample.labels = sample.labels.without_name();
            }
            Some(sample)
        })
        .collect();
    if drops_name {
        refuse_duplicates(&results)?;
    }
    Ok(results)
}

/// How samples of two vectors find each other.
struct Matching<'a> {
    labels: Option<&'a LabelModifier>,
    cardinality: &'a VectorMatchCardinality,
    pace: &'a Pace,
}

/// A sample of the side that must be unique, and what it was joined with.
struct Partner {
    sample: Sample,
    matched: Matched,
}

/// One-to-one, a sample may match once; else its results must differ.
enum Matched {
    Never,
    Once,
    As(HashSet<Labels>),
}

impl<'a> Matching<'a> {
    fn of(modifier: Option<&'a BinModifier>, pace: &'a Pace) -> Matching<'a> {
        static ONE_TO_ONE: VectorMatchCardinality = VectorMatchCardinality::OneToOne;
        Matching {
            labels: modifier.and_then(|modifier| modifier.matching.as_ref()),
            cardinality: modifier.map_or(&ONE_TO_ONE, |modifier| &modifier.card),
            pace,
        }
    }

    /// The labels by which a sample finds its match.
    fn signature(&self, labels: &Labels) -> Labels {
        match self.labels {
            None => labels.filter(|name| name != METRIC_NAME),
            Some(LabelModifier::Include(on)) => {
                labels.filter(|name| on.labels.iter().any(|other| other == name))
            }
            Some(LabelModifier::Exclude(ignored)) => {
                labels.filter(|name| name != METRIC_NAME && !ignored.labels.iter().any(|other| other == name))
            }
        }
    }

    fn signatures(&self, samples: &[Sample]) -> Result<HashSet<Labels>> {
        samples.iter().map(|sample| self.paced_signature(sample)).collect()
    }

    fn paced_signature(&self, sample: &Sample) -> Result<Labels> {
        self.pace.step()?;
        Ok(self.signature(&sample.labels))
    }

    fn set(&self, set: Set, left: Vec<Sample>, right: Vec<Sample>) -> Result<Vec<Sample>> {
        let (mut result, known, others, wanted) = match set {
            Set::And => (Vec::new(), self.signatures(&right)?, left, true),
            Set::Unless => (Vec::new(), self.signatures(&right)?, left, false),
            Set::Or => {
                let known = self.signatures(&left)?;
                (left, known, right, false)
            }
        };
        for sample in others {
            if known.contains(&self.paced_signature(&sample)?) == wanted {
                result.push(sample);
            }
        }
        Ok(result)
    }

    fn join(
        &self,
        operator: Operator,
        left: Vec<Sample>,
        right: Vec<Sample>,
        bool_result: bool,
    ) -> Result<Vec<Sample>> {
        if left.is_empty() || right.is_empty() {
            return Ok(Vec::new());
        }
        let swapped = matches!(self.cardinality, VectorMatchCardinality::OneToMany(_));
        let one_to_one = matches!(self.cardinality, VectorMatchCardinality::OneToOne);
        let (many, one) = if swapped { (right, left) } else { (left, right) };
        let mut one = self.unique(one, swapped)?;
        let mut results = Vec::new();
        for sample in many {
            let signature = self.paced_signature(&sample)?;
            let Some(Partner { sample: partner, matched }) = one.get_mut(&signature) else { continue };
            let (first, second) =
                if swapped { (partner.value, sample.value) } else { (sample.value, partner.value) };
            let (value, holds) = operator.of_samples(first, second);
            let labels =
                self.result_labels(&sample.labels, &partner.labels, operator.changes_metric() || bool_result);
            let is_new = match matched {
                Matched::Never => {
                    *matched = if one_to_one { Matched::Once } else { Matched::As([labels.clone()].into()) };
                    true
                }
                Matched::Once => false,
                Matched::As(results) => results.insert(labels.clone()),
            };
            if !is_new {
                return Err(QueryError::Execution(if one_to_one {
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                        .to_owned()
                } else {
                    "multiple matches for labels: grouping labels must ensure unique matches".to_owned()
                }));
            }
            if bool_result {
                results.push(Sample { labels, value: f64::from(u8::from(holds)), ..sample });
            } else if holds {
                results.push(Sample { labels, value, ..sample });
            }
        }
        Ok(results)
    }

    /// The samples of the side that must be unique, by signature.
    fn unique(&self, samples: Vec<Sample>, swapped: bool) -> Result<HashMap<Labels, Partner>> {
        let mut unique: HashMap<Labels, Partner> = HashMap::with_capacity(samples.len());
        for sample in samples {
            match unique.entry(self.paced_signature(&sample)?) {
                Entry::Vacant(entry) => {
                    entry.insert(Partner { sample, matched: Matched::Never });
                }
                Entry::Occupied(entry) => {
                    let side = if swapped { "left" } else { "right" };
                    let (signature, other) = (entry.key(), &entry.get().sample.labels);
                    return Err(QueryError::Execution(format!(
                        "found duplicate series for the match group {signature} on the {side} hand-side of the operation: \
                         [{}, {other}];many-to-many matching not allowed: matching labels must be unique on one side",
                        sample.labels
                    )));
                }
            }
        }
        Ok(unique)
    }

    fn result_labels(&self, many: &Labels, one: &Labels, drop_name: bool) -> Labels {
        let mut labels = if drop_name { many.without_name() } else { many.clone() };
        match self.cardinality {
            VectorMatchCardinality::OneToOne => match self.labels {
                None => {}
                Some(LabelModifier::Include(on)) => {
                    labels = labels.filter(|name| on.labels.iter().any(|other| other == name));
                }
                Some(LabelModifier::Exclude(ignored)) => {
                    labels = labels.filter(|name| !ignored.labels.iter().any(|other| other == name));
                }
            },
            VectorMatchCardinality::ManyToOne(included) | VectorMatchCardinality::OneToMany(included) => {
                for name in &included.labels {
                    labels = labels.with(name, one.value(name).unwrap_or_default());
                }
            }
            VectorMatchCardinality::ManyToMany => {}
        }
        labels
    }
}
