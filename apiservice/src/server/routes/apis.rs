//! What lies below `/apis`: discovery, and the objects that a [`Handler`](crate::server::Handler) answers with.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};

use super::{Routes, admit, beside, get_only};
use crate::attributes::Attributes;
use crate::authn::User;
use crate::negotiate::{self, Accept, Transform};
use crate::query::QueryParameters;
use crate::respond;
use crate::server::handler::{Answer, ApiRequest};
use crate::server::holding::Holding;
use crate::status::ApiError;
use crate::types::table::{IncludeObject, PartialObjectMetadata, PartialObjectMetadataList, Table};
use crate::types::usage::{List, Single, UsageObject};
use crate::types::{MetricsVersion, Wire};

/// A request for something below `/apis`.
pub(in crate::server) struct ApisRequest<'a> {
    pub(in crate::server) parts: &'a Parts,
    pub(in crate::server) query: &'a QueryParameters,
    pub(in crate::server) accept: &'a Accept<'a>,
    pub(in crate::server) segments: Vec<String>,
    pub(in crate::server) attributes: &'a Arc<Attributes>,
    pub(in crate::server) user: User,
    pub(in crate::server) deadline: Instant,
}

/// Marks a response whose body no other client shares.
#[derive(Debug, Clone, Copy)]
pub(in crate::server) struct MadeForOne;

impl Routes {
    pub(in crate::server) async fn apis(
        &self,
        request: ApisRequest<'_>,
    ) -> Result<Response<Bytes>, ApiError> {
        let ApisRequest { parts, query, accept, segments, attributes, user, deadline } = request;
        let discovery = self.discovery.load();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        // `/apis` itself is not split: only what lies below it can name something.
        let document = match segments[..] {
            [] | ["apis"] => {
                get_only(parts)?;
                if let Some((form, version)) = accept.aggregated() {
                    // Made of names of forms, groups and versions: always a valid header value.
                    let content_type = HeaderValue::try_from(version.media_type(form))
                        .unwrap_or(HeaderValue::from_static(negotiate::JSON));
                    let document = discovery.aggregated(version).form(form).await;
                    let mut response = respond::document(parts, &document, content_type);
                    let headers = response.headers_mut();
                    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
                    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
                    return Ok(response);
                }
                discovery.groups()
            }
            ["apis", group] => match discovery.group(group) {
                Some(document) => document,
                None => return Ok(self.index(StatusCode::NOT_FOUND)),
            },
            ["apis", group, version, ref rest @ ..] => match discovery.version(group, version) {
                Some(document) if rest.is_empty() => document,
                Some(_) => {
                    get_only(parts)?;
                    let request = ApiRequest {
                        group: group.to_owned(),
                        version: version.to_owned(),
                        segments: rest.iter().map(|&segment| segment.to_owned()).collect(),
                        attributes: Arc::clone(attributes),
                        query: query.clone(),
                        user,
                        deadline,
                        holding: Holding::default(),
                    };
                    let mut response = self.handle(request, query, accept).await?;
                    response.extensions_mut().insert(MadeForOne);
                    return Ok(response);
                }
                None if discovery.group(group).is_some() => return Err(ApiError::no_route()),
                None => return Ok(self.index(StatusCode::NOT_FOUND)),
            },
            _ => return Ok(self.index(StatusCode::NOT_FOUND)),
        };
        get_only(parts)?;
        admit(accept, negotiate::OBJECTS)?;
        let form = accept.form().ok_or_else(negotiate::no_parameters)?;
        let content_type = HeaderValue::from_static(form.media_type());
        Ok(respond::document(parts, &document.form(form).await, content_type))
    }

