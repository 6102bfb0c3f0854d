//! Names in PromQL. Since Prometheus 3 a metric or a label may have any name; most names need quotes.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A label as a query names it: in quotes only if it needs them, since Prometheus 2 reads none.
pub(crate) fn label(name: &str) -> Cow<'_, str> {
    // A rule without containerLabel groups by an empty one, as upstream does.
    if name.is_empty() || is_label_name(name) {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(format!("\"{}\"", escape(name)))
    }
}

/// Text as it is written between double quotes.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '"' => escaped.extend(['\\', c]),
            '\n' => escaped.push_str("\\n"),
            // Prometheus' lexer takes U+FFFD for a broken character.
            c if c.is_control() || c == char::REPLACEMENT_CHARACTER => {
                let _ = write!(escaped, "\\u{:04x}", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// Whether text means itself between quotes of any kind.
pub(crate) fn needs_no_escape(text: &str) -> bool {
    text.chars()
        .all(|c| !matches!(c, '"' | '\'' | '`' | '\\' | char::REPLACEMENT_CHARACTER) && !c.is_control())
}

/// A label name that every PromQL parser reads without quotes.
pub(crate) fn is_label_name(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A metric name that every PromQL parser reads without quotes.
pub(crate) fn is_metric_name(text: &str) -> bool {
    !NO_METRIC_NAMES.iter().any(|word| text.eq_ignore_ascii_case(word))
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':')
}

/// Words that Prometheus' grammar does not take for a metric: its own, and numbers.
const NO_METRIC_NAMES: [&str; 8] =
    ["atan2", "bool", "group_left", "group_right", "ignoring", "inf", "nan", "on"];

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;
    use promql_parser::parser::Expr;

    #[test]
    fn quoted_names_are_read_back() {
        let rows = [
            "k8s.pod.name",
            "a\"b",
            "a\\",
            "a\nb\tc\0",
            "größe",
            "\u{fffd}",
            "0",
            "a b",
            "le'",
            "`",
            "\u{85}",
        ];
        each_row(rows, |name| {
            let Expr::VectorSelector(selector) = promql::parse(&format!("{{{}=\"x\"}}", label(name)))
                .unwrap_or_else(|error| panic!("{name:?}: {error}"))
            else {
                panic!("{name:?}: not a selector");
            };
            assert_eq!(selector.matchers.matchers[0].name, name);
        });
    }

    #[test]
    fn words_of_the_grammar_are_metric_names_where_prometheus_takes_them() {
        let words = [
            "and",
            "anchored",
            "avg",
            "bottomk",
            "by",
            "count",
            "count_values",
            "end",
            "fill",
            "group",
            "limitk",
            "max",
            "min",
            "offset",
            "or",
            "quantile",
            "range",
            "rate",
            "smoothed",
            "start",
            "stddev",
            "step",
            "sum",
            "topk",
            "unless",
            "without",
            "On",
            "NaN",
            "Inf",
        ];
        for word in words.iter().chain(&NO_METRIC_NAMES) {
            let parsed = promql::parse(&format!("{word}{{a=\"b\"}}")).is_ok();
            assert_eq!(is_metric_name(word), parsed, "{word}");
        }
    }

    #[test]
    fn only_names_that_need_quotes_have_them() {
        each_row(["pod", "_a", "A0", "__name__", "by"], |name| {
            assert_eq!(label(name), name);
        });
        assert_eq!(label("a:b"), "\"a:b\"");
        assert_eq!(label("0a"), "\"0a\"");
    }
}
