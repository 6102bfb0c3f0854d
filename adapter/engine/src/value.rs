//! What a query yields.

use crate::labels::Labels;
use crate::store::Point;

/// The value of an expression at one time.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// One number.
    Scalar(f64),
    /// One sample for each series.
    Vector(Vec<Sample>),
    /// The samples of a range for each series.
    Matrix(Vec<RangeSeries>),
    /// A text.
    String(String),
}

/// One sample of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The series' labels; with the metric's name only where PromQL keeps it.
    pub labels: Labels,
    /// The time it stands for, in milliseconds since the epoch.
    pub time_ms: i64,
    /// The number.
    pub value: f64,
}

/// Samples of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct RangeSeries {
    /// The series' labels.
    pub labels: Labels,
    /// The samples, oldest first.
    pub points: Vec<Point>,
}

impl Value {
    /// As PromQL calls the type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Scalar(_) => "scalar",
            Value::Vector(_) => "vector",
            Value::Matrix(_) => "matrix",
            Value::String(_) => "string",
        }
    }
}
