//! OpenAPI documents, version 2 and 3, of what is served (`docs/contract.md#openapi`): what kube-apiserver merges into
//! its own, and what `kubectl explain` shows.
//!
//! They tell of kinds and paths only, not of metrics, so they change only with the groups that are served.

mod schemas;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use serde_json::{Map, Value, json};

use crate::document::Rendered;
use crate::groups::GroupDescription;
use crate::negotiate;
use schemas::Kinds;

/// The documents. Immutable.
#[derive(Debug)]
pub struct OpenApi {
    /// `/openapi/v2`.
    pub v2: Rendered,
    /// `/openapi/v3`.
    pub v3_index: Rendered,
    /// `/openapi/v3/apis/GROUP/VERSION`, by what follows `/openapi/v3/`.
    pub v3: BTreeMap<String, Rendered>,
    /// When the documents became what they are.
    pub last_modified: HeaderValue,
}

impl OpenApi {
    /// The documents for groups.
    pub fn render(groups: &[GroupDescription]) -> OpenApi {
        let served: Vec<Served<'_>> = groups
            .iter()
            .flat_map(|group| {
                group.versions.iter().map(move |version| (group.name.as_str(), version.as_str()))
            })
            .filter_map(|(group, version)| Some(Served { group, version, kinds: Kinds::of(group, version)? }))
            .collect();
        let rendered = |document: &Value| Rendered::of(document.to_string().into());
        let v3: BTreeMap<String, Rendered> =
            served.iter().map(|served| (served.path(), rendered(&served.v3()))).collect();
        let index: Map<String, Value> = v3
            .iter()
            .map(|(path, document)| {
                let hash = hash(document);
                (path.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}")}))
            })
            .collect();
        OpenApi {
            v2: rendered(&v2(&served)),
            v3_index: rendered(&json!({"paths": index})),
            v3,
            last_modified: http_date(SystemTime::now()),
        }
    }

    /// Takes the time over from documents that these replace, when they say the same: all of them follow from what
    /// version 2 tells.
    pub(crate) fn replacing(&mut self, older: &OpenApi) {
        if self.v2.etag == older.v2.etag {
            self.last_modified = older.last_modified.clone();
        }
    }
}

/// A time as HTTP writes it, to the second.
pub(crate) fn http_date(time: SystemTime) -> HeaderValue {
    let time = jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::MAX);
    let printer = jiff::fmt::rfc2822::DateTimePrinter::new();
    // Fails only for years before the first; the text of a date is always a valid header value.
    let text = printer.timestamp_to_rfc9110_string(&time).unwrap_or_default();
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

/// What a `?hash=` names a document by: its entity tag without the quotes.
pub fn hash(document: &Rendered) -> &str {
    document.etag.to_str().unwrap_or_default().trim_matches('"')
}

/// A group-version that is served.
struct Served<'a> {
    group: &'a str,
    version: &'a str,
    kinds: Kinds,
}

impl Served<'_> {
    fn path(&self) -> String {
        format!("apis/{}/{}", self.group, self.version)
    }

    /// Path templates and the kind that each answers with.
    fn paths(&self) -> Vec<(String, &'static str)> {
        let prefix = format!("/{}", self.path());
        self.kinds.paths.iter().map(|(template, kind)| (format!("{prefix}/{template}"), *kind)).collect()
    }

    fn v3(&self) -> Value {
        let paths: Map<String, Value> = self
            .paths()
            .into_iter()
            .map(|(path, kind)| {
                let schema = json!({"$ref": format!("#/components/schemas/{}", self.kinds.name(kind))});
                let forms = produces(kind).iter().map(|form| ((*form).to_owned(), json!({"schema": schema})));
                let answer = json!({"description": "OK", "content": forms.collect::<Map<_, _>>()});
                let operation = self.operation(&path, kind, &json!({"200": answer}));
                let parameters = parameters(&path, |parameter| {
                    let description = parameter.description;
                    json!({"name": parameter.name, "in": "path", "required": true, "description": description,
                           "schema": {"type": "string", "uniqueItems": true}})
                });
                (path, json!({"get": operation, "parameters": parameters}))
            })
            .collect();
        let schemas = self.kinds.definitions("#/components/schemas/");
        json!({"openapi": "3.0.0", "info": INFO.to_value(), "paths": paths, "components": {"schemas": schemas}})
    }

    fn operation(&self, path: &str, kind: &'static str, responses: &Value) -> Value {
        let tag = format!("{}_{}", self.group.split('.').next().unwrap_or_default(), self.version);
        let mut operation = json!({
            "tags": [tag],
            "description": format!("{} ({}/{})", schemas::summary(kind), self.group, self.version),
            "operationId": operation_id(path),
            "responses": responses,
        });
        if let Some(object) = operation.as_object_mut().filter(|_| self.group == "metrics.k8s.io") {
            let kind = kind.trim_end_matches("List");
            let action = if path.contains("{name}") { "get" } else { "list" };
            object.insert("x-kubernetes-action".to_owned(), json!(action));
            let gvk = json!({"group": self.group, "version": self.version, "kind": kind});
            object.insert("x-kubernetes-group-version-kind".to_owned(), gvk);
        }
        operation
    }
}

