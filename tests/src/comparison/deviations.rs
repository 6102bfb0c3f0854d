//! What upstream answered becomes, number by number of `docs/contract.md`, what it should have answered.
//!
//! Each number acts at its own place only. Where a text is ours alone (the cause of a failure, say) it is taken from
//! our answer, after a look at whether it says what it must; nothing that is being compared is copied.

use super::exchange::{Exchange, Sample};
use super::json::Json;
use super::normal::{Body, Layout, Normal, name_of};

/// Where an answer is corrected, and what a correction may look at.
struct Context<'a> {
    exchange: &'a Exchange,
    ours: &'a Normal,
    segments: Vec<String>,
}

type Correction = fn(&mut Normal, &Context<'_>);

/// Corrects an answer and says by which numbers.
pub(super) fn correct(expected: &mut Normal, exchange: &Exchange, ours: &Normal) -> Vec<&'static str> {
    let context = Context { exchange, ours, segments: exchange.request.segments() };
    let mut numbers = Vec::new();
    for (number, correction) in CORRECTIONS {
        let before = expected.clone();
        correction(expected, &context);
        if *expected != before {
            numbers.push(number);
        }
    }
    numbers
}

/// In the order in which they act: texts of errors before what an error becomes, the shape of an item before its
/// number.
const CORRECTIONS: [(&str, Correction); 24] = [
    ("D1", aggregated_discovery),
    ("D2", both_versions),
    ("D3", tagged_discovery),
    ("D4", sorted_discovery),
    ("D42", names_in_quotes),
    ("D5", openapi_of_our_own),
    ("D10", metric_selector),
    ("D8", core_version),
    ("D11", external_not_found),
    ("D12", sorted_containers),
    ("D15", escaped),
    ("D72", nodes_without_values),
    ("D23", names_that_are_none),
    ("D24", segment_too_many),
    ("D28", metric_before_objects),
    ("D29", operators_refused),
    ("D9", window),
    ("D25", unholdable),
    ("D16", rounded),
    ("D27", causes),
    ("D40", impersonation),
    ("D45", indicators),
    ("D86", status_page),
    ("D42", names_as_matchers),
];

impl Context<'_> {
    fn group(&self) -> &str {
        if self.segments.first().is_some_and(|first| first == "apis") {
            self.segments.get(1).map_or("", String::as_str)
        } else {
            ""
        }
    }

    /// `/apis`, a group, a group-version.
    fn is_discovery(&self) -> bool {
        self.segments.first().is_some_and(|first| first == "apis") && self.segments.len() <= 3
    }

    /// The segments behind the version.
    fn rest(&self) -> Vec<&str> {
        self.segments.iter().skip(3).map(String::as_str).collect()
    }

    /// Metric and resource of a custom metric.
    fn custom(&self) -> Option<(&str, &str)> {
        match self.rest()[..] {
            _ if self.group() != CUSTOM => None,
            ["namespaces", _, "metrics", metric] => Some((metric, "namespaces")),
            ["namespaces", _, resource, _, metric] | [resource, _, metric] => Some((metric, resource)),
            _ => None,
        }
    }

    /// Namespace and metric of an external metric.
    fn external(&self) -> Option<(&str, &str)> {
        match self.rest()[..] {
            ["namespaces", namespace, metric] if self.group() == EXTERNAL => Some((namespace, metric)),
            _ => None,
        }
    }

    /// The selector that picks series.
    fn series_selector(&self) -> String {
        let parameter = if self.group() == EXTERNAL { "labelSelector" } else { "metricLabelSelector" };
        self.exchange.request.parameter(parameter).unwrap_or_default()
    }

    fn our_message(&self) -> &str {
        self.ours.message().unwrap_or_default()
    }

    /// The last sample that one of whose labels has a value: the last is the one that counts.
    fn sample_of(&self, name: &str) -> Option<&Sample> {
        let samples = self.exchange.ours.samples.iter().rev();
        samples.into_iter().find(|sample| sample.labels.values().any(|value| value == name))
    }

    fn sample_with(&self, labels: &Json) -> Option<&Sample> {
        let none = Vec::new();
        let fields = match labels {
            Json::Object(fields) => fields,
            // A scalar.
            _ => &none,
        };
        self.exchange.ours.samples.iter().find(|sample| {
            sample.labels.len() == fields.len()
                && fields
                    .iter()
                    .all(|(name, value)| sample.labels.get(name).map(String::as_str) == value.as_text())
        })
    }
}

