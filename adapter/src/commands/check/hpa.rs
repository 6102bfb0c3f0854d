//! `--hpa FILE`: whether the rules make the metrics that an HPA names, and whether its targets can be meant.

use std::path::Path;

use apiservice::quantity::Quantity;
use rules::policy::OnEmpty;
use rules::resource::{GroupResource, ResourceMapper as _, StaticMapper};
use rules::{Maker, RuleSet};
use serde::Deserialize;
use serde_saphyr::Spanned;
use serve::{error_chain, files};

use super::diagnostic::{Diagnostic, FileReport, Place, Severity};

/// A document of the file, as far as it is looked at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    api_version: Option<Spanned<String>>,
    kind: Option<Spanned<String>>,
    spec: Option<Spec>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    min_replicas: Option<Spanned<i64>>,
    max_replicas: Option<Spanned<i64>>,
    #[serde(default)]
    metrics: Vec<Metric>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metric {
    r#type: Spanned<String>,
    pods: Option<Asked>,
    object: Option<Asked>,
    external: Option<Asked>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    metric: Named,
    target: Target,
    described_object: Option<Described>,
}

#[derive(Deserialize)]
struct Named {
    name: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    r#type: Spanned<String>,
    value: Option<Spanned<Text>>,
    average_value: Option<Spanned<Text>>,
}

/// A quantity as written: quoted or a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Whole(i64),
    Number(f64),
    Quoted(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    api_version: Option<String>,
    kind: Spanned<String>,
}

/// Checks the autoscalers of a file against rules.
pub(super) fn check(path: &Path, rules: &RuleSet) -> FileReport {
    let name = path.display().to_string();
    let text = match files::read_text(path, LARGEST_FILE) {
        Ok(text) => text,
        Err(error) => {
            return FileReport::unread(
                name,
                format!("cannot read {}: {}", path.display(), error_chain(&error)),
            );
        }
    };
    let documents: Vec<Document> = match serde_saphyr::from_multiple(&text) {
        Ok(documents) => documents,
        Err(error) => {
            let message = error.to_string();
            let message = message.lines().next().unwrap_or_default();
            return FileReport::unread(
                name,
                format!("expected a HorizontalPodAutoscaler of autoscaling/v2: {message}"),
            );
        }
    };
    let mut check = Check { rules, mapper: StaticMapper::built_in(), found: Vec::new() };
    let is_one = |document: &&Document| {
        document.kind.as_ref().is_some_and(|kind| kind.value == "HorizontalPodAutoscaler")
    };
    let autoscalers = documents.iter().filter(is_one).count();
    documents.iter().filter(is_one).for_each(|document| check.autoscaler(document));
    let mut diagnostics = check.found;
    if autoscalers == 0 {
        let kinds: Vec<&str> =
            documents.iter().filter_map(|document| Some(document.kind.as_ref()?.value.as_str())).collect();
        let found = if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") };
        let place = Place { path: String::new(), line: 1, column: 1, width: 0 };
        diagnostics.push(Diagnostic::new(
            Severity::Refused,
            "hpa-version",
            format!("expected an object of the kind HorizontalPodAutoscaler, found {found}"),
            place,
        ));
    }
    diagnostics.sort_by_key(Diagnostic::position);
    let served = diagnostics.iter().all(|found| found.severity != Severity::Refused);
    let summary = served.then(|| format!("{autoscalers} autoscalers"));
    FileReport { name, text, diagnostics, summary, ..FileReport::default() }
}

struct Check<'r> {
    rules: &'r RuleSet,
    mapper: StaticMapper,
    found: Vec<Diagnostic>,
}

