//! A series' name becomes the metric's name in the API: `name.matches` and `name.as`.

use promql::regexp::{self, CompileBudget, Regexp, RegexpError};

/// A compiled name mapping.
#[derive(Debug, Clone)]
pub struct NameRule {
    /// `None` is `.*`, which nearly all rules have.
    matches: Option<Regexp>,
    r#as: String,
}

/// Why a name mapping does not compile.
#[derive(Debug, thiserror::Error)]
pub enum NameRuleError {
    /// `matches` is not a regular expression.
    #[error(transparent)]
    Regex(#[from] RegexpError),
    /// With several groups there is no obvious default for `as`.
    #[error("{pattern:?} has {groups} capture groups: expected \"as\" to say which of them make the name")]
    AsNeeded {
        /// The text of `matches`.
        pattern: String,
        /// How many groups it has.
        groups: usize,
    },
}

impl NameRule {
    /// Compiles the mapping. Without `matches` every name fits; without `as` the name is the only capture group, or
    /// the whole match when there is none (upstream `pkg/naming/metric_namer.go`). What `matches` compiles to takes a
    /// place in the budget.
    pub fn new(
        matches: Option<&str>,
        r#as: &str,
        budget: &mut CompileBudget,
    ) -> Result<NameRule, NameRuleError> {
        let pattern = matches.unwrap_or(EVERYTHING);
        // The whole line, and nothing to put into another text.
        if pattern == EVERYTHING && (r#as.is_empty() || r#as == WHOLE) {
            return Ok(NameRule { matches: None, r#as: WHOLE.to_owned() });
        }
        let matches = regexp::compile_within(pattern, budget)?;
        let r#as = match (r#as, matches.group_count()) {
            ("", 0) => WHOLE.to_owned(),
            ("", 1) => "$1".to_owned(),
            ("", groups) => return Err(NameRuleError::AsNeeded { pattern: pattern.to_owned(), groups }),
            (text, _) => text.to_owned(),
        };
        Ok(NameRule { matches: Some(matches), r#as })
    }

    /// Whether `matches` has the group that `as` calls by this name or number.
    pub(crate) fn has_group(&self, name: &str) -> bool {
        self.matches.as_ref().map_or(name == "0", |matches| matches.has_group(name))
    }

    /// The text that the groups of `matches` are put into.
    pub(crate) fn r#as(&self) -> &str {
        &self.r#as
    }

    /// The metric's name in the API; `None` when the series' name does not fit, so that it yields no metric.
    pub fn metric(&self, series: &str) -> Option<String> {
        match &self.matches {
            // A dot matches no line break.
            None => series.split('\n').next().map(str::to_owned),
            Some(matches) => Some(matches.captures(series)?.expand(&self.r#as)),
        }
    }
}

const EVERYTHING: &str = ".*";
const WHOLE: &str = "$0";

/// Whether an autoscaler can read a metric of this name: its client refuses `/` and `%` in a segment of a path
/// (`k8s.io/apimachinery/pkg/api/validation/path`).
pub(crate) fn can_be_asked_for(metric: &str) -> bool {
    !metric.contains(['/', '%'])
}

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    fn rule(matches: Option<&str>, r#as: &str) -> Result<NameRule, NameRuleError> {
        NameRule::new(matches, r#as, &mut CompileBudget::new(1 << 20))
    }

    #[test]
    fn names_are_made_as_upstream_makes_them() {
        let rows = [
            (None, "", "queue_depth", Some("queue_depth")),
            (None, "", "a\nb", Some("a")),
            (None, "$0", "queue_depth", Some("queue_depth")),
            (Some(".*"), "", "queue_depth", Some("queue_depth")),
            (None, "${0}_x", "a\nb", Some("a_x")),
            (None, "depth", "queue_depth", Some("depth")),
            (Some("^(.*)_total$"), "", "http_total", Some("http")),
            (Some("^(.*)_total$"), "${1}_per_second", "http_total", Some("http_per_second")),
            (Some("^(.*)_total$"), "$1_per_second", "http_total", Some("")),
            (Some("^(.*)_(.*)$"), "$1_$2", "a_b", Some("b")),
            (Some("^(.*)_total$"), "", "http_count", None),
            (Some("total"), "", "http_total_x", Some("total")),
            (Some("^(?P<base>.*)_total$"), "${base}!", "http_total", Some("http!")),
            (Some("x"), "{$1} seconds", "x", Some("{} seconds")),
            (Some("x"), "$$1 $ ${ ${1 ${-}", "x", Some("$1 $ ${ ${1 ${-}")),
            (Some("x"), "$9", "x", Some("")),
        ];
        each_row(rows, |(matches, r#as, series, expected)| {
            let rule = rule(matches, r#as).expect("a valid mapping");
            assert_eq!(rule.metric(series).as_deref(), expected, "{matches:?} {as}");
        });
    }

    #[test]
    fn patterns_mean_what_go_makes_of_them() {
        let rows = [
            (r"\Qx.y\E", "a", "x.y", Some("a")),
            (r"\Qx.y\E", "a", "x_y", None),
            ("^x{", "a", "x{", Some("a")),
            ("[[a-z]_x", "a", "[_x", Some("a")),
            ("a{,3}", "a", "a{,3}", Some("a")),
            ("a{,3}", "a", "aaa", None),
            ("^[x&&y]", "a", "&", Some("a")),
            (r"^\<(.*)\>$", "", "<x>", Some("x")),
            (r"^[\w-.]+$", "", "x-y.z", Some("x-y.z")),
            (r"^(\w+)$", "", "é", None),
        ];
        each_row(rows, |(matches, r#as, series, expected)| {
            let rule = rule(Some(matches), r#as).expect("a valid mapping");
            assert_eq!(rule.metric(series).as_deref(), expected, "{matches:?} on {series:?}");
        });
    }

    #[test]
    fn as_is_needed_for_several_groups() {
        let error = rule(Some("(a)(b)"), "").expect_err("ambiguous");
        assert_eq!(
            error.to_string(),
            "\"(a)(b)\" has 2 capture groups: expected \"as\" to say which of them make the name"
        );
        assert!(rule(Some("(a"), "x").expect_err("broken").to_string().contains("missing )"));
    }
}
