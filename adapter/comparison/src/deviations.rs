//! What upstream answered becomes, number by number of `docs/contract.md`, what it should have answered.
//!
//! Each number acts at its own place only. Where a text is ours alone (the cause of a failure, say) it is taken from
//! our answer, after a look at whether it says what it must; nothing that is being compared is copied.

mod discovery;
mod errors;
mod queries;
mod values;

use crate::context::Context;
use crate::exchange::Exchange;
use crate::normal::Normal;

type Correction = fn(&mut Normal, &Context<'_>);

/// Corrects an answer and says by which numbers.
pub(crate) fn correct(expected: &mut Normal, exchange: &Exchange, ours: &Normal) -> Vec<&'static str> {
    let context = Context { exchange, ours, segments: exchange.request.segments() };
    let mut numbers = Vec::new();
    for (number, _, correction) in CORRECTIONS {
        let before = expected.clone();
        correction(expected, &context);
        if *expected != before && !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    numbers
}

/// What a number says, in short; `None` for one that no correction has.
pub fn title(number: &str) -> Option<&'static str> {
    let corrections = CORRECTIONS.iter().map(|(number, title, _)| (*number, *title));
    corrections.chain(BY_CHANCE).find(|(known, _)| *known == number).map(|(_, title)| title)
}

/// In the order in which they act: texts of errors before what an error becomes, the shape of an item before its
/// number.
const CORRECTIONS: [(&str, &str, Correction); 26] = [
    ("D1", "aggregated discovery lists every group-version", discovery::aggregated_discovery),
    ("D2", "discovery of custom.metrics.k8s.io lists both versions", discovery::both_versions),
    ("D3", "discovery documents have an ETag", discovery::tagged_discovery),
    ("D4", "discovery is sorted", discovery::sorted_discovery),
    ("D32", "a metric has the scope of its resource", discovery::scope_of_the_resource),
    ("D42", NAMES_IN_QUOTES, discovery::names_in_quotes),
    ("D5", "the OpenAPI v3 index lists served group-versions alone", discovery::openapi_of_our_own),
    ("D10", "an invalid metric selector is 400, and != is repeated", errors::metric_selector),
    ("D8", "apiVersion of core kinds is v1, not /v1", values::core_version),
    ("D11", "the 404 of an external metric names the namespace", errors::external_not_found),
    ("D12", "containers are sorted by name", values::sorted_containers),
    ("D13", "a failure of Prometheus is an error for resource metrics, too", errors::failed_usage),
    ("D15", "names and selectors are escaped in queries", queries::escaped),
    ("D72", "one more query shows the log what the label of nodes holds", queries::nodes_without_values),
    ("D23", "names that no object can have are not sent to Prometheus", queries::names_that_are_none),
    ("D24", "a segment behind a namespace's metric is 404", errors::segment_too_many),
    ("D28", "an unknown resource is 404", errors::metric_before_objects),
    ("D29", "> and < in a metric selector are 400", errors::operators_refused),
    ("D9", "timestamp is the sample's time, and window the range of the rule's query", values::window),
    ("D25", "what no quantity can hold is missing, not 0", values::unholdable),
    ("D16", "values are rounded to thousandths, not cut off", values::rounded),
    ("D27", "a failure of Prometheus is 503, 504 or 500 by cause", errors::causes),
    ("D40", "impersonation headers are 403", errors::impersonation),
    ("D45", "/metrics/slis is not served", discovery::indicators),
    ("D86", "the list of paths holds /debug/status", discovery::status_page),
    ("D42", NAMES_IN_QUOTES, queries::names_as_matchers),
];

const NAMES_IN_QUOTES: &str = "names that need quotes in PromQL get them, or make no metric";

/// By these, any difference of an answer is explained ([`Exchange::chance`]).
const BY_CHANCE: [(&str, &str); 4] = [
    ("D33", "of two rules for one metric the first answers, not a random one"),
    ("D44", "labels made of group and resource are known from the start"),
    ("D90", "onEmpty of the rule says what no sample stands for"),
    ("D91", "onPartial of the rule refuses an answer with warnings"),
];
