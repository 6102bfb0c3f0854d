//! Every metric of our own: names, units and handles in one place. All of them exist from the start, at 0.
//!
//! Names that dashboards of upstream know are kept (contract, section 9).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use apiservice::accept::AcceptStats;
use apiservice::server::{Exchange, Observer};
use prometheus::{
    Encoder as _, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, Opts, Registry, TextEncoder,
};
use rules::RuleSet;
use rules::catalog::Catalog;

use crate::served::{CUSTOM_METRICS, EXTERNAL_METRICS, METRICS};
use crate::values::DropReason;

/// Handles on every metric.
pub struct Telemetry {
    registry: Registry,
    accept: Arc<AcceptStats>,
    accepted: IntGauge,
    handshakes_failed: IntGauge,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    source_seconds: HistogramVec,
    source_warnings: IntCounter,
    samples_dropped: IntCounterVec,
    duplicate_samples: IntCounter,
    relists: IntCounterVec,
    relist_seconds: Histogram,
    relist_last_success: Gauge,
    series_queries_failing: IntGauge,
    rule_series: GaugeVec,
    rule_metrics: GaugeVec,
    config_success: IntGauge,
    config_last_success: Gauge,
}

impl Telemetry {
    /// Registers everything.
    ///
    /// # Panics
    /// Never: every name is registered once, right here.
    pub fn new(rules: &RuleSet) -> Telemetry {
        let registry = Registry::new();
        let r = Registrar(&registry);
        let telemetry = Telemetry {
            accept: Arc::default(),
            accepted: r.gauge("adapter_connections_accepted", "Connections accepted since the start."),
            handshakes_failed: r.gauge(
                "adapter_tls_handshakes_failed",
                "TLS handshakes that failed or took too long since the start.",
            ),
            requests: r.counters("apiserver_request_total", "Requests answered.", &["group", "code"]),
            request_seconds: r.histograms(
                "apiserver_request_duration_seconds",
                "Time to answer a request, in seconds.",
                &["group"],
            ),
            source_seconds: r.histograms(
                "prometheus_adapter_prometheus_client_request_duration_seconds",
                "Time for an answer of the metric source, in seconds.",
                &["path", "server"],
            ),
            source_warnings: r.counter(
                "adapter_source_warnings_total",
                "Warnings in answers of the metric source: such an answer may be partial.",
            ),
            samples_dropped: r.counters(
                "adapter_samples_dropped_total",
                "Samples that were not shown because no quantity can hold them.",
                &["reason"],
            ),
            duplicate_samples: r.counter(
                "adapter_duplicate_samples_total",
                "Samples that came second for an object; the last one was shown.",
            ),
            relists: r.counters("adapter_relists_total", "Listings of series, by outcome.", &["outcome"]),
            relist_seconds: r
                .histogram("adapter_relist_duration_seconds", "Time to list all series, in seconds."),
            relist_last_success: r.float_gauge(
                "adapter_relist_last_success_timestamp_seconds",
                "When a listing last had no failing series query; 0 before the first.",
            ),
            series_queries_failing: r
                .gauge("adapter_series_queries_failing", "Series queries that failed in the last listing."),
            rule_series: r.gauges("adapter_rule_series", "Series that a rule's query found last.", &["rule"]),
            rule_metrics: r.gauges(
                "adapter_rule_metrics",
                "Metrics of the API that a rule makes.",
                &["rule"],
            ),
            config_success: r.gauge(
                "adapter_config_last_reload_successful",
                "1 if the rule file was valid when it was last read, else 0.",
            ),
            config_last_success: r.float_gauge(
                "adapter_config_last_reload_success_timestamp_seconds",
                "When a valid rule file was last read.",
            ),
            registry: registry.clone(),
        };
        for group in ["", CUSTOM_METRICS, EXTERNAL_METRICS, METRICS] {
            telemetry.requests.with_label_values(&[group, "200"]);
            telemetry.request_seconds.with_label_values(&[group]);
        }
        for reason in ["infinite", "out_of_range", "not_a_number", "histogram"] {
            telemetry.samples_dropped.with_label_values(&[reason]);
        }
        for outcome in ["success", "failure"] {
            telemetry.relists.with_label_values(&[outcome]);
        }
        for rule in rules.custom.iter().chain(&rules.external) {
            telemetry.rule_series.with_label_values(&[&rule.id.to_string()]);
            telemetry.rule_metrics.with_label_values(&[&rule.id.to_string()]);
        }
        #[cfg(target_os = "linux")]
        {
            let process = prometheus::process_collector::ProcessCollector::for_self();
            registry.register(Box::new(process)).expect("the process collector is registered once");
        }
        telemetry.config_reloaded(true, SystemTime::now());
        telemetry
    }

