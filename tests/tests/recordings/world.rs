//! What the recordings were made over, made again: objects, callers, and the values that Prometheus scrapes.

use std::fmt::Write as _;

/// Labels that the recorded Prometheus gave to every series; ours would give others.
const TARGET: &str = r#"job="m",instance="127.0.0.1:18080""#;

const PODS: [(&str, &str); 3] = [("model-a", "node0"), ("model-b", "node1"), ("model-c", "node0")];

/// The values; `tick` makes counters grow.
pub(crate) fn exposition(tick: u32) -> String {
    let mut text = String::new();
    let grown = f64::from(tick);
    for (index, (pod, node)) in PODS.into_iter().enumerate() {
        let labels = format!(r#"{{namespace="default",pod="{pod}",service="model",node="{node}",{TARGET}}}"#);
        let share = [1.0, 2.0, 3.0][index];
        for (series, value) in [
            ("request_queue_depth", ["0", "7.5", "1234567.8912"][index].to_owned()),
            ("gpu_utilization_percent", ["40", "99.9995", "0.0004"][index].to_owned()),
            ("weird_value", ["NaN", "+Inf", "-12.5"][index].to_owned()),
            ("tiny_value", ["1e-9", "1e18", "9223372036854775807"][index].to_owned()),
            ("inference_latency_seconds_sum", (0.25 * share * grown).to_string()),
            ("inference_latency_seconds_count", grown.to_string()),
            ("http_requests_total", (share * grown).to_string()),
        ] {
            let _ = writeln!(text, "{series}{labels} {value}");
        }
        for container in ["app", "sidecar"] {
            let labels = format!(r#"{{namespace="default",pod="{pod}",container="{container}",{TARGET}}}"#);
            let _ = writeln!(text, "container_cpu_usage_seconds_total{labels} {}", 0.1 * share * grown);
            let _ = writeln!(text, "container_memory_working_set_bytes{labels} {}", 1e6 * share);
        }
    }
    for (node, watts, bytes) in [("node0", 100, 5e9), ("node1", 101, 5e9 + 1.0)] {
        let _ = writeln!(text, r#"node_power_watts{{node="{node}",{TARGET}}} {watts}"#);
        let labels = format!(r#"{{id="/",instance="{node}",job="m"}}"#);
        let _ = writeln!(text, "container_cpu_usage_seconds_total{labels} {}", 0.3 * grown);
        let _ = writeln!(text, "container_memory_working_set_bytes{labels} {bytes}");
    }
    for (namespace, queue, value) in
        [("default", "a.b", 3), ("default", "c d", 9), ("default", "e", 0), ("other", "e", 11)]
    {
        let _ =
            writeln!(text, r#"sqs_queue_length{{namespace="{namespace}",queue="{queue}",{TARGET}}} {value}"#);
    }
    let _ = writeln!(text, r#"cluster_wide_jobs{{tier="gold",{TARGET}}} 42"#);
    text
}
