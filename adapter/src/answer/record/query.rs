//! Steps 7 and 8 in an explanation: the query, and what the metric source says to it.

use std::time::Duration;

use rules::RuleId;
use rules::catalog::Ignored;
use rules::plan::{PlanError, Query};

use super::Notes;
use crate::answer::bounded::{LONGEST_QUERY, LONGEST_WHY, bounded};
use crate::explanation::{MOST_LISTED, QueryAsked, Reason};
use crate::source::{QueryResult, Samples, SourceError, SourceErrorClass};

impl Notes {
    /// Step 7's failure.
    pub(in crate::answer) fn no_query(&mut self, rule: RuleId, error: &PlanError) {
        let why = match error {
            PlanError::Template { .. } if !self.sees_rules => format!("the query template of {rule} failed"),
            error => error.to_string(),
        };
        self.message = Some(bounded(&format!("unable to fetch metrics: {why}"), LONGEST_WHY).into_owned());
        self.cause(Reason::NoQuery, || why);
    }

    /// Limits of the request that have no effect on the query.
    pub(in crate::answer) fn ignored(&mut self, Ignored { namespace, selector }: Ignored) {
        for (is_ignored, what) in [(selector, "metric selector"), (namespace, "namespace")] {
            if is_ignored {
                self.warn(&format!(
                    "the {what} of the request has no effect: metricsQuery does not use <<.LabelMatchers>>"
                ));
            }
        }
    }

    /// Steps 7 and 8: the query and its answer.
    pub(in crate::answer) fn asked(
        &mut self,
        source: &str,
        query: &Query,
        took: Duration,
        answer: Result<&QueryResult, &SourceError>,
    ) {
        let samples = answer.map_or(0, |answer| match &answer.value {
            Samples::Vector(samples) => samples.len(),
            Samples::Scalar { .. } => 1,
        });
        let said = |text: &str| said(text, &query.promql, self.sees_rules);
        if let Err(error) = answer {
            let failed = said(&error.message);
            self.message = Some(format!("unable to fetch metrics by {}: {failed}", query.rule));
            let (reason, what) = match error.class {
                SourceErrorClass::BadQuery | SourceErrorClass::WrongType => {
                    (Reason::QueryRefused, "refused the query")
                }
                SourceErrorClass::Unreachable | SourceErrorClass::Unavailable | SourceErrorClass::Busy => {
                    (Reason::SourceFailed, "did not answer the query")
                }
                SourceErrorClass::Silent | SourceErrorClass::Timeout => {
                    (Reason::SourceFailed, "did not answer in time the query")
                }
            };
            self.explanation.caused_by(reason, || format!("{source} {what} of {}: {failed}", query.rule));
        }
        let warnings = answer.map_or(&[][..], |answer| &answer.warnings);
        self.explanation.query = Some(QueryAsked {
            source: source.to_owned(),
            promql: self.sees_rules.then(|| bounded(&query.promql, LONGEST_QUERY).into_owned()),
            window_seconds: query.window.map(|window| window.as_secs()),
            took_seconds: took.as_secs_f64(),
            samples,
            histograms: answer.map_or(0, |answer| answer.histograms_dropped),
            error: answer.err().map(|error| said(&error.message)),
            warnings: warnings.iter().take(MOST_LISTED).map(|warning| said(warning)).collect(),
        });
    }
}

/// What a source says of a query. It may repeat labels of whatever it read: quoted text that the query does not quote
/// itself is left out, and all of it for a caller who may not see the query.
pub(in crate::answer) fn said(text: &str, promql: &str, sees_rules: bool) -> String {
    if !sees_rules {
        return "the metric source's message is left out".to_owned();
    }
    let known: Vec<&str> = quoted(promql).into_iter().map(|(_, text)| text).collect();
    let mut shown = String::with_capacity(text.len());
    let mut end = 0;
    for (start, inside) in quoted(text) {
        shown.push_str(&text[end..start]);
        shown.push_str(if known.contains(&inside) { inside } else { "..." });
        end = start + inside.len();
    }
    shown.push_str(&text[end..]);
    bounded(&shown, LONGEST_WHY).into_owned()
}

/// The texts between double quotes, as written, and where each starts. One that does not end reaches to the end.
fn quoted(text: &str) -> Vec<(usize, &str)> {
    let (mut found, mut start, mut is_escaped) = (Vec::new(), None, false);
    for (at, c) in text.char_indices() {
        match start {
            None if c == '"' => start = Some(at + 1),
            Some(_) if is_escaped => is_escaped = false,
            Some(_) if c == '\\' => is_escaped = true,
            Some(from) if c == '"' => {
                found.push((from, &text[from..at]));
                start = None;
            }
            None | Some(_) => {}
        }
    }
    found.extend(start.map(|from| (from, &text[from..])));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_source_quotes_is_shown_only_if_the_query_has_it() {
        let promql = r#"depth{namespace="a"} / on (pod) size"#;
        let message =
            r#"found duplicate series for the match group {pod="x"}: [{namespace="b"}, {namespace="a"}]"#;
        assert_eq!(
            said(message, promql, true),
            r#"found duplicate series for the match group {pod="..."}: [{namespace="..."}, {namespace="a"}]"#
        );
        assert!(!said(message, promql, false).contains('x'));
        assert_eq!(said("timed out", promql, true), "timed out");
        // A quote within quotes does not end them, and quotes that do not end hide the rest.
        assert_eq!(
            said(r#"{pod="a\"b\\", x="c"} and "d e"#, promql, true),
            r#"{pod="...", x="..."} and "..."#
        );
    }
}
