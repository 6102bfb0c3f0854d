use std::collections::{BTreeMap, BTreeSet};

use apiservice::attributes::{Attributes, segments};
use apiservice::authz::Decision;
use apiservice::list_options::ListOptions;
use apiservice::query::QueryParameters;
use apiservice::server::{Authentication, Exchange, Kind, Observer as _};
use http::Method;

use ::rules::Section;
use testkit::rows::each_row;

use super::*;
use crate::source::SourceErrorClass;
use crate::telemetry::rules::RuleFailure;

const RULES: &str = "
rules:
- seriesQuery: a
  resources: {template: '<<.Resource>>'}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
- seriesQuery: b
  resources: {template: '<<.Resource>>'}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
externalRules:
- seriesQuery: c
  resources: {template: '<<.Resource>>'}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
";

/// Name, type, labels.
const EXPECTED: &[(&str, &str, &[&str])] = &[
    ("adapter_config_last_reload_success_timestamp_seconds", "gauge", &[]),
    ("adapter_config_last_reload_successful", "gauge", &[]),
    ("adapter_config_refused_rules", "gauge", &[]),
    ("adapter_connections_accepted_total", "counter", &[]),
    ("adapter_connections_ended_total", "counter", &["reason"]),
    ("adapter_connections_open", "gauge", &[]),
    ("adapter_duplicate_samples_total", "counter", &["rule"]),
    ("adapter_embedded_series", "gauge", &[]),
    ("adapter_embedded_series_evicted_total", "counter", &[]),
    ("adapter_embedded_series_refused_total", "counter", &[]),
    ("adapter_file_last_reload_successful", "gauge", &["file"]),
    ("adapter_file_reloads_total", "counter", &["file", "result"]),
    ("adapter_last_values", "gauge", &[]),
    ("adapter_last_values_bytes", "gauge", &[]),
    ("adapter_last_values_evicted_total", "counter", &[]),
    ("adapter_metrics_not_found_total", "counter", &["step"]),
    ("adapter_policy_values_total", "counter", &["policy"]),
    ("adapter_relist_duration_seconds", "histogram", &[]),
    ("adapter_relist_last_success_timestamp_seconds", "gauge", &[]),
    ("adapter_relists_total", "counter", &["outcome"]),
    ("adapter_requests_refused_total", "counter", &["reason"]),
    ("adapter_reviews_total", "counter", &["review", "caller", "outcome"]),
    ("adapter_rule_errors_total", "counter", &["reason", "rule"]),
    ("adapter_rule_listing_age_seconds", "gauge", &["rule"]),
    ("adapter_rule_listing_last_success_timestamp_seconds", "gauge", &["rule"]),
    ("adapter_rule_metrics", "gauge", &["rule"]),
    ("adapter_rule_query_duration_seconds", "histogram", &["rule"]),
    ("adapter_rule_series", "gauge", &["rule"]),
    ("adapter_rule_series_dropped", "gauge", &["rule"]),
    ("adapter_rule_series_unmapped", "gauge", &["rule"]),
    ("adapter_samples_dropped_total", "counter", &["reason"]),
    ("adapter_series_queries_failing", "gauge", &[]),
    ("adapter_shared_queries_total", "counter", &["outcome"]),
    ("adapter_source_answer_bytes", "gauge", &[]),
    ("adapter_source_answers_refused_total", "counter", &["reason"]),
    ("adapter_source_breaker_open", "gauge", &[]),
    ("adapter_source_breaker_openings_total", "counter", &[]),
    ("adapter_source_queries_in_flight", "gauge", &[]),
    ("adapter_source_queries_refused_total", "counter", &["reason"]),
    ("adapter_source_queries_waiting", "gauge", &[]),
    ("adapter_source_queue_duration_seconds", "histogram", &[]),
    ("adapter_source_warnings_total", "counter", &[]),
    ("apiserver_audit_error_total", "counter", &["plugin"]),
    ("apiserver_audit_event_total", "counter", &[]),
    ("apiserver_client_certificate_expiration_seconds", "histogram", &[]),
    ("apiserver_current_inflight_requests", "gauge", &["request_kind"]),
    (
        "apiserver_request_duration_seconds",
        "histogram",
        &["component", "group", "resource", "scope", "subresource", "verb", "version"],
    ),
    (
        "apiserver_request_total",
        "counter",
        &["code", "component", "group", "resource", "scope", "subresource", "verb", "version"],
    ),
    ("authentication_attempts", "counter", &["result"]),
    ("authorization_attempts_total", "counter", &["result"]),
    ("process_cpu_seconds_total", "counter", &[]),
    ("process_max_fds", "gauge", &[]),
    ("process_open_fds", "gauge", &[]),
    ("process_resident_memory_bytes", "gauge", &[]),
    ("process_start_time_seconds", "gauge", &[]),
    ("process_threads", "gauge", &[]),
    ("process_virtual_memory_bytes", "gauge", &[]),
    ("prometheus_adapter_prometheus_client_request_duration_seconds", "histogram", &["path", "server"]),
];

