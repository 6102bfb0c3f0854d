//! Whatever others send, what must hold of it: one function for each fuzz target. Each takes any bytes, and panics
//! where what must hold does not.
//!
//! `corpus/TARGET.tar.gz` holds the few inputs that together reach most of what fuzzing reached; tests try them again.

mod heads;

use std::io::{self, Read};

use adapter::kubeconfig;
use adapter::source::Samples;
use adapter::source::prometheus::{read_listing, read_result};
use apiservice::attributes::{Attributes, segments};
use apiservice::list_options::{ListOptions, NAME};
use apiservice::negotiate::Accept;
use apiservice::query::QueryParameters;
use engine::exposition::{Format, samples};
use engine::{Engine, EngineConfig};
use http::{Method, Request, StatusCode};
use promql::{ParseError, regexp};
use selector::fields::{self, FieldSelector, Term};
use selector::labels::{Operator, Requirement, Selector};

pub use heads::heads;

/// What a caller accepts: a form that the header names, or none.
pub fn accept(header: &[u8]) {
    let Ok(request) = Request::get("/").header("accept", header).body(()) else { return };
    let (parts, ()) = request.into_parts();
    let accept = Accept::of(&parts, &QueryParameters::parse(""));
    let text = String::from_utf8_lossy(header);
    if let Some(form) = accept.form() {
        let (kind, _) = form.media_type().split_once('/').unwrap_or_default();
        assert!(text.is_empty() || text.contains('*') || text.contains(kind), "{text:?} → {form:?}");
    }
    let _ = (accept.transformed(), accept.aggregated(), accept.admits_openapi());
}

/// What a scraped target exposes, in both formats: an error has its place in the text.
pub fn exposition(text: &[u8]) {
    let Ok(text) = str::from_utf8(text) else { return };
    for format in [Format::Text, Format::OpenMetrics] {
        for sample in samples(text, format) {
            match sample {
                Ok(sample) => assert!(!sample.name.is_empty()),
                Err(error) => assert!(error.line >= 1 && error.line <= text.lines().count() + 1, "{error}"),
            }
        }
    }
}

/// What a caller sends as a field selector: refused, or read with the same terms again when it is written; and an
/// object that it selects has the name that access control is asked about.
pub fn field_selector(text: &[u8]) {
    let Ok(text) = str::from_utf8(text) else { return };
    let Ok(selector) = FieldSelector::parse(text) else { return };
    let again = FieldSelector::parse(&selector.to_string()).expect("a selector that was written");
    // Their order is that of the text, in which `==` comes after `=n`.
    assert_eq!(terms_of(&again), terms_of(&selector), "{text:?}");
    // Every value that occurs, as the field's.
    let values = selector.terms().iter().map(|term| term.value.as_str()).chain(["", "n1"]);
    for value in values.collect::<Vec<_>>() {
        let selects = selector.matches(|field| if field == NAME { value } else { "" });
        let holds = |term: &Term| {
            let found = if term.field == NAME { value } else { "" };
            (found == term.value) == (term.operator == fields::Operator::Equals)
        };
        assert_eq!(selects, selector.terms().iter().all(holds), "{text:?} of {value:?}");
        if let (true, Some(name)) = (selects, selector.exact(NAME)) {
            assert_eq!(name, value, "{text:?}");
        }
    }
}

fn terms_of(selector: &FieldSelector) -> Vec<&Term> {
    let mut terms: Vec<_> = selector.terms().iter().collect();
    terms.sort_unstable_by_key(|term| (&term.field, &term.value, term.operator == fields::Operator::Equals));
    terms
}

/// What stands in a kubeconfig: clusters and users, or an error with a cause; aliases make no more of it than they may.
pub fn kubeconfig(text: &[u8]) {
    let Ok(text) = str::from_utf8(text) else { return };
    match kubeconfig::parse(text) {
        Ok(config) => {
            let count = config.clusters.len() + config.auth_infos.len();
            assert!(count <= text.len() + MOST_FROM_ALIASES, "{count} of {} bytes", text.len());
        }
        Err(error) => assert!(!error.to_string().is_empty(), "refused without a cause: {text:?}"),
    }
}

/// The path and the query that a caller asks for: segments hold nothing that a second parser could read otherwise, and
/// access control sees the very segments that are answered.
pub fn path(target: &[u8]) {
    let Ok(target) = str::from_utf8(target) else { return };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Ok(segments) = segments(path) else { return };
    for segment in &segments {
        assert!(!matches!(segment.as_str(), "" | "." | ".."), "{path:?}");
        assert!(!segment.chars().any(char::is_control), "{path:?}");
    }
    let attributes =
        Attributes::of(&Method::GET, path, &segments, ListOptions::of(&QueryParameters::parse(query)));
    if let Some(resource) = attributes.resource {
        // `watch` alone names no resource.
        assert!(resource.resource.is_empty() || segments.contains(&resource.resource), "{path:?}");
        assert!(resource.namespace.is_empty() || segments.contains(&resource.namespace), "{path:?}");
    }
}

