//! The text format of OpenMetrics 1.0, which the `prometheus` crate does not write.

use std::io::Write as _;

use prometheus::proto::{LabelPair, MetricFamily, MetricType};
use serve::quality_list;

/// How metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The format that an `Accept` header asks for: OpenMetrics only if it is named and not less welcome than plain
    /// text.
    pub fn of(accept: Option<&str>) -> Format {
        let mut best = (Format::Text, 0.0);
        for range in quality_list(accept.unwrap_or_default().as_bytes()) {
            let format = match range.value.trim() {
                "application/openmetrics-text" => Format::OpenMetrics,
                "text/plain" | "text/*" | "*/*" => Format::Text,
                _ => continue,
            };
            let weight = range.weight();
            if weight > best.1 {
                best = (format, weight);
            }
        }
        best.0
    }

    /// The `Content-Type` of the answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

pub(super) fn write(families: &[MetricFamily], text: &mut Vec<u8>) {
    for family in families {
        let kind = family.get_field_type();
        // The family of a counter has the name without the suffix that its samples have.
        let name = match kind {
            MetricType::COUNTER => family.name().strip_suffix("_total").unwrap_or(family.name()),
            _ => family.name(),
        };
        let word = match kind {
            MetricType::COUNTER => "counter",
            MetricType::GAUGE => "gauge",
            MetricType::HISTOGRAM => "histogram",
            MetricType::SUMMARY => "summary",
            MetricType::UNTYPED => "unknown",
        };
        line(text, format_args!("# HELP {name} {}", escape(family.help())));
        line(text, format_args!("# TYPE {name} {word}"));
        for metric in family.get_metric() {
            let labels = metric.get_label();
            match kind {
                MetricType::COUNTER => {
                    sample(text, name, "_total", labels, None, metric.get_counter().get_value());
                }
                MetricType::HISTOGRAM => {
                    let histogram = metric.get_histogram();
                    let count = histogram.get_sample_count();
                    for bucket in histogram.get_bucket() {
                        let bound = number(bucket.upper_bound());
                        let below = bucket.cumulative_count() as f64;
                        sample(text, name, "_bucket", labels, Some(("le", &bound)), below);
                    }
                    sample(text, name, "_bucket", labels, Some(("le", "+Inf")), count as f64);
                    sample(text, name, "_sum", labels, None, histogram.get_sample_sum());
                    sample(text, name, "_count", labels, None, count as f64);
                }
                // Nothing here registers a summary or an untyped metric.
                MetricType::GAUGE | MetricType::SUMMARY | MetricType::UNTYPED => {
                    sample(text, name, "", labels, None, metric.get_gauge().get_value());
                }
            }
        }
    }
    line(text, format_args!("# EOF"));
}

fn sample(
    text: &mut Vec<u8>,
    name: &str,
    suffix: &str,
    labels: &[LabelPair],
    extra: Option<(&str, &str)>,
    value: f64,
) {
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(suffix.as_bytes());
    let pairs = labels.iter().map(|pair| (pair.name(), pair.value())).chain(extra);
    let mut separator = b'{';
    for (name, value) in pairs {
        text.push(separator);
        separator = b',';
        // Writing to memory does not fail.
        let _ = write!(text, "{name}=\"{}\"", escape(value));
    }
    if separator == b',' {
        text.push(b'}');
    }
    let _ = writeln!(text, " {value}");
}

fn line(text: &mut Vec<u8>, content: std::fmt::Arguments<'_>) {
    let _ = writeln!(text, "{content}");
}

/// A bound is always written as a float.
fn number(value: f64) -> String {
    format!("{value:?}")
}

fn escape(value: &str) -> std::borrow::Cow<'_, str> {
    if value.contains(['\\', '"', '\n']) {
        value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").into()
    } else {
        value.into()
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{HistogramOpts, IntCounterVec, Opts, Registry};

    use super::*;

    #[test]
    fn the_header_decides() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                          text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, expected) in [
            (None, Format::Text),
            (Some("*/*"), Format::Text),
            (Some("text/plain"), Format::Text),
            (Some(prometheus), Format::OpenMetrics),
            (Some("application/openmetrics-text"), Format::OpenMetrics),
            (Some("text/plain, application/openmetrics-text;q=0.5"), Format::Text),
            (Some("application/openmetrics-text;q=0"), Format::Text),
            (Some("application/openmetrics-text;q=nonsense"), Format::Text),
            (Some("application/openmetrics-text; q = 0.5, text/plain;q=0.3"), Format::OpenMetrics),
            (Some("application/openmetrics-text;q=1;q=0.1, text/plain;q=0.3"), Format::Text),
        ] {
            assert_eq!(Format::of(accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn counters_and_histograms_are_written_as_openmetrics_has_them() {
        let registry = Registry::new();
        let counter =
            IntCounterVec::new(Opts::new("things_total", "All \"things\"."), &["kind"]).expect("valid");
        registry.register(Box::new(counter.clone())).expect("registered once");
        counter.with_label_values(&["a\"b\\c"]).inc_by(3);
        let histogram =
            prometheus::Histogram::with_opts(HistogramOpts::new("size", "Sizes.").buckets(vec![0.5, 2.0]))
                .expect("valid");
        registry.register(Box::new(histogram.clone())).expect("registered once");
        histogram.observe(1.0);
        let mut text = Vec::new();
        write(&registry.gather(), &mut text);
        let expected = "# HELP size Sizes.\n\
                        # TYPE size histogram\n\
                        size_bucket{le=\"0.5\"} 0\n\
                        size_bucket{le=\"2.0\"} 1\n\
                        size_bucket{le=\"+Inf\"} 1\n\
                        size_sum 1\n\
                        size_count 1\n\
                        # HELP things All \\\"things\\\".\n\
                        # TYPE things counter\n\
                        things_total{kind=\"a\\\"b\\\\c\"} 3\n\
                        # EOF\n";
        assert_eq!(String::from_utf8(text).expect("text"), expected);
    }
}