/// `/apis` in its aggregated form lists every group-version that is served.
fn aggregated_discovery(expected: &mut Normal, context: &Context<'_>) {
    let kind = |normal: &Normal| normal.json().and_then(|json| json.get("kind")).cloned();
    let aggregated = Some(Json::text("APIGroupDiscoveryList"));
    if kind(expected) != aggregated || kind(context.ours) != aggregated {
        return;
    }
    let served = |normal: &Normal| -> Vec<String> {
        let items = normal.json().and_then(|json| json.get("items")).map_or(&[][..], Json::entries);
        let mut served = Vec::new();
        for item in items {
            let group = item.at(&["metadata", "name"]).and_then(Json::as_text).unwrap_or_default();
            for version in item.get("versions").map_or(&[][..], Json::entries) {
                let version = version.get("version").and_then(Json::as_text).unwrap_or_default();
                served.push(format!("{group}/{version}"));
            }
        }
        served
    };
    let ours = served(context.ours);
    // What upstream lists must be among ours; custom metrics, where there are any, in both versions.
    let custom = ours.iter().filter(|version| version.starts_with(CUSTOM)).count();
    if served(expected).iter().all(|version| ours.contains(version)) && matches!(custom, 0 | 2) {
        expected.body = context.ours.body.clone();
    }
}

/// The group of custom metrics has two versions.
fn both_versions(expected: &mut Normal, context: &Context<'_>) {
    if !context.is_discovery() {
        return;
    }
    let Some(json) = expected.json_mut() else { return };
    let add = |group: &mut Json| {
        if group.get("name").and_then(Json::as_text) == Some(CUSTOM)
            && let Some(versions) = group.get_mut("versions").and_then(Json::entries_mut)
            && versions.len() == 1
        {
            let version = |name: &str, value: String| (name.to_owned(), Json::Text(value));
            versions.push(Json::Object(vec![
                version("groupVersion", format!("{CUSTOM}/v1beta2")),
                version("version", "v1beta2".to_owned()),
            ]));
        }
    };
    if let Some(groups) = json.get_mut("groups").and_then(Json::entries_mut) {
        groups.iter_mut().for_each(add);
    } else {
        add(json);
    }
}

/// Discovery documents have an ETag.
fn tagged_discovery(expected: &mut Normal, context: &Context<'_>) {
    if context.is_discovery() && expected.code == 200 {
        expected.headers.insert("etag".to_owned(), "(present)".to_owned());
    }
}

/// Discovery is sorted by name.
fn sorted_discovery(expected: &mut Normal, context: &Context<'_>) {
    if context.is_discovery()
        && let Some(entries) = expected.json_mut().and_then(|json| json.get_mut("resources")?.entries_mut())
    {
        entries.sort_by_key(name_of);
    }
}

/// A series whose name needs quotes makes no metric where the rule's query has no place for it.
fn names_in_quotes(expected: &mut Normal, context: &Context<'_>) {
    let plain = |name: &str| {
        let metric = name.rsplit_once('/').map_or(name, |(_, metric)| metric);
        metric.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':')
    };
    if context.is_discovery()
        && let Some(entries) = expected.json_mut().and_then(|json| json.get_mut("resources")?.entries_mut())
    {
        let ours = context.ours.json().and_then(|json| json.get("resources")).map_or(&[][..], Json::entries);
        entries.retain(|entry| {
            entry.get("name").and_then(Json::as_text).is_none_or(plain) || ours.contains(entry)
        });
    }
}

/// Where the rule's query has a place for it, such a name is a matcher; upstream pastes it, and Prometheus refuses the
/// query.
fn names_as_matchers(expected: &mut Normal, context: &Context<'_>) {
    let ours = context.ours;
    if expected.code == 500
        && matches!(ours.code, 200 | 404)
        && expected.queries != ours.queries
        && ours.queries.iter().map(|query| with_pasted_names(query)).eq(expected.queries.iter().cloned())
    {
        // Upstream has no answer to compare with.
        expected.clone_from(ours);
    }
}

