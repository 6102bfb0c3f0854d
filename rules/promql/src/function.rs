//! The functions of Prometheus 3, experimental ones included.

use promql_parser::parser::Function;
use promql_parser::parser::value::ValueType::{self, Matrix, Scalar, String as Text, Vector};

/// The function of a name.
pub(crate) fn function(name: &str) -> Option<Function> {
    SIGNATURES.iter().find_map(|signature| {
        let name = signature.names.iter().find(|candidate| **candidate == name)?;
        Some(Function::new(
            name,
            signature.arguments.to_vec(),
            signature.variadic,
            signature.result,
            signature.experimental,
        ))
    })
}

/// Functions with the same arguments and result.
struct Signature {
    arguments: &'static [ValueType],
    /// Of the last argument: 0 it is needed, n it may be left out or come up to n times, -1 any number of times.
    variadic: i32,
    result: ValueType,
    experimental: bool,
    names: &'static [&'static str],
}

const fn stable(
    arguments: &'static [ValueType],
    variadic: i32,
    result: ValueType,
    names: &'static [&str],
) -> Signature {
    Signature { arguments, variadic, result, experimental: false, names }
}

const fn experimental(
    arguments: &'static [ValueType],
    variadic: i32,
    result: ValueType,
    names: &'static [&str],
) -> Signature {
    Signature { arguments, variadic, result, experimental: true, names }
}

const SIGNATURES: &[Signature] = &[
    stable(
        &[Matrix],
        0,
        Vector,
        &[
            "absent_over_time",
            "avg_over_time",
            "changes",
            "count_over_time",
            "delta",
            "deriv",
            "idelta",
            "increase",
            "irate",
            "last_over_time",
            "max_over_time",
            "min_over_time",
            "present_over_time",
            "rate",
            "resets",
            "stddev_over_time",
            "stdvar_over_time",
            "sum_over_time",
        ],
    ),
    stable(
        &[Vector],
        0,
        Vector,
        &[
            "abs",
            "absent",
            "acos",
            "acosh",
            "asin",
            "asinh",
            "atan",
            "atanh",
            "ceil",
            "cos",
            "cosh",
            "deg",
            "exp",
            "floor",
            "histogram_avg",
            "histogram_count",
            "histogram_stddev",
            "histogram_stdvar",
            "histogram_sum",
            "ln",
            "log10",
            "log2",
            "rad",
            "sgn",
            "sin",
            "sinh",
            "sort",
            "sort_desc",
            "sqrt",
            "tan",
            "tanh",
            "timestamp",
        ],
    ),
    stable(
        &[Vector],
        1,
        Vector,
        &["day_of_month", "day_of_week", "day_of_year", "days_in_month", "hour", "minute", "month", "year"],
    ),
    stable(&[Vector], 0, Scalar, &["scalar"]),
    stable(&[Scalar], 0, Vector, &["vector"]),
    stable(&[], 0, Scalar, &["pi", "time"]),
    stable(&[Vector, Scalar], 0, Vector, &["clamp_max", "clamp_min"]),
    stable(&[Vector, Scalar], 1, Vector, &["round"]),
    stable(&[Vector, Scalar, Scalar], 0, Vector, &["clamp"]),
    stable(&[Scalar, Vector], 0, Vector, &["histogram_quantile"]),
    stable(&[Scalar, Scalar, Vector], 0, Vector, &["histogram_fraction"]),
    stable(&[Scalar, Matrix], 0, Vector, &["quantile_over_time"]),
    stable(&[Matrix, Scalar], 0, Vector, &["predict_linear"]),
    stable(&[Vector, Text, Text, Text], -1, Vector, &["label_join"]),
    stable(&[Vector, Text, Text, Text, Text], 0, Vector, &["label_replace"]),
    experimental(&[], 0, Scalar, &["end", "range", "start", "step"]),
    experimental(&[Scalar, Scalar], 0, Scalar, &["max_of", "min_of"]),
    experimental(
        &[Matrix],
        0,
        Vector,
        &[
            "first_over_time",
            "mad_over_time",
            "ts_of_first_over_time",
            "ts_of_last_over_time",
            "ts_of_max_over_time",
            "ts_of_min_over_time",
        ],
    ),
    experimental(&[Matrix, Scalar, Scalar], 0, Vector, &["double_exponential_smoothing"]),
    experimental(&[Vector, Text], -1, Vector, &["sort_by_label", "sort_by_label_desc"]),
    experimental(&[Vector, Text, Scalar, Scalar], 9, Vector, &["histogram_quantiles"]),
    experimental(&[Vector, Vector], 1, Vector, &["info"]),
];