    /// The text of `/metrics`.
    pub fn text(&self) -> String {
        use std::sync::atomic::Ordering::Relaxed;
        self.accepted.set(self.accept.accepted.load(Relaxed) as i64);
        let failed =
            self.accept.handshakes_failed.load(Relaxed) + self.accept.handshakes_timed_out.load(Relaxed);
        self.handshakes_failed.set(failed as i64);
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "the metrics could not be written");
        }
        String::from_utf8(text).unwrap_or_default()
    }

    /// What the listener counts into.
    pub fn accept_stats(&self) -> Arc<AcceptStats> {
        Arc::clone(&self.accept)
    }

    /// The metric source answered, or failed to.
    pub fn source_asked(&self, path: &str, server: &str, seconds: Duration) {
        self.source_seconds.with_label_values(&[path, server]).observe(seconds.as_secs_f64());
    }

    /// An answer came with warnings.
    pub fn source_warnings(&self, count: usize) {
        self.source_warnings.inc_by(count as u64);
    }

    /// A sample could not be shown.
    pub fn sample_dropped(&self, reason: DropReason) {
        let reason = match reason {
            DropReason::Infinite => "infinite",
            DropReason::OutOfRange => "out_of_range",
            DropReason::NotANumber => "not_a_number",
        };
        self.samples_dropped.with_label_values(&[reason]).inc();
    }

    /// Native histograms were left out of an answer.
    pub fn histograms_dropped(&self, count: usize) {
        self.samples_dropped.with_label_values(&["histogram"]).inc_by(count as u64);
    }

    /// Samples came second for an object.
    pub fn duplicate_samples(&self, count: usize) {
        self.duplicate_samples.inc_by(count as u64);
    }

    /// Series were listed; `failed` of the series queries had no answer.
    pub fn relisted(&self, catalog: &Catalog, failed: usize, took: Duration, at: SystemTime) {
        let outcome = if failed == 0 { "success" } else { "failure" };
        self.relists.with_label_values(&[outcome]).inc();
        self.relist_seconds.observe(took.as_secs_f64());
        self.series_queries_failing.set(failed as i64);
        if failed == 0 {
            self.relist_last_success.set(unix_seconds(at));
        }
        self.rule_series.reset();
        self.rule_metrics.reset();
        for (rule, counts) in catalog.yields() {
            self.rule_series.with_label_values(&[&rule.to_string()]).set(counts.series as f64);
            self.rule_metrics.with_label_values(&[&rule.to_string()]).set(counts.metrics as f64);
        }
    }

    /// The rule file was read.
    pub fn config_reloaded(&self, valid: bool, at: SystemTime) {
        self.config_success.set(i64::from(valid));
        if valid {
            self.config_last_success.set(unix_seconds(at));
        }
    }
}

impl Observer for Telemetry {
    fn answered(&self, exchange: &Exchange<'_>) {
        let resource = exchange.attributes.resource.as_ref().filter(|_| exchange.served);
        let group = resource.map_or("", |resource| &resource.group);
        self.requests.with_label_values(&[group, &exchange.code.to_string()]).inc();
        self.request_seconds.with_label_values(&[group]).observe(exchange.took.as_secs_f64());
    }
}

fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |elapsed| elapsed.as_secs_f64())
}

/// Makes and registers metrics. Names and labels are literals of this file and each is used once, so nothing of it can
/// fail.
struct Registrar<'a>(&'a Registry);

const VALID: &str = "a literal name, registered once";

impl Registrar<'_> {
    fn add<M: prometheus::core::Collector + Clone + 'static>(&self, metric: prometheus::Result<M>) -> M {
        let metric = metric.expect(VALID);
        self.0.register(Box::new(metric.clone())).expect(VALID);
        metric
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::new(name, help))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::new(name, help))
    }

    fn float_gauge(&self, name: &str, help: &str) -> Gauge {
        self.add(Gauge::new(name, help))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.add(GaugeVec::new(Opts::new(name, help), labels))
    }

    fn histogram(&self, name: &str, help: &str) -> Histogram {
        self.add(Histogram::with_opts(HistogramOpts::new(name, help).buckets(BUCKETS.to_vec())))
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        self.add(HistogramVec::new(HistogramOpts::new(name, help).buckets(BUCKETS.to_vec()), labels))
    }
}

/// In seconds: from a cached answer to the longest request there is.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0];
