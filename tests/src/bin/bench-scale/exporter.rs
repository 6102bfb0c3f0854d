//! Scrape targets of any number on one port, each with the same number of series.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use e2e::Failure;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// A server on loopback, until dropped.
pub(crate) struct Exporter {
    pub(crate) address: SocketAddr,
    _serving: AbortOnDropHandle<()>,
}

impl Exporter {
    /// Serves one text below every path: a gauge and a number of other series of one counter.
    pub(crate) async fn start(series: usize) -> Result<Exporter, Failure> {
        let mut text =
            String::from("# TYPE queue_depth gauge\nqueue_depth 3\n# TYPE requests_total counter\n");
        for number in 1..series {
            // A String takes everything.
            let _ = writeln!(
                text,
                "requests_total{{code=\"200\",method=\"GET\",path=\"/api/v1/items/{number}\"}} {number}"
            );
        }
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let router = Router::new()
            .fallback(get(|State(text): State<Arc<str>>| async move { text.to_string() }))
            .with_state(Arc::<str>::from(text));
        let serving = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Exporter { address, _serving: AbortOnDropHandle::new(serving) })
    }
}
