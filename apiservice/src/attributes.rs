//! Method and path → what access control sees (`docs/contract.md#attributes`).
//!
//! A path is split first and decoded segment by segment afterwards, and the segments that are authorised are the very
//! ones that are answered (D23): there is no second parser that could read another object out of the same path.

use http::Method;
use percent_encoding::percent_decode_str;

use crate::list_options::ListOptions;
use crate::query::well_escaped;
use crate::status::ApiError;

/// A request as access control sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// `get`, `list`, `watch`, `create`, ...; the lower-case method for paths that are not resources.
    pub verb: String,
    /// The path as sent, without the query.
    pub path: String,
    /// What resource is asked for; `None` for paths like `/version` and for discovery.
    pub resource: Option<ResourceAttributes>,
    /// The options of a list, of whatever request.
    pub options: ListOptions,
    /// Whether the request is for objects that its selectors choose: a list, a watch, a deletion of many.
    pub is_selecting: bool,
}

/// The resource that a request is about. Fields that do not apply are empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResourceAttributes {
    /// The API group.
    pub group: String,
    /// Its version.
    pub version: String,
    /// The namespace.
    pub namespace: String,
    /// The resource, as written in the path.
    pub resource: String,
    /// The segment after the name: the metric, for custom metrics.
    pub subresource: String,
    /// The object's name.
    pub name: String,
}

/// The segments of a path, decoded. Slashes at both ends do not count.
///
/// # Errors
/// 400 for what no name can be and a second parser might read otherwise: `.`, `..`, an empty segment, a control
/// character, a broken escape.
pub fn segments(path: &str) -> Result<Vec<String>, ApiError> {
    let trimmed = path.trim_matches('/');
    if trimmed.is_empty() {
        return Ok(Vec::new());
    }
    trimmed.split('/').map(segment).collect()
}

fn segment(raw: &str) -> Result<String, ApiError> {
    let refuse = |what: &str| Err(ApiError::bad_request(format!("invalid request path: {what}")));
    if !well_escaped(raw) {
        return refuse("expected two hexadecimal digits behind every %");
    }
    let Ok(text) = percent_decode_str(raw).decode_utf8() else {
        return refuse("expected UTF-8 in every segment");
    };
    match &*text {
        "" => refuse("found an empty segment"),
        "." | ".." => refuse("found a . or .. segment"),
        text if text.chars().any(char::is_control) => refuse("found a control character"),
        text => Ok(text.to_owned()),
    }
}

impl Attributes {
    /// What a request asks for, by upstream's rules (`k8s.io/apiserver/pkg/endpoints/request/requestinfo.go`).
    pub fn of(method: &Method, path: &str, segments: &[String], options: ListOptions) -> Attributes {
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let path = path.to_owned();
        let ["apis", group, version, ref rest @ ..] = segments[..] else {
            return Attributes::of_path(method, path, options);
        };
        if rest.is_empty() {
            return Attributes::of_path(method, path, options);
        }
        // A legacy prefix that Kubernetes still reads: the first segment is the verb.
        let (prefix, rest) = match rest {
            [verb @ ("watch" | "proxy"), behind @ ..] => (Some(*verb), behind),
            _ => (None, rest),
        };
        let mut resource = resource(rest);
        group.clone_into(&mut resource.group);
        version.clone_into(&mut resource.version);
        let is_unnamed = resource.name.is_empty();
        let verb = prefix.unwrap_or(match *method {
            Method::GET | Method::HEAD if is_unnamed && options.watch => "watch",
            Method::GET | Method::HEAD if is_unnamed => "list",
            Method::GET | Method::HEAD => "get",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if is_unnamed => "deletecollection",
            Method::DELETE => "delete",
            _ => "",
        });
        if prefix == Some("proxy") {
            resource.subresource.clear();
        }
        if prefix.is_none() && is_unnamed && matches!(verb, "list" | "watch") {
            options.name().unwrap_or_default().clone_into(&mut resource.name);
        }
        // Upstream does not select by the verb in a path: what such a watch is for may be one object.
        let is_selecting = prefix.is_none() && matches!(verb, "list" | "watch" | "deletecollection");
        Attributes { verb: verb.to_owned(), path, resource: Some(resource), options, is_selecting }
    }

    fn of_path(method: &Method, path: String, options: ListOptions) -> Attributes {
        let verb = method.as_str().to_lowercase();
        Attributes { verb, path, resource: None, options, is_selecting: false }
    }
}

