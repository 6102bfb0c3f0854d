//! An explanation as text: the cause first, then a line for each step.

use std::fmt;

use super::{
    Explanation, ListingSeen, ObjectsSelected, QueryAsked, RuleUsed, SampleSeen, SamplesSeen, ValueShown,
    counted,
};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Explanation { cause, asked, answer, .. } = self;
        writeln!(f, "{}\n", cause.message)?;
        line(f, "asked", asked)?;
        match &answer.message {
            Some(message) => line(f, "answer", format_args!("{} {message}", answer.code))?,
            None => line(f, "answer", format_args!("{}, {}", answer.code, counted(answer.values, "value")))?,
        }
        if let Some(rule) = &self.rule {
            write_rule(f, rule)?;
        }
        for (at, other) in self.other_rules.iter().enumerate() {
            line(f, if at == 0 { "others" } else { "" }, format_args!("{} {}", other.id, other.why))?;
        }
        if let Some(ObjectsSelected { by, count: number, names }) = &self.objects {
            line(f, "objects", format_args!("{number} {by}{}", listed(": ", names, *number)))?;
        }
        if let Some(query) = &self.query {
            write_query(f, query)?;
        }
        if let Some(samples) = &self.samples {
            write_samples(f, samples)?;
        }
        for (at, ValueShown { object, value, age_seconds, policy }) in self.values.iter().enumerate() {
            let object = object.as_deref().unwrap_or("-");
            let name = if at == 0 { "values" } else { "" };
            let by = policy.as_ref().map(|policy| format!("  by {policy}")).unwrap_or_default();
            line(f, name, format_args!("{object}  {value}  {}{by}", age(*age_seconds)))?;
        }
        for (at, further) in self.further.iter().enumerate() {
            line(f, if at == 0 { "further" } else { "" }, further)?;
        }
        for (at, warning) in self.warnings.iter().enumerate() {
            line(f, if at == 0 { "warnings" } else { "" }, warning)?;
        }
        if let Some(permission) = &self.missing_permission {
            line(f, "left out", format_args!("texts of rules and queries: they need {permission}"))?;
        }
        Ok(())
    }
}

fn write_rule(f: &mut fmt::Formatter<'_>, rule: &RuleUsed) -> fmt::Result {
    line(f, "rule", format_args!("{} {}", rule.id, rule.why))?;
    if let Some(text) = &rule.series_query {
        line(f, "", format_args!("seriesQuery: {text}"))?;
    }
    if let Some(text) = &rule.metrics_query {
        line(f, "", format_args!("metricsQuery: {text}"))?;
    }
    if let Some(label) = &rule.object_label {
        line(f, "", format_args!("objects by the label {label:?}"))?;
    }
    if let Some(label) = &rule.namespace_label {
        line(f, "", format_args!("namespaces by the label {label:?}"))?;
    }
    line(
        f,
        "series",
        format_args!("{}{}", rule.series, listed(" with the labels ", &rule.labels, rule.label_count)),
    )?;
    if let Some(ListingSeen { age_seconds, failed, found, dropped, unmapped, metrics }) = &rule.listing {
        line(
            f,
            "",
            format_args!(
                "listed {}: {found} kinds of series, {dropped} dropped by filters or names, {unmapped} without a label \
                 of a resource, {}",
                age(*age_seconds),
                counted(*metrics, "metric"),
            ),
        )?;
        if let Some(failed) = failed {
            line(f, "", format_args!("the last listing failed: {failed}"))?;
        }
    }
    Ok(())
}

fn write_query(f: &mut fmt::Formatter<'_>, query: &QueryAsked) -> fmt::Result {
    let QueryAsked { source, promql, window_seconds, took_seconds, samples, histograms, error, warnings } =
        query;
    line(f, "query", promql.as_deref().unwrap_or("(left out)"))?;
    let window = window_seconds.map(|seconds| format!(" over {seconds} s")).unwrap_or_default();
    if let Some(error) = error {
        line(f, "", format_args!("asked {source}{window}: {error}"))?;
    } else {
        let histograms = match histograms {
            0 => String::new(),
            number => format!(" and {}", counted(*number, "native histogram")),
        };
        line(
            f,
            "",
            format_args!(
                "asked {source}{window}: {}{histograms} in {:.0} ms",
                counted(*samples, "sample"),
                took_seconds * 1000.0
            ),
        )?;
    }
    for warning in warnings {
        line(f, "", format_args!("{source} warns: {warning}"))?;
    }
    Ok(())
}

fn write_samples(f: &mut fmt::Formatter<'_>, samples: &SamplesSeen) -> fmt::Result {
    let SamplesSeen { shown, more, of_other_namespaces, of_other_objects, without_object } = samples;
    let mut name = "samples";
    for SampleSeen { object, labels, value, age_seconds, fate } in shown {
        let labels: Vec<String> = labels.iter().map(|(label, text)| format!("{label}={text:?}")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!(" {{{}}}", labels.join(", ")) };
        let object = object.as_deref().unwrap_or("-");
        line(f, name, format_args!("{object}{labels}  {value}  {}: {fate}", age(*age_seconds)))?;
        name = "";
    }
    for (number, of) in [
        (more, "more of what was asked for"),
        (of_other_namespaces, "of other namespaces"),
        (of_other_objects, "of other objects"),
        (without_object, "without the label of the object"),
    ] {
        if *number > 0 {
            line(f, name, format_args!("{number} {of}"))?;
            name = "";
        }
    }
    Ok(())
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, text: impl fmt::Display) -> fmt::Result {
    writeln!(f, "{name:<10}{text}")
}

fn listed(before: &str, names: &[String], count: usize) -> String {
    if names.is_empty() {
        return String::new();
    }
    let more = count.saturating_sub(names.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{before}{}{more}", names.join(", "))
}

fn age(seconds: f64) -> String {
    format!("{seconds:.1} s ago")
}
