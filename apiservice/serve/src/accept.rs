//! Takes connections, and has each served by a task of its own.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use crate::activity::{Activity, Common};
use crate::connection::Shared;
use crate::connection_limit::Places;
use crate::lifecycle::{Phase, Shutdown};
use crate::limits::Limits;
use crate::service::{Handshake, Service};
use crate::stats::Stats;

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Every connection finished.
    Drained,
    /// This number of connections was cut: the grace was over, or a second signal came.
    Cut(usize),
}

/// Serves until the shutdown says otherwise.
pub async fn serve<H: Handshake, S: Service<H::Peer>>(
    listener: TcpListener,
    handshake: H,
    service: S,
    shutdown: Shutdown,
    limits: Limits,
    stats: Arc<Stats>,
) -> Ended {
    let places = Places::new(limits, Arc::clone(&stats));
    let shared = Arc::new(Shared { handshake, service, stats });
    let common = Common::new(limits, shutdown.clone());
    let connections = TaskTracker::new();
    let mut draining = pin!(shutdown.reached(Phase::Draining));
    loop {
        let (stream, address) = tokio::select! {
            () = &mut draining => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let activity = Activity::new(Arc::clone(&common));
        let ticket = places.enter(address, activity);
        let number = ticket.number();
        let task = connections.spawn(Arc::clone(&shared).run(stream, address, ticket));
        places.served_by(number, task.abort_handle());
    }
    drop(listener);
    places.leave();
    connections.close();
    let grace = async {
        match limits.grace {
            Some(grace) => tokio::time::sleep(grace).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = connections.wait() => Ended::Drained,
        () = shutdown.reached(Phase::Aborting) => Ended::Cut(connections.len()),
        () = grace => Ended::Cut(connections.len()),
    }
}

async fn accept(listener: &TcpListener, places: &Places) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            // An IPv4 client of a socket for both families is shown by its IPv4 address.
            Ok((stream, address)) => {
                return (stream, SocketAddr::new(address.ip().to_canonical(), address.port()));
            }
            Err(error) => {
                let is_full = matches!(error.raw_os_error(), Some(TOO_MANY_FILES_HERE | TOO_MANY_FILES));
                let has_ended = is_full && places.end_any();
                tracing::warn!(%error, ended_another = has_ended, "cannot accept a connection");
                // It does not get better by trying immediately.
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}

/// ENFILE.
const TOO_MANY_FILES: i32 = 23;
/// EMFILE.
const TOO_MANY_FILES_HERE: i32 = 24;
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);
