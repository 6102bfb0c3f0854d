//! Which form an answer takes (`docs/contract.md#negotiation`).
//!
//! Twice, as upstream: the route looks only whether it makes any media type that is named ([`Accept::admits`]); the
//! object's form is chosen when there is an object, by weight and parameters ([`Accept::form`] and its siblings).

use http::request::Parts;
use http::{HeaderValue, header};
use serve::{Alternative, quality_list};

use crate::discovery::AggregatedVersion;
pub use crate::media_type::{Form, JSON, PROTOBUF, TEXT, YAML};
use crate::query::QueryParameters;
use crate::status::{ApiError, Class, Details};

/// What an object of metrics.k8s.io can be turned into (`docs/contract.md#tables`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transform {
    /// A table, for people.
    Table(MetaVersion),
    /// The metadata of a single object.
    PartialObjectMetadata(MetaVersion),
    /// The metadata of the objects of a list.
    PartialObjectMetadataList(MetaVersion),
}

/// A version of `meta.k8s.io`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetaVersion {
    /// `v1`.
    V1,
    /// `v1beta1`.
    V1Beta1,
}

/// What a request says about the form of its answer.
#[derive(Debug, Clone)]
pub struct Accept<'a> {
    header: &'a [u8],
    /// In the order in which they are tried.
    clauses: Vec<Clause<'a>>,
    pretty: bool,
}

/// A media type with its parameters.
#[derive(Debug, Clone, Copy)]
struct Clause<'a> {
    kind: &'a str,
    subtype: &'a str,
    weight: f64,
    alternative: Alternative<'a>,
}

/// What `as`, `g` and `v` name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Target<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
}

