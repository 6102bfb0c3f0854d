//! Metrics and probes on a listener and a thread of their own: however busy the rest is, they are answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use axum::Router;
use serve::lifecycle::{Trigger, lifecycle};
use serve::listen;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::serve::{Connections, serve};

/// Why the admin server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address could not be listened on.
    #[error("cannot serve on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The operating system's reason.
        #[source]
        cause: std::io::Error,
    },
    /// There is no thread for it.
    #[error("cannot start the admin server")]
    Start(#[source] std::io::Error),
}

/// The running admin server; it ends with the program, after everything else.
pub struct Admin {
    ended: oneshot::Receiver<()>,
    _trigger: Trigger,
}

impl Admin {
    /// Waits until it ends, which it should not.
    pub async fn ended(&mut self) {
        let _ = (&mut self.ended).await;
    }
}

/// Listens, and serves on a thread of its own.
///
/// # Errors
/// The address cannot be listened on, or there is no thread.
pub fn start(address: SocketAddr, router: Router, connections: Connections) -> Result<Admin, AdminError> {
    let failed = |cause| AdminError::Listen { address, cause };
    let listener = listen(address).map_err(failed)?;
    let actual = listener.local_addr().map_err(failed)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AdminError::Start)?;
    let (running, ended) = oneshot::channel::<()>();
    let (trigger, shutdown) = lifecycle();
    thread::Builder::new()
        .name("admin".to_owned())
        .spawn(move || {
            // Dropped when the thread ends, however it ends.
            let _running = running;
            runtime.block_on(async move {
                match TcpListener::from_std(listener) {
                    Ok(listener) => serve(listener, router, connections, shutdown, Arc::default()).await,
                    Err(error) => tracing::error!(%error, "cannot listen on the admin address"),
                }
            });
        })
        .map_err(AdminError::Start)?;
    tracing::info!(address = %actual, "admin listening");
    Ok(Admin { ended, _trigger: trigger })
}