fn v2(served: &[Served<'_>]) -> Value {
    let mut paths = Map::new();
    let mut definitions = Map::new();
    for served in served {
        for (path, kind) in served.paths() {
            let schema = json!({"$ref": format!("#/definitions/{}", served.kinds.name(kind))});
            let mut operation =
                served.operation(&path, kind, &json!({"200": {"description": "OK", "schema": schema}}));
            operation["produces"] = json!(produces(kind));
            operation["schemes"] = json!(["https"]);
            let parameters = parameters(&path, |parameter| {
                json!({"name": parameter.name, "in": "path", "required": true, "uniqueItems": true, "type": "string",
                       "description": parameter.description})
            });
            paths.insert(path, json!({"get": operation, "parameters": parameters}));
        }
        definitions.extend(served.kinds.definitions("#/definitions/"));
    }
    json!({"swagger": "2.0", "info": INFO.to_value(), "paths": paths, "definitions": definitions})
}

/// The media types that a route of a kind makes.
fn produces(kind: &str) -> &'static [&'static str] {
    if kind.ends_with("List") { negotiate::LISTS } else { negotiate::OBJECTS }
}

struct Info {
    title: &'static str,
    version: &'static str,
}

impl Info {
    fn to_value(&self) -> Value {
        json!({"title": self.title, "version": self.version})
    }
}

/// A parameter of a path template.
struct Parameter<'a> {
    name: &'a str,
    description: &'static str,
}

fn parameters(path: &str, write: impl Fn(Parameter<'_>) -> Value) -> Vec<Value> {
    let names = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    names
        .map(|name| {
            let description = match name {
                "namespace" => "the namespace of the objects",
                "resource" => "the resource, with its group: pods, deployments.apps; or the metric's name",
                "subresource" => "the metric's name",
                _ => "the name of the object, or * for all that labelSelector matches",
            };
            write(Parameter { name, description })
        })
        .collect()
}

/// Unique among all documents of a cluster: made of the whole path.
fn operation_id(path: &str) -> String {
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut id = "read".to_owned();
    for word in words {
        let (first, rest) = word.split_at(1);
        id.push_str(&first.to_uppercase());
        id.push_str(rest);
    }
    id
}

/// How long a document that is named by its hash may be kept: a year, the longest that caches believe.
pub(crate) const FOR_EVER: Duration = Duration::from_hours(365 * 24);
/// Upstream's.
const INFO: Info = Info { title: "prometheus-metrics-adapter", version: "1.0.0" };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::RenderedBody;

    fn groups() -> Vec<GroupDescription> {
        [
            ("custom.metrics.k8s.io", &["v1beta1", "v1beta2"][..]),
            ("external.metrics.k8s.io", &["v1beta1"]),
            ("metrics.k8s.io", &["v1beta1"]),
        ]
        .map(|(name, versions)| GroupDescription::of(name, versions, Vec::new()))
        .to_vec()
    }

    fn read(document: &Rendered) -> Value {
        let RenderedBody::Plain(body) = &document.body else { panic!("expected a small document") };
        serde_json::from_slice(body).expect("JSON")
    }

    /// Every `$ref` of a document, wherever it stands.
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value.as_str() {
                        Some(text) if name == "$ref" => found.push(text.to_owned()),
                        _ => references(value, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let openapi = OpenApi::render(&groups());
        for document in openapi.v3.values().chain([&openapi.v2]) {
            let document = read(document);
            let mut found = Vec::new();
            references(&document, &mut found);
            assert!(found.len() >= 5, "{document}");
            for reference in found {
                let pointer = reference.trim_start_matches('#');
                assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
            }
        }
    }

    #[test]
    fn paths_are_upstreams() {
        let openapi = OpenApi::render(&groups());
        let v2 = read(&openapi.v2);
        let paths: Vec<&String> = v2["paths"].as_object().expect("paths").keys().collect();
        assert_eq!(
            paths,
            [
                "/apis/custom.metrics.k8s.io/v1beta1/namespaces/{namespace}/metrics/{name}",
                "/apis/custom.metrics.k8s.io/v1beta1/namespaces/{namespace}/{resource}/{name}/{subresource}",
                "/apis/custom.metrics.k8s.io/v1beta1/{resource}/{name}/{subresource}",
                "/apis/custom.metrics.k8s.io/v1beta2/namespaces/{namespace}/metrics/{name}",
                "/apis/custom.metrics.k8s.io/v1beta2/namespaces/{namespace}/{resource}/{name}/{subresource}",
                "/apis/custom.metrics.k8s.io/v1beta2/{resource}/{name}/{subresource}",
                "/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{resource}",
                "/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods",
                "/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods/{name}",
                "/apis/metrics.k8s.io/v1beta1/nodes",
                "/apis/metrics.k8s.io/v1beta1/nodes/{name}",
                "/apis/metrics.k8s.io/v1beta1/pods",
            ]
        );
        let mut ids: Vec<&Value> = v2["paths"]
            .as_object()
            .expect("paths")
            .values()
            .map(|path| &path["get"]["operationId"])
            .collect();
        ids.sort_by_key(ToString::to_string);
        ids.dedup();
        assert_eq!(ids.len(), paths.len(), "operation ids are unique");
    }

    #[test]
    fn the_index_names_only_what_is_ours() {
        let openapi = OpenApi::render(&groups()[..1]);
        let index = read(&openapi.v3_index);
        let document = &openapi.v3["apis/custom.metrics.k8s.io/v1beta1"];
        assert_eq!(
            index["paths"]["apis/custom.metrics.k8s.io/v1beta1"]["serverRelativeURL"],
            format!("/openapi/v3/apis/custom.metrics.k8s.io/v1beta1?hash={}", hash(document))
        );
        assert_eq!(index["paths"].as_object().map(Map::len), Some(2), "D5");
    }
}