/// The segments after the version and the verb.
fn resource(mut rest: &[&str]) -> ResourceAttributes {
    let mut attributes = ResourceAttributes::default();
    if let ["namespaces", namespace, behind @ ..] = rest {
        (*namespace).clone_into(&mut attributes.namespace);
        if behind.first().is_some_and(|first| !matches!(*first, "status" | "finalize")) {
            rest = behind;
        }
    }
    let part = |position: usize| rest.get(position).map_or_else(String::new, |part| (*part).to_owned());
    attributes.resource = part(0);
    attributes.name = part(1);
    attributes.subresource = part(2);
    attributes
}

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;
    use crate::query::QueryParameters;

    fn of(method: &Method, target: &str) -> (String, Option<[String; 5]>) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let segments = segments(path).expect("a valid path");
        let attributes =
            Attributes::of(method, path, &segments, ListOptions::of(&QueryParameters::parse(query)));
        let resource =
            attributes.resource.map(|r| [r.version, r.namespace, r.resource, r.subresource, r.name]);
        (attributes.verb, resource)
    }

    #[test]
    fn the_table_of_the_contract() {
        let custom = "/apis/custom.metrics.k8s.io/v1beta2";
        let rows = [
            ("GET", "/namespaces/d/pods/web-1/m", "get", "d", "pods", "m", "web-1"),
            ("GET", "/namespaces/d/pods/%2A/m", "get", "d", "pods", "m", "*"),
            ("GET", "/namespaces/d/deployments.apps/web/m", "get", "d", "deployments.apps", "m", "web"),
            ("GET", "/namespaces/d/metrics/m", "get", "d", "metrics", "", "m"),
            ("GET", "/namespaces/*/metrics/m", "get", "*", "metrics", "", "m"),
            ("GET", "/nodes/n1/m", "get", "", "nodes", "m", "n1"),
            ("GET", "/namespaces/d/m", "list", "d", "m", "", ""),
            ("GET", "/namespaces/d/m?watch=1", "watch", "d", "m", "", ""),
            ("GET", "/namespaces/d/m?watch=false", "list", "d", "m", "", ""),
            ("GET", "/namespaces/d/pods?fieldSelector=metadata.name%3Dw", "list", "d", "pods", "", "w"),
            ("GET", "/namespaces/d/pods/w/m?watch=true", "get", "d", "pods", "m", "w"),
            ("GET", "/namespaces/d/status", "get", "d", "namespaces", "status", "d"),
            ("GET", "/namespaces/d", "get", "d", "namespaces", "", "d"),
            ("GET", "/watch/namespaces/d/m", "watch", "d", "m", "", ""),
            ("GET", "/watch/pods?fieldSelector=metadata.name%3Dw", "watch", "", "pods", "", ""),
            ("GET", "/proxy/nodes/n1/m", "proxy", "", "nodes", "", "n1"),
            ("GET", "/pods?watch=FALSE", "list", "", "pods", "", ""),
            ("GET", "/pods?watch=&fieldSelector=metadata.name%3Dw", "watch", "", "pods", "", "w"),
            ("HEAD", "/nodes/n1/m", "get", "", "nodes", "m", "n1"),
            ("POST", "/namespaces/d/pods/w/m", "create", "d", "pods", "m", "w"),
            ("PUT", "/namespaces/d/pods/w/m", "update", "d", "pods", "m", "w"),
            ("PATCH", "/namespaces/d/pods/w/m", "patch", "d", "pods", "m", "w"),
            ("DELETE", "/namespaces/d/pods/w/m", "delete", "d", "pods", "m", "w"),
            ("DELETE", "/namespaces/d/m", "deletecollection", "d", "m", "", ""),
        ];
        each_row(rows, |(method, path, verb, namespace, resource, subresource, name)| {
            let method = method.parse().expect("a method");
            let (got, fields) = of(&method, &format!("{custom}{path}"));
            let fields = fields.expect("a resource path");
            assert_eq!(got, verb, "{path}");
            assert_eq!(
                fields.each_ref().map(String::as_str),
                ["v1beta2", namespace, resource, subresource, name],
                "{path}"
            );
        });
    }

    #[test]
    fn other_paths_are_no_resources() {
        for path in
            ["/", "/apis", "/apis/custom.metrics.k8s.io", "/apis/custom.metrics.k8s.io/v1beta1/", "/version"]
        {
            assert_eq!(of(&Method::GET, path), ("get".to_owned(), None), "{path}");
        }
        assert_eq!(of(&Method::DELETE, "/metrics").0, "delete");
    }

    #[test]
    fn what_a_second_parser_could_misread_is_refused() {
        let rows = [
            "/apis/g/v/./m",
            "/apis/g/v/%2E%2e/m",
            "/apis/g/v//m",
            "/apis/g/v/a%00/m",
            "/apis/g/v/%zz",
            "/apis/g/%ff",
        ];
        each_row(rows, |path| {
            let error = segments(path).expect_err(path);
            assert_eq!(error.code(), 400, "{path}");
            assert!(error.to_string().starts_with("invalid request path: "), "{error}");
        });
        // A slash inside a segment stays inside it.
        assert_eq!(segments("/a/b%2Fc/").expect("valid"), ["a", "b/c"]);
    }
}
