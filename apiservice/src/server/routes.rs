//! The routes after the gate: `apis` answers paths below `/apis`, `paths` all others.

pub(super) mod apis;
mod paths;

use std::sync::Arc;
use std::time::SystemTime;

use http::Method;
use http::request::Parts;

use super::handler::Handler;
use super::page::Page;
use crate::discovery::DiscoveryHandle;
use crate::health::Health;
use crate::negotiate::{self, Accept};
use crate::status::ApiError;

/// What answers are made of.
pub(super) struct Routes {
    pub(super) handler: Arc<dyn Handler>,
    pub(super) discovery: DiscoveryHandle,
    pub(super) health: Health,
    pub(super) metrics: MetricsText,
    pub(super) pages: Vec<Page>,
    pub(super) started_unix_seconds: u64,
}

/// Renders the text of `/metrics`.
pub type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

impl Routes {
    pub(super) fn new(
        handler: Arc<dyn Handler>,
        discovery: DiscoveryHandle,
        health: Health,
        metrics: MetricsText,
        pages: Vec<Page>,
    ) -> Routes {
        let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Routes { handler, discovery, health, metrics, pages, started_unix_seconds: started.as_secs() }
    }
}

/// Does what takes long beside the threads that serve connections. `failure` is what the log says if it panics.
pub(super) async fn beside<T: Send + 'static>(
    failure: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "{failure}");
        ApiError::internal("this server failed on the request; its log has the details")
    })
}

pub(super) fn get_only(parts: &Parts) -> Result<(), ApiError> {
    if parts.method == Method::GET { Ok(()) } else { Err(ApiError::method_not_allowed()) }
}

pub(super) fn admit(accept: &Accept<'_>, produces: &[&str]) -> Result<(), ApiError> {
    if accept.admits(produces) { Ok(()) } else { Err(negotiate::no_media_type(produces)) }
}