/// A query as upstream writes it: `{__name__="NAME",` is `NAME{`.
fn with_pasted_names(query: &str) -> String {
    let mut pasted = String::new();
    let mut rest = query;
    while let Some((before, behind)) = rest.split_once("{__name__=\"") {
        let (name, matchers) = behind.split_once('"').unwrap_or((behind, ""));
        pasted.extend([before, name, "{"]);
        rest = matchers.strip_prefix(',').unwrap_or(matchers);
    }
    pasted + rest
}

/// Where no node has a value, one more query shows the log what the label of nodes holds.
fn nodes_without_values(expected: &mut Normal, context: &Context<'_>) {
    let ours = &context.ours.queries;
    if context.group() != USAGE || context.rest().first() != Some(&"nodes") {
        return;
    }
    let Some(extra) = ours.iter().find(|query| !expected.queries.contains(query)) else { return };
    let others: Vec<&String> = ours.iter().filter(|query| *query != extra).collect();
    if others.iter().any(|query| is_without_a_matcher(extra, query))
        && others.into_iter().eq(expected.queries.iter())
    {
        expected.queries.clone_from(ours);
    }
}

/// Whether a query is another one without one of its matchers, wherever that stands.
fn is_without_a_matcher(query: &str, other: &str) -> bool {
    let same = query.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count();
    let Some(start) = other.get(..same).and_then(|before| before.rfind(['{', ','])) else { return false };
    let matcher: Vec<&str> = other[start + 1..].splitn(3, '"').collect();
    let [label, value, _] = matcher[..] else { return false };
    label.contains('=') && other.replace(&format!("{label}\"{value}\""), "") == query
}

/// Containers are sorted by name.
fn sorted_containers(expected: &mut Normal, context: &Context<'_>) {
    if context.group() != USAGE {
        return;
    }
    let sort = |object: &mut Json| {
        if let Some(containers) = object.get_mut("containers").and_then(Json::entries_mut) {
            containers.sort_by_key(name_of);
        }
    };
    if let Some(json) = expected.json_mut() {
        sort(json);
    }
    for item in expected.items().into_iter().flatten() {
        sort(item);
    }
}

/// The version of the core group is `v1`.
fn core_version(expected: &mut Normal, _: &Context<'_>) {
    for item in expected.items().into_iter().flatten() {
        if let Some(version) = item.get_mut("describedObject").and_then(|object| object.get_mut("apiVersion"))
            && version.as_text() == Some("/v1")
        {
            *version = Json::text("v1");
        }
    }
}

/// A bad metric selector is the asker's fault, and `!=` is repeated as `NotIn`.
fn metric_selector(expected: &mut Normal, context: &Context<'_>) {
    if context.custom().is_none() || expected.code != 500 {
        return;
    }
    if let Some(twin) = &context.exchange.upstream_twin {
        // Its own query was good; only the answer could not be written.
        let queries = expected.queries.clone();
        *expected = Normal::of(twin);
        expected.queries = queries;
        return;
    }
    let message = expected.message().unwrap_or_default().to_owned();
    if ["found '", "unable to parse requirement: "].iter().any(|start| message.starts_with(start)) {
        *expected = status(expected, 400, "BadRequest", &message);
    }
}

/// The error of an external metric that is not there names the namespace.
fn external_not_found(expected: &mut Normal, context: &Context<'_>) {
    let Some((namespace, metric)) = context.external() else { return };
    let start = format!("the server could not find the metric {metric} for ");
    if expected.message().is_some_and(|message| message == start || message == format!("{start}namespaces")) {
        set_message(expected, &format!("{start}namespace {namespace}"));
    }
}

