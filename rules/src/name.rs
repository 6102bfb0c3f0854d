//! A series' name becomes the metric's name in the API: `name.matches` and `name.as`.

use promql::regexp::{self, RegexpError};
use regex::Regex;

/// A compiled name mapping.
#[derive(Debug, Clone)]
pub struct NameRule {
    matches: Regex,
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
    /// the whole match when there is none (upstream `pkg/naming/metric_namer.go`).
    pub fn new(matches: Option<&str>, r#as: &str) -> Result<NameRule, NameRuleError> {
        let pattern = matches.unwrap_or(".*");
        let matches = regexp::compile(pattern)?;
        let r#as = match (r#as, matches.captures_len() - 1) {
            ("", 0) => "$0".to_owned(),
            ("", 1) => "$1".to_owned(),
            ("", groups) => return Err(NameRuleError::AsNeeded { pattern: pattern.to_owned(), groups }),
            (text, _) => text.to_owned(),
        };
        Ok(NameRule { matches, r#as })
    }

    /// How many capture groups `matches` has.
    pub(crate) fn groups(&self) -> usize {
        self.matches.captures_len() - 1
    }

    /// The metric's name in the API; `None` when the series' name does not fit, so that it yields no metric.
    pub fn metric(&self, series: &str) -> Option<String> {
        let captures = self.matches.captures(series)?;
        Some(expand(&self.r#as, |group| match group {
            Group::Index(index) => captures.get(index).map(|found| found.as_str()),
            Group::Name(name) => captures.name(name).map(|found| found.as_str()),
        }))
    }
}

enum Group<'a> {
    Index(usize),
    Name(&'a str),
}

/// Go's `Regexp.Expand` to the letter: the longest run of word characters behind `$` is the group's name, so `$1_$2`
/// asks for a group called `1_`; a group that does not exist is empty; `$$` is one `$`; any other `$` stands for
/// itself.
fn expand<'t>(template: &str, group: impl Fn(Group<'_>) -> Option<&'t str>) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        let behind = &rest[dollar + 1..];
        if let Some(after) = behind.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let Some((name, after)) = reference(behind) else {
            out.push('$');
            rest = behind;
            continue;
        };
        let wanted = match name.parse::<usize>() {
            Ok(index) if name.bytes().all(|byte| byte.is_ascii_digit()) => Group::Index(index),
            _ => Group::Name(name),
        };
        out.push_str(group(wanted).unwrap_or_default());
        rest = after;
    }
    out.push_str(rest);
    out
}

/// `name...` or `{name}...` → the name and what follows.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (braced, text) = match text.strip_prefix('{') {
        Some(inner) => (true, inner),
        None => (false, text),
    };
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    if end == 0 {
        return None;
    }
    let (name, after) = text.split_at(end);
    if braced { Some((name, after.strip_prefix('}')?)) } else { Some((name, after)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_upstream() {
        for (matches, r#as, series, expected) in [
            (None, "", "queue_depth", Some("queue_depth")),
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
        ] {
            let rule = NameRule::new(matches, r#as).expect("a valid mapping");
            assert_eq!(rule.metric(series).as_deref(), expected, "{matches:?} {as}");
        }
    }

    #[test]
    fn as_is_needed_for_several_groups() {
        let error = NameRule::new(Some("(a)(b)"), "").expect_err("ambiguous");
        assert_eq!(
            error.to_string(),
            "\"(a)(b)\" has 2 capture groups: expected \"as\" to say which of them make the name"
        );
        assert!(NameRule::new(Some("(a"), "x").expect_err("broken").to_string().contains("unclosed group"));
    }
}
