//! The objects in the cluster, and the series about them.

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Objects of each kind are called alike, so that a label of any kind leads to one.
pub const NAMES: [&str; 3] = ["model-a", "model-b", "model-c"];

/// Pods, Services and Deployments of three names, a pod without metrics, two nodes, a second namespace.
pub(super) fn objects() -> String {
    let mut text =
        String::from("apiVersion: v1\nkind: Namespace\nmetadata: {name: other, labels: {team: x}}\n");
    for (node, zone) in [("node0", "a"), ("node1", "b")] {
        let _ = write!(
            text,
            "---\napiVersion: v1\nkind: Node\nmetadata: {{name: {node}, labels: {{zone: {zone}}}}}\n"
        );
    }
    for (name, tier) in NAMES.into_iter().zip(["front", "back", "back"]).chain([("silent", "none")]) {
        let labels = format!("{{app: model, tier: {tier}}}");
        let _ = write!(
            text,
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: default, labels: {labels}}}\n\
             spec:\n  nodeName: node0\n  containers: [{{name: app, image: x}}, {{name: sidecar, image: x}}]\n"
        );
        if name == "silent" {
            continue;
        }
        let _ = write!(
            text,
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default, labels: {labels}}}\n\
             spec: {{ports: [{{port: 80}}]}}\n\
             ---\napiVersion: apps/v1\nkind: Deployment\n\
             metadata: {{name: {name}, namespace: default, labels: {labels}}}\nspec:\n  replicas: 0\n  \
             selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    \
             spec: {{containers: [{{name: app, image: x}}]}}\n"
        );
    }
    text
}

/// One series of a rule file: its name and its labels' names.
pub type Shape = (String, Vec<String>);

/// What Prometheus scrapes: the series of our own rules, and three for each shape. `tick` makes counters grow.
pub(super) fn exposition(shapes: &BTreeSet<Shape>, tick: u32) -> String {
    let mut text = String::new();
    let grown = f64::from(tick);
    for (index, name) in NAMES.into_iter().enumerate() {
        let node = ["node0", "node1", "node0"][index];
        let labels = format!(
            r#"{{namespace="default",pod="{name}",service="{name}",deployment="{name}",node="{node}"}}"#
        );
        let rate = [3.0, 5.0, 7.0][index];
        for (series, value) in [
            ("depth", ["0", "7.5", "1234567.8912"][index].to_owned()),
            ("fraction", ["40", "99.9995", "0.0004"][index].to_owned()),
            ("infinite", ["NaN", "+Inf", "-12.5"][index].to_owned()),
            ("huge", ["1e-9", "1e18", "9223372036854775807"][index].to_owned()),
            ("requests_total", (rate * grown).to_string()),
            ("latency_seconds_sum", (rate * grown / 7.0).to_string()),
            ("latency_seconds_count", (rate * grown).to_string()),
        ] {
            let _ = writeln!(text, "{series}{labels} {value}");
        }
        for (container, share) in [("app", 0.5), ("sidecar", 0.25)] {
            let labels = format!(
                r#"{{namespace="default",pod="{name}",container="{container}",instance="{node}",id="/{name}/{container}"}}"#
            );
            let _ =
                writeln!(text, "container_cpu_usage_seconds_total{labels} {}", share * grown / (rate + 1.0));
            let _ = writeln!(text, "container_memory_working_set_bytes{labels} {}", 1e6 * (rate + share));
        }
    }
    for (index, node) in ["node0", "node1"].into_iter().enumerate() {
        let more = if index == 0 { 0.0 } else { 1.0 };
        let _ = writeln!(text, r#"node_power_watts{{node="{node}"}} {}"#, 100.0 + more);
        let labels = format!(r#"{{id="/",instance="{node}"}}"#);
        let _ = writeln!(text, "container_cpu_usage_seconds_total{labels} {}", grown * (0.75 + more));
        let _ = writeln!(text, "container_memory_working_set_bytes{labels} {}", 5e9 + more);
    }
    for (namespace, queue, value) in
        [("default", "a.b", 3), ("default", "c d", 9), ("default", "e", 0), ("other", "e", 11)]
    {
        let _ = writeln!(text, r#"queue_length{{namespace="{namespace}",queue="{queue}"}} {value}"#);
    }
    let _ = writeln!(text, r#"jobs_waiting{{tier="batch"}} 42"#);
    let mut seen = BTreeSet::new();
    for (number, (series, labels)) in shapes.iter().enumerate() {
        for (index, name) in NAMES.into_iter().enumerate() {
            let pairs: Vec<String> =
                labels.iter().map(|label| format!(r#"{label}="{}""#, value_of(label, name, index))).collect();
            let series = if is_plain(series) {
                format!("{series}{{{}}}", pairs.join(","))
            } else {
                format!("{{\"{series}\",{}}}", pairs.join(","))
            };
            // Labels of two names may have one value, and some series are above.
            if !seen.insert(series.clone()) || text.contains(&series) {
                continue;
            }
            let value = grown * f64::from(u32::try_from(number % 7 + index + 1).unwrap_or(1)) / 3.0;
            let _ = writeln!(text, "{series} {value}");
        }
    }
    text
}

/// Whether a name stands outside quotes.
fn is_plain(series: &str) -> bool {
    series.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':')
}

/// The value by which a label of a public rule file names an object of ours.
fn value_of(label: &str, name: &'static str, index: usize) -> &'static str {
    let label = label.to_lowercase();
    if label.contains("namespace") {
        "default"
    } else if label.contains("node") || label == "instance" || label == "machine" {
        ["node0", "node1", "node0"][index]
    } else {
        name
    }
}