/// Names and values are escaped in regular expressions, and a key that needs quotes is refused unless a series has such
/// a label.
fn escaped(expected: &mut Normal, context: &Context<'_>) {
    let selector = context.series_selector();
    if selector.contains('/')
        && context.ours.code == 400
        && context.our_message().contains("is not a label of this metric's series")
    {
        *expected = status(expected, 400, "BadRequest", context.our_message());
        expected.queries.clear();
        return;
    }
    let unescaped = |query: &String| query.replace(r"\\.", ".");
    if expected.queries != context.ours.queries
        && context.ours.queries.iter().map(unescaped).eq(expected.queries.iter().cloned())
    {
        expected.queries.clone_from(&context.ours.queries);
    }
}

/// A name that no object can have never reaches Prometheus.
fn names_that_are_none(expected: &mut Normal, context: &Context<'_>) {
    let of_a_name =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-.*".contains(letter);
    let named = match context.rest()[..] {
        ["namespaces", namespace, _, name, _] => namespace.chars().chain(name.chars()).all(of_a_name),
        ["namespaces", namespace, _] if context.group() == EXTERNAL => {
            namespace.chars().all(of_a_name) && namespace != "*"
        }
        ["namespaces", name, "metrics", _] | [_, name, _] => name.chars().all(of_a_name),
        _ => true,
    };
    let nothing = expected.code == 404 || expected.items().is_some_and(|items| items.is_empty());
    if !named && nothing && context.ours.queries.is_empty() {
        expected.queries.clear();
    }
}

/// The index of OpenAPI v3 has our own documents only.
fn openapi_of_our_own(expected: &mut Normal, context: &Context<'_>) {
    if context.segments != ["openapi", "v3"] {
        return;
    }
    let Some(Json::Object(paths)) = expected.json_mut().and_then(|json| json.get_mut("paths")) else {
        return;
    };
    paths.retain(|(path, _)| path.starts_with("apis/") && path.split('/').count() == 3);
    // Hashes are each server's own.
    let Some(Json::Object(ours)) = context.ours.json().and_then(|json| json.get("paths")) else { return };
    for ((path, document), (our_path, our_document)) in paths.iter_mut().zip(ours) {
        let url = our_document.get("serverRelativeURL").and_then(Json::as_text).unwrap_or_default();
        if path == our_path && url.starts_with(&format!("/openapi/v3/{path}?hash=")) {
            *document = our_document.clone();
        }
    }
}

/// A segment behind a namespace's metric names nothing.
fn segment_too_many(expected: &mut Normal, context: &Context<'_>) {
    if context.group() == CUSTOM && matches!(context.rest()[..], ["namespaces", _, "metrics", _, _]) {
        *expected = status(expected, 404, "NotFound", "the server could not find the requested resource");
        if let Some(json) = expected.json_mut() {
            json.insert_before("code", "details", Json::Object(Vec::new()));
        }
        expected.queries.clear();
    }
}

/// The metric is looked up before its objects are listed.
fn metric_before_objects(expected: &mut Normal, context: &Context<'_>) {
    let Some((metric, resource)) = context.custom() else { return };
    let not_listed = expected.message() == Some("Internal error occurred: unable to list matching resources");
    if not_listed && context.ours.code == 404 {
        let message = format!("the server could not find the metric {metric} for {resource}");
        *expected = status(expected, 404, "NotFound", &message);
    }
}

/// `>` and `<` compare with nothing in Prometheus, and the error says so.
fn operators_refused(expected: &mut Normal, context: &Context<'_>) {
    let selector = context.series_selector();
    let Some(operator) = selector.chars().find(|letter| matches!(letter, '<' | '>')) else { return };
    let ours = context.our_message();
    // A metric that is not there is still the first thing to say.
    if matches!(expected.code, 404 | 500) && ours.starts_with(&format!("the operator {operator} of ")) {
        *expected = status(expected, 400, "BadRequest", ours);
    }
}