/// What a rule or a template makes for a query: a tree that the embedded engine gives a value or refuses with a reason,
/// or an error whose place is in the text.
pub fn promql(text: &[u8]) {
    let Ok(text) = str::from_utf8(text) else { return };
    match promql::parse(text) {
        Ok(_) => {
            if let Err(error) = Engine::new(EngineConfig::default()).query(text, 0) {
                assert!(!error.to_string().is_empty(), "refused without a reason: {text:?}");
            }
        }
        Err(ParseError::Invalid { position, .. } | ParseError::Unsupported { position, .. }) => {
            let line = text.split('\n').nth(position.line - 1).expect("a line of the text");
            assert!(position.column <= 1 + line.len(), "{text:?}");
        }
    }
}

/// What Prometheus answers to a query: samples whose labels are sorted and each there once, or an error with a cause;
/// and never samples in an answer that is a failure.
pub fn prometheus_result(body: &[u8]) {
    for status in STATUSES {
        match read_result(status, body) {
            Ok(result) => {
                assert!(status.is_success(), "{status} with samples");
                if let Samples::Vector(samples) = result.value {
                    let mut labels = samples.iter().map(|sample| &sample.labels);
                    assert!(labels.all(|labels| labels.is_sorted_by(|left, right| left.0 < right.0)));
                }
            }
            Err(error) => assert!(!error.message.is_empty(), "{status} without a cause"),
        }
    }
}

/// What Prometheus answers to a series query: each series once, with its labels' names sorted, or an error with a
/// cause; the same however the text arrives.
pub fn prometheus_series(body: &[u8]) {
    for status in STATUSES {
        let listing = read_listing(status, body, MOST_LISTED);
        assert_eq!(listing, read_listing(status, Trickle(body), MOST_LISTED), "{status}");
        match listing {
            Ok(listing) => {
                assert!(status.is_success(), "{status} with series");
                assert!(listing.series.is_sorted_by(|left, right| left < right));
                assert!(listing.series.iter().all(|series| series.label_names.is_sorted()));
            }
            Err(error) => assert!(!error.message.is_empty(), "{status} without a cause"),
        }
    }
}

/// A pattern of Go's and, after a line break, a text: refused with a place in the pattern, or compiled in what it is
/// translated to; a matcher of it matches nothing that it does not match itself, but for line breaks.
pub fn regexp(input: &[u8]) {
    let Ok(input) = str::from_utf8(input) else { return };
    let (pattern, text) = input.split_once('\n').unwrap_or((input, ""));
    match regexp::compile(pattern) {
        Ok(compiled) => {
            assert!(regexp::translate(pattern).is_ok(), "{pattern:?}");
            if let Some(captures) = compiled.captures(text) {
                assert!(compiled.is_match(text), "{pattern:?} on {text:?}");
                assert!(captures.get(0).is_some_and(|found| text.contains(found)), "{pattern:?} on {text:?}");
                let _ = captures.expand(text);
            }
            if let Ok(matcher) = regexp::compile_matcher(pattern)
                && !text.contains('\n')
            {
                assert!(!matcher.is_match(text) || compiled.is_match(text), "{pattern:?} on {text:?}");
            }
        }
        Err(error) => assert!(!error.cause.is_empty(), "{pattern:?}"),
    }
}

/// What stands in a rule file: rules, or faults with their places; no more of either than a text and its aliases may
/// make.
pub fn rule_file(text: &[u8]) {
    let Ok(text) = str::from_utf8(text) else { return };
    match rules::load(text) {
        Ok(rules) => {
            let count = rules.custom.len() + rules.external.len();
            assert!(count <= text.len() + MOST_FROM_ALIASES, "{count} rules of {} bytes", text.len());
        }
        Err(faults) => {
            assert!(!faults.to_string().is_empty(), "refused without a reason: {text:?}");
            assert!(faults.iter().count() <= 1000, "a fault for everything: {text:?}");
        }
    }
}

/// What a caller sends as a selector: refused, or read the same again when it is written out.
pub fn selector(text: &[u8]) {
    let Ok(text) = str::from_utf8(text) else { return };
    let Ok(selector) = Selector::parse(text) else { return };
    let written: Vec<String> = selector.requirements().iter().map(written).collect();
    assert_eq!(Selector::parse(&written.join(",")), Ok(selector), "{text:?}");
}

fn written(requirement: &Requirement) -> String {
    let Requirement { key, operator, values } = requirement;
    let values = values.join(",");
    match operator {
        Operator::Equals => format!("{key}={values}"),
        Operator::NotEquals => format!("{key}!={values}"),
        Operator::In => format!("{key} in ({values})"),
        Operator::NotIn => format!("{key} notin ({values})"),
        Operator::Exists => key.clone(),
        Operator::DoesNotExist => format!("!{key}"),
        Operator::GreaterThan => format!("{key}>{values}"),
        Operator::LessThan => format!("{key}<{values}"),
    }
}

/// Gives a text a few bytes at a time.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let few = buffer.len().min(3);
        self.0.read(&mut buffer[..few])
    }
}

const MOST_FROM_ALIASES: usize = 10_000;
const MOST_LISTED: usize = 1 << 20;
const STATUSES: [StatusCode; 3] =
    [StatusCode::OK, StatusCode::UNPROCESSABLE_ENTITY, StatusCode::SERVICE_UNAVAILABLE];
