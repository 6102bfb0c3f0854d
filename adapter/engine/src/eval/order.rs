//! Numbers in Prometheus' order: `-0` and `0` are equal, and NaN comes last whichever way is up.

use std::cmp::Ordering;

/// The smallest number first.
pub(super) fn ascending(left: f64, right: f64) -> Ordering {
    nan_last(left, right, |left, right| left.partial_cmp(&right))
}

/// The largest number first.
pub(super) fn descending(left: f64, right: f64) -> Ordering {
    nan_last(left, right, |left, right| right.partial_cmp(&left))
}

fn nan_last(left: f64, right: f64, numbers: impl Fn(f64, f64) -> Option<Ordering>) -> Ordering {
    // Without an order, one of them is NaN.
    numbers(left, right).unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()))
}

/// Go's `math.Max`: infinity wins over NaN, NaN over all else, and `0` over `-0`.
pub(super) fn go_max(left: f64, right: f64) -> f64 {
    if left == f64::INFINITY || right == f64::INFINITY {
        f64::INFINITY
    } else if left.is_nan() || right.is_nan() {
        f64::NAN
    } else if left == right {
        if left.is_sign_negative() { right } else { left }
    } else if left > right {
        left
    } else {
        right
    }
}

/// Go's `math.Min`, likewise.
pub(super) fn go_min(left: f64, right: f64) -> f64 {
    -go_max(-left, -right)
}

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    #[test]
    fn zeros_are_equal_and_nan_is_last() {
        let mut numbers = [f64::NAN, 0.0, -0.0, 1.0, f64::NEG_INFINITY];
        numbers.sort_by(|left, right| ascending(*left, *right));
        assert_eq!(format!("{numbers:?}"), "[-inf, 0.0, -0.0, 1.0, NaN]");
        numbers.sort_by(|left, right| descending(*left, *right));
        assert_eq!(format!("{numbers:?}"), "[1.0, 0.0, -0.0, -inf, NaN]");
    }

    #[test]
    fn the_larger_and_the_smaller_are_gos() {
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        let rows = [
            (1.0, 2.0, "2.0", "1.0"),
            (nan, 1.0, "NaN", "NaN"),
            (nan, inf, "inf", "NaN"),
            (-inf, nan, "NaN", "-inf"),
            (-0.0, 0.0, "0.0", "-0.0"),
            (0.0, -0.0, "0.0", "-0.0"),
        ];
        each_row(rows, |(left, right, max, min)| {
            assert_eq!(format!("{:?}", go_max(left, right)), max, "max of {left:?} and {right:?}");
            assert_eq!(format!("{:?}", go_min(left, right)), min, "min of {left:?} and {right:?}");
        });
    }
}