impl Check<'_> {
    fn autoscaler(&mut self, document: &Document) {
        if let Some(version) = document.api_version.as_ref().filter(|version| version.value != VERSION) {
            let message = format!(
                "expected {VERSION}, found {}: Kubernetes serves no other version with these metrics since 1.26",
                version.value
            );
            self.find(Severity::Refused, "hpa-version", message, version, "apiVersion");
            return;
        }
        let Some(spec) = &document.spec else { return };
        let zero = spec.min_replicas.as_ref().filter(|replicas| replicas.value == 0);
        if let (Some(least), Some(most)) = (&spec.min_replicas, &spec.max_replicas)
            && least.value > most.value
        {
            let message =
                format!("expected minReplicas of at most maxReplicas, {}, found {}", most.value, least.value);
            self.find(Severity::NeverAnswers, "hpa-replicas", message, least, "spec.minReplicas");
        }
        for (index, metric) in spec.metrics.iter().enumerate() {
            self.metric(&format!("spec.metrics[{index}]"), metric, zero.is_some());
        }
        let of_none = |metric: &Metric| !matches!(metric.r#type.value.as_str(), "Object" | "External");
        if let Some(replicas) = zero.filter(|_| spec.metrics.iter().all(of_none)) {
            let message = "expected an Object or External metric beside minReplicas: 0, found none: there are no pods to \
                           read a metric of"
                .to_owned();
            self.find(Severity::NeverAnswers, "hpa-scale-to-zero", message, replicas, "spec.minReplicas");
        }
    }

    fn metric(&mut self, path: &str, metric: &Metric, zero: bool) {
        let (field, asked) = match metric.r#type.value.as_str() {
            "Pods" => ("pods", &metric.pods),
            "Object" => ("object", &metric.object),
            "External" => ("external", &metric.external),
            // They are the use of CPU and memory, from whichever server.
            "Resource" | "ContainerResource" => return,
            other => {
                let message = format!(
                    "expected one of ContainerResource, External, Object, Pods, Resource, found {other:?}"
                );
                let path = format!("{path}.type");
                self.find(Severity::NeverAnswers, "hpa-metric", message, &metric.r#type, &path);
                return;
            }
        };
        let Some(asked) = asked else {
            let message = format!("expected the field {field} beside the type {}", metric.r#type.value);
            self.find(Severity::NeverAnswers, "hpa-metric", message, &metric.r#type, path);
            return;
        };
        let path = format!("{path}.{field}");
        let maker = match field {
            "external" => self.external(&path, asked),
            "pods" => self.custom(&path, asked, &GroupResource::new("", "pods")),
            _ => match self.described(&path, asked) {
                Some(resource) => self.custom(&path, asked, &resource),
                None => None,
            },
        };
        if let Some(maker) = maker.filter(|_| zero && field != "pods")
            && let Some(why) = why_not_from_zero(&maker)
        {
            let message =
                format!("with minReplicas: 0 this metric must have a value when no pod runs; {why}");
            let name = &asked.metric.name;
            self.find(Severity::Warning, "hpa-scale-to-zero", message, name, &format!("{path}.metric.name"));
        }
        self.target(&format!("{path}.target"), asked, field);
    }

    fn external(&mut self, path: &str, asked: &Asked) -> Option<Maker> {
        let name = &asked.metric.name;
        let maker = self.rules.external_maker(&name.value);
        if maker.is_none() {
            let hint = match self.rules.any_custom_maker(&name.value) {
                Some(other) => {
                    format!("; {} makes a custom metric of this name: type Pods or Object", other.rule)
                }
                None => self.near(&name.value),
            };
            let message = format!("no rule of externalRules makes the metric {:?}{hint}", name.value);
            self.find(Severity::NeverAnswers, "hpa-metric", message, name, &format!("{path}.metric.name"));
        }
        maker
    }

    fn custom(&mut self, path: &str, asked: &Asked, resource: &GroupResource) -> Option<Maker> {
        let name = &asked.metric.name;
        let maker = self.rules.custom_maker(resource, &name.value, &self.mapper);
        if maker.is_none() {
            let hint = if let Some(other) = self.rules.any_custom_maker(&name.value) {
                format!("; {} makes it, and maps no label to {resource}", other.rule)
            } else if let Some(other) = self.rules.external_maker(&name.value) {
                format!("; {} makes an external metric of this name: type External", other.rule)
            } else {
                self.near(&name.value)
            };
            let message = format!("no rule makes the metric {:?} of {resource}{hint}", name.value);
            self.find(Severity::NeverAnswers, "hpa-metric", message, name, &format!("{path}.metric.name"));
        }
        maker
    }

    /// The resource of an Object metric.
    fn described(&mut self, path: &str, asked: &Asked) -> Option<GroupResource> {
        let object = asked.described_object.as_ref()?;
        let version = object.api_version.as_deref().unwrap_or("v1");
        let group = version.split_once('/').map_or("", |(group, _)| group);
        let kind = self.mapper.kind_for(&object.kind.value, group);
        if kind.is_none() {
            let message = format!(
                "{} of {version} is not a kind of Kubernetes itself; whether the rules map it is not looked at",
                object.kind.value
            );
            let path = format!("{path}.describedObject.kind");
            self.find(Severity::Note, "hpa-metric", message, &object.kind, &path);
        }
        Some(kind?.group_resource())
    }

    fn target(&mut self, path: &str, asked: &Asked, field: &str) {
        let target = &asked.target;
        let value = match (target.r#type.value.as_str(), field) {
            ("AverageValue", _) => &target.average_value,
            ("Value", "object" | "external") => &target.value,
            (found, _) => {
                let expected = if field == "pods" { "AverageValue" } else { "AverageValue or Value" };
                let message = format!("expected the target type {expected}, found {found:?}");
                self.find(
                    Severity::NeverAnswers,
                    "hpa-target",
                    message,
                    &target.r#type,
                    &format!("{path}.type"),
                );
                return;
            }
        };
        let Some(value) = value else {
            let message = format!("expected a value beside the target type {}", target.r#type.value);
            self.find(Severity::NeverAnswers, "hpa-target", message, &target.r#type, path);
            return;
        };
        let text = match &value.value {
            Text::Whole(number) => number.to_string(),
            Text::Number(number) => number.to_string(),
            Text::Quoted(text) => text.clone(),
        };
        match Quantity::parse(&text) {
            Err(error) => self.find(Severity::NeverAnswers, "hpa-target", error.to_string(), value, path),
            Ok(quantity) if quantity.milli() <= 0 => {
                let message = format!("expected a target above 0, found {text}");
                self.find(Severity::NeverAnswers, "hpa-target", message, value, path);
            }
            Ok(quantity) => {
                if let Some(message) = odd_target(&asked.metric.name.value, quantity.as_f64(), &text) {
                    self.find(Severity::Warning, "hpa-target", message, value, path);
                }
            }
        }
    }

    fn near(&self, metric: &str) -> String {
        let known: Vec<String> = self.rules.spelled_out_metrics().take(MOST_NAMES).collect();
        rules::suggestion(metric, known.iter().map(String::as_str))
    }

    fn find<T>(
        &mut self,
        severity: Severity,
        name: &'static str,
        message: String,
        at: &Spanned<T>,
        path: &str,
    ) {
        let location = at.referenced;
        let place = Place {
            path: path.to_owned(),
            line: location.line() as usize,
            column: location.column() as usize,
            width: 0,
        };
        self.found.push(Diagnostic::new(severity, name, message, place));
    }
}

/// What of a rule keeps an autoscaler from leaving zero replicas; `None` for a rule that always has a value.
fn why_not_from_zero(maker: &Maker) -> Option<String> {
    let rule = maker.rule;
    match maker.policy.on_empty {
        OnEmpty::NotFound => Some(format!("{rule} says nothing of no samples")),
        OnEmpty::Last(_) => {
            Some(format!("{rule} has one only as long as onEmpty: {}", maker.policy.on_empty))
        }
        OnEmpty::Zero if maker.stays_listed => None,
        OnEmpty::Zero => Some(format!(
            "{rule} is not listed without series: its seriesQuery must spell out the series' name and, beside a template, the \
             object's label"
        )),
    }
}

/// A target that the metric's unit makes odd. `m` is a thousandth of whatever the unit is.
fn odd_target(metric: &str, target: f64, text: &str) -> Option<String> {
    let says = |units: &[&str]| metric.split(['_', ':']).any(|word| units.contains(&word));
    if says(&["ratio", "perc"]) && target > 1.0 {
        Some(format!(
            "a ratio is from 0 to 1, so that a target of {text} is never reached; 80 percent of it is 800m"
        ))
    } else if says(&["percent", "percentage", "pct"]) && target < 1.0 {
        Some(format!("{text} is less than 1 percent; 80 percent is 80"))
    } else if says(&["ms", "millis", "milliseconds"]) && target < 1.0 {
        Some(format!(
            "{text} is less than a millisecond: m is a thousandth of the metric's unit, not milliseconds"
        ))
    } else if says(&["seconds"]) && !says(&["total"]) && target >= 100.0 {
        Some(format!("{text} is {target} seconds; 200 milliseconds are 200m"))
    } else {
        None
    }
}

const VERSION: &str = "autoscaling/v2";
/// In bytes; an object in a cluster has no more.
const LARGEST_FILE: usize = 2 << 20;
/// That a name is compared with.
const MOST_NAMES: usize = 1_000;
