//! A server on loopback of what `serve` makes of a service, without TLS.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use http::{Response, StatusCode};
use serve::lifecycle::{Trigger, lifecycle};
use serve::{Ended, Limits, Plain, Refusal, Service, Stats};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A running server.
pub struct Served {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it counts.
    pub stats: Arc<Stats>,
    /// Ends it.
    pub trigger: Trigger,
    /// How it ended.
    pub ended: JoinHandle<Ended>,
}

impl Served {
    /// Serves on a free port of loopback.
    ///
    /// # Panics
    /// No port is free.
    pub fn start(service: impl Service<()>, limits: Limits) -> Served {
        let listener = serve::listen((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
        let listener = TcpListener::from_std(listener).expect("a socket that does not block");
        let address = listener.local_addr().expect("an address");
        let (trigger, shutdown) = lifecycle();
        let stats = Arc::new(Stats::default());
        let serving = serve::serve(listener, Plain, service, shutdown, limits, Arc::clone(&stats));
        Served { address, stats, trigger, ended: tokio::spawn(serving) }
    }
}

/// The answer to a request that is not taken, by its code alone.
pub fn refuse(refusal: Refusal) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = match refusal {
        Refusal::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Refusal::Busy => StatusCode::TOO_MANY_REQUESTS,
    };
    response
}
