//! Paths outside `/apis`: health, OpenAPI, version, metrics, and the list of them all.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::{Routes, admit, beside, get_only};
use crate::encode::gzip::CompressAbove;
use crate::health::{Endpoint, Report};
use crate::negotiate::{self, Accept, Form};
use crate::openapi;
use crate::query::QueryParameters;
use crate::respond;
use crate::server::page::PAGE;
use crate::status::ApiError;

impl Routes {
    pub(in crate::server) async fn other(
        &self,
        parts: &Parts,
        query: &QueryParameters,
        accept: &Accept<'_>,
    ) -> Result<Response<Bytes>, ApiError> {
        let path = parts.uri.path();
        if let Some(path) = path.strip_prefix("/openapi/") {
            get_only(parts)?;
            return Ok(self.openapi(parts, query, accept, path));
        }
        if let Some(page) = self.pages.iter().find(|page| page.path == path) {
            get_only(parts)?;
            admit(accept, PAGE)?;
            return Ok(page.response(accept));
        }
        match path {
            "/" | "/index.html" => return Ok(self.index(StatusCode::OK)),
            "/version" => {
                get_only(parts)?;
                admit(accept, negotiate::JSON_ONLY)?;
                return Ok(respond::text(StatusCode::OK, &VERSION, Form::RAW));
            }
            "/metrics" => {
                get_only(parts)?;
                // Thousands of rules have tens of thousands of metrics.
                let metrics = Arc::clone(&self.metrics);
                let text = beside("cannot write the metrics", move || metrics()).await?;
                let mut response = respond::raw(StatusCode::OK, METRICS_TEXT, text.into());
                // From it a scraper tells that counters were reset.
                response.headers_mut().insert(PROCESS_START, HeaderValue::from(self.started_unix_seconds));
                return Ok(response);
            }
            _ => {}
        }
        let mut segments = path.trim_start_matches('/').splitn(2, '/');
        let endpoint = segments.next().and_then(Endpoint::parse).filter(|_| !path.starts_with("//"));
        let health = &self.health;
        match (endpoint, segments.next()) {
            (Some(endpoint), None | Some("")) => Ok(health_response(health.report(endpoint, query), true)),
            (Some(endpoint), Some(check)) => Ok(health
                .report_one(endpoint, check)
                .map_or_else(|| self.index(StatusCode::NOT_FOUND), |report| health_response(report, false))),
            (None, _) => Ok(self.index(StatusCode::NOT_FOUND)),
        }
    }

    /// What lies below `/openapi/`, as JSON. A document of version 3 that is asked for by its hash never changes; one
    /// asked for by another hash is answered with what there is now: upstream redirects, which the aggregator cannot
    /// follow (D6).
    fn openapi(
        &self,
        parts: &Parts,
        query: &QueryParameters,
        accept: &Accept<'_>,
        path: &str,
    ) -> Response<Bytes> {
        let discovery = self.discovery.load();
        let openapi = discovery.openapi();
        let document = match path {
            "v2" => Some(&openapi.v2),
            "v3" => Some(&openapi.v3_index),
            _ => path.strip_prefix("v3/").and_then(|path| openapi.v3.get(path)),
        };
        // D7: what there is no document of is not found.
        let Some(document) = document else { return self.index(StatusCode::NOT_FOUND) };
        // The index is JSON whatever is asked for.
        let has_forms = path != "v3";
        let mut response = if has_forms && !accept.admits_openapi() {
            respond::empty(StatusCode::NOT_ACCEPTABLE)
        } else {
            let mut response = respond::document(parts, document, HeaderValue::from_static(negotiate::JSON));
            response.headers_mut().insert(header::LAST_MODIFIED, openapi.last_modified.clone());
            response
        };
        if path == "v2" {
            response.extensions_mut().insert(CompressAbove(0));
        }
        let named_by_hash = path.starts_with("v3/") && query.first("hash") == Some(openapi::hash(document));
        let headers = response.headers_mut();
        if has_forms {
            headers.insert(header::VARY, HeaderValue::from_static("Accept"));
        }
        if named_by_hash {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
            headers.insert(header::EXPIRES, openapi::http_date(SystemTime::now() + openapi::FOR_EVER));
        }
        response
    }

    /// The paths there are; also the body of a 404 for a path under no known prefix.
    pub(super) fn index(&self, code: StatusCode) -> Response<Bytes> {
        let health = &self.health;
        let mut paths: Vec<String> = self.discovery.load().paths().collect();
        for endpoint in Endpoint::ALL {
            let name = endpoint.name();
            paths.push(format!("/{name}"));
            paths.extend(health.names(endpoint).into_iter().map(|check| format!("/{name}/{check}")));
        }
        paths.extend(["/metrics", "/version"].map(str::to_owned));
        paths.extend(self.pages.iter().map(|page| page.path.to_owned()));
        paths.sort();
        respond::text(code, &Index { paths }, Form::RAW)
    }
}

fn health_response(report: Report, whole: bool) -> Response<Bytes> {
    let code = if report.healthy { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    let mut response = respond::raw(code, negotiate::TEXT, Bytes::from(report.body));
    if whole || !report.healthy {
        response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    response
}

#[derive(Serialize)]
struct Index {
    paths: Vec<String>,
}

/// What upstream's adapter says of itself; clients only look whether it is there.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VersionInfo {
    major: &'static str,
    minor: &'static str,
    git_version: &'static str,
    git_commit: &'static str,
    git_tree_state: &'static str,
    build_date: &'static str,
    go_version: &'static str,
    compiler: &'static str,
    platform: &'static str,
}

const PROCESS_START: HeaderName = HeaderName::from_static("process-start-time-unix");
const METRICS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const VERSION: VersionInfo = VersionInfo {
    major: "1",
    minor: "0",
    git_version: "",
    git_commit: "",
    git_tree_state: "",
    build_date: "",
    go_version: "",
    compiler: "",
    platform: "",
};