/// The text of `/metrics`, read as Prometheus reads it.
#[derive(Debug, Default)]
struct Exposition {
    help: BTreeMap<String, String>,
    types: BTreeMap<String, String>,
    /// By series, name and labels as written.
    values: BTreeMap<String, f64>,
}

impl Exposition {
    fn read(text: &str) -> Exposition {
        let mut read = Exposition::default();
        for line in text.lines() {
            if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
                read.help.insert(name.to_owned(), help.to_owned());
            } else if let Some((name, kind)) =
                line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
            {
                read.types.insert(name.to_owned(), kind.to_owned());
            } else {
                let (series, value) = line.rsplit_once(' ').expect("a series and a value");
                let twice = read.values.insert(series.to_owned(), value.parse().expect("a number"));
                assert_eq!(twice, None, "{series} is there twice");
            }
        }
        read
    }

    fn series(&self) -> BTreeSet<&str> {
        self.values.keys().map(String::as_str).collect()
    }

    /// The names of the labels of a metric's series.
    fn labels(&self, name: &str) -> BTreeSet<&str> {
        let mut labels = BTreeSet::new();
        for series in self.values.keys() {
            let (full, rest) = series.split_once('{').unwrap_or((series, ""));
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| full.strip_suffix(end));
            if full == name || base == Some(name) {
                let pairs = rest.trim_end_matches('}').split(',').filter_map(|pair| pair.split_once('='));
                labels.extend(pairs.map(|(label, _)| label).filter(|label| *label != "le"));
            }
        }
        labels
    }
}

fn telemetry() -> Telemetry {
    let telemetry = Telemetry::new(&::rules::load(RULES).expect("valid rules"));
    telemetry.source_known(&["/api/v1/series", "/api/v1/query"], "prometheus.monitoring");
    telemetry.watch_file(Arc::new(FileStats::new("rules")));
    telemetry
}

#[test]
fn every_metric_has_its_name_type_and_labels() {
    let read = Exposition::read(&telemetry().text());
    let names: Vec<&str> = read.types.keys().map(String::as_str).collect();
    assert_eq!(names, EXPECTED.iter().map(|(name, ..)| *name).collect::<Vec<_>>());
    for (name, kind, labels) in EXPECTED {
        assert_eq!(read.types[*name], *kind, "{name}");
        assert!(read.help[*name].ends_with('.'), "{name}: {}", read.help[*name]);
        assert_eq!(read.labels(name), labels.iter().copied().collect(), "{name}");
        match *kind {
            // The one exception is Kubernetes' name.
            "counter" => assert!(name.ends_with("_total") || *name == "authentication_attempts", "{name}"),
            "histogram" => assert!(name.ends_with("_seconds"), "{name}"),
            _ => assert!(!name.ends_with("_total"), "{name}"),
        }
        each_row(["_ms", "_milliseconds", "_minutes", "_kilobytes", "_megabytes"], |unit| {
            assert!(!name.contains(unit), "{name} is not in base units");
        });
    }
}

fn answered(telemetry: &Telemetry, method: &Method, path: &str, served: bool, code: u16) {
    let parts = segments(path).expect("a path");
    let attributes = Attributes::of(method, path, &parts, ListOptions::of(&QueryParameters::default()));
    telemetry.answered(&Exchange { attributes: &attributes, served, code, took: Duration::from_millis(3) });
}

