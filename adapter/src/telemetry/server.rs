//! Metrics of the server, under the names that Kubernetes' own servers have for them
//! (`docs/contract.md#server-metrics`).

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use apiservice::accept::Stats;
use apiservice::audit::AuditStats;
use apiservice::authz::Decision;
use apiservice::review::{Caller, ReviewStats};
use apiservice::server::{Authentication, Exchange, Kind, Observer};
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use serve::Registrar;

use super::buckets::LATENCIES;
use super::route::{CODES, ROUTES, Route, code};

/// Handles on the server's metrics.
pub(super) struct ServerMetrics {
    pub(super) accept: Arc<Stats>,
    pub(super) audit: OnceLock<Arc<AuditStats>>,
    pub(super) reviews: Mutex<Vec<(&'static str, Arc<ReviewStats>)>>,
    accepted: IntCounter,
    open: IntGauge,
    ended: IntCounterVec,
    refused: IntCounterVec,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    in_flight: IntGaugeVec,
    authentication: IntCounterVec,
    authorization: IntCounterVec,
    reviews_asked: IntCounterVec,
    certificate_seconds: Histogram,
    audit_events: IntCounter,
    audit_errors: IntCounterVec,
}

impl ServerMetrics {
    pub(super) fn new(r: &Registrar<'_>) -> ServerMetrics {
        let with_code: Vec<&str> = Route::LABELS.into_iter().chain(["code"]).collect();
        let metrics = ServerMetrics {
            accept: Arc::default(),
            audit: OnceLock::new(),
            reviews: Mutex::default(),
            accepted: r.counter("adapter_connections_accepted_total", "Connections accepted."),
            open: r.gauge("adapter_connections_open", "Open connections."),
            ended: r.counters(
                "adapter_connections_ended_total",
                "Connections closed by the server, by reason; evicted_* made room for another one at --max-connections.",
                &["reason"],
            ),
            refused: r.counters(
                "adapter_requests_refused_total",
                "Requests refused before authentication, by reason.",
                &["reason"],
            ),
            requests: r.counters("apiserver_request_total", "Requests answered, by verb, resource and code.", &with_code),
            request_seconds: r.histograms(
                "apiserver_request_duration_seconds",
                "Duration of requests, in seconds.",
                &Route::LABELS,
                &LATENCIES,
            ),
            in_flight: r.gauges(
                "apiserver_current_inflight_requests",
                "Requests in flight, by kind.",
                &["request_kind"],
            ),
            authentication: r.counters(
                "authentication_attempts",
                "Authentication attempts, by result; anonymous requests count as success.",
                &["result"],
            ),
            authorization: r.counters(
                "authorization_attempts_total",
                "Authorization attempts, by result.",
                &["result"],
            ),
            reviews_asked: r.counters(
                "adapter_reviews_total",
                "Access reviews requested from the Kubernetes API, by kind, by how the caller was verified, and by what the rate \
                 limit did.",
                &["review", "caller", "outcome"],
            ),
            certificate_seconds: r.histogram(
                "apiserver_client_certificate_expiration_seconds",
                "Remaining lifetime of the client certificates of requests, in seconds.",
                &CERTIFICATE_LIFE,
            ),
            audit_events: r.counter("apiserver_audit_event_total", "Audit events queued for the log."),
            audit_errors: r.counters(
                "apiserver_audit_error_total",
                "Audit events dropped or not written.",
                &["plugin"],
            ),
        };
        // A rate over a series that appears with its first error would miss that error. Only routes for metrics matter.
        for route in ROUTES.iter().filter(|route| route.is_for_metrics()) {
            metrics.request_seconds.with_label_values(&route.values());
            for code in CODES {
                metrics.requests.with_label_values(&with(route, code));
            }
        }
        for kind in [Kind::ReadOnly, Kind::Mutating] {
            metrics.in_flight.with_label_values(&[kind_name(kind)]);
        }
        for result in ["success", "failure", "error"] {
            metrics.authentication.with_label_values(&[result]);
        }
        for result in ["allowed", "denied", "no-opinion", "error"] {
            metrics.authorization.with_label_values(&[result]);
        }
        for kind in ["tokenreview", "subjectaccessreview"] {
            metrics.collect_reviews(kind, &ReviewStats::default());
        }
        metrics.audit_errors.with_label_values(&["log"]);
        for (reason, _) in metrics.accept.ended() {
            metrics.ended.with_label_values(&[reason]);
        }
        for (reason, _) in metrics.accept.refused() {
            metrics.refused.with_label_values(&[reason]);
        }
        metrics
    }

