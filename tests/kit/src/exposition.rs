//! What a server exports, as text.

/// The value of a series, which is named with all of its labels as they are written: `up` or `up{job="a"}`.
pub fn value(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_found_by_its_name_and_all_of_its_labels() {
        let text = "# HELP up Help.\nup 1\nup{job=\"a\"} 0.5\nupper 7\nodd +Inf\n";
        assert_eq!(value(text, "up"), Some(1.0));
        assert_eq!(value(text, "up{job=\"a\"}"), Some(0.5));
        assert_eq!(value(text, "odd"), Some(f64::INFINITY));
        assert_eq!((value(text, "upp"), value(text, "absent")), (None, None));
    }
}
