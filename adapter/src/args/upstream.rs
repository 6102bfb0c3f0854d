//! Upstream's flags without effect here.

/// A flag of upstream's that is taken without effect.
pub(super) struct Ignored {
    pub(super) name: &'static str,
    /// Whether a value belongs to it.
    pub(super) takes_value: bool,
    /// Why it has no effect.
    pub(super) why: &'static str,
}

/// The flag of a name, if it is one without effect here.
pub(super) fn ignored(name: &str) -> Option<&'static Ignored> {
    IGNORED.iter().find(|ignored| ignored.name == name)
}

/// All flags that are taken without effect.
pub(super) fn all_ignored() -> impl Iterator<Item = &'static Ignored> {
    IGNORED.iter()
}

const fn value(name: &'static str, why: &'static str) -> Ignored {
    Ignored { name, takes_value: true, why }
}

const fn switch(name: &'static str, why: &'static str) -> Ignored {
    Ignored { name, takes_value: false, why }
}

const LOGGING: &str = "logs are written to standard error without buffering";
const AUDIT: &str =
    "the audit log never blocks a request, writes whole events, and drops those that find its queue full";
const AUDIT_COMPRESS: &str = "rotated audit logs are not compressed";
const AUDIT_WEBHOOK: &str = "audit events are written to a file or standard output only";
const THROTTLE: &str = "objects are watched, so there are few requests to the Kubernetes API";
const PROFILING: &str = "there is no Go runtime to profile";
const SOCKET: &str = "the listening socket is not shared";

const IGNORED: &[Ignored] = &[
    value("vmodule", LOGGING),
    value("log-flush-frequency", LOGGING),
    switch("logtostderr", LOGGING),
    switch("alsologtostderr", LOGGING),
    value("stderrthreshold", LOGGING),
    value("log-dir", LOGGING),
    value("log-file", LOGGING),
    value("log-file-max-size", LOGGING),
    value("log-backtrace-at", LOGGING),
    switch("skip-headers", LOGGING),
    switch("skip-log-headers", LOGGING),
    switch("add-dir-header", LOGGING),
    switch("one-output", LOGGING),
    value("client-qps", THROTTLE),
    value("client-burst", THROTTLE),
    value("tls-curve-preferences", "the key exchange groups of the TLS library are used"),
    switch("permit-port-sharing", SOCKET),
    switch("permit-address-sharing", SOCKET),
    switch("profiling", PROFILING),
    switch("contention-profiling", PROFILING),
    value("debug-socket-path", PROFILING),
    switch(
        "enable-priority-and-fairness",
        "requests are limited by number; kube-apiserver's own fairness covers the rest",
    ),
    switch("audit-log-compress", AUDIT_COMPRESS),
    value("audit-log-mode", AUDIT),
    value("audit-log-batch-buffer-size", AUDIT),
    value("audit-log-batch-max-size", AUDIT),
    value("audit-log-batch-max-wait", AUDIT),
    switch("audit-log-batch-throttle-enable", AUDIT),
    value("audit-log-batch-throttle-qps", AUDIT),
    value("audit-log-batch-throttle-burst", AUDIT),
    switch("audit-log-truncate-enabled", AUDIT),
    value("audit-log-truncate-max-batch-size", AUDIT),
    value("audit-log-truncate-max-event-size", AUDIT),
    value("audit-webhook-config-file", AUDIT_WEBHOOK),
    value("audit-webhook-initial-backoff", AUDIT_WEBHOOK),
    value("audit-webhook-batch-initial-backoff", AUDIT_WEBHOOK),
    value("audit-webhook-version", AUDIT_WEBHOOK),
    value("audit-webhook-mode", AUDIT_WEBHOOK),
    value("audit-webhook-batch-buffer-size", AUDIT_WEBHOOK),
    value("audit-webhook-batch-max-size", AUDIT_WEBHOOK),
    value("audit-webhook-batch-max-wait", AUDIT_WEBHOOK),
    switch("audit-webhook-batch-throttle-enable", AUDIT_WEBHOOK),
    value("audit-webhook-batch-throttle-qps", AUDIT_WEBHOOK),
    value("audit-webhook-batch-throttle-burst", AUDIT_WEBHOOK),
    switch("audit-webhook-truncate-enabled", AUDIT_WEBHOOK),
    value("audit-webhook-truncate-max-batch-size", AUDIT_WEBHOOK),
    value("audit-webhook-truncate-max-event-size", AUDIT_WEBHOOK),
];
