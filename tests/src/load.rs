//! Clients that send the next request when the last one is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::JoinSet;

/// Load on a set of servers until dropped.
#[derive(Debug)]
pub struct Load {
    clients: JoinSet<()>,
    urls: Vec<String>,
    http: reqwest::Client,
    answered: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
}

impl Load {
    /// No load yet on servers' `/predict`.
    pub fn new(servers: &[String]) -> Load {
        Load {
            clients: JoinSet::new(),
            urls: servers.iter().map(|server| format!("http://{server}/predict")).collect(),
            http: reqwest::Client::new(),
            answered: Arc::default(),
            failed: Arc::default(),
        }
    }

    /// Changes the number of clients; they are spread evenly over the servers.
    pub fn set(&mut self, clients: usize) {
        if clients < self.clients.len() {
            self.clients = JoinSet::new();
        }
        for position in self.clients.len()..clients {
            let url = self.urls[position % self.urls.len()].clone();
            let http = self.http.clone();
            let (answered, failed) = (Arc::clone(&self.answered), Arc::clone(&self.failed));
            self.clients.spawn(async move {
                loop {
                    let request = http.post(&url).header("content-type", "application/json").body(BODY);
                    let good = match request.send().await {
                        // The whole answer counts, not only its beginning.
                        Ok(response) if response.status().is_success() => response.bytes().await.is_ok(),
                        Ok(_) | Err(_) => false,
                    };
                    let count = if good { &answered } else { &failed };
                    count.fetch_add(1, Ordering::Relaxed);
                    if !good {
                        // A server that is away answers at once: no client would hammer it.
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            });
        }
    }

    /// How many clients there are.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Requests answered well and others.
    pub fn counts(&self) -> (u64, u64) {
        (self.answered.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }
}

const BODY: &str = r#"{"features": [0.1, 0.2, 0.3, 0.4, 0.5]}"#;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