    /// Nothing is asked for when no media type fits; whether their parameters do is looked at when there is an answer,
    /// since an error is sent in any case.
    async fn handle(
        &self,
        request: ApiRequest,
        query: &QueryParameters,
        accept: &Accept<'_>,
    ) -> Result<Response<Bytes>, ApiError> {
        admit(accept, produces(&request))?;
        let version = request.version.clone();
        // Dropped when the body is made, even if its caller has gone.
        let holding = request.holding.clone();
        let answer = self.handler.handle(request).await?;
        let form = || accept.form().ok_or_else(negotiate::no_parameters);
        match answer {
            Answer::MetricValues(object) => {
                let version = MetricsVersion::parse(&version).ok_or_else(ApiError::no_route)?;
                let (form, long) = (form()?, object.items.len() > MANY);
                let write = move || respond::object(StatusCode::OK, &Wire { object: &object, version }, form);
                written(long, write).await
            }
            Answer::ExternalMetricValues(list) => {
                let (form, long) = (form()?, list.items.len() > MANY);
                let write = move || {
                    let _holding = holding;
                    respond::object(StatusCode::OK, &list, form)
                };
                written(long, write).await
            }
            Answer::Node(node) => single(&node, query, accept),
            Answer::Nodes(nodes) => list(&nodes, query, accept),
            Answer::Pod(pod) => single(&pod, query, accept),
            Answer::Pods(pods) => list(&pods, query, accept),
            Answer::Document { content_type, body } => {
                let mut response = respond::raw(StatusCode::OK, content_type, body);
                // It may hold what targets call themselves.
                let no_sniffing = HeaderValue::from_static("nosniff");
                response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, no_sniffing);
                Ok(response)
            }
        }
    }
}

/// Writes a body; a long one beside the threads that serve connections.
async fn written(
    long: bool,
    write: impl FnOnce() -> Response<Bytes> + Send + 'static,
) -> Result<Response<Bytes>, ApiError> {
    if !long {
        return Ok(write());
    }
    beside("cannot encode a response", write).await
}

/// What a route makes; only single objects of metrics.k8s.io are not lists (`docs/contract.md#not-acceptable`).
fn produces(request: &ApiRequest) -> &'static [&'static str] {
    match (request.group.as_str(), request.segments.len()) {
        ("metrics.k8s.io", 2 | 4) => negotiate::OBJECTS,
        _ => negotiate::LISTS,
    }
}

/// One object of metrics.k8s.io, as what it was asked for.
fn single<T: UsageObject>(
    object: &T,
    query: &QueryParameters,
    accept: &Accept<'_>,
) -> Result<Response<Bytes>, ApiError> {
    let (form, transform) = accept.transformed().ok_or_else(negotiate::no_parameters)?;
    Ok(match transform {
        None => respond::object(StatusCode::OK, &Single(object), form),
        Some(Transform::Table(version)) => {
            let table = Table::of(std::slice::from_ref(object), version, IncludeObject::of(query)?);
            respond::text(StatusCode::OK, &table, form)
        }
        Some(Transform::PartialObjectMetadata(version)) => {
            let partial = PartialObjectMetadata { metadata: object.metadata(), version };
            respond::object(StatusCode::OK, &partial, form)
        }
        Some(Transform::PartialObjectMetadataList(_)) => return Err(negotiate::not_a_list(T::KIND)),
    })
}

/// Objects of metrics.k8s.io, as what they were asked for.
fn list<T: UsageObject>(
    objects: &[T],
    query: &QueryParameters,
    accept: &Accept<'_>,
) -> Result<Response<Bytes>, ApiError> {
    let (form, transform) = accept.transformed().ok_or_else(negotiate::no_parameters)?;
    Ok(match transform {
        None => respond::object(StatusCode::OK, &List(objects), form),
        Some(Transform::Table(version)) => {
            let table = Table::of(objects, version, IncludeObject::of(query)?);
            respond::text(StatusCode::OK, &table, form)
        }
        Some(Transform::PartialObjectMetadata(_)) => return Err(negotiate::a_list(T::LIST_KIND)),
        Some(Transform::PartialObjectMetadataList(version)) => {
            respond::object(StatusCode::OK, &PartialObjectMetadataList { objects, version }, form)
        }
    })
}

/// Items that take longer to write than to hand over to another thread.
const MANY: usize = 2_000;