/// A sample that no quantity can hold is missing, and an error where nothing else is left; NaN is zero.
fn unholdable(expected: &mut Normal, context: &Context<'_>) {
    let named = context.custom().is_some() && !context.segments.iter().any(|segment| segment == "*");
    let Some(items) = expected.items() else { return };
    let before = items.len();
    items.retain_mut(|item| {
        let sample = match item.get("describedObject") {
            Some(object) => {
                object.get("name").and_then(Json::as_text).and_then(|name| context.sample_of(name))
            }
            None => item.get("metricLabels").and_then(|labels| context.sample_with(labels)),
        };
        let Some(sample) = sample else { return true };
        if sample.value.is_nan() {
            set_value(item, "0");
            return true;
        }
        sample.value.abs() < UNHOLDABLE
    });
    let (left, ours) = (items.len(), context.our_message().to_owned());
    if left == before || left > 0 {
        return;
    }
    let says_why =
        ours.contains("which no quantity can hold") || ours.contains("beyond what a quantity can hold");
    if says_why && (named || context.ours.code == 500) {
        *expected = internal(expected, &ours);
    }
}

/// Thousandths are rounded, not cut off.
fn rounded(expected: &mut Normal, context: &Context<'_>) {
    let ours = context.ours.json().cloned();
    if let (Some(expected), Some(ours)) = (expected.json_mut(), &ours) {
        round(expected, ours, context);
    }
}

fn round(expected: &mut Json, ours: &Json, context: &Context<'_>) {
    match (expected, ours) {
        (Json::Object(expected), Json::Object(ours)) => {
            for ((name, value), (_, ours)) in expected.iter_mut().zip(ours) {
                match (name.as_str(), value, ours) {
                    ("value" | "cpu" | "memory", value, ours) => round_number(value, ours, context),
                    ("cells", Json::List(cells), Json::List(ours)) => {
                        for (cell, ours) in cells.iter_mut().zip(ours) {
                            round_number(cell, ours, context);
                        }
                    }
                    (_, value, ours) => round(value, ours, context),
                }
            }
        }
        (Json::List(expected), Json::List(ours)) => {
            for (value, ours) in expected.iter_mut().zip(ours) {
                round(value, ours, context);
            }
        }
        _ => {}
    }
}

/// Takes our number where both are made of the same samples: one, or those of one pod's two containers, which a table
/// adds.
fn round_number(value: &mut Json, ours: &Json, context: &Context<'_>) {
    let (Some(theirs), Some(our_text)) = (value.as_text(), ours.as_text()) else { return };
    let (Some(theirs), Some(ours_milli)) = (milli(theirs), milli(our_text)) else { return };
    let samples = &context.exchange.ours.samples;
    let cut = |sample: &Sample| (sample.value * 1000.0).trunc();
    let rounded = |sample: &Sample| (sample.value * 1000.0).round();
    let one = samples.iter().any(|sample| cut(sample) == theirs && rounded(sample) == ours_milli);
    let two = samples.iter().any(|first| {
        let of_pod = samples.iter().filter(|second| first.labels.get("pod") == second.labels.get("pod"));
        of_pod.into_iter().any(|second| {
            cut(first) + cut(second) == theirs && rounded(first) + rounded(second) == ours_milli
        })
    });
    if theirs != ours_milli && (one || two) {
        *value = ours.clone();
    }
}

/// The window is the widest range of the query.
fn window(expected: &mut Normal, context: &Context<'_>) {
    let seconds = context.exchange.ours.queries.iter().filter_map(|query| range_seconds(query)).max();
    let Some(seconds) = seconds.filter(|_| context.group() != USAGE) else { return };
    let second_version = context.segments.get(2).is_some_and(|version| version == "v1beta2");
    let name = if second_version { "windowSeconds" } else { "window" };
    for item in expected.items().into_iter().flatten() {
        item.insert_before("value", name, Json::Number(seconds.into()));
    }
}

/// The widest `[2m]` of a query, a subquery's included.
fn range_seconds(promql: &str) -> Option<u64> {
    let ranges = promql.split('[').skip(1).filter_map(|behind| {
        let range = behind.split_once([']', ':'])?.0;
        let split = range.find(|letter: char| !letter.is_ascii_digit())?;
        let (number, unit) = range.split_at(split);
        let unit = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86400,
            _ => return None,
        };
        Some(number.parse::<u64>().ok()? * unit)
    });
    ranges.max()
}