impl MetaVersion {
    /// The version with its group.
    pub fn api_version(self) -> &'static str {
        match self {
            MetaVersion::V1 => "meta.k8s.io/v1",
            MetaVersion::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

impl<'a> Accept<'a> {
    /// Reads the `Accept` header, `?pretty` and the user agent.
    pub fn of(request: &'a Parts, query: &QueryParameters) -> Accept<'a> {
        let header = request.headers.get(header::ACCEPT).map(HeaderValue::as_bytes).unwrap_or_default();
        let mut clauses: Vec<Clause<'a>> =
            quality_list(header).filter_map(Clause::of).take(MOST_CLAUSES).collect();
        // Inserted one by one, as upstream does: its order has cycles (a wildcard of more weight against a media type
        // of less), so that the outcome depends on how it is sorted, and a sorting function may answer with a panic.
        for end in 1..clauses.len() {
            let mut position = end;
            while position > 0 && clauses[position].goes_before(&clauses[position - 1]) {
                clauses.swap(position, position - 1);
                position -= 1;
            }
        }
        Accept { header, clauses, pretty: wants_pretty(request, query) }
    }

    /// Whether a route that makes these media types takes the request: only the names count here.
    pub fn admits(&self, produces: &[&str]) -> bool {
        self.header.is_empty()
            || quality_list(self.header).any(|alternative| {
                let media_type = alternative.value.trim_matches(' ');
                media_type == "*/*" || produces.contains(&media_type)
            })
    }

    /// Whether a media type is named, and not only meant by a wildcard.
    pub fn names(&self, media_type: &str) -> bool {
        let (kind, subtype) = media_type.split_once('/').unwrap_or((media_type, ""));
        self.clauses
            .iter()
            .any(|clause| clause.kind == kind && clause.subtype == subtype && clause.weight > 0.0)
    }

    /// The form of an object as it is; `None` when no clause can be honoured.
    pub fn form(&self) -> Option<Form> {
        self.pick(|_, target| target.is_none().then_some(())).map(|(form, ())| form)
    }

    /// The form of an error, which is sent in any case.
    pub fn error_form(&self) -> Form {
        self.form().unwrap_or(Form::RAW)
    }

    /// The form of an object of metrics.k8s.io, and what it is turned into.
    pub fn transformed(&self) -> Option<(Form, Option<Transform>)> {
        self.pick(|form, target| match target {
            None => Some(None),
            Some(target) => target.transform().filter(|transform| transform.is_made_as(form)).map(Some),
        })
    }

    /// The form and version of aggregated discovery; `None` when no clause asks for it, which means the legacy form.
    /// One that does goes before any that does not, as upstream.
    pub fn aggregated(&self) -> Option<(Form, AggregatedVersion)> {
        self.pick(|_, target| {
            let target = target.filter(|target| target.kind == AggregatedVersion::KIND)?;
            AggregatedVersion::named(target.group, target.version)
        })
    }

    /// Whether an OpenAPI document is taken as JSON, the one form there is; parameters do not count.
    pub fn admits_openapi(&self) -> bool {
        self.header.is_empty()
            || self.clauses.iter().any(|clause| {
                matches!(clause.kind, "application" | "*") && matches!(clause.subtype, "json" | "*")
            })
    }

    /// The first clause, with the first form that it names, that is allowed.
    fn pick<T>(&self, allow: impl Fn(Form, Option<Target<'a>>) -> Option<T>) -> Option<(Form, T)> {
        let json = |pretty| Form::Json { pretty: pretty || self.pretty };
        if self.header.is_empty() {
            return allow(json(false), None).map(|allowed| (json(false), allowed));
        }
        self.clauses.iter().find_map(|clause| {
            let forms = [json(clause.parameter("pretty") == Some("1")), Form::Yaml, Form::Protobuf];
            forms
                .into_iter()
                .filter(|form| clause.names(form.media_type()) && clause.streams_allow(*form))
                .find_map(|form| allow(form, clause.target()).map(|allowed| (form, allowed)))
        })
    }
}

impl<'a> Clause<'a> {
    fn of(alternative: Alternative<'a>) -> Option<Clause<'a>> {
        let media_type = alternative.value;
        let (kind, subtype) = match media_type.split_once('/') {
            Some((kind, subtype)) => (kind.trim_matches(' '), subtype.trim_matches(' ')),
            None => (media_type.trim_matches(' '), ""),
        };
        let subtype = match (kind, subtype) {
            ("*", "") => "*",
            (_, "") => return None,
            (_, subtype) if subtype.contains('/') => return None,
            _ => subtype,
        };
        Some(Clause { kind, subtype, weight: alternative.weight(), alternative })
    }

    fn parameter(&self, name: &str) -> Option<&'a str> {
        self.alternative.parameter(name)
    }

    /// Upstream's order, cycles included.
    fn goes_before(&self, other: &Clause<'_>) -> bool {
        self.weight > other.weight
            || (self.kind != "*" && other.kind == "*")
            || (self.subtype != "*" && other.subtype == "*")
    }

    fn names(&self, media_type: &str) -> bool {
        let subtype = media_type.strip_prefix("application/").unwrap_or_default();
        match self.kind {
            "application" => self.subtype == "*" || self.subtype == subtype,
            "*" => self.subtype == "*",
            _ => false,
        }
    }

    /// `stream=watch` does not exclude an answer that is not a stream, in the forms that streams have; `sv` always
    /// does.
    fn streams_allow(&self, form: Form) -> bool {
        let stream = self.parameter("stream").unwrap_or_default();
        (stream.is_empty() || (stream == "watch" && form != Form::Yaml))
            && self.parameter("sv").is_none_or(str::is_empty)
    }

    fn target(&self) -> Option<Target<'a>> {
        let [kind, group, version] = ["as", "g", "v"].map(|name| self.parameter(name));
        kind.or(group).or(version)?;
        let [kind, group, version] = [kind, group, version].map(Option::unwrap_or_default);
        Some(Target { group, version, kind })
    }
}

impl Target<'_> {
    fn transform(self) -> Option<Transform> {
        let version = match (self.group, self.version) {
            ("meta.k8s.io", "v1") => MetaVersion::V1,
            ("meta.k8s.io", "v1beta1") => MetaVersion::V1Beta1,
            _ => return None,
        };
        match self.kind {
            "Table" => Some(Transform::Table(version)),
            "PartialObjectMetadata" => Some(Transform::PartialObjectMetadata(version)),
            "PartialObjectMetadataList" => Some(Transform::PartialObjectMetadataList(version)),
            _ => None,
        }
    }
}

impl Transform {
    /// Tables are not a protobuf message.
    fn is_made_as(self, form: Form) -> bool {
        !matches!((self, form), (Transform::Table(_), Form::Protobuf))
    }
}

/// `?pretty` decides when it is given; otherwise people at a terminal or in a browser get indented text.
fn wants_pretty(request: &Parts, query: &QueryParameters) -> bool {
    if let Some(value) = query.first("pretty").filter(|value| !value.is_empty()) {
        return matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True");
    }
    let agent =
        request.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    ["curl", "Wget", "Mozilla/5.0"].iter().any(|prefix| agent.starts_with(prefix))
}

/// 406 of a route that makes none of the media types that are named (`docs/contract.md#not-acceptable`).
pub fn no_media_type(produces: &[&str]) -> ApiError {
    let message = format!("406: Not Acceptable\n\nAvailable representations: {}", produces.join(", "));
    ApiError::verbatim(Class::NotAcceptable, message, Some(Details::default()))
}

/// 406 when no clause's parameters can be honoured.
pub fn no_parameters() -> ApiError {
    let message = format!("only the following media types are accepted: {}", OBJECTS.join(", "));
    ApiError::new(Class::NotAcceptable, message, None)
}

/// 406 of the metadata of a list, asked for on a single object.
pub fn not_a_list(kind: &str) -> ApiError {
    let message = format!(
        "you requested PartialObjectMetadataList, but the requested object is not a list (*metrics.{kind})"
    );
    ApiError::new(Class::NotAcceptable, message, None)
}

/// 406 of the metadata of a single object, asked for on a list.
pub fn a_list(kind: &str) -> ApiError {
    let message =
        format!("you requested PartialObjectMetadata, but the requested object is a list (*metrics.{kind})");
    ApiError::new(Class::NotAcceptable, message, None)
}

/// What routes of single objects and of discovery make.
pub const OBJECTS: &[&str] = &[JSON, YAML, PROTOBUF];
/// What routes of lists make. They name streams too, which upstream has where it can watch.
pub const LISTS: &[&str] = &[
    JSON,
    YAML,
    PROTOBUF,
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];
/// What `/version` makes.
pub const JSON_ONLY: &[&str] = &[JSON];

/// Clauses of an `Accept` header that are looked at: bounds the work that a header can make.
const MOST_CLAUSES: usize = 64;

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    /// A request with these headers, and its query.
    fn request(accept: &str, agent: &str, query: &str) -> (Parts, QueryParameters) {
        let request = http::Request::builder().header(header::ACCEPT, accept);
        let request = request.header(header::USER_AGENT, agent).body(()).expect("a valid request");
        (request.into_parts().0, QueryParameters::parse(query))
    }

    const PLAIN: Form = Form::Json { pretty: false };
    const PRETTY: Form = Form::Json { pretty: true };
    const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

    #[test]
    fn the_form_of_an_object() {
        let rows = [
            ("", "", "", Some(PLAIN)),
            ("*/*", "", "", Some(PLAIN)),
            ("*", "", "", Some(PLAIN)),
            // The autoscaler and kubectl top; newer typed clients; kubectl get (`docs/contract.md#accept-headers`).
            ("application/vnd.kubernetes.protobuf, */*", "kube-controller-manager", "", Some(Form::Protobuf)),
            ("application/vnd.kubernetes.protobuf,application/json", "", "", Some(Form::Protobuf)),
            (&format!("{TABLE},application/json"), "kubectl", "", Some(PLAIN)),
            ("application/json, */*", "", "", Some(PLAIN)),
            ("application/yaml", "curl/8.0", "", Some(Form::Yaml)),
            ("application/json;stream=watch", "", "", Some(PLAIN)),
            ("application/vnd.kubernetes.protobuf;stream=watch", "", "", Some(Form::Protobuf)),
            ("application/yaml;stream=watch", "", "", None),
            ("application/json;stream=other", "", "", None),
            ("application/json;sv=v1", "", "", None),
            ("application/json;charset=utf-8", "", "", Some(PLAIN)),
            ("application/json;v=v1", "", "", None),
            // Whether people read it.
            ("application/json;pretty=1", "", "", Some(PRETTY)),
            ("application/json;pretty=true", "", "", Some(PLAIN)),
            ("application/json", "curl/8.0", "", Some(PRETTY)),
            ("application/json", "Mozilla/5.0 (X11)", "pretty=", Some(PRETTY)),
            ("application/json", "Wget/1", "pretty=false", Some(PLAIN)),
            ("application/json", "curl/8.0", "pretty=nonsense", Some(PLAIN)),
            ("application/json", "", "pretty=true", Some(PRETTY)),
            // Weights; the order of the header on ties; named types before wildcards.
            ("application/json;q=0.5,application/yaml", "", "", Some(Form::Yaml)),
            ("application/yaml;q=0.4,application/json;q=0.5", "", "", Some(PLAIN)),
            ("application/yaml,application/json", "", "", Some(Form::Yaml)),
            ("*/*,application/yaml;q=0.1", "", "", Some(Form::Yaml)),
            ("text/html;q=0.9,application/json;q=0.1", "", "", Some(PLAIN)),
            ("application/yaml;q=nonsense,application/json;q=0.1", "", "", Some(PLAIN)),
            // What cannot be honoured is skipped.
            (TABLE, "", "", None),
            (&format!("{TABLE},application/yaml"), "", "", Some(Form::Yaml)),
            ("application/*", "", "", Some(PLAIN)),
            ("APPLICATION/JSON", "", "", None),
            ("text/html", "", "", None),
            ("application/cbor", "", "", None),
            ("application/json/x", "", "", None),
        ];
        each_row(rows, |(accept, agent, query, expected)| {
            let (parts, parameters) = request(accept, agent, query);
            assert_eq!(Accept::of(&parts, &parameters).form(), expected, "{accept:?} {agent:?} {query:?}");
        });
    }

    #[test]
    fn a_route_admits_its_media_types() {
        let rows = [
            ("", true),
            ("*/*", true),
            (TABLE, true),
            ("text/html, application/yaml;q=0", true),
            ("application/json;as=Nonsense", true),
            ("application/*", false),
            ("*", false),
            ("APPLICATION/JSON", false),
            ("application/cbor", false),
            ("text/html", false),
        ];
        each_row(rows, |(accept, admits)| {
            let (parts, query) = request(accept, "", "");
            assert_eq!(Accept::of(&parts, &query).admits(LISTS), admits, "{accept:?}");
        });
        let (parts, query) = request("application/yaml", "", "");
        assert!(!Accept::of(&parts, &query).admits(JSON_ONLY));
    }

    #[test]
    fn what_objects_of_resource_metrics_are_turned_into() {
        let table = Some(Transform::Table(MetaVersion::V1));
        let beta = Some(Transform::Table(MetaVersion::V1Beta1));
        let list = Some(Transform::PartialObjectMetadataList(MetaVersion::V1));
        let one = Some(Transform::PartialObjectMetadata(MetaVersion::V1Beta1));
        let rows = [
            ("application/json", Some((PLAIN, None))),
            (TABLE, Some((PLAIN, table))),
            (&format!("{TABLE},application/json"), Some((PLAIN, table))),
            ("application/json;as=Table;v=v1beta1;g=meta.k8s.io", Some((PLAIN, beta))),
            ("*/*;as=Table;v=v1;g=meta.k8s.io", Some((PLAIN, table))),
            ("application/yaml;as=Table;v=v1;g=meta.k8s.io", Some((Form::Yaml, table))),
            // Not as protobuf, and not in a version or a kind that there is not.
            ("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io", None),
            ("application/json;as=Table;v=v2;g=meta.k8s.io,application/yaml", Some((Form::Yaml, None))),
            ("application/json;as=Table", None),
            ("application/json;as=Nonsense;v=v1;g=meta.k8s.io", None),
            ("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", Some((PLAIN, list))),
            (
                "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1beta1;g=meta.k8s.io",
                Some((Form::Protobuf, one)),
            ),
        ];
        each_row(rows, |(accept, expected)| {
            let (parts, query) = request(accept, "", "");
            assert_eq!(Accept::of(&parts, &query).transformed(), expected, "{accept:?}");
        });
    }

    #[test]
    fn what_kube_apiservers_ask_discovery_for() {
        let [v2, v2beta1] = ["v2", "v2beta1"].map(|version| {
            format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList")
        });
        let rows = [
            (format!("{v2},{v2beta1}"), Some((PLAIN, AggregatedVersion::V2))),
            (v2beta1.clone(), Some((PLAIN, AggregatedVersion::V2Beta1))),
            (format!("{v2};profile=nopeer,application/json"), Some((PLAIN, AggregatedVersion::V2))),
            (format!("application/json,{v2}"), Some((PLAIN, AggregatedVersion::V2))),
            (format!("{v2};q=0.5,{v2beta1}"), Some((PLAIN, AggregatedVersion::V2Beta1))),
            (v2.replace("json", "vnd.kubernetes.protobuf"), Some((Form::Protobuf, AggregatedVersion::V2))),
            ("application/json".to_owned(), None),
            (String::new(), None),
            (TABLE.to_owned(), None),
        ];
        each_row(rows, |(accept, expected)| {
            let (parts, query) = request(&accept, "", "");
            assert_eq!(Accept::of(&parts, &query).aggregated(), expected, "{accept}");
        });
    }

    #[test]
    fn openapi_is_json() {
        let rows = [
            ("", true),
            ("*/*", true),
            ("application/*", true),
            ("application/json;anything=1", true),
            ("application/com.github.proto-openapi.spec.v2.v1.0+protobuf", false),
            ("application/com.github.proto-openapi.spec.v2.v1.0+protobuf,application/json", true),
            ("text/html", false),
        ];
        each_row(rows, |(accept, admits)| {
            let (parts, query) = request(accept, "", "");
            assert_eq!(Accept::of(&parts, &query).admits_openapi(), admits, "{accept:?}");
        });
    }

    /// Bytes that are not text are not the absence of a header.
    #[test]
    fn a_clause_that_is_no_text_names_nothing() {
        let rows = [
            (b"application/\xf7".as_slice(), None),
            (b"\xf7", None),
            (b"\xf7/json, application/yaml", Some(Form::Yaml)),
        ];
        each_row(rows, |(accept, expected)| {
            let request =
                http::Request::builder().header(header::ACCEPT, accept).body(()).expect("a request");
            let (parts, ()) = request.into_parts();
            let accept = Accept::of(&parts, &QueryParameters::parse(""));
            assert_eq!(accept.form(), expected);
            assert!(!accept.admits(&["application/json"]));
        });
    }

    #[test]
    fn a_long_header_makes_little_work() {
        let many = format!("{}application/json", "text/html;q=0.5,".repeat(MOST_CLAUSES));
        let (parts, query) = request(&many, "", "");
        let accept = Accept::of(&parts, &query);
        assert_eq!(accept.form(), None);
        assert!(accept.admits(OBJECTS));
    }
}
