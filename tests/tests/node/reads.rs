//! Reads of a metric while something else happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use e2e::Failure;
use e2e::node::Node;

use super::DEPTH;

/// Reads of the metrics, as an autoscaler makes them, one after the other until stopped.
pub(crate) struct Reads {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<Vec<String>>,
}

impl Reads {
    pub(crate) fn start(node: &Node) -> Reads {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&answered));
        let client = node.cluster.client.clone();
        let task = tokio::spawn(async move {
            let mut failures = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let request = http::Request::get(DEPTH).body(Vec::new());
                match request.map(|request| client.request_text(request)) {
                    Ok(answer) => match answer.await {
                        Ok(_) => drop(counted.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => failures.push(error.to_string()),
                    },
                    Err(error) => failures.push(error.to_string()),
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            failures
        });
        Reads { stop, answered, task }
    }

    /// How many were answered, and why others were not.
    pub(crate) async fn stop(self) -> Result<(u64, Vec<String>), Failure> {
        self.stop.store(true, Ordering::Relaxed);
        Ok((self.answered.load(Ordering::Relaxed), self.task.await?))
    }
}