/// A failure to ask says what failed.
fn causes(expected: &mut Normal, context: &Context<'_>) {
    let theirs = expected.message().unwrap_or_default();
    let general = theirs == "Internal error occurred: unable to fetch metrics"
        || theirs.ends_with("encountered an unexpected query result type");
    let ours = context.our_message();
    let says_more = ours.starts_with("Internal error occurred: unable to fetch metrics by ")
        || ours.starts_with("Internal error occurred: unable to fetch metrics: ")
        || (matches!(context.ours.code, 503 | 504) && ours.contains("unable to fetch metrics by "));
    if expected.code == 500 && general && says_more {
        *expected = match context.ours.code {
            503 => status(expected, 503, "ServiceUnavailable", ours),
            504 => status(expected, 504, "Timeout", ours),
            _ => internal(expected, ours),
        };
    }
}

/// Impersonation is kube-apiserver's business.
fn impersonation(expected: &mut Normal, context: &Context<'_>) {
    let asked = context.exchange.request.headers.iter().any(|(name, _)| name.starts_with("impersonate-"));
    if asked && expected.code == 403 && context.our_message().contains("impersonate through kube-apiserver") {
        *expected = status(expected, 403, "Forbidden", context.our_message());
    }
}

/// Service level indicators are not served.
fn indicators(expected: &mut Normal, _: &Context<'_>) {
    if let Some(paths) = expected.json_mut().and_then(|json| json.get_mut("paths")?.entries_mut()) {
        paths.retain(|path| path.as_text() != Some("/metrics/slis"));
    }
}

/// The list of paths holds the page with the adapter's state.
fn status_page(expected: &mut Normal, _: &Context<'_>) {
    if let Some(paths) = expected.json_mut().and_then(|json| json.get_mut("paths")?.entries_mut())
        && let Some(position) = paths.iter().position(|path| path.as_text() == Some("/healthz"))
    {
        paths.insert(position, Json::text("/debug/status"));
    }
}

/// An answer with a Status of another kind.
fn status(like: &Normal, code: u16, reason: &str, message: &str) -> Normal {
    let text = |name: &str, value: &str| (name.to_owned(), Json::text(value));
    let mut normal = like.clone();
    normal.code = code;
    normal.body = Body::Json {
        json: Json::Object(vec![
            text("kind", "Status"),
            text("apiVersion", "v1"),
            ("metadata".to_owned(), Json::Object(Vec::new())),
            text("status", "Failure"),
            text("message", message),
            text("reason", reason),
            ("code".to_owned(), Json::Number(code.into())),
        ]),
        layout: Layout::Json { indented: false, newline: true },
    };
    normal
}

/// A Status for an error of our own making.
fn internal(like: &Normal, message: &str) -> Normal {
    let mut normal = status(like, 500, "InternalError", message);
    let cause = message.trim_start_matches("Internal error occurred: ");
    let cause = Json::Object(vec![("message".to_owned(), Json::text(cause))]);
    let details = Json::Object(vec![("causes".to_owned(), Json::List(vec![cause]))]);
    if let Some(json) = normal.json_mut() {
        json.insert_before("code", "details", details);
    }
    normal
}

fn set_message(normal: &mut Normal, message: &str) {
    if let Some(value) = normal.json_mut().and_then(|json| json.get_mut("message")) {
        *value = Json::text(message);
    }
}

fn set_value(item: &mut Json, text: &str) {
    if let Some(value) = item.get_mut("value") {
        *value = Json::text(text);
    }
}

/// A quantity in thousandths.
fn milli(text: &str) -> Option<f64> {
    let split = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let factor = match suffix {
        "m" => 1.0,
        "" => 1e3,
        "k" => 1e6,
        "M" => 1e9,
        "G" => 1e12,
        "T" => 1e15,
        "P" => 1e18,
        "Ki" => 1e3 * 1024.0,
        "Mi" => 1e3 * 1_048_576.0,
        "Gi" => 1e3 * 1_073_741_824.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

const CUSTOM: &str = "custom.metrics.k8s.io";
const EXTERNAL: &str = "external.metrics.k8s.io";
const USAGE: &str = "metrics.k8s.io";
/// From here on thousandths are beyond what clients read (`docs/contract.md#safe-range`).
const UNHOLDABLE: f64 = 9_223_372_036_854_775.0;