#[test]
fn no_question_for_metrics_is_counted_only_when_it_happens() {
    let telemetry = telemetry();
    let before = Exposition::read(&telemetry.text());
    for path in [
        "/",
        "/apis",
        "/foo/bar",
        "/healthz",
        "/readyz/ping",
        "/healthzz",
        "/metrics",
        "/openapi/v3/apis/custom.metrics.k8s.io/v1beta1",
        "/apis/custom.metrics.k8s.io",
        "/apis/custom.metrics.k8s.io/v1beta1",
        "/apis/custom.metrics.k8s.io/v1beta1/namespaces/d/pods/x/m",
        "/apis/custom.metrics.k8s.io/v1beta2/nodes/x/m",
        "/apis/custom.metrics.k8s.io/v1beta9/nodes/x/m",
        "/apis/custom.metrics.k8s.io/v1beta2/namespaces/d/m",
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/d/m",
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/d/m/x",
        "/apis/metrics.k8s.io/v1beta1/nodes",
        "/apis/metrics.k8s.io/v1beta1/nodes/n",
        "/apis/metrics.k8s.io/v1beta1/pods",
        "/apis/metrics.k8s.io/v1beta1/pods/x",
        "/apis/metrics.k8s.io/v1beta1/namespaces/d/pods/x",
        "/apis/metrics.k8s.io/v1beta1/namespaces/d/deployments",
        "/apis/another.group/v1/namespaces/d/pods/x",
        "/apis/custom.metrics.k8s.io/v1beta1/watch/namespaces/d/m",
    ] {
        for method in [Method::GET, Method::POST, Method::DELETE, Method::OPTIONS] {
            for (served, code) in [(true, 200), (true, 418), (false, 404), (true, 503)] {
                answered(&telemetry, &method, path, served, code);
            }
        }
    }
    for kind in [Kind::ReadOnly, Kind::Mutating] {
        telemetry.in_flight(kind, 3);
    }
    telemetry.authenticated(Authentication::Success, Some(Duration::from_hours(5)));
    telemetry.authenticated(Authentication::Error, None);
    let (deny, none) =
        (Decision::Deny { reason: String::new() }, Decision::NoOpinion { reason: String::new() });
    for decision in [None, Some(&Decision::Allow), Some(&deny), Some(&none)] {
        telemetry.authorized(decision);
    }
    let rules = ::rules::load(RULES).expect("valid rules");
    for rule in rules.custom.iter().chain(&rules.external) {
        telemetry.rule_listed(rule.id, SystemTime::now());
        telemetry.rule_queried(rule.id, Duration::from_millis(3));
        telemetry.rule_failed(rule.id, RuleFailure::Plan);
        telemetry.rule_failed(rule.id, RuleFailure::Partial);
        if rule.id.section == Section::Custom {
            telemetry.duplicate_samples(rule.id, 2);
        }
        for class in [
            SourceErrorClass::Unreachable,
            SourceErrorClass::Silent,
            SourceErrorClass::Unavailable,
            SourceErrorClass::Timeout,
            SourceErrorClass::BadQuery,
            SourceErrorClass::WrongType,
        ] {
            telemetry.rule_failed(rule.id, RuleFailure::Source(class));
        }
    }
    for step in Step::ALL {
        telemetry.not_found(step);
    }
    for reason in [DropReason::Infinite, DropReason::OutOfRange, DropReason::NotANumber] {
        telemetry.sample_dropped(reason);
    }
    telemetry.source_asked("/api/v1/query", "prometheus.monitoring", Duration::from_millis(1));
    telemetry.accept_stats().idle.fetch_add(2, std::sync::atomic::Ordering::Relaxed);
    let after = Exposition::read(&telemetry.text());
    let mut new: Vec<&str> = after.series().difference(&before.series()).copied().collect();
    let counted_from_the_first = |series: &&str| {
        series.starts_with("apiserver_request_")
            && (series.contains(r#"group="""#) || series.contains(r#"verb="other""#))
    };
    assert!(new.iter().any(counted_from_the_first), "{new:#?}");
    new.retain(|series| !counted_from_the_first(series));
    assert!(new.is_empty(), "{new:#?}");
    let value = |series: &str| after.values[series];
    assert_eq!(value(r#"adapter_connections_ended_total{reason="idle"}"#), 2.0);
    assert_eq!(value(r#"adapter_rule_errors_total{reason="plan",rule="rules[1]"}"#), 1.0);
    assert_eq!(value(r#"apiserver_current_inflight_requests{request_kind="readOnly"}"#), 3.0);
    let custom = r#"apiserver_request_total{code="200",component="custom-metrics",group="custom.metrics.k8s.io",resource="*",scope="namespace",subresource="*",verb="GET",version="v1beta1"}"#;
    assert_eq!(value(custom), 1.0);
    let external = r#"apiserver_request_total{code="other",component="external-metrics",group="external.metrics.k8s.io",resource="*",scope="cluster",subresource="",verb="LIST",version="v1beta1"}"#;
    assert_eq!(value(external), 1.0);
    // What others count is taken over once.
    let again = Exposition::read(&telemetry.text());
    assert_eq!(again.values[r#"adapter_connections_ended_total{reason="idle"}"#], 2.0);
}

#[test]
fn everything_begins_at_zero() {
    let read = Exposition::read(&telemetry().text());
    for (series, value) in &read.values {
        let counts = ["_total", "_total{", "_count", "_sum", "_bucket", "authentication_attempts"];
        if !series.starts_with("process_") && counts.iter().any(|part| series.contains(part)) {
            assert_eq!(*value, 0.0, "{series}");
        }
    }
}

#[test]
fn other_rules_have_other_series() {
    let telemetry = telemetry();
    let third = |text: &str| text.contains(r#"rule="rules[1]""#);
    assert!(third(&telemetry.text()));
    let fewer = ::rules::load(
        "rules:\n- seriesQuery: a\n  resources: {template: '<<.Resource>>'}\n  metricsQuery: 'a{<<.LabelMatchers>>}'\n",
    );
    telemetry.rules_changed(&fewer.expect("valid rules"));
    let text = telemetry.text();
    assert!(!third(&text) && !text.contains("externalRules"), "{text}");
    assert!(text.contains(r#"adapter_rule_series{rule="rules[0]"} 0"#), "{text}");
}
