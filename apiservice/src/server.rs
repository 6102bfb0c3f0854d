//! Paths that every API server answers, and the gate in front of all of them: who is asking, may they, is there room.
//! What lies below a served group-version goes to a [`Handler`].

mod connected;
mod gate;
mod handler;
mod holding;
mod observe;
mod page;
mod request;
mod routes;

use std::sync::Arc;

use axum::Router;

use crate::accept::Peer;
use crate::audit::Audit;
use crate::authn::Union;
use crate::authz::Chain;
use crate::discovery::DiscoveryHandle;
use crate::health::Health;
use connected::Connected;
use gate::Gate;
use routes::Routes;

pub(crate) use request::{IncomingRequest, header};

pub use gate::RequestLimits;
pub use handler::{Answer, ApiRequest, Handler};
pub use holding::Holding;
pub use observe::{Authentication, Exchange, Kind, Observer, Unobserved};
pub use page::{Page, PageForm};
pub use routes::MetricsText;

/// Everything that a server is made of.
pub struct ApiServer {
    /// Answers requests below the served group-versions.
    pub handler: Arc<dyn Handler>,
    /// What is served.
    pub discovery: DiscoveryHandle,
    /// The health checks.
    pub health: Health,
    /// The caller of a request.
    pub authentication: Union,
    /// May they.
    pub authorization: Chain,
    /// Limits on requests.
    pub limits: RequestLimits,
    /// The text of `/metrics`.
    pub metrics: MetricsText,
    /// Pages of the program's own.
    pub pages: Vec<Page>,
    /// Told of what becomes of requests.
    pub observer: Arc<dyn Observer>,
    /// Records requests; `None` records none.
    pub audit: Option<Arc<Audit>>,
}

impl ApiServer {
    /// The server as what [`crate::accept::serve`] has answer requests.
    pub fn into_service(self) -> impl serve::Service<Peer> {
        Connected(self.gate())
    }

    /// The server as a router, for requests that come over no connection.
    pub fn into_router(self) -> Router {
        Router::new().fallback(gate::enter).with_state(self.gate())
    }

    fn gate(self) -> Arc<Gate> {
        let ApiServer {
            handler,
            discovery,
            health,
            authentication,
            authorization,
            limits,
            metrics,
            pages,
            observer,
            audit,
        } = self;
        let routes = Routes::new(handler, discovery, health, metrics, pages);
        Arc::new(Gate::new(routes, authentication, authorization, limits, observer, audit))
    }
}