    /// Takes over what others count. Not to be called twice at the same time.
    pub(super) fn collect(&self) {
        let raise = |counter: &IntCounter, to: u64| counter.inc_by(to.saturating_sub(counter.get()));
        raise(&self.accepted, self.accept.accepted.load(Ordering::Relaxed));
        self.open.set(self.accept.open.load(Ordering::Relaxed) as i64);
        for (reason, count) in self.accept.ended() {
            raise(&self.ended.with_label_values(&[reason]), count);
        }
        for (reason, count) in self.accept.refused() {
            raise(&self.refused.with_label_values(&[reason]), count);
        }
        for (kind, stats) in &*self.reviews.lock().unwrap_or_else(PoisonError::into_inner) {
            self.collect_reviews(kind, stats);
        }
        if let Some(audit) = self.audit.get() {
            raise(&self.audit_events, audit.events.load(Ordering::Relaxed));
            let lost = audit.dropped.load(Ordering::Relaxed) + audit.failed.load(Ordering::Relaxed);
            raise(&self.audit_errors.with_label_values(&["log"]), lost);
        }
    }
}

impl ServerMetrics {
    fn collect_reviews(&self, kind: &str, stats: &ReviewStats) {
        for caller in Caller::ALL {
            for (outcome, count) in stats.of(caller) {
                let counter = self.reviews_asked.with_label_values(&[kind, caller.name(), outcome]);
                counter.inc_by(count.saturating_sub(counter.get()));
            }
        }
    }
}

impl Observer for ServerMetrics {
    fn in_flight(&self, kind: Kind, count: usize) {
        self.in_flight.with_label_values(&[kind_name(kind)]).set(count as i64);
    }

    fn authenticated(&self, outcome: Authentication, certificate_left: Option<Duration>) {
        let result = match outcome {
            Authentication::Success => "success",
            Authentication::Error => "error",
        };
        self.authentication.with_label_values(&[result]).inc();
        if let Some(left) = certificate_left {
            self.certificate_seconds.observe(left.as_secs_f64());
        }
    }

    fn authorized(&self, decision: Option<&Decision>) {
        let result = match decision {
            Some(Decision::Allow) => "allowed",
            Some(Decision::Deny { .. }) => "denied",
            Some(Decision::NoOpinion { .. }) => "no-opinion",
            None => "error",
        };
        self.authorization.with_label_values(&[result]).inc();
    }

    fn answered(&self, exchange: &Exchange<'_>) {
        let route = Route::of(exchange);
        self.requests.with_label_values(&with(&route, code(exchange.code))).inc();
        let seconds = self.request_seconds.with_label_values(&route.values());
        seconds.observe(exchange.took.as_secs_f64());
    }
}

fn with(route: &Route, code: &'static str) -> [&'static str; 8] {
    let [verb, group, version, resource, subresource, scope, component] = route.values();
    [verb, group, version, resource, subresource, scope, component, code]
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::ReadOnly => "readOnly",
        Kind::Mutating => "mutating",
    }
}

const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;
/// In seconds, from over to a year, as Kubernetes' servers have them.
const CERTIFICATE_LIFE: [f64; 14] = [
    0.0,
    HOUR / 2.0,
    HOUR,
    2.0 * HOUR,
    6.0 * HOUR,
    12.0 * HOUR,
    DAY,
    2.0 * DAY,
    4.0 * DAY,
    7.0 * DAY,
    30.0 * DAY,
    90.0 * DAY,
    180.0 * DAY,
    365.0 * DAY,
];
